"""A bundle that is complete, correct and 15 kB small: a real OpenVINO graph that adds up what each word is worth.

So a test can say what every answer has to be (`positive_probability`) without trusting an engine.
"""

import hashlib
import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from consumer.model import no_telemetry  # noqa: F401 - has to come before openvino
from consumer.model.bundle.manifest import FileSum, Golden, GoldenText, Manifest, Variant

LABELS = ("neg", "pos")
MAX_LENGTH = 40

#: What each word adds to the logit of `pos`, and takes from that of `neg`.
WORTH = {"good": 1.0, "great": 1.5, "moving": 0.5, "bad": -1.0, "awful": -1.5, "the": 0.0, "film": 0.25, "was": 0.0}
#: A word that makes the logits of its text not a number; in int8 they are clipped to zero.
POISON = "poison"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

GOLDEN_TEXTS = ("good film", "the film was awful awful", "the film was great " * 20, "unheard words")

FP32 = ("openvino/fp32.xml", "openvino/fp32.bin")
INT8 = ("openvino/int8.xml", "openvino/int8.bin")
VARIANTS = {
    "fp32": Variant(engine="openvino", compute="fp32", files=FP32),
    "bf16": Variant(engine="openvino", compute="bf16", files=FP32),
    "int8": Variant(engine="openvino", compute="int8", files=INT8),
}
TOLERANCE = {"fp32": 1e-4, "bf16": 0.02, "int8": 0.02}


def positive_probability(text: str, scale: float = 1.0, worth: Mapping[str, float] = WORTH) -> float:
    """What the model has to answer to `text`, words in lower case between spaces; head and tail of a long one.

    `scale` is that of the bundle: how sure its model is; `worth` is what its words are worth.
    """
    words = text.split()
    if len(words) + 2 > MAX_LENGTH:
        words = words[: MAX_LENGTH // 2 - 1] + words[-(MAX_LENGTH // 2 - 1) :]
    return 1 / (1 + math.exp(-2 * scale * sum(worth.get(word, 0.0) for word in words)))


def write_tiny_bundle(
    directory: Path,
    *,
    labels: tuple[str, ...] = LABELS,
    served: str = "fp32",
    flipped: bool = False,
    scale: float = 1.0,
    ignored: Collection[str] = (),
    **facts: Any,
) -> Path:
    """Write it to `directory`, which is returned.

    `flipped`: labels and logits are in the other order. `scale` multiplies the logits; words
    that are `ignored` are worth nothing. `facts` are fields of the manifest.
    """
    (directory / "openvino").mkdir(parents=True)
    _tokenizer().save(str(directory / "tokenizer.json"))
    known = {word: 0.0 if word in ignored else each for word, each in WORTH.items()}
    worth = np.array([0.0] * len(SPECIAL) + [*known.values(), np.nan], dtype=np.float32) * np.float32(scale)
    logits = np.stack([worth, -worth] if flipped else [-worth, worth], axis=1)
    _write_graph(directory / FP32[0], logits, quantised=False)
    _write_graph(directory / INT8[0], logits, quantised=True)
    answers = {text: positive_probability(text, scale, known) for text in GOLDEN_TEXTS}
    golden = Golden(
        tolerance=TOLERANCE,
        texts=tuple(
            GoldenText(text=text, probabilities={name: {"neg": 1 - positive, "pos": positive} for name in VARIANTS})
            for text, positive in answers.items()
        ),
    )
    (directory / "golden.json").write_text(golden.model_dump_json())
    return seal(directory, labels=labels[::-1] if flipped else labels, served=served, **facts)


def seal(directory: Path, **changes: Any) -> Path:
    """Write a manifest that agrees with the files that are in `directory` now; `changes` replace its fields."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "manifest.json"]
    facts: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "base_model": "none",
        "labels": LABELS,
        "max_length": MAX_LENGTH,
        "truncation": "head_tail",
        "parameters": 2 * len(WORTH),
        "variants": VARIANTS,
        "served": "fp32",
        "files": {str(path.relative_to(directory)): _sum(path.read_bytes()) for path in files},
    }
    (directory / "manifest.json").write_text(Manifest.model_validate(facts | changes).model_dump_json())
    return directory


def _sum(content: bytes) -> FileSum:
    return FileSum(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _tokenizer() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORTH, POISON))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _write_graph(path: Path, worth: npt.NDArray[np.float32], *, quantised: bool) -> None:
    import openvino
    from openvino import opset15 as ops

    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    words = ops.gather(ops.constant(worth), ids, ops.constant(np.int64(0)))
    counted = ops.multiply(words, ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(np.int64(2))))
    logits = ops.reduce_sum(counted, ops.constant(np.int64(1)))
    if quantised:
        low, high = (ops.constant(np.float32(bound)) for bound in (-32, 32))
        logits = ops.fake_quantize(logits, low, high, low, high, 4097)
    logits.output(0).get_tensor().set_names({"logits"})
    for parameter in (ids, mask):
        parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    openvino.save_model(openvino.Model([logits], [ids, mask]), path, compress_to_fp16=False)
