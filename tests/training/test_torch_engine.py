"""The same small model through torch and through OpenVINO: two engines, one answer."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import BundleError
from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.bundle.manifest import Golden, GoldenText
from consumer.model.engines import open_engine
from consumer.model.engines.base import Engine, EngineFailure
from consumer.model.inference.batching import pad, plan, rounded
from consumer.model.texts.encoder import Encoded, Encoder
from tests.tiny_bundle import seal
from tests.tiny_encoder import CLEAR, NEUTRAL, make_base

pytestmark = pytest.mark.training

MAX_LENGTH = 48
SEED = 20261123


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with one tiny DistilBERT of random weights, for torch and for OpenVINO; no golden answers."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from training.packaging.export import VARIANTS, export_openvino, export_tokenizer, export_torch

    directory = tmp_path_factory.mktemp("torch")
    base = make_base(directory / "base")
    bundle = directory / "bundle"
    (bundle / "openvino").mkdir(parents=True)
    torch.manual_seed(SEED)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10)  # fresh weights are so small that every text would get the same answer
    export_tokenizer((base / "tokenizer.json").read_text(), bundle)
    export_torch(model, bundle)
    export_openvino(model, bundle)
    variants = {name: VARIANTS[name] for name in ("fp32", "torch")}
    golden = Golden(tolerance=dict.fromkeys(variants, 0.01), texts=(GoldenText(text="good", probabilities={}),))
    (bundle / "golden.json").write_text(golden.model_dump_json())
    return seal(bundle, max_length=MAX_LENGTH, variants=variants)


@pytest.fixture(scope="module")
def bundle(path: Path) -> Bundle:
    """That bundle, verified."""
    return load_bundle(path)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    """The torch engine on it."""
    opened = open_engine(bundle, "torch")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def texts(bundle: Bundle) -> list[Encoded]:
    """Forty texts of 2 to 48 tokens."""
    draw = random.Random(SEED)
    words = [*NEUTRAL, *CLEAR["neg"], *CLEAR["pos"]]
    encoder = Encoder(bundle.tokenizer_json, bundle.manifest.reading)
    return encoder.encode(["", *(" ".join(draw.choices(words, k=draw.randint(1, 60))) for _ in range(39))])


def logits_of(engine: Engine, texts: list[Encoded], groups: list[list[int]]) -> np.ndarray:
    """Logits of shape (texts, labels), computed in these groups."""
    batches = [
        pad(
            [texts[index].windows[0] for index in group],
            rounded(max(texts[index].tokens for index in group), engine.policy, MAX_LENGTH),
            0,
        )
        for group in groups
    ]
    rows = np.full((len(texts), 2), np.nan, dtype=np.float32)
    for group, result in zip(groups, engine.infer(batches), strict=True):
        assert not isinstance(result, EngineFailure)
        rows[group] = result
    return rows


def test_torch_and_openvino_agree(bundle: Bundle, engine: Engine, texts: list[Encoded]) -> None:
    """The exported graph computes what transformers computes: logits are equal but for the order of additions."""
    alone = [[index] for index in range(len(texts))]
    openvino = open_engine(bundle, "fp32", threads=2)
    expected = logits_of(engine, texts, alone)
    assert np.ptp(expected[:, 0]) > 1  # the texts do differ
    np.testing.assert_allclose(logits_of(openvino, texts, alone), expected, atol=1e-3)
    openvino.close()


@pytest.mark.parametrize("variant", ["torch", "fp32"])
def test_a_text_in_a_batch_is_answered_as_alone(bundle: Bundle, texts: list[Encoded], variant: str) -> None:
    """Padding and neighbours do not affect the logits, as batching requires."""
    opened = open_engine(bundle, variant, threads=2)
    alone = logits_of(opened, texts, [[index] for index in range(len(texts))])
    groups = plan([text.tokens for text in texts], opened.policy, MAX_LENGTH)
    np.testing.assert_allclose(logits_of(opened, texts, groups), alone, atol=1e-3)
    np.testing.assert_allclose(logits_of(opened, texts, [list(range(len(texts)))]), alone, atol=1e-3)
    opened.close()


def test_the_last_layer_is_computed_for_the_first_token(bundle: Bundle, texts: list[Encoded]) -> None:
    """A seventh of the work of six layers: of the last, the other tokens are not computed."""
    opened: Any = open_engine(bundle, "torch")
    layers = opened._model.distilbert.transformer.layer
    seen: list[int] = []
    for layer in layers:
        layer.ffn.lin1.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    logits_of(opened, texts, [[len(texts) - 1]])
    assert seen[:-1] == [seen[0]] * (len(layers) - 1)
    assert seen[0] > 1 == seen[-1]
    opened.close()


def test_a_failing_batch_does_not_fail_the_others(engine: Engine, texts: list[Encoded]) -> None:
    """A token id beyond the vocabulary makes torch raise; the batches around it are computed."""
    good = pad([texts[0].windows[0]], 8, 0)
    bad = pad([np.array([10_000], dtype=np.int32)], 8, 0)
    first, failure, last = engine.infer([good, bad, good])
    assert failure == EngineFailure("IndexError")
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)


def test_only_the_files_of_the_manifest_are_read(path: Path, texts: list[Encoded], engine: Engine) -> None:
    """A stray adapter in the directory, which transformers would load, changes nothing."""
    adapter = path / "adapter_config.json"
    adapter.write_text(json.dumps({"base_model_name_or_path": "somewhere/else", "peft_type": "LORA"}))
    opened = open_engine(load_bundle(path), "torch")
    groups = [[index] for index in range(4)]
    np.testing.assert_array_equal(logits_of(opened, texts[:4], groups), logits_of(engine, texts[:4], groups))
    adapter.unlink()


def test_weights_that_are_overwritten_on_disk_change_no_answer(
    path: Path, tmp_path: Path, texts: list[Encoded], engine: Engine
) -> None:
    """The tensors are those that were hashed, in memory of their own and not in a mapped file."""
    bundle = Path(shutil.copytree(path, tmp_path / "bundle"))
    opened = open_engine(load_bundle(bundle), "torch")
    weights = bundle / "model.safetensors"
    content = weights.read_bytes()
    with weights.open("r+b") as file:
        file.write(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    groups = [[index] for index in range(4)]
    np.testing.assert_array_equal(logits_of(opened, texts[:4], groups), logits_of(engine, texts[:4], groups))
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(bundle) not in maps.read_text()
    opened.close()


@pytest.mark.parametrize(
    "config", [{}, {"model_type": "unheard-of"}, {"model_type": "x", "auto_map": {"AutoConfig": "evil.Config"}}]
)
def test_a_model_that_transformers_does_not_know_is_refused(path: Path, tmp_path: Path, config: object) -> None:
    """Code that a checkpoint brings along is never run."""
    broken = tmp_path / "bundle"
    broken.mkdir()
    for file in path.rglob("*"):
        if file.is_file():
            (broken / file.relative_to(path)).parent.mkdir(exist_ok=True)
            (broken / file.relative_to(path)).write_bytes(file.read_bytes())
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    manifest = load_bundle(path).manifest
    seal(broken, max_length=MAX_LENGTH, variants=manifest.variants)
    with pytest.raises(BundleError, match="transformers cannot read variant torch"):
        open_engine(load_bundle(broken), "torch")
    assert not (tmp_path / "ran").exists()


def test_only_the_files_that_the_manifest_names_are_opened(path: Path, tmp_path: Path) -> None:
    """Unverified files with the usual names may lie beside them."""
    from training.packaging.export import VARIANTS

    bundle = Path(shutil.copytree(path, tmp_path / "bundle"))
    (bundle / "verified").mkdir()
    files = [(bundle / name).rename(bundle / "verified" / name) for name in VARIANTS["torch"].files]
    names = tuple(file.relative_to(bundle).as_posix() for file in files)
    variants = {"fp32": VARIANTS["fp32"], "torch": VARIANTS["torch"].model_copy(update={"files": names})}
    seal(bundle, max_length=MAX_LENGTH, variants=variants)
    for file in files:
        (bundle / file.name).write_text("not verified")
    open_engine(load_bundle(bundle), "torch").close()
