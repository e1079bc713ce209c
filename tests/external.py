"""Programs that some tests need and that pip does not install."""

import os
import shutil

import pytest


def find(*names: str, install: str) -> str:
    """The first of these programs that is installed; without one the test fails in CI and skips elsewhere."""
    if found := next(filter(shutil.which, names), None):
        return found
    absent = pytest.fail if os.environ.get("CI") else pytest.skip
    return absent(f"{' or '.join(names)} is not installed ({install})")
