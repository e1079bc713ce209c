"""A checkpoint that knows its words becomes a bundle: int8 judged by labels or by agreement, measured, described."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants

from consumer.errors import BundleError, UsageError
from consumer.model.bundle.loading import load_bundle
from consumer.model.texts.cleaning import AS_THEY_ARE
from consumer.model.texts.reading import Reading, Truncation
from tests.fake_hub import FakeHub, running
from tests.tiny_bundle import INT8, _write_graph, seal, write_tiny_bundle
from tests.tiny_checkpoints import change_config
from tests.tiny_encoder import write_reviews
from tests.tiny_trained import write_trained_bundle
from training.adoption.find import find_checkpoint
from training.adoption.probes import PROBES
from training.adoption.reference import ask_transformers, check_alike
from training.adoption.rows import read_rows
from training.cli import main
from training.data.prepare import DEFAULTS
from training.measure.gate import choose_by_agreement
from training.packaging import export
from training.settings import AdoptSettings

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

CARD = """---
license: mit
language: en
base_model: someone/encoder
---
# A model
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a `checkpoint` that tells neg from pos, its card, and `test.xlsx` with 720 labelled texts."""
    import torch

    directory = tmp_path_factory.mktemp("workplace")
    trained = write_trained_bundle(directory / "trained")
    (directory / "checkpoint").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(trained / name, directory / "checkpoint" / name)
    (directory / "checkpoint/README.md").write_text(CARD)
    write_reviews(directory / "test.xlsx", 720, seed=5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield directory
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def adopted(workplace: Path) -> Path:
    """The bundle of `checkpoint`, with labelled texts."""
    options = ["--test", str(workplace / "test.xlsx"), "--calibration-texts", "24", "--sure-precision", "0.9"]
    assert main(["adopt", str(workplace / "checkpoint"), "--out", str(workplace / "adopted"), *options]) == 0
    return workplace / "adopted"


def test_labelled_texts_judge_calibrate_and_measure(adopted: Path) -> None:
    """180 of 720 rows decide; accuracy and profile are those of the 540 others."""
    manifest = load_bundle(adopted).manifest
    assert (manifest.labels, manifest.served, manifest.format) == (("neg", "pos"), "int8", AS_THEY_ARE)
    served, reference = manifest.variants["int8"].accuracy, manifest.variants["fp32"].accuracy
    assert served is not None
    assert reference is not None
    assert (served.rows, reference.rows, served.file) == (540, 156, "test.xlsx")
    assert served.accuracy > 0.95
    assert manifest.calibration is not None
    assert (manifest.calibration.data.rows, manifest.calibration.variant) == (180, "int8")
    assert manifest.training_data == ()  # it was not trained here
    profile = load_bundle(adopted).profile
    assert profile is not None
    assert (profile.rows, profile.data.rows) == (540, 540)


def test_the_card_and_the_record_say_where_it_comes_from(adopted: Path) -> None:
    """Licence, language and base as the card of the checkpoint says; no directory, and no text of the user."""
    card = ModelCard.load(adopted / "MODEL_CARD.md")
    header = card.data.to_dict()
    assert (header["license"], header["language"], header["base_model"]) == ("mit", ["en"], ["someone/encoder"])
    assert header["pipeline_tag"] == "text-classification"
    assert card.data.eval_results is not None
    manifest = load_bundle(adopted).manifest
    accuracy = manifest.variants["int8"].accuracy
    assert accuracy is not None
    assert card.data.eval_results[0].metric_value == round(accuracy.accuracy, 4)
    assert "licence: mit (its model card)" in card.text
    assert "Logits are divided by" in card.text
    content = (adopted / "run.json").read_text("utf-8")
    record = json.loads(content)
    assert (record["origin"]["license"], record["outputs"], record["labels"]) == ("mit", ["neg", "pos"], ["neg", "pos"])
    assert record["compared"]["texts"] > len(PROBES)
    assert str(adopted.parent) not in content + card.content


def test_labels_in_the_wrong_order_are_noticed_on_labelled_texts(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refusal names the order that fits; with that, the bundle is right."""
    checkpoint = Path(shutil.copytree(workplace / "checkpoint", tmp_path / "checkpoint"))
    change_config(checkpoint, id2label={"0": "pos", "1": "neg"}, label2id={"pos": 0, "neg": 1})
    command = ["adopt", str(checkpoint), "--out", str(tmp_path / "bundle"), "--test", str(workplace / "test.xlsx")]
    assert main(command) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.endswith("pass --labels 0=neg,1=pos")
    assert not (tmp_path / "bundle").exists()
    assert main([*command, "--labels", line.split()[-1], "--calibration-texts", "24", "--keep", "int8"]) == 0
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert manifest.labels == ("neg", "pos")
    assert "accuracy 100.00%" in capsys.readouterr().out


def test_without_texts_fp32_is_served_and_an_unknown_licence_is_called_unknown(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no int8 that nobody judged."""
    checkpoint = Path(shutil.copytree(workplace / "checkpoint", tmp_path / "checkpoint"))
    (checkpoint / "README.md").unlink()
    options = ["--labels", "neg=negative,pos=positive", "--truncation", "windows", "--max-length", "24"]
    assert main(["adopt", str(checkpoint), "--out", str(tmp_path / "bundle"), *options]) == 0
    assert "so fp32 is served" in capsys.readouterr().err
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert manifest.served == "fp32"
    assert set(manifest.variants) == {"fp32", "bf16", "torch"}
    assert manifest.labels == ("negative", "positive")
    assert manifest.reading == Reading(24, Truncation.WINDOWS, manifest.windows, AS_THEY_ARE)
    card = ModelCard.load(tmp_path / "bundle/MODEL_CARD.md")
    assert card.data.to_dict()["license"] == "unknown"
    assert "licence: unknown" in card.text
    config = json.loads((tmp_path / "bundle/config.json").read_bytes())
    assert config["id2label"] == {"0": "negative", "1": "positive"}


def test_a_model_that_is_exported_wrongly_makes_no_bundle(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Injected: one bias of the exported model is another one."""

    def wrongly(model: Any, bundle: Path) -> None:
        bias = model.classifier.bias.data
        bias[0] += 0.05
        original(model, bundle)
        bias[0] -= 0.05

    original = export.export_openvino
    monkeypatch.setattr("training.packaging.export.export_openvino", wrongly)
    assert main(["adopt", str(workplace / "checkpoint"), "--out", str(tmp_path / "bundle")]) == 3
    assert "differently than transformers (a logit is off by 0.0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_exchanged_labels_are_not_what_transformers_answers(workplace: Path, adopted: Path) -> None:
    """Given the bundle before its calibration, when labels and logits are in different orders, it is refused."""
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    bundle = load_bundle(adopted)
    model: Any = AutoModelForSequenceClassification.from_pretrained(workplace / "checkpoint").eval()
    file = workplace / "checkpoint/tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file))  # type: ignore[no-untyped-call]
    expected = ask_transformers(model, tokenizer, bundle.tokenizer_json, PROBES, bundle.manifest.max_length)
    uncalibrated = Path(shutil.copytree(adopted, workplace / "uncalibrated"))
    seal(uncalibrated, **bundle.manifest.model_dump(exclude={"files", "calibration"}))
    difference, compared = check_alike(uncalibrated, expected, ("neg", "pos"), bundle.manifest.reading)
    assert compared == len(PROBES)
    assert difference < 1e-4
    with pytest.raises(BundleError, match="differently than transformers"):
        check_alike(uncalibrated, expected, ("pos", "neg"), bundle.manifest.reading)


def test_rows_that_decide_do_not_measure(workplace: Path, tmp_path: Path) -> None:
    """Scales, gate and measurement have different rows, drawn with the seed; texts without labels take the scales."""
    test, settings = workplace / "test.xlsx", AdoptSettings(calibration_texts=24)
    rows = read_rows(None, test, ("neg", "pos"), DEFAULTS, settings)
    assert rows == read_rows(None, test, ("neg", "pos"), DEFAULTS, settings)
    assert rows.gate is not None
    assert rows.deciding is not None
    assert rows.measuring is not None
    scales, gate, measuring = set(rows.scales), set(rows.gate.texts), set(rows.measuring.texts)
    assert (len(scales), len(gate), len(measuring)) == (24, 156, 540)
    assert scales | gate == set(rows.deciding.texts)
    assert not scales & gate
    assert not (scales | gate) & measuring
    (tmp_path / "texts.txt").write_text("\n".join(f"text {number}" for number in range(40)))
    both = read_rows(tmp_path / "texts.txt", test, ("neg", "pos"), DEFAULTS, settings)
    assert all(text.startswith("text ") for text in both.scales)
    assert both.gate == both.deciding
    few = read_rows(tmp_path / "texts.txt", None, ("neg", "pos"), DEFAULTS, settings)
    assert few.scales == ()


def test_int8_that_disagrees_with_fp32_is_not_served(tmp_path: Path) -> None:
    """On texts without labels, each label that differs counts; bf16 is served then."""
    import numpy as np

    texts = ["good film", "awful film", "the film was great", "bad", "moving"]
    bundle = write_tiny_bundle(tmp_path / "bundle")
    assert choose_by_agreement(bundle, texts, 1.0) == ("int8", {"int8": 1.0})
    _write_graph(
        bundle / INT8[0], np.tile(np.array([[1, -1]], dtype=np.float32), (20, 1)), quantised=True
    )  # always neg
    seal(bundle)
    served, shares = choose_by_agreement(bundle, texts, 0.8)
    assert (served, shares) == ("bf16", {"int8": 0.4, "bf16": 1.0})


def test_a_checkpoint_is_downloaded_from_the_hub_at_a_pinned_revision(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safetensors, configuration, tokenizer and card only; each failure is one line that says what to do."""
    old = Path(shutil.copytree(workplace / "checkpoint", tmp_path / "old"))
    change_config(old, id2label={"0": "bad", "1": "good"}, label2id={"bad": 0, "good": 1})
    pickled = Path(shutil.copytree(workplace / "checkpoint", tmp_path / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    (old / "pytorch_model.bin").write_bytes(b"a pickle beside it")
    hub = FakeHub({"me/mine": {"main": workplace / "checkpoint", "v1": old}, "me/pickled": {"main": pickled}})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with running(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        found = find_checkpoint("me/mine", "v1")
        assert (found.name, found.revision) == ("me/mine", hub.commit("me/mine", "v1"))
        assert json.loads((found.directory / "config.json").read_bytes())["id2label"] == {"0": "bad", "1": "good"}
        assert sorted(set(hub.asked)) == ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
        assert find_checkpoint("me/mine").revision == hub.commit("me/mine", "main")
        for name, revision, words in (
            ("me/mine", "v2", "me/mine has no revision v2 on the hub"),
            ("me/none", None, "no such model on the hub"),
            ("me/pickled", None, "has no model.safetensors, only pytorch_model.bin"),
            ("no such directory", None, "a name on the hub looks like OWNER/MODEL"),
        ):
            with pytest.raises(UsageError, match=words):
                find_checkpoint(name, revision)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(UsageError, match=r"could not be downloaded from the hub .* `hf download me/other`"):
        find_checkpoint("me/other")
