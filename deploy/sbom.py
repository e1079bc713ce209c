"""Writes bills of materials in CycloneDX, without the time and random numbers: the same input gives the same bytes.

python -m deploy.sbom packages -o FILE [--all-extras]   what an installation of the wheel consists of
python -m deploy.sbom image ENVIRONMENT BUNDLES -o FILE what is in the image; the Dockerfile runs it

Each package has its version, the hashes of the lock file, its licence and its address (purl). The models are components
too. The image's bill also lists Debian's packages, Python itself, and what is compiled into each package.
"""

import argparse
import json
import platform
import sys
import uuid
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import quote

from packaging.utils import parse_wheel_filename

from deploy import licences, lock, models
from deploy.lock import Part

NAME = "review-consumer"
#: The bundle that the wheel carries.
IN_THE_WHEEL = lock.ROOT / "bundles/student-imdb"
LICENCE = licences.choice("Apache-2.0")


def of_packages(*extras: str) -> Part:
    """The locked packages of an installation on any supported platform, and the model that the wheel carries.

    Args:
        extras: options of `uv export` that add extras.

    Raises:
        SystemExit: a package is in no environment, or its licence is unknown.
    """
    bill = lock.export("--no-dev", *extras)
    policy = licences.load()
    installed = {licences.name_of(each): each for each in Distribution.discover()}
    for component in bill["components"]:
        package = installed.get(component["name"])
        if package is None:
            raise SystemExit(f"{component['name']} is not installed, so its licence cannot be read: run make env-dev")
        component["licenses"] = _licence(policy, package)
        if package.version != component["version"]:  # another Python or platform has another version
            component.setdefault("properties", []).append(
                {"name": f"{NAME}:licence-read-from", "value": f"version {package.version}"}
            )
    return _signed(_with_models(bill, [IN_THE_WHEEL], "application"))


def of_image(environment: Path, bundles: Path, root: Path = Path("/")) -> Part:
    """Everything in the image.

    Args:
        environment: the virtual environment of the worker.
        bundles: the directory that holds `served`.
        root: of the file system, whose Debian packages are listed.

    Raises:
        SystemExit: the environment has a package that is not locked, or lacks one.
    """
    (site,) = environment.glob("lib/python3*/site-packages")
    installed = {licences.name_of(each): each for each in Distribution.discover(path=[str(site)])}
    del installed[NAME]  # the subject
    locked = lock.export(*licences.SCOPES["image"])
    here = [each for each in locked["components"] if _is(each, installed.get(each["name"]))]
    if unknown := installed.keys() - {each["name"] for each in here}:
        raise SystemExit(f"not as in uv.lock: {', '.join(sorted(unknown))}")
    policy = licences.load()
    for component in here:
        package = installed[component["name"]]
        component.update(_as_installed(component, package), licenses=_licence(policy, package))
        if parts := list(licences.compiled_in(package)):
            component["components"] = parts
    served = (bundles / "served").resolve()
    bill = _with_models(lock.keep(locked, here), [*models.members(served), served], "container")
    bill["components"] += [_python(), *_debian(root)]
    return _signed(bill)


def _is(component: Part, package: Distribution | None) -> bool:
    return package is not None and package.version == component["version"]


def _licence(policy: licences.Policy, package: Distribution) -> list[Part]:
    try:
        return licences.choice(policy.licence(package))
    except licences.UnknownLicenceError as error:
        raise SystemExit(f"{licences.name_of(package)} {error}") from error


def _as_installed(component: Part, package: Distribution) -> Part:
    """The hash of the file that was installed, and the addresses of that file and of the source."""
    tags = {line.split()[1] for line in (package.read_text("WHEEL") or "").splitlines() if line.startswith("Tag:")}
    addresses = []
    hashes: list[Part] = []
    for address in component["externalReferences"]:
        file = address["url"].rpartition("/")[2]
        if not file.endswith(".whl"):
            addresses.append(address)
        elif tags & {str(tag) for tag in parse_wheel_filename(file)[3]}:
            addresses.append(address)
            hashes = address["hashes"]
    return {"externalReferences": addresses, "hashes": hashes}


def _with_models(bill: Part, bundles: list[Path], kind: str) -> Part:
    """The bill with these bundles, and with our name, licence and kind as its subject."""
    subject = bill["metadata"]["component"]
    subject |= {"type": kind, "licenses": LICENCE, "purl": f"pkg:pypi/{NAME}@{subject['version']}"}
    found = {bundle.resolve(): models.component(bundle) for bundle in bundles}
    bill["components"] += found.values()
    for dependency in bill["dependencies"]:
        if dependency["ref"] == subject["bom-ref"]:
            dependency["dependsOn"] += [each["bom-ref"] for each in found.values()]
    bill["dependencies"] += [
        {"ref": each["bom-ref"], "dependsOn": [found[member]["bom-ref"] for member in models.members(bundle)]}
        for bundle, each in found.items()
    ]
    return bill


def _python() -> Part:
    """The base image's Python, and what is installed into it, such as pip."""
    version = platform.python_version()
    site = Path(sys.base_prefix, f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")
    own = {licences.name_of(each): each for each in Distribution.discover(path=[str(site)])}
    return {
        "type": "application",
        "bom-ref": "python",
        "name": "python",
        "version": version,
        "purl": f"pkg:generic/python@{version}",
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        "licenses": licences.choice("PSF-2.0"),
        "components": [
            {
                "type": "library",
                "name": name,
                "version": each.version,
                "purl": f"pkg:pypi/{name}@{each.version}",
                "licenses": licences.choice(licences.statement(each) or "not stated"),
            }
            for name, each in sorted(own.items())
        ],
    }


def _debian(root: Path) -> Iterator[Part]:
    """The packages of the base image. Their licences stand in files of it, by the names of Debian."""
    status = root / "var/lib/dpkg/status"
    if not status.exists():
        return
    release = platform.freedesktop_os_release()
    distribution = f"{release['ID']}-{release.get('VERSION_ID', 'unstable')}"
    for paragraph in status.read_text("utf-8").split("\n\n"):
        fields = Parser().parsestr(paragraph, headersonly=True)
        if "installed" not in (fields["Status"] or "").split():
            continue
        name, version = fields["Package"], fields["Version"]
        where = f"arch={fields['Architecture']}&distro={distribution}"
        purl = f"pkg:deb/{release['ID']}/{name}@{quote(version, safe=':~')}?{where}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "licenses": licences.choice(f"see /usr/share/doc/{name}/copyright"),
        }


def _signed(bill: Part) -> Part:
    """The bill with a serial number that follows from its content."""
    bill["components"].sort(key=lambda each: (each["type"], each["name"], each["version"]))
    return {**bill, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))}"}


def main(arguments: list[str] | None = None) -> int:
    """Write one bill."""
    parser = argparse.ArgumentParser(prog="python -m deploy.sbom", description="Write a bill of materials (CycloneDX).")
    kinds = parser.add_subparsers(dest="kind", required=True)
    packages = kinds.add_parser("packages", help="what an installation of the wheel consists of")
    packages.add_argument("--all-extras", action="store_true", help="with the packages of every extra")
    image = kinds.add_parser("image", help="what is in the image")
    image.add_argument("environment", type=Path, help="virtual environment of the worker")
    image.add_argument("bundles", type=Path, help="directory of the bundles, with `served` in it")
    for each in (packages, image):
        each.add_argument("-o", "--output", type=Path, required=True, help="the file to write")
    chosen = parser.parse_args(arguments)
    if chosen.kind == "image":
        bill = of_image(chosen.environment, chosen.bundles)
    else:
        bill = of_packages(*(["--all-extras"] if chosen.all_extras else []))
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{chosen.output}: {len(bill['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
