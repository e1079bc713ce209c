"""Batches without their padding: on CPU tensors, the logits that transformers gives each text alone."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest

from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.engines.base import EngineFailure, Logits
from consumer.model.engines.torch import GpuEngine, TorchEngine
from consumer.model.inference.batching import TokenBatch, pad
from tests.tiny_checkpoints import POSITIONS, write_checkpoint
from tests.torch_bundle import write_torch_bundle

pytestmark = pytest.mark.training

#: Families whose padding is left out, and one of those whose padding is computed.
WITHOUT = ("distilbert", "bert", "roberta", "xlm-roberta", "camembert", "electra")
WITH = "mpnet"
LENGTHS = (9, 2, POSITIONS, 1, 9, 17)


@pytest.fixture(scope="module")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Makes the bundle of a family, once."""
    made: dict[str, Bundle] = {}

    def make(family: str) -> Bundle:
        if family not in made:
            directory = tmp_path_factory.mktemp(family)
            checkpoint = write_checkpoint(directory / "checkpoint", family)
            made[family] = load_bundle(write_torch_bundle(directory / "bundle", checkpoint, POSITIONS))
        return made[family]

    return make


def texts_of(model: Any) -> list[np.ndarray]:
    """Token ids of texts of `LENGTHS`, shape (tokens,) each; the third has padding tokens among its words."""
    draw = np.random.default_rng(5)
    texts = [draw.integers(5, model.config.vocab_size, length).astype(np.int32) for length in LENGTHS]
    texts[2][[7, 20, 21]] = model.config.pad_token_id
    return texts


def alone(engine: TorchEngine, texts: list[np.ndarray]) -> Logits:
    """What transformers answers to each text alone, with attention of its own: logits of shape (texts, labels)."""
    import torch

    model = engine._model
    attention = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    with torch.inference_mode():
        logits = [model(input_ids=torch.from_numpy(text.astype(np.int64))[None]).logits for text in texts]
    model.set_attn_implementation(attention)
    return torch.cat(logits).numpy()


def computed(engine: TorchEngine, batch: TokenBatch) -> Logits:
    """What the engine answers to a batch that it can compute."""
    (result,) = engine.infer([batch])
    assert not isinstance(result, EngineFailure), result
    return result


@pytest.mark.parametrize("family", WITHOUT)
def test_logits_are_those_of_transformers(bundle_of: Callable[[str], Bundle], family: str) -> None:
    """Of each text of a batch, however long the others are, and whatever padding stands in its words."""
    engine = TorchEngine(bundle_of(family), "torch", 1)
    assert not engine.policy.pads
    texts = texts_of(engine._model)
    expected = alone(engine, texts)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(computed(engine, pad(texts, POSITIONS, 0)), expected, atol=1e-4)
    np.testing.assert_allclose(computed(engine, pad(texts[::-1], POSITIONS, 3)), expected[::-1], atol=1e-4)
    np.testing.assert_allclose(computed(engine, pad(texts[:1], 9, 0)), expected[:1], atol=1e-4)


@pytest.mark.parametrize("family", ["distilbert", "roberta"])
def test_in_bf16_they_are_the_same_up_to_its_rounding(bundle_of: Callable[[str], Bundle], family: str) -> None:
    """The precision of a GPU, computed here."""
    import torch

    engine = TorchEngine(bundle_of(family), "torch", 1)
    texts = texts_of(engine._model)
    expected = alone(engine, texts)
    engine._model.to(torch.bfloat16)
    found = computed(engine, pad(texts, POSITIONS, 0))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.05 * np.ptp(expected)


def test_nothing_is_computed_for_padding(bundle_of: Callable[[str], Bundle]) -> None:
    """Each layer sees the tokens of the texts, and of the last one only the first tokens are computed further."""
    import torch

    engine = TorchEngine(bundle_of("bert"), "torch", 1)
    texts = texts_of(engine._model)
    seen: dict[str, int] = {}
    for name, module in engine._model.named_modules():
        if isinstance(module, torch.nn.Linear) and "layer." in name:
            module.register_forward_pre_hook(lambda _, given, of=name: seen.update({of: given[0].numel() // 16 or 1}))
    computed(engine, pad(texts, POSITIONS, 0))
    tokens = sum(LENGTHS)
    first, last = ([count for name, count in seen.items() if f"layer.{layer}." in name] for layer in (0, 1))
    assert sorted(first) == [tokens] * 5 + [2 * tokens]  # the last product reads twice the width
    assert sorted(last) == [len(texts)] * 3 + [2 * len(texts)] + [tokens] * 2
    batch = pad(texts, POSITIONS, 0)
    assert batch.computed(engine.policy) == tokens < batch.ids.size


def test_a_family_that_needs_padding_gets_it(bundle_of: Callable[[str], Bundle]) -> None:
    """Its attention is its own; texts are answered as alone, and the padding counts as computed."""
    engine = TorchEngine(bundle_of(WITH), "torch", 1)
    assert engine.policy.pads
    texts = [text for text in texts_of(engine._model) if engine._model.config.pad_token_id not in text]
    batch = pad(texts, POSITIONS, engine._model.config.pad_token_id)
    np.testing.assert_allclose(computed(engine, batch), alone(engine, texts), atol=1e-4)
    assert batch.computed(engine.policy) == len(texts) * POSITIONS


def test_where_the_attention_fails_padding_is_computed(
    bundle_of: Callable[[str], Bundle], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A card or a version of torch without the kernel costs speed, no answer, and the log says so."""
    import torch

    from consumer.model.engines import unpadded

    torch.backends.cuda.enable_cudnn_sdp(True)

    def fail(*_: Any) -> Any:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(unpadded, "within_texts", fail)
    engine = TorchEngine(bundle_of("bert"), "torch", 1)
    assert engine.policy.pads
    assert torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call] # padded batches may use it
    assert "attention without padding fails here (RuntimeError)" in caplog.text
    texts = texts_of(engine._model)
    np.testing.assert_allclose(computed(engine, pad(texts, POSITIONS, 0)), alone(engine, texts), atol=1e-4)


@pytest.mark.parametrize("family", WITHOUT)
def test_the_kernel_of_a_gpu_gets_what_it_takes(
    bundle_of: Callable[[str], Bundle], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shapes alone are computed, through torch's own function for GPUs: once for each layer, in bf16."""
    import torch

    from consumer.model.engines import unpadded
    from consumer.model.engines.first_token import first_token_only

    engine = TorchEngine(bundle_of(family), "torch", 1)
    calls: list[tuple[Any, ...]] = []
    kernel = unpadded.varlen_attn

    def watched(*given: Any) -> Any:
        calls.append(given)
        return kernel(*given)

    monkeypatch.setattr(unpadded, "varlen_attn", watched)
    model = engine._model.to(torch.bfloat16)
    packed = unpadded.without_padding(pad(texts_of(model), POSITIONS, 0), model.base_model.embeddings)
    on_gpu = packed._replace(
        ids=packed.ids.to("meta"), positions=packed.positions.to("meta"), bounds=packed.bounds.to("meta")
    )
    with torch.inference_mode(), first_token_only(model.to("meta")):
        logits = unpadded.compute(model, on_gpu)
    assert logits.shape == (len(LENGTHS), 2)
    tokens, texts = sum(LENGTHS), len(LENGTHS)
    assert [call[0].shape for call in calls] == [(tokens, 2, 8), (texts, 2, 8)]
    assert [call[1].shape for call in calls] == [(tokens, 2, 8)] * 2
    assert [call[-2:] for call in calls] == [(POSITIONS, POSITIONS), (1, POSITIONS)]
    for query, key, value, begins, ends, *_ in calls:
        assert {query.dtype, key.dtype, value.dtype} == {torch.bfloat16}
        assert {begins.dtype, ends.dtype} == {torch.int32}
        assert begins.shape == ends.shape == (texts + 1,)
        assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1


def test_flash_attention_computes_though_cudnn_could(
    bundle_of: Callable[[str], Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a card for which torch prefers cuDNN, which would compile a plan for nearly every batch and keep it."""
    import torch
    from torch.nn.attention import SDPBackend, varlen

    from consumer.model.engines import unpadded

    select = varlen._select_backend
    selected: list[Any] = []

    def watched(*given: Any) -> int:
        backend = select(*given)
        selected.append(SDPBackend(backend))
        return backend

    def compute() -> None:
        heads = torch.zeros(9, 2, 64, dtype=torch.bfloat16, device="meta")
        bounds = torch.zeros(3, dtype=torch.int32, device="meta")
        unpadded.within_texts(heads, heads, heads, (bounds, bounds), (5, 5))

    monkeypatch.setattr(varlen, "_select_backend", watched)
    monkeypatch.setattr(varlen, "_cudnn_rejection_reasons", lambda *_: [])  # of a card that is not here
    torch.backends.cuda.enable_cudnn_sdp(True)
    compute()
    assert not TorchEngine(bundle_of("distilbert"), "torch", 1).policy.pads
    compute()
    assert selected == [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]


def test_a_text_without_a_token_harms_no_other(bundle_of: Callable[[str], Bundle]) -> None:
    """It is answered and counted as one token of padding, wherever it stands in the batch."""
    engine = TorchEngine(bundle_of("distilbert"), "torch", 1)
    texts = texts_of(engine._model)[:2]
    empty = np.zeros(0, dtype=np.int32)
    for place in range(3):
        batch = pad([*texts[:place], empty, *texts[place:]], 9, 0)
        assert batch.computed(engine.policy) == sum(LENGTHS[:2]) + 1
        others = np.delete(computed(engine, batch), place, axis=0)
        np.testing.assert_allclose(others, alone(engine, texts), atol=1e-4)


def test_a_gpu_is_given_everything_before_it_is_asked_for_anything(bundle_of: Callable[[str], Bundle]) -> None:
    """Parts that were started answer in any order, each batch for itself, and a failing one fails alone."""
    engine = GpuEngine(bundle_of("distilbert"), "torch", 1)
    texts = texts_of(engine._model)
    expected = alone(engine, texts)
    bad = pad([np.array([10_000], dtype=np.int32)], 4, 0)
    parts = [[pad([text], POSITIONS, 0), bad, pad([text, text], POSITIONS, 0)] for text in texts]
    started = [engine.start(part) for part in parts]
    answers = [answer() for answer in reversed(started)][::-1]
    assert [type(each).__name__ for each in chain(*answers)] == ["ndarray", "EngineFailure", "ndarray"] * len(texts)
    for (one, _, two), row in zip(answers, expected, strict=True):
        np.testing.assert_allclose(one, row[None], atol=1e-4)  # type: ignore[arg-type]
        np.testing.assert_allclose(two, [row, row], atol=1e-4)  # type: ignore[arg-type]
