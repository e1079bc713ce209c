"""What happens to a bundle on disk never changes what a worker answers: it serves the bytes that it verified."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import BundleError
from consumer.model.bundle.files import MOST_BYTES
from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.labeller import Scored
from tests.tiny_bundle import FP32, write_tiny_bundle

SMALL = Path(__file__).parents[2] / "bundles/student-imdb"
WEIGHTS = "openvino/int8.bin"
TEXTS = ["A wonderful film.", "Dull, far too long, and badly acted.", "It was a film."]


def _write_other_weights(bundle: Path) -> None:
    """As `dd` or `rsync --inplace` write over a file."""
    with (bundle / WEIGHTS).open("r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(bytes(255 - byte for byte in content))


def _truncate(bundle: Path) -> None:
    """As `cp` begins to copy over a file."""
    os.truncate(bundle / WEIGHTS, 0)


def _remove(bundle: Path) -> None:
    shutil.rmtree(bundle)


ACCIDENTS = {"other weights": _write_other_weights, "truncated": _truncate, "removed": _remove}


def _classify_around(accident: str, bundle_path: Path, report: Path) -> None:
    """Runs in a process of its own, which a mapped file that is truncated would kill."""
    bundle = load_bundle(bundle_path)
    engine = open_engine(bundle, threads=1)
    classifier = Classifier(bundle, engine)

    def scores() -> list[float]:
        results = classifier.classify(TEXTS).results
        return [result.score for result in results if isinstance(result, Scored)]

    found: dict[str, Any] = {"before": scores()}
    ACCIDENTS[accident](bundle_path)
    found["after"] = scores()
    engine._start_afresh()  # type: ignore[attr-defined] # as after a failed batch
    found["restarted"] = scores()
    mapped = Path("/proc/self/maps").read_text().splitlines() if Path("/proc/self/maps").exists() else []
    found["mapped"] = [line for line in mapped if str(bundle_path) in line]
    report.write_text(json.dumps(found))


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_weights_that_change_on_disk_change_no_answer(accident: str, tmp_path: Path) -> None:
    """Overwritten in place, truncated or removed under a running classifier, and after its engine restarted."""
    # Given a copy of the small bundle
    bundle, report = Path(shutil.copytree(SMALL, tmp_path / "bundle")), tmp_path / "report.json"
    # When its files change under a classifier
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_classify_around, args=(accident, bundle, report))
    process.start()
    process.join(60)
    # Then every answer stays the same, and no file is mapped into memory
    assert process.exitcode == 0
    found = json.loads(report.read_text())
    assert len(found["before"]) == len(TEXTS)
    assert found["before"] == found["after"] == found["restarted"]
    assert found["mapped"] == []


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return write_tiny_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("name", FP32)
def test_a_file_that_changes_between_verifying_and_opening_is_refused(tiny: Path, name: str) -> None:
    """The engine gets bytes that were hashed after they were read, not a path that was hashed before."""
    bundle = load_bundle(tiny)
    content = bytearray((tiny / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tiny / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{Path(name).name} was changed"):
        open_engine(bundle)


def test_a_bundle_that_takes_the_place_of_another_is_not_served_under_its_digest(tiny: Path, tmp_path: Path) -> None:
    """A directory that is renamed between manifest and weights: the weights of the new one are refused."""
    other = Path(shutil.copytree(SMALL, tmp_path / "other"))
    for name, source in zip(FP32, ("openvino/int8.xml", WEIGHTS), strict=True):
        (other / source).rename(other / name)
    bundle = load_bundle(tiny)
    tiny.rename(tmp_path / "old")
    other.rename(tiny)
    with pytest.raises(BundleError, match="copy the bundle again"):
        open_engine(bundle)


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _device(path: Path, _: Path) -> None:
    path.symlink_to("/dev/zero")


def _directory(path: Path, _: Path) -> None:
    path.mkdir()


def _link_out_of_the_bundle(path: Path, original: Path) -> None:
    path.symlink_to(original)


def _loop(path: Path, _: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["manifest.json", "golden.json", "tokenizer.json", FP32[1]])
@pytest.mark.parametrize("make", [_fifo, _device, _directory, _link_out_of_the_bundle, _loop])
def test_what_is_not_a_regular_file_of_the_bundle_is_refused_before_it_is_opened(
    tiny: Path, tmp_path: Path, name: str, make: Callable[[Path, Path], None]
) -> None:
    """A FIFO would block the start, a device could do anything, a link could lead anywhere."""
    (tiny / name).rename(tmp_path / "original")
    make(tiny / name, tmp_path / "original")
    with pytest.raises(BundleError, match=rf"{Path(name).name} (is not a regular file|cannot be read \(its links)"):
        load_bundle(tiny)


@pytest.mark.timeout(20)
def test_a_fifo_that_takes_the_place_of_a_file_at_the_last_moment_does_not_block(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is opened is looked at again: the check of the path may have seen another file."""
    (tiny / "manifest.json").unlink()
    os.mkfifo(tiny / "manifest.json")
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    with pytest.raises(BundleError, match=r"manifest\.json is not a regular file"):
        load_bundle(tiny)


def test_a_huge_manifest_is_not_read_to_its_end(tiny: Path) -> None:
    """A file of a terabyte in its place is refused by its first megabyte."""
    os.truncate(tiny / "manifest.json", 1 << 40)
    with pytest.raises(BundleError, match=r"manifest\.json is larger than 1048576 bytes"):
        load_bundle(tiny)


@pytest.mark.parametrize("name", ["golden.json", "tokenizer.json"])
def test_a_huge_file_that_would_be_parsed_is_refused_by_its_size(tiny: Path, name: str) -> None:
    """Whatever its manifest says of it."""
    manifest = json.loads((tiny / "manifest.json").read_text())
    manifest["files"][name]["bytes"] = MOST_BYTES[name] + 1
    (tiny / "manifest.json").write_text(json.dumps(manifest))
    os.truncate(tiny / name, MOST_BYTES[name] + 1)
    with pytest.raises(BundleError, match=rf"{name} is larger than {MOST_BYTES[name]} bytes"):
        load_bundle(tiny)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["golden.json", FP32[1]])
def test_a_file_that_grows_while_it_is_read_is_refused(tiny: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read for one byte more than its manifest says, not to an end that may never come."""
    real = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if os.path.samestat(status, (tiny / name).stat()):
            os.truncate(tiny / name, 1 << 40)
        return status

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(BundleError, match=rf"{Path(name).name} was changed"):
        load_bundle(tiny)


def test_a_pinned_digest_lets_one_bundle_pass(tiny: Path) -> None:
    """The digest is the SHA-256 of the manifest, which in turn names the SHA-256 of every other file."""
    digest = load_bundle(tiny).digest
    assert load_bundle(tiny, digest).digest == digest
    (tiny / "manifest.json").write_text((tiny / "manifest.json").read_text() + "\n")
    with pytest.raises(BundleError, match=rf"allows only {digest}; deploy the pinned bundle") as refused:
        load_bundle(tiny, digest)
    assert refused.value.exit_code == 3
