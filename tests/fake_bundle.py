"""A bundle that is complete and correct, and holds no model: its tokenizer reads one character as one token."""

import hashlib
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from tests.fake_model import LABELS, MAX_CHARACTERS, positive_probability

VARIANT = "int8"
GRAPH, WEIGHTS = "openvino/model.xml", "openvino/model.bin"
CHARACTERS = "".join(map(chr, range(32, 127)))
GOLDEN_TEXT = "a golden text"


def write_bundle(directory: Path, golden_text: str = GOLDEN_TEXT, version: str = "1") -> Path:
    """Write it to `directory`, which is returned; with another `golden_text`, its golden answer is a wrong one."""
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, **{c: i for i, c in enumerate(CHARACTERS, 1)}}, "[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    positive = positive_probability(golden_text)
    golden = {
        "tolerance": {VARIANT: 0.01},
        "texts": [
            {"text": GOLDEN_TEXT, "probabilities": {VARIANT: dict(zip(LABELS, (1 - positive, positive), strict=True))}}
        ],
    }
    files = {
        GRAPH: b"no graph",
        WEIGHTS: b"no weights",
        "tokenizer.json": tokenizer.to_str().encode(),
        "golden.json": json.dumps(golden).encode(),
    }
    manifest = {
        "name": "fake",
        "version": version,
        "created": "2026-01-01T00:00:00Z",
        "base_model": "none",
        "labels": LABELS,
        "max_length": MAX_CHARACTERS,
        "truncation": "head_tail",
        "parameters": 1,
        "variants": {VARIANT: {"engine": "openvino", "compute": VARIANT, "files": [GRAPH, WEIGHTS]}},
        "served": VARIANT,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    for name, content in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory
