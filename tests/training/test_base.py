"""A checkpoint is loaded completely: no weight of an encoder or a teacher is silently replaced by a random one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from consumer.errors import UsageError
from tests.tiny_encoder import make_base, write_reviews
from training.cli import main
from training.encoders.base import find_base, load_classifier, quiet_transformers
from training.settings import DistilSettings
from training.teachers.find import find_teacher

pytestmark = pytest.mark.training

LABELS = ("neg", "pos")
SIZES: dict[str, Any] = {
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "distilbert": {"vocab_size": 24, "dim": 16, "hidden_dim": 16, "n_layers": 1, "n_heads": 2},
    "bert": SIZES,
    "roberta": SIZES,
    "xlm-roberta": SIZES,
    "electra": SIZES | {"embedding_size": 8},
    "mpnet": SIZES,
    "deberta-v2": SIZES | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
}


def write_model(directory: Path, kind: str, model_class: str = "AutoModel") -> dict[str, Any]:
    """Save a checkpoint of random weights with that class of transformers; returns the weights of its encoder."""
    import transformers

    config = transformers.AutoConfig.for_model(kind, **FAMILIES[kind])
    model: Any = getattr(transformers, model_class).from_config(config)
    make_base(directory)  # for its tokenizer
    model.save_pretrained(directory)
    return dict(model.base_model.state_dict())


def rename(checkpoint: Path, prefix: str) -> None:
    """Put `prefix` before the names of all tensors."""
    weights = load_file(checkpoint / "model.safetensors")
    renamed = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    save_file(renamed, checkpoint / "model.safetensors", metadata={"format": "pt"})


def load(directory: Path) -> Any:
    """The model in `directory` as a base."""
    quiet_transformers()
    return load_classifier(find_base(str(directory)), LABELS, seed=1)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_base_gives_all_weights_of_its_encoder_or_is_refused(kind: str, tmp_path: Path) -> None:
    """Saved as an encoder, with a head for masked words or as a classifier; but not under names of another program."""
    for model_class in ("AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification"):
        # Given a base as it is published, with or without pooler and head
        base = tmp_path / model_class
        stored = write_model(base, kind, model_class)
        # When it is loaded
        encoder = load(base).base_model.state_dict()
        # Then its weights are the stored ones
        shared = [name for name in encoder if name in stored]
        assert all(torch.equal(encoder[name], stored[name]) for name in shared)
        assert all("pooler" in name for name in encoder.keys() - shared)
        # When its tensors have unknown names, then it is refused instead of trained from random weights
        rename(base, "wrapped.")
        with pytest.raises(
            UsageError, match=rf"the model in .*{model_class} lacks \d+ tensors, such as .* and .*: sav"
        ):
            load(base)


def test_a_teacher_without_its_head_is_refused(tmp_path: Path) -> None:
    """Its configuration describes a classifier, its weights are those of an encoder: its answers would be random."""
    # Given a classifier whose weights were replaced by those of an encoder
    write_model(tmp_path / "teacher", "bert", "AutoModelForSequenceClassification")
    names = {"id2label": dict(enumerate(LABELS)), "architectures": ["BertForSequenceClassification"]}
    config = tmp_path / "teacher" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_bytes()) | names))
    find_teacher(tmp_path / "teacher", LABELS, DistilSettings(), hidden=False)
    weights = load_file(tmp_path / "teacher" / "model.safetensors")
    encoder = {name: tensor for name, tensor in weights.items() if name.startswith("bert.")}
    save_file(encoder, tmp_path / "teacher" / "model.safetensors", metadata={"format": "pt"})
    # When it is named as a teacher, then it is refused before any teacher is asked
    with pytest.raises(UsageError, match=r"lacks 2 tensors, such as classifier\.bias and classifier\.weight"):
        find_teacher(tmp_path / "teacher", LABELS, DistilSettings(), hidden=False)


def test_a_base_with_other_names_or_shapes_is_one_line_in_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In compare before the small models, which may take hours, are trained."""
    # Given a base whose tensors have other names, and one whose configuration has another width
    bases = [make_base(tmp_path / name) for name in ("names", "shapes")]
    rename(bases[0], "model.")
    config = (bases[1] / "config.json").read_text()
    (bases[1] / "config.json").write_text(config.replace('"dim": 32', '"dim": 48'))
    train, test = (write_reviews(tmp_path / f"{name}.xlsx", 40, seed) for seed, name in enumerate(("train", "test")))
    files, lengths = ["--train", str(train), "--test", str(test)], ["--max-length", "48", "--train-max-length", "24"]
    for base, words in zip(
        bases, ("lacks 36 tensors, such as distilbert.", "cannot be read (RuntimeError)"), strict=True
    ):
        for command in (
            ["fit", *files, *lengths, "--base", str(base), "--out", str(tmp_path / "out")],
            ["lr-find", *files[:2], *lengths[2:], "--base", str(base), "--out", str(tmp_path / "plot.png")],
            ["compare", *files, *lengths, "--base-bert", str(base), "--models", "nbsvm,bert", "--out", str(tmp_path)],
        ):
            # When a command trains it
            assert main(command) == 2
            # Then it reports that in one line, and no library prints more
            *before, line = capsys.readouterr().err.splitlines()
            assert words in line
            assert not any("LOAD REPORT" in other or "nbsvm" in other for other in before)
