"""A dependency whose licence is unknown, or not allowed where it ends up, is noticed."""

import json
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from deploy import licences

POLICY = licences.load()
BSD = "License :: OSI Approved :: BSD License"


def package(where: Path, name: str, fields: str, files: Mapping[str, str] | None = None) -> Distribution:
    """An installed package with these lines in its metadata, and these files beside them."""
    info = where / f"{name}-1.0.dist-info"
    written = {"METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{fields}", **(files or {})}
    for file, content in written.items():
        (info / file).parent.mkdir(parents=True, exist_ok=True)
        (info / file).write_text(content)
    (info / "RECORD").write_text("".join(f"{info.name}/{file},,\n" for file in written))
    (found,) = Distribution.discover(name=name, path=[str(where)])
    return found


LICENSED = {"licenses/LICENSE": "Do as you like."}


@pytest.mark.parametrize(
    ("fields", "scope", "expected"),
    [
        ("License-Expression: MIT", "image", ""),
        ("License: Apache-2.0", "image", ""),
        ("Classifier: License :: OSI Approved :: MIT License", "image", ""),
        ("License-Expression: GPL-3.0-only OR MIT", "image", ""),
        ("License-Expression: MIT AND GPL-3.0-only", "image", "GPL-3.0-only is not allowed for image"),
        ("License-Expression: AGPL-3.0-or-later", "development", "AGPL-3.0-or-later is not allowed for development"),
        ("License-Expression: LGPL-2.1-or-later", "image", "LGPL-2.1-or-later is not allowed for image"),
        ("License-Expression: MIT-CMU", "image", "MIT-CMU is not allowed for image"),
        ("License-Expression: MIT-CMU", "extras", ""),
        ("License-Expression: LicenseRef-NVIDIA-Proprietary", "image", "NVIDIA-Proprietary is not allowed"),
        ("", "development", "says '', which is no SPDX expression"),
        ("License: Free for all", "extras", "says 'Free for all', which is no SPDX expression"),
        (f"Classifier: {BSD}", "image", f"says '{BSD}', which is no SPDX expression"),
    ],
)
def test_a_licence_is_allowed_or_objected_to(tmp_path: Path, fields: str, scope: str, expected: str) -> None:
    """One that nobody read is unknown; one that is known is allowed where the policy says so."""
    found = list(licences.objections([package(tmp_path, "planted", fields, LICENSED)], scope, POLICY))
    if expected:
        (only,) = found
        assert only.startswith("planted 1.0: ")
        assert expected in only
    else:
        assert found == []


def test_what_a_person_read_holds_until_the_package_says_something_else(tmp_path: Path) -> None:
    """A package that changes its licence has to be read again."""
    assert POLICY.licence(package(tmp_path / "1", "lz4", f"Classifier: {BSD}")) == "BSD-3-Clause"
    assert POLICY.licence(package(tmp_path / "3", "lz4", "License-Expression: BSD-3-Clause")) == "BSD-3-Clause"
    with pytest.raises(licences.UnknownLicenceError, match=r"and no longer .* read its licence again"):
        POLICY.licence(package(tmp_path / "2", "lz4", "License-Expression: MIT"))


def test_an_exception_is_for_one_package(tmp_path: Path) -> None:
    """The LGPL of crc32c is the LGPL of no other."""
    lesser = "License-Expression: LGPL-2.1-or-later"
    assert not list(licences.objections([package(tmp_path, "crc32c", lesser, LICENSED)], "image", POLICY))
    assert list(licences.objections([package(tmp_path, "crc33c", lesser, LICENSED)], "image", POLICY))


def test_the_image_ships_the_text_of_each_licence(tmp_path: Path) -> None:
    """A package without one is objected to, unless only developers or users install it."""
    bare = package(tmp_path, "bare", "License-Expression: MIT")
    (found,) = licences.objections([bare], "image", POLICY)
    assert "its licence is not installed with it" in found
    assert not list(licences.objections([bare], "extras", POLICY))


def test_what_is_compiled_into_a_package_is_judged(tmp_path: Path) -> None:
    """By the bill of materials in the package, whether it states an id, an expression, a name or nothing."""
    components = [
        {"type": "library", "name": "fine", "licenses": [{"license": {"id": "MIT"}}]},
        {"type": "library", "name": "either", "licenses": [{"expression": "GPL-2.0-only OR  Apache-2.0"}]},
        {"type": "library", "name": "strict", "licenses": [{"license": {"id": "AGPL-3.0-only"}}]},
        {"type": "library", "name": "odd", "licenses": [{"license": {"name": "see the (website"}}]},
        {"type": "library", "name": "silent"},
    ]
    files = LICENSED | {"sboms/parts.cdx.json": json.dumps({"components": components})}
    found = list(licences.objections([package(tmp_path, "mixed", "License-Expression: MIT", files)], "image", POLICY))
    assert [line.partition(": ")[2].partition(" is ")[0] for line in found] == [
        "AGPL-3.0-only",
        "see the (website",
        "states no licence",
    ]


def test_every_entry_of_the_policy_gives_its_reason() -> None:
    """No licence is allowed without one."""
    reasons = [reason for scope in POLICY.allowed.values() for reason in scope.values()]
    reasons += [each["reason"] for each in POLICY.exceptions.values()]
    reasons += POLICY.without_text.values()
    assert len(reasons) > 20
    assert all(len(reason) > 5 for reason in reasons)
    licensed = {licence for scope in POLICY.allowed.values() for licence in scope}
    licensed |= {each["licence"] for each in (*POLICY.exceptions.values(), *POLICY.read.values())}
    assert {licence for licence in licensed if licences.spdx(licence) != licence} == set()
