"""Copies a bundle into the image, verified, with the members of a cascade: `copy_bundle.py BUNDLE DIRECTORY`.

Afterwards DIRECTORY/served is the bundle. Bundles stand beside each other there as they do here, so that a cascade
finds its members. A damaged or incomplete one fails the build.
"""

import shutil
import sys
from pathlib import Path

from consumer.errors import BundleError
from consumer.model.cascade.bundle import load, models


def copy(bundle: Path, directory: Path) -> None:
    """Copy `bundle` and what it needs into `directory`, readable by any user, whatever the modes were."""
    loaded = load(bundle)
    root = loaded.path.parent
    for source in {loaded.path, *(model.path for model in models(loaded))}:
        if source == loaded.path or not source.is_relative_to(loaded.path):
            shutil.copytree(source, directory / source.relative_to(root))
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (directory / "served").symlink_to(loaded.path.name)
    load(directory / "served")


if __name__ == "__main__":
    try:
        copy(Path(sys.argv[1]), Path(sys.argv[2]))
    except BundleError as error:
        sys.exit(str(error))
