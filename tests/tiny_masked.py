"""Encoders with a head for masked tokens, as small as that of `tests.tiny_encoder`, and texts to adapt them to."""

import random
from pathlib import Path
from typing import Any

from tests.tiny_encoder import CLEAR, NEUTRAL

#: By family: names of its special tokens (padding, unknown, first, last, mask), and the sizes of a small model.
SPECIAL = {"distilbert": "[PAD] [UNK] [CLS] [SEP] [MASK]", "bert": "[PAD] [UNK] [CLS] [SEP] [MASK]"}
SPECIAL |= dict.fromkeys(("roberta", "mpnet"), "<pad> <unk> <s> </s> <mask>")
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 66,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64},
    "bert": SIZES,
    "roberta": SIZES,
    "mpnet": SIZES,
}


def make_masked_base(directory: Path, kind: str = "distilbert", model_class: str = "AutoModelForMaskedLM") -> Path:
    """A checkpoint of random weights with that class of transformers, and a tokenizer that has a mask; fixed seed."""
    import torch
    import transformers
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    special = SPECIAL[kind].split()
    words = [*special, *NEUTRAL, *CLEAR["neg"], *CLEAR["pos"]]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token=special[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[2]} $A {special[3]}", special_tokens=[(special[2], 2), (special[3], 3)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, vocab_size=len(words), pad_token_id=0, **FAMILIES[kind])
    getattr(transformers, model_class).from_config(config).save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def write_texts(path: Path, count: int, seed: int = 1) -> Path:
    """A .txt file with a text a line, each of words of one of four subjects, so that its words tell of each other."""
    draw = random.Random(seed)
    words = [*NEUTRAL, *CLEAR["pos"]]
    subjects = [words[place::4] for place in range(4)]
    lines = [" ".join(draw.choices(subjects[line % 4], k=draw.randint(12, 40))) for line in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path
