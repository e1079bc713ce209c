"""What `adopt` refuses: one line that says why and what to do, before anything is written; and no code is ever run."""

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import UsageError
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_checkpoints import LABELS, change_config, write_checkpoint
from training.adoption.labels import label_names
from training.cli import main

pytestmark = pytest.mark.training

BERT: dict[str, Any] = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that nothing is wrong with."""
    from training.encoders.base import quiet_transformers

    quiet_transformers()
    return write_checkpoint(tmp_path_factory.mktemp("bert") / "checkpoint", "bert")


@pytest.fixture
def checkpoint(bert: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(bert, tmp_path / "checkpoint"))


def refusal(capsys: pytest.CaptureFixture[str], checkpoint: Path | str, *more: str, code: int = 2) -> str:
    """The line that `adopt` ends with; nothing is left of the bundle."""
    out = (checkpoint.parent if isinstance(checkpoint, Path) else Path(checkpoint).parent) / "bundle"
    assert main(["adopt", str(checkpoint), "--out", str(out), *more]) == code
    assert not out.exists()
    assert not list(out.parent.glob(".*"))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("review-training: ")
    return last


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "regression": (
        {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
        "answers with a number, not with a label",
    ),
    "regression by name": ({"problem_type": "regression"}, "answers with a number, not with a label"),
    "several labels": ({"problem_type": "multi_label_classification"}, "gives a text several labels at once"),
    "tokens": ({"architectures": ["BertForTokenClassification"]}, "labels each token (BertForTokenClassification)"),
    "masked words": ({"architectures": ["BertForMaskedLM"]}, "fills in masked words (BertForMaskedLM)"),
    "no head": ({"architectures": ["BertModel"]}, "has no head"),
    "unknown task": ({"architectures": None}, "does not say what the model does"),
    "unknown family": ({"model_type": "longformer"}, "is a longformer model; DistilBERT, BERT, RoBERTa, XLM-RoBERTa"),
    "its own code": ({"auto_map": {"AutoModel": "model.Model"}}, "brings Python code of its own (auto_map)"),
    "quantised": ({"quantization_config": {"bits": 4}}, "has quantised weights"),
    "unnamed outputs": (
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        "pass --labels 0=negative,1=positive, if that is",
    ),
    "other outputs": ({"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": None}, "cannot be read (RuntimeError)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_cannot_be_served_is_refused(
    name: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its configuration: what it is, and what to do instead."""
    changes, words = REFUSED[name]
    change_config(checkpoint, **changes)
    assert words in refusal(capsys, checkpoint)


class Planted:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (self._path,))


def test_pickled_weights_are_never_read(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The refusal says which file it is, why, and how to convert it; no code of it runs."""
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(tmp_path / "ran")))
    line = refusal(capsys, checkpoint)
    assert "only pytorch_model.bin. Such a file can run code when it is loaded" in line
    assert f"M.from_pretrained('{checkpoint}').save_pretrained('converted')" in line
    assert not (tmp_path / "ran").exists()


def _remove(name: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).unlink()


def _write(name: str, content: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_text(content)


def _grow(directory: Path) -> None:
    """More tokens in the tokenizer than the model has vectors for."""
    path = directory / "tokenizer.json"
    facts = json.loads(path.read_text("utf-8"))
    facts["model"]["vocab"] |= {"unheard": 100_000}
    path.write_text(json.dumps(facts), encoding="utf-8")


def _ignore_case(directory: Path) -> None:
    """A tokenizer.json and a tokenizer_config.json that disagree."""
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"do_lower_case": False}), encoding="utf-8")


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (_remove("model.safetensors"), "has no model.safetensors: name a checkpoint of transformers"),
    "no configuration": (_remove("config.json"), "has no config.json"),
    "broken configuration": (_write("config.json", "{"), "config.json cannot be read (JSONDecodeError)"),
    "a list": (_write("config.json", "[]"), "is no configuration"),
    "broken weights": (_write("model.safetensors", "nonsense"), "cannot be read (SafetensorError)"),
    "no tokenizer": (_remove("tokenizer.json"), "has no tokenizer.json and no vocabulary"),
    "broken tokenizer": (_write("tokenizer.json", "{}"), "the tokenizer of checkpoint cannot be read or converted"),
    "tokenizer with code": (_write("tokenizer_config.json", '{"auto_map": {}}'), "brings Python code of its own"),
    "other tokenizer": (_grow, "has a token 100000, and the model knows"),
    "two tokenizers": (_ignore_case, "cuts texts in another way (probe"),
    "an adapter": (_write("adapter_config.json", "{}"), "is an adapter, not a whole model"),
    "a bundle": (_write("manifest.json", "{}"), "is a bundle already"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_that_lacks_or_contradicts_something_is_refused(
    name: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, broken and contradicting files."""
    spoil, words = FILES[name]
    spoil(checkpoint)
    assert words in refusal(capsys, checkpoint)


def test_a_tokenizer_of_sentencepiece_without_its_library_is_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install."""
    monkeypatch.setattr("training.adoption.tokenizer._reads_sentencepiece", lambda: False)
    (checkpoint / "tokenizer.json").rename(checkpoint / "spm.model")
    assert "pip install sentencepiece protobuf" in refusal(capsys, checkpoint)


def test_wrong_usage_is_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags that contradict the checkpoint, and an --out that is no bundle or holds the checkpoint."""
    assert "reads at most 48 tokens: lower --max-length" in refusal(capsys, checkpoint, "--max-length", "64")
    assert "--revision is for names on the hub" in refusal(capsys, checkpoint, "--revision", "main")
    assert "has no output GOOD" in refusal(capsys, checkpoint, "--labels", "GOOD=pos")
    assert "set truncation to windows" in refusal(capsys, checkpoint, "--max-windows", "2")
    texts = tmp_path / "test.csv"
    texts.write_text("Reviews,Sentiment\n" + "".join(f"text {row},{'ab'[row % 2]}\n" for row in range(20)))
    assert "has the labels a, b; the bundle knows NEGATIVE, POSITIVE" in refusal(
        capsys, checkpoint, "--test", str(texts)
    )
    assert main(["adopt", str(checkpoint), "--out", str(checkpoint)]) == 2
    assert "exists and is not a bundle" in capsys.readouterr().err
    write_tiny_bundle(tmp_path / "old")
    inside = Path(shutil.move(checkpoint, tmp_path / "old"))
    assert main(["adopt", str(inside), "--out", str(tmp_path / "old")]) == 2
    assert "which is replaced as a whole" in capsys.readouterr().err


def names(*outputs: str) -> dict[str, Any]:
    """The part of a configuration that names these outputs."""
    numbered = {str(number): name for number, name in enumerate(outputs)}
    return BERT | {"id2label": numbered, "label2id": {name: int(number) for number, name in numbered.items()}}


@pytest.mark.parametrize(
    ("facts", "renamed", "labels"),
    [
        (names("NEGATIVE", "POSITIVE"), {}, ("NEGATIVE", "POSITIVE")),
        (names("POSITIVE", "NEGATIVE"), {}, ("POSITIVE", "NEGATIVE")),
        (BERT | {"id2label": {"1": "NEGATIVE", "0": "POSITIVE"}}, {}, ("POSITIVE", "NEGATIVE")),
        (names("POSITIVE", "NEGATIVE"), {"NEGATIVE": "neg", "POSITIVE": "pos"}, ("pos", "neg")),
        (names("NEGATIVE", "POSITIVE"), {"NEGATIVE": "neg"}, ("neg", "POSITIVE")),
        (names("LABEL_0", "LABEL_1"), {"LABEL_1": "pos", "LABEL_0": "neg"}, ("neg", "pos")),
        (names("LABEL_0", "LABEL_1"), {"0": "pos", "1": "neg"}, ("pos", "neg")),
        (BERT, {"0": "neg", "1": "pos"}, ("neg", "pos")),
        (BERT | {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}, {"0": "a", "1": "b"}, ("a", "b")),
        (names("1 star", "2 stars", "3 stars"), {"1": "two"}, ("1 star", "two", "3 stars")),
        (names("b", "a"), {"a": "b", "b": "a"}, ("a", "b")),
    ],
)
def test_labels_are_named_in_the_order_of_the_outputs(
    facts: dict[str, Any], renamed: dict[str, str], labels: Sequence[str]
) -> None:
    """Whatever order the file or the flag has."""
    assert label_names("model", facts, renamed) == labels


@pytest.mark.parametrize(
    ("facts", "renamed", "words"),
    [
        (BERT, {}, "does not name the outputs of the model"),
        (names("LABEL_0", "LABEL_1"), {}, "calls the outputs of the model LABEL_0, LABEL_1"),
        (names("LABEL_0", "LABEL_1"), {"0": "neg"}, "calls the outputs of the model LABEL_0, LABEL_1"),
        (names("LABEL_0", "good"), {}, "calls the outputs of the model LABEL_0, good"),
        (BERT | {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}, {}, "contradicts itself"),
        (BERT | {"id2label": {"1": "a", "2": "b"}}, {}, "numbers the outputs 1, 2 (id2label), not from 0 on"),
        (BERT | {"id2label": ["a", "b"]}, {}, "does not name the outputs"),
        (names("a", "b"), {"c": "d"}, "has no output c: --labels can rename a, b"),
        (names("a", "b"), {"2": "d"}, "has no output 2"),
        (names("a", "b"), {"a": "B"}, "are not all different"),
        (names("a", "b\n"), {}, "control characters"),
    ],
)
def test_a_label_is_never_guessed(facts: dict[str, Any], renamed: dict[str, str], words: str) -> None:
    """A wrong guess would exchange positive and negative; the refusal shows what to pass."""
    with pytest.raises(UsageError) as refused:
        label_names("model", facts, renamed)
    assert words in str(refused.value)
    if "has no output" not in words and "different" not in words and "control" not in words:
        assert "--labels 0=negative,1=positive" in str(refused.value)


def test_the_labels_of_the_fixture_are_names() -> None:
    """Otherwise every refusal above could be for its labels."""
    assert label_names("model", names(*LABELS), {}) == LABELS
