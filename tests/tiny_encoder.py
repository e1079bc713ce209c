"""A pretrained encoder and review files so small that a test trains on them in seconds, made here without network."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openpyxl

from consumer.model.texts.encoder import Encoded

NEUTRAL = ("the", "film", "story", "actor", "scene", "music", "was", "and", "with", "a", "plot", "ending")
CLEAR = {"neg": ("bad", "awful", "boring", "poor"), "pos": ("good", "great", "moving", "fine")}


def make_base(directory: Path, hidden: int = 32, layers: int = 2) -> Path:
    """A DistilBERT of random weights whose vocabulary is the words above; fixed seed."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import DistilBertConfig, DistilBertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *NEUTRAL, *CLEAR["neg"], *CLEAR["pos"]]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As published checkpoints do; both must not reach the bundle.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding()
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(words), dim=hidden, hidden_dim=2 * hidden, n_layers=layers, n_heads=2, max_position_embeddings=64
    )
    DistilBertModel(config).save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def one_window(ids: Sequence[int]) -> Encoded:
    """A review of these tokens that was not cut."""
    return Encoded((np.array(ids, dtype=np.int32),), len(ids), False)


def write_reviews(path: Path, rows: int, seed: int, labels: Sequence[str] = ("neg", "pos")) -> Path:
    """A spreadsheet of `rows` different reviews, labels in turn; the words of its label are in each."""
    draw = random.Random(seed)
    table = [("Reviews", "Sentiment")]
    for row in range(rows):
        label = labels[row % len(labels)]
        clear = CLEAR["neg" if row % len(labels) == 0 else "pos"]
        words = draw.choices(NEUTRAL, k=draw.randint(4, 40)) + draw.choices(clear, k=4)
        draw.shuffle(words)
        table.append((" ".join(words), label))
    return write_table(path, table)


def write_table(path: Path, table: Sequence[Sequence[object]]) -> Path:
    """An xlsx file of these rows, the header first."""
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in table:
        sheet.append(row)
    workbook.save(path)
    return path
