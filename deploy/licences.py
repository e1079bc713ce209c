"""Whether the licence of every dependency allows its use here: `python -m deploy.licences`.

Each package of the lock file is looked up in this environment (`make env-dev`) and judged by licences.toml: by what it
says about its licence, and if that is no SPDX expression, by what a person read. For packages of the image, the
components that are compiled into them are judged too, as their own bills of materials (PEP 770) list them. Exits with 1
if one may not be used.
"""

import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, NamedTuple

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from deploy import lock

POLICY = Path(__file__).with_suffix(".toml")
#: Where a dependency ends up, and the options of `uv export` that list what ends up there or in one before it.
SCOPES = {
    "image": ("--no-dev", "--extra", "tracing"),  # as the Dockerfile installs
    "extras": ("--no-dev", "--all-extras"),
    "development": ("--all-extras",),
}
#: Classifiers that leave no doubt which licence is meant.
CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
TEXTS = ("LICEN", "COPYING")


class UnknownLicenceError(ValueError):
    """A package does not say its licence in SPDX, and nobody has read it; the message says what it says."""


class Policy(NamedTuple):
    """What licences.toml holds."""

    allowed: Mapping[str, Mapping[str, str]]
    exceptions: Mapping[str, Mapping[str, str]]
    read: Mapping[str, Mapping[str, str]]
    without_text: Mapping[str, str]
    models: Mapping[str, Mapping[str, Any]]

    def licence(self, package: Distribution) -> str:
        """Its licence as an SPDX expression.

        Raises:
            UnknownLicenceError: it is not known.
        """
        said = statement(package)
        if read := self.read.get(name_of(package)):
            if said not in (read["says"], read["licence"]):
                raise UnknownLicenceError(f"says {said!r} and no longer {read['says']!r}: read its licence again")
            return read["licence"]
        if found := spdx(said):
            return found
        raise UnknownLicenceError(f"says {said!r}, which is no SPDX expression: read its licence, and add it to [read]")

    def objection(self, name: str, licence: str, scope: str) -> str:
        """Why `name` may not be used in `scope`; empty if it may."""
        from license_expression import ExpressionError, Licensing

        reached = list(SCOPES)[: list(SCOPES).index(scope) + 1]
        allowed = {one for each in reached for one in self.allowed[each]}
        allowed |= {self.exceptions[name]["licence"]} if name in self.exceptions else set()
        licensing = Licensing()

        def permits(tree: object) -> bool:
            if isinstance(tree, licensing.OR):
                return any(map(permits, tree.args))
            if isinstance(tree, licensing.AND):
                return all(map(permits, tree.args))
            return str(tree) in allowed

        try:
            permitted = permits(licensing.parse(licence))
        except ExpressionError:
            permitted = False
        return "" if permitted else f"{licence} is not allowed for {scope}: see licences.toml"


def load(path: Path = POLICY) -> Policy:
    """The policy of this project."""
    return Policy(**tomllib.loads(path.read_text("utf-8")))


def statement(package: Distribution) -> str:
    """What a package says about its licence, in the field that says it best; empty if it says nothing."""
    metadata = package.metadata
    expression = metadata.get("License-Expression", "")
    free = " ".join(metadata.get("License", "").split())
    classifiers = [each for each in metadata.get_all("Classifier", []) if each.startswith("License ::")]
    choices = (expression, free if spdx(free) else "", " ".join(sorted(classifiers)), free)
    return next(filter(None, choices), "")


def spdx(said: str) -> str:
    """`said` as an SPDX expression; empty if it is none."""
    try:
        return CLASSIFIERS.get(said) or str(canonicalize_license_expression(said))
    except InvalidLicenseExpression:
        return ""


def name_of(package: Distribution) -> str:
    """Its name as the lock file has it."""
    return canonicalize_name(package.metadata["Name"])


def has_text(package: Distribution) -> bool:
    """Whether the text of its licence is installed with it."""
    return any(
        path.parts[0].endswith(".dist-info") and any(word in path.name.upper() for word in TEXTS)
        for path in package.files or ()
    )


def compiled_in(package: Distribution) -> Iterator[lock.Part]:
    """What its own bills of materials list: name, version, address and licences of each component."""
    for path in package.files or ():
        if path.parts[0].endswith(".dist-info") and path.parts[1:2] == ("sboms",):
            yield from map(_normal, json.loads(path.read_text("utf-8")).get("components", []))


def _normal(component: lock.Part) -> lock.Part:
    kept = {key: component[key] for key in ("type", "name", "version", "purl") if key in component}
    said = [
        each.get("expression") or each["license"].get("id") or each["license"]["name"]
        for each in component.get("licenses", [])
    ]
    licence = said[0] if len(said) == 1 else " AND ".join(f"({each})" for each in said)
    return kept | {"licenses": choice(licence)} if said else kept


def choice(licence: str) -> list[lock.Part]:
    """A licence as CycloneDX writes it: one of SPDX by its id, several as an expression, others by name."""
    known = spdx(licence)
    if not known or known.startswith("LicenseRef-"):
        return [{"license": {"name": licence}}]
    return [{"expression": known}] if " " in known else [{"license": {"id": known}}]


def stated(component: lock.Part) -> str:
    """The licence that `choice` wrote; empty if there is none."""
    (said,) = component.get("licenses") or [{}]
    return said.get("expression") or " ".join(said.get("license", {}).values())


def objections(packages: Iterable[Distribution], scope: str, policy: Policy) -> Iterator[str]:
    """What is wrong with the licences of these packages, one line each."""
    for package in packages:
        name = name_of(package)
        try:
            found = policy.objection(name, policy.licence(package), scope)
        except UnknownLicenceError as error:
            found = str(error)
        if found:
            yield f"{name} {package.version}: {found}"
        if scope != "image":
            continue
        # The image ships it, with everything that is compiled into it.
        if not has_text(package) and name not in policy.without_text:
            yield f"{name} {package.version}: its licence is not installed with it, and the image has to ship it"
        for part in compiled_in(package):
            said = stated(part)
            found = policy.objection(part["name"], said, scope) if said else "states no licence"
            if found:
                yield f"{name} {package.version}, {part['name']} in it: {found}"


def names(scope: str) -> set[str]:
    """The locked packages that end up in `scope` and in none before it."""
    before = list(SCOPES)[: list(SCOPES).index(scope)]
    listed = [
        {component["name"] for component in lock.export(*SCOPES[each])["components"]} for each in (*before[-1:], scope)
    ]
    return listed[-1] - (listed[0] if before else set())


def installed(wanted: Iterable[str]) -> list[Distribution]:
    """Those of the packages that this environment has, by name."""
    found = {name_of(package): package for package in Distribution.discover()}
    return [found[name] for name in sorted(wanted) if name in found]


def main() -> int:
    """Print a line for each package, then what is wrong."""
    policy = load()
    wrong: list[str] = []
    for scope in SCOPES:
        wanted = names(scope)
        packages = installed(wanted)
        wrong += objections(packages, scope, policy)
        for package in packages:
            print(f"{scope:12} {name_of(package):28} {package.version:18} {spdx(statement(package)) or '(read)'}")
        for name in sorted(wanted - {name_of(package) for package in packages}):
            print(f"{scope:12} {name:28} not installed here: another platform or Python needs it")
    print(*wrong or ["every licence is allowed"], sep="\n", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
