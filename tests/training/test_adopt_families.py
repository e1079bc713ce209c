"""Each family that can be adopted: a checkpoint of random weights answers in its bundle as it does in transformers."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from consumer.errors import UsageError
from consumer.model.bundle.loading import load_bundle
from consumer.model.engines import open_engine
from consumer.model.engines.openvino import in_memory, the_core
from consumer.model.inference.batching import pad
from consumer.model.labeller import Scored
from consumer.model.texts.encoder import Encoder, bare_tokenizer
from tests.tiny_checkpoints import POSITIONS, write_checkpoint
from tests.tiny_encoder import CLEAR, NEUTRAL
from training.adoption.families import FAMILIES
from training.adoption.probes import PROBES
from training.cli import main
from training.encoders.graph import config_of, weights_of
from training.measure.evaluate import open_classifier

# Exporting and quantising take their time on a busy machine, however small the model.
pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

#: The others have the layers of BERT, and quantising takes seconds.
QUANTISED = {"distilbert", "bert", "mpnet", "deberta-v2", "modernbert"}

#: The first output is the positive one: an order that nobody would guess.
LABELS = ("POSITIVE", "NEGATIVE")


class Adopted(NamedTuple):
    """A family, its checkpoint and bundle, texts, and what transformers answers: logits of shape (texts, labels)."""

    family: str
    checkpoint: Path
    bundle: Path
    texts: tuple[str, ...]
    expected: npt.NDArray[np.float32]


def sentences(count: int, seed: int = 1) -> list[str]:
    """Texts of 1 to `POSITIONS` words and more."""
    draw = random.Random(seed)
    words = [*NEUTRAL, *CLEAR["neg"], *CLEAR["pos"]]
    return [" ".join(draw.choices(words, k=1 + number % (POSITIONS + 8))) for number in range(count)]


def answers_of_transformers(checkpoint: Path, texts: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """The logits of each text, asked alone, as the page of any checkpoint shows it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    assert tuple(model.config.id2label[number] for number in range(2)) == LABELS
    with torch.inference_mode():
        asked = (tokenizer(text, truncation=True, max_length=POSITIONS, return_tensors="pt") for text in texts)
        return np.concatenate([model.eval()(**inputs).logits.numpy() for inputs in asked])


def untied(checkpoint: Path, bundle: Path, texts: Sequence[str]) -> tuple[str, ...]:
    """`texts` without those of which two orders of the same tokens are equally probable to a Unigram model."""
    from transformers import AutoTokenizer

    theirs: Any = AutoTokenizer.from_pretrained(checkpoint)
    ours = bare_tokenizer((bundle / "tokenizer.json").read_text("utf-8"))
    pairs = [(theirs(text)["input_ids"], ours.encode(text).ids) for text in texts]
    assert all(sorted(expected) == sorted(found) for expected, found in pairs)
    return tuple(text for text, (expected, found) in zip(texts, pairs, strict=True) if expected == found)


@pytest.fixture(scope="module", params=FAMILIES)
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    """A bundle of the family, with int8 if that differs from others."""
    import torch

    from training.encoders.base import quiet_transformers

    quiet_transformers()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # suits a model this small
    directory = tmp_path_factory.mktemp(request.param)
    checkpoint = write_checkpoint(directory / "checkpoint", request.param, LABELS)
    (directory / "texts.txt").write_text("\n".join(sentences(130)), encoding="utf-8")
    options = ["--texts", str(directory / "texts.txt"), "--calibration-texts", "24", "--min-agreement", "0.5"]
    options = options if request.param in QUANTISED else []
    assert main(["adopt", str(checkpoint), "--out", str(directory / "bundle"), *options]) == 0
    texts = untied(checkpoint, directory / "bundle", (*PROBES, *sentences(POSITIONS + 8, seed=2)))
    assert len(texts) > 80
    yield Adopted(request.param, checkpoint, directory / "bundle", texts, answers_of_transformers(checkpoint, texts))
    torch.set_num_threads(threads)


def test_logits_are_those_of_transformers(adopted: Adopted) -> None:
    """In fp32 and in torch, for short and cut texts, alone and padded among others, in every script."""
    bundle = load_bundle(adopted.bundle)
    encoder = Encoder(bundle.tokenizer_json, bundle.manifest.reading)
    windows = [encoded.windows[0] for encoded in encoder.encode(adopted.texts)]
    assert bundle.manifest.max_length == POSITIONS == max(map(len, windows))
    assert adopted.expected.std() > 0.05  # texts tell
    for variant in ("fp32", "torch"):
        engine = open_engine(bundle, variant, threads=1)
        together, *alone = engine.infer(
            [pad(windows, POSITIONS, encoder.pad_id), *(pad([ids], len(ids), encoder.pad_id) for ids in windows[:8])]
        )
        engine.close()
        assert isinstance(together, np.ndarray), variant
        np.testing.assert_allclose(together, adopted.expected, atol=2e-4, rtol=1e-3, err_msg=variant)
        np.testing.assert_allclose(np.concatenate(alone), adopted.expected[:8], atol=2e-4, rtol=1e-3, err_msg=variant)  # type: ignore[arg-type]


def test_labels_are_those_of_transformers(adopted: Adopted) -> None:
    """The worker gives each text the label that its output has in the configuration, in int8 nearly always."""
    manifest = load_bundle(adopted.bundle).manifest
    assert manifest.labels == LABELS
    int8 = {"int8"} if adopted.family in QUANTISED else set()
    assert set(manifest.variants) == {"bf16", "fp32", "torch"} | int8
    wanted = [LABELS[output] for output in adopted.expected.argmax(axis=1)]
    least = {"int8": 0.7, "fp32": 1.0, "torch": 1.0}
    for variant in manifest.variants.keys() & least.keys():
        with open_classifier(adopted.bundle, variant) as classifier:
            results = classifier.classify(adopted.texts).results
        same = [isinstance(each, Scored) and each.label == label for each, label in zip(results, wanted, strict=True)]
        assert len(same) > 80
        assert np.mean(same) >= least[variant], variant


def test_weights_are_read_back_from_the_graphs(adopted: Adopted) -> None:
    """`restore` finds every tensor of a DistilBERT or BERT model in its graph, rounded in int8, and names others."""
    from safetensors.numpy import load_file

    bundle = load_bundle(adopted.bundle)
    variants = sorted({"fp32", "int8"} & bundle.manifest.variants.keys())
    for variant in variants:
        graph, weights = (bundle.read(name) for name in bundle.manifest.variants[variant].files)
        model = the_core().read_model(graph, in_memory(weights))
        if adopted.family not in ("distilbert", "bert"):
            with pytest.raises(UsageError, match=r"only distilbert and bert models can be restored"):
                weights_of(model)
            continue
        found = weights_of(model)
        expected = load_file(adopted.checkpoint / "model.safetensors")
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            # The median: SmoothQuant lets columns that the calibration texts hardly use lose more.
            off, largest = np.median(np.abs(found[name] - tensor)), np.abs(tensor).max()
            assert off <= largest * (0.01 if variant == "int8" else 1e-6), f"{variant} {name}"
        config = config_of(model, found, padding=0)
        assert (config.num_attention_heads, config.num_hidden_layers, config.hidden_size) == (2, 2, 16)
    assert variants
