"""What is read before anything is served: a bundle is complete and unchanged, or refused in one line."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import BundleError
from consumer.model.bundle.loading import Bundle, load_bundle
from tests.tiny_bundle import FP32, GOLDEN_TEXTS, INT8, seal, write_tiny_bundle


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A correct bundle that no test changes."""
    return write_tiny_bundle(tmp_path_factory.mktemp("pristine") / "bundle")


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    """A correct bundle that a test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` work on the JSON object in `path`."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refusal(path: Path) -> str:
    """The one line that says why `path` is refused."""
    with pytest.raises(BundleError) as raised:
        load_bundle(path)
    message = str(raised.value)
    assert "\n" not in message
    assert raised.value.exit_code == 3
    return message


def test_a_correct_bundle_is_loaded(pristine: Path) -> None:
    """Manifest, golden texts and tokenizer are there, and the digest identifies the manifest."""
    loaded = load_bundle(pristine)
    assert isinstance(loaded, Bundle)
    assert loaded.manifest.name == "tiny"
    assert [golden.text for golden in loaded.golden.texts] == list(GOLDEN_TEXTS)
    assert json.loads(loaded.tokenizer_json)["model"]["type"] == "WordPiece"
    assert len(loaded.digest) == 64


def test_any_change_of_the_manifest_changes_the_digest(bundle: Path) -> None:
    """Two bundles with one digest serve the same model."""
    before = load_bundle(bundle).digest
    edit(bundle / "manifest.json", lambda manifest: manifest.update(version="2"))
    assert load_bundle(bundle).digest != before


@pytest.mark.parametrize("name", [*FP32, *INT8, "tokenizer.json", "golden.json"])
def test_one_flipped_bit_is_refused(bundle: Path, name: str) -> None:
    """In whichever file, and the line names it."""
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert name in refusal(bundle)


@pytest.mark.parametrize("name", [INT8[1], "tokenizer.json", "golden.json"])
def test_a_missing_file_is_refused(bundle: Path, name: str) -> None:
    """Even one that the served variant does not read: a bundle with a hole was copied badly."""
    (bundle / name).unlink()
    message = refusal(bundle)
    assert name in message
    assert "copy the bundle again" in message


def test_a_file_cut_short_is_refused_with_both_sizes(bundle: Path) -> None:
    """An interrupted copy shows as such."""
    whole = (bundle / INT8[1]).read_bytes()
    (bundle / INT8[1]).write_bytes(whole[:-1])
    assert f"{len(whole) - 1} bytes, not the {len(whole)}" in refusal(bundle)


def test_files_that_the_manifest_does_not_list_are_ignored(bundle: Path) -> None:
    """What version control, volumes and file managers leave behind is never opened."""
    (bundle / ".gitattributes").write_text("*.bin binary")
    (bundle / "pytorch_model.bin").write_bytes(b"a pickle")
    os.mkfifo(bundle / "pipe")
    load_bundle(bundle)


def test_links_inside_the_bundle_are_followed(bundle: Path) -> None:
    """A mounted Kubernetes volume consists of them."""
    (bundle / "..data").mkdir()
    (bundle / "golden.json").rename(bundle / "..data" / "golden.json")
    (bundle / "golden.json").symlink_to("..data/golden.json")
    load_bundle(bundle)


def test_a_wrong_path_is_refused(bundle: Path) -> None:
    """A typing error and a file instead of a directory both say what to do."""
    assert "not a directory" in refusal(bundle / "bundel")
    assert "not a directory" in refusal(bundle / "manifest.json")


def test_a_checkpoint_of_pickles_is_refused(tmp_path: Path) -> None:
    """A directory that only holds pytorch_model.bin is refused with the command that makes a bundle of it."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    message = refusal(tmp_path)
    assert "manifest.json" in message
    assert "review-training fit" in message


@pytest.mark.parametrize("files", [["pytorch_model.bin", "config.json"], ["model.safetensors"], ["openvino/x.bin"], []])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_variant_reads_the_files_of_its_engine_and_no_other(bundle: Path, engine: str, files: list[str]) -> None:
    """A manifest cannot name a pickle as weights."""
    variant = {"engine": engine, "compute": "fp32", "files": files}
    edit(bundle / "manifest.json", lambda manifest: manifest["variants"].update(extra=variant))
    assert f"the {engine} engine reads" in refusal(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'"secret-review-text"', b"[" * 100_000])
@pytest.mark.parametrize("name", ["manifest.json", "golden.json"])
def test_bad_json_is_refused_without_showing_it(bundle: Path, name: str, content: bytes) -> None:
    """The line names file and place."""
    (bundle / name).write_bytes(content)
    if name == "golden.json":
        seal(bundle)
    message = refusal(bundle)
    assert name in message
    assert "secret" not in message


def test_a_format_of_the_future_asks_for_an_upgrade(bundle: Path) -> None:
    """Whatever else is new in it."""
    edit(bundle / "manifest.json", lambda manifest: manifest.update(format=3, weights="elsewhere"))
    assert "upgrade review-consumer" in refusal(bundle)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"served": "fp64"}, "fp64"),
        ({"labels": ["pos", "pos"]}, "labels repeat"),
        ({"labels": ["pos"]}, "labels"),
        ({"files": {}}, "no checksum"),
        ({"files": {"../../etc/passwd": {"bytes": 1, "sha256": "0" * 64}}}, "files"),
        ({"files": {"a\nb": {"bytes": 1, "sha256": "0" * 64}}}, "files"),
        ({"max_length": 0}, "max_length"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundle: Path, change: dict[str, Any], told: str) -> None:
    """The line names the field."""
    edit(bundle / "manifest.json", lambda manifest: manifest.update(change))
    assert told in refusal(bundle)


@pytest.mark.parametrize("tolerance", [{}, {"fp32": 1.0, "bf16": 0.01, "int8": 0.01}])
def test_golden_answers_that_check_nothing_are_refused(bundle: Path, tolerance: dict[str, float]) -> None:
    """A variant without a tolerance, or with one that lets everything pass."""
    edit(bundle / "golden.json", lambda golden: golden.update(tolerance=tolerance))
    assert "golden.json" in refusal(seal(bundle))


def _calibration(**changes: Any) -> dict[str, Any]:
    whole = {
        "temperature": 1.5,
        "threshold": 0.9,
        "target_precision": 0.98,
        "unsure": 0.2,
        "ece_before": 0.05,
        "ece_after": 0.01,
        "variant": "fp32",
        "data": {"file": "held.xlsx", "sha256": "0" * 64, "rows": 100},
    }
    return whole | changes


def test_a_bundle_of_before_calibration_is_loaded(bundle: Path) -> None:
    """Its manifest has no such part; format 1 is the same with and without."""
    edit(bundle / "manifest.json", lambda manifest: manifest.pop("calibration"))
    assert load_bundle(bundle).manifest.calibration is None
    edit(bundle / "manifest.json", lambda manifest: manifest.update(calibration=_calibration()))
    calibrated = load_bundle(bundle).manifest
    assert calibrated.format == 1
    assert calibrated.calibration is not None
    assert calibrated.calibration.temperature == 1.5
    assert calibrated.calibration.sharpening == 0


def test_a_bundle_of_before_windows_is_loaded(bundle: Path) -> None:
    """Its manifest has no such part."""
    edit(bundle / "manifest.json", lambda manifest: manifest.pop("windows"))
    assert load_bundle(bundle).manifest.windows is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"truncation": "windows"}, "windows and truncation windows belong together"),
        ({"windows": {"overlap": 0.25, "most": 4}}, "windows and truncation windows belong together"),
        ({"truncation": "windows", "windows": {"overlap": 0.6, "most": 4}}, "windows.overlap"),
        ({"truncation": "windows", "windows": {"overlap": 0.25, "most": 0}}, "windows.most"),
        ({"truncation": "windows", "windows": {"overlap": 0.25, "most": 4, "stride": 1}}, "windows.stride"),
    ],
)
def test_windows_that_cannot_be_are_refused(bundle: Path, change: dict[str, Any], told: str) -> None:
    """Without the truncation that reads them, without a bound, or with more overlap than they may have."""
    edit(bundle / "manifest.json", lambda manifest: manifest.update(change))
    assert told in refusal(bundle)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"temperature": -1},
        {"temperature": 1e9},
        {"temperature": None},
        {"sharpening": -0.1},
        {"sharpening": 1e9},
        {"threshold": 1.5},
        {"target_precision": 98},
        {"surprise": 1},
        {"data": {}},
    ],
)
def test_a_calibration_that_cannot_be_is_refused(bundle: Path, wrong: dict[str, Any]) -> None:
    """A division by nothing, or percentages where shares belong."""
    edit(bundle / "manifest.json", lambda manifest: manifest.update(calibration=_calibration(**wrong)))
    assert f"calibration.{next(iter(wrong))}" in refusal(bundle)


def test_an_unknown_variant_is_refused_with_those_that_exist(pristine: Path) -> None:
    """A typing error in the settings shows the choice."""
    with pytest.raises(BundleError, match="no variant 'int4'; it has bf16, fp32, int8"):
        load_bundle(pristine).variant("int4")
