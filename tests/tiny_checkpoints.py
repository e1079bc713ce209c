"""A small classifier of random weights of each family that can be adopted, with a tokenizer trained on the spot."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.tiny_encoder import CLEAR, NEUTRAL
from training.adoption.probes import PROBES

LABELS = ("NEGATIVE", "POSITIVE")
#: Tokens that a checkpoint reads: fewer than the longest probes have.
POSITIONS = 48

_CORPUS = [*PROBES, *(f"{word} {word.upper()}" for word in (*NEUTRAL, *CLEAR["neg"], *CLEAR["pos"]))]
_VOCABULARY = 400
_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

#: Wide weights: with those that training starts from, every text would get almost the same logits.
_SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.4,
}
#: Positions and settings of each family beside these. Some count from the one after padding, which is 1.
_FAMILIES: dict[str, dict[str, Any]] = {
    "distilbert": {
        "dim": 16,
        "hidden_dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "initializer_range": 0.4,
        "max_position_embeddings": POSITIONS,
    },
    "bert": _SIZES | {"max_position_embeddings": POSITIONS},
    "electra": _SIZES | {"max_position_embeddings": POSITIONS, "embedding_size": 8},
    "mpnet": _SIZES | {"max_position_embeddings": POSITIONS + 2},
    "roberta": _SIZES | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1},
    "xlm-roberta": _SIZES | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1},
    "camembert": _SIZES | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1},
    "deberta-v2": _SIZES
    | {
        "max_position_embeddings": POSITIONS,
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
        "pooler_hidden_size": 16,
    },
    "modernbert": _SIZES
    | {
        "max_position_embeddings": POSITIONS,
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
        "classifier_pooling": "mean",
    },
}


def write_checkpoint(directory: Path, family: str, labels: Sequence[str] = LABELS, **settings: Any) -> Path:
    """Save a checkpoint of `family` to `directory`, which is returned, as its owner would; fixed seed."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    tokenizer = make_tokenizer(family)
    torch.manual_seed(3)
    ids = {f"{name}_id": getattr(tokenizer, f"{name}_id") for name in ("pad_token", "cls_token", "sep_token")}
    names = dict(enumerate(labels))
    config = AutoConfig.for_model(
        family,
        **_FAMILIES[family] | ids | settings,
        vocab_size=max(tokenizer.get_vocab().values()) + 1,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        id2label=names,
        label2id={label: number for number, label in names.items()},
    )
    model: Any = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def change_config(directory: Path, **changes: Any) -> Path:
    """Change the configuration in `directory`; None removes a key."""
    return _change(directory / "config.json", changes)


def _change(path: Path, changes: Mapping[str, Any]) -> Path:
    facts = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({name: value for name, value in facts.items() if value is not None}), encoding="utf-8")
    return path


def make_tokenizer(family: str) -> Any:
    """The tokenizer of `family` as transformers makes it, with a vocabulary of `_CORPUS`."""
    return _TOKENIZERS[family]()


def _wordpiece(kind: str, specials: Sequence[str], unknown: str) -> Any:
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece({}, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        _CORPUS, trainers.WordPieceTrainer(vocab_size=_VOCABULARY, special_tokens=list(specials), show_progress=False)
    )
    return getattr(transformers, kind)(vocab=tokenizer.get_vocab(), do_lower_case=True)


def _bytes(specials: Sequence[str]) -> Any:
    """A byte-level BPE."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            special_tokens=list(specials),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def _roberta() -> Any:
    import transformers

    kind: Any = transformers.RobertaTokenizer
    model = json.loads(_bytes(_ROBERTA).to_str())["model"]
    return kind(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


def _modernbert() -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = _bytes(_BERT)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _BERT, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]


def _unigram(kind: str, specials: Sequence[str], unknown: str) -> Any:
    """A vocabulary of sentencepiece, the specials first."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.UnigramTrainer(
            vocab_size=_VOCABULARY, special_tokens=list(specials), unk_token=unknown, show_progress=False
        ),
    )
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    return getattr(transformers, kind)(vocab=[(piece, score) for piece, score in pieces])


_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "distilbert": lambda: _wordpiece("DistilBertTokenizer", _BERT, "[UNK]"),
    "bert": lambda: _wordpiece("BertTokenizer", _BERT, "[UNK]"),
    "electra": lambda: _wordpiece("ElectraTokenizer", _BERT, "[UNK]"),
    "mpnet": lambda: _wordpiece("MPNetTokenizer", [*_ROBERTA[:3], "[UNK]", "<mask>"], "[UNK]"),
    "roberta": _roberta,
    "xlm-roberta": lambda: _unigram("XLMRobertaTokenizer", _ROBERTA, "<unk>"),
    "camembert": lambda: _unigram(
        "CamembertTokenizer", ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"], "<unk>"
    ),
    "deberta-v2": lambda: _unigram("DebertaV2Tokenizer", ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], "[UNK]"),
    "modernbert": _modernbert,
}
