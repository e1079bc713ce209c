"""A bundle for the torch engine alone, from a checkpoint whose weights may be random: labels wrong, speed right."""

import shutil
from pathlib import Path

from consumer.model.bundle.manifest import Golden, GoldenText
from tests.tiny_bundle import seal

GOLDEN_TEXTS = ("A wonderful film.", "A film so bad that I left. " * 40)


def write_torch_bundle(bundle: Path, checkpoint: Path, max_length: int) -> Path:
    """Write it to `bundle`, which is returned, with golden answers of this machine.

    `checkpoint` has `config.json`, `model.safetensors` and `tokenizer.json`.
    """
    from training.packaging.export import TORCH_FILES, export_tokenizer
    from training.packaging.golden import ask

    bundle.mkdir(parents=True)
    for name in TORCH_FILES:
        shutil.copyfile(checkpoint / name, bundle / name)
    export_tokenizer((checkpoint / "tokenizer.json").read_text("utf-8"), bundle)
    golden = Golden(tolerance={"torch": 0.03}, texts=(GoldenText(text=GOLDEN_TEXTS[0], probabilities={}),))
    _seal(bundle, golden, max_length)
    _seal(bundle, ask(bundle, GOLDEN_TEXTS, golden.tolerance), max_length)
    return bundle


def _seal(bundle: Path, golden: Golden, max_length: int) -> None:
    from training.packaging.export import VARIANTS

    (bundle / "golden.json").write_text(golden.model_dump_json())
    seal(bundle, max_length=max_length, variants={"torch": VARIANTS["torch"]}, served="torch")
