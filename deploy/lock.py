"""The packages of the lock file as uv exports them to CycloneDX: versions, hashes, addresses and dependencies."""

import itertools
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.markers import Marker

from deploy.supported import GLIBC, PYTHON

ROOT = Path(__file__).parents[1]
#: A bill of materials, or a part of it, as CycloneDX writes it in JSON.
Part = dict[str, Any]
_MARKER = "uv:package:marker"


def export(*options: str, root: Path = ROOT) -> Part:
    """The bill of materials of the locked packages for every supported platform, without the time and random number.

    Args:
        options: of `uv export`, which choose extras and groups.
        root: the directory of `uv.lock`.
    """
    uv = shutil.which("uv", path=os.pathsep.join((str(root / ".uv/bin"), os.environ.get("PATH", os.defpath))))
    if not uv:
        raise SystemExit("uv is missing: run make env-dev first")
    command = [uv, "export", "--frozen", "--quiet", "--format", "cyclonedx1.5", *options]
    bill: Part = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)
    del bill["serialNumber"], bill["metadata"]["timestamp"]
    return keep(bill, [each for each in bill["components"] if _supported(each)])


def keep(bill: Part, components: list[Part]) -> Part:
    """The bill with these components alone, and what it says about their dependencies."""
    kept = {each["bom-ref"] for each in (bill["metadata"]["component"], *components)}
    dependencies = [
        {"ref": each["ref"], "dependsOn": [ref for ref in each.get("dependsOn", []) if ref in kept]}
        for each in bill["dependencies"]
        if each["ref"] in kept
    ]
    return bill | {"components": components, "dependencies": dependencies}


def _supported(component: Part) -> bool:
    """Whether any platform with packages of the inference engine needs it."""
    markers = [Marker(each["value"]) for each in component.get("properties", []) if each["name"] == _MARKER]
    return not markers or any(all(marker.evaluate(each) for marker in markers) for each in _platforms())


def _platforms() -> Iterator[dict[str, str]]:
    machines = [("Linux", "linux", machine) for machine in GLIBC] + [("Darwin", "darwin", "arm64")]
    (major, oldest), (_, newest) = PYTHON
    for minor, (system, short, machine) in itertools.product(range(oldest, newest + 1), machines):
        yield {
            "os_name": "posix",
            "platform_machine": machine,
            "platform_python_implementation": platform.python_implementation(),
            "platform_system": system,
            "python_full_version": f"{major}.{minor}.0",
            "python_version": f"{major}.{minor}",
            "sys_platform": short,
        }
