"""The student: a smaller model of the same family as its base that takes over the weights that fit.

Layer m of M takes the weights of layer ceil(m N / M) of the N of the base (Jiao et al. 2020, "TinyBERT", section 3.1:
the uniform mapping), or of layer m (Sajjad et al. 2020, "On the Effect of Dropping Layers of Pre-trained Transformer
Models": the top layers are the ones to drop), for each module whose shapes all match. Embedding tables that are too
wide are reduced by a truncated singular value decomposition: no other projection to as few dimensions loses less of
them (Eckart and Young 1936). The model adds the tables up, so they share one basis and are reduced together. The rest
is random.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from consumer.errors import UsageError
from consumer.model.texts.encoder import Encoder
from training.encoders.base import Base, classifier_config, load_classifier
from training.encoders.freezing import layers_of
from training.encoders.vocabulary import count_used, prune, size_of
from training.settings import DistilSettings, LayerChoice, StudentName


@dataclass(frozen=True)
class Shape:
    """Layers, hidden width, attention heads, inner width and tokens of an encoder."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int


#: "half" depends on the base.
PRESETS: dict[StudentName, Shape] = {
    "small": Shape(layers=4, width=256, heads=4, feed_forward=1024, vocabulary=24_000),
    "tiny": Shape(layers=2, width=128, heads=2, feed_forward=512, vocabulary=8_000),
}


def student_shape(settings: DistilSettings, base: Base) -> Shape:
    """The shape of the student of `base`; its vocabulary may still turn out smaller.

    Raises:
        UsageError: it is wider than the base, its width is not a multiple of its heads, or the base has no such shape.
    """
    config = classifier_config(base, ("0", "1"))
    inner = _inner_width(config)
    try:
        whole = Shape(
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            getattr(config, inner),
            config.vocab_size,
        )
    except AttributeError:
        raise UsageError(f"no student can be made from a {config.model_type} model: choose another --base") from None
    preset = PRESETS.get(settings.student) or replace(whole, layers=math.ceil(whole.layers / 2))
    names = [field.name for field in fields(Shape)]
    shape = Shape(**{name: getattr(settings, name) or getattr(preset, name) for name in names})
    if shape.width > whole.width:
        raise UsageError(
            f"a student of width {shape.width} is wider than its base, which has {whole.width}: lower --width, to a "
            "multiple of --heads, or choose a wider --base"
        )
    if shape.width % shape.heads:
        raise UsageError(
            f"a width of {shape.width} is not a multiple of {shape.heads} heads: change --width or --heads"
        )
    return replace(shape, vocabulary=min(shape.vocabulary, whole.vocabulary))


def make_student(
    base: Base,
    shape: Shape,
    *,
    labels: tuple[str, ...],
    texts: Sequence[str],
    settings: DistilSettings,
) -> tuple[Any, Base]:
    """A sequence classifier of `shape` for `labels`, and `base` with the tokenizer of the student.

    Args:
        base: where its weights come from.
        shape: from `student_shape`.
        labels: names of its logits.
        texts: those it will be trained on; they decide which tokens are kept.
        settings: how texts are cut, and the seed.

    Raises:
        UsageError: the vocabulary cannot be reduced, or the base cannot be read.
    """
    config = classifier_config(base, labels)
    tokenizer_json, rows = base.tokenizer_json, None
    if shape.vocabulary < size_of(tokenizer_json):
        encoder = Encoder(tokenizer_json, settings.reading)
        tokenizer_json, rows = prune(tokenizer_json, count_used(texts, encoder), shape.vocabulary)
        config.vocab_size = len(rows)
        config.pad_token_id = rows.index(config.pad_token_id) if config.pad_token_id in rows else None
    config.num_hidden_layers, config.hidden_size, config.num_attention_heads = shape.layers, shape.width, shape.heads
    setattr(config, _inner_width(config), shape.feed_forward)
    if hasattr(config, "pooler_hidden_size"):  # DeBERTa: width of the input of the pooler
        config.pooler_hidden_size = shape.width
    source = load_classifier(base, labels, settings.seed)
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(settings.seed)
    student = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    take_over(student, source, rows, settings.take_layers)
    return student, replace(base, tokenizer_json=tokenizer_json)


def take_over(
    student: Any, source: Any, rows: Sequence[int] | None = None, take_layers: LayerChoice = "spread"
) -> None:
    """Copy the weights of `source` that fit into `student`, in place; see the top of this file.

    Args:
        student: a sequence classifier.
        source: another of the same family; its head is taken over too if the shapes match.
        rows: the rows of the token embeddings that the student keeps; None: all of them.
        take_layers: how layers of `source` are chosen for the layers of the student.
    """
    theirs = _renamed(student, source, take_layers)
    tables = {name: theirs[name] for name in _embedding_tables(student) if name in theirs}
    words = next(name for name, module in student.named_modules() if module is student.get_input_embeddings())
    if rows is not None:
        tables[f"{words}.weight"] = tables[f"{words}.weight"][list(rows)]
    width = student.get_input_embeddings().weight.shape[1]
    if width < source.get_input_embeddings().weight.shape[1]:
        tables = reduced(tables, width)
    theirs |= tables
    for name, module in student.named_modules():
        own = {f"{name}.{key}": tensor for key, tensor in module.named_parameters(recurse=False)}
        if own and all(key in theirs and theirs[key].shape == tensor.shape for key, tensor in own.items()):
            with torch.no_grad():
                for key, tensor in own.items():
                    tensor.copy_(theirs[key])


def reduced(tables: dict[str, torch.Tensor], width: int) -> dict[str, torch.Tensor]:
    """`tables`, each (rows, old width), projected to the `width` dimensions that keep most: each (rows, width)."""
    stacked = torch.cat(list(tables.values()))
    basis = torch.linalg.svd(stacked, full_matrices=False).Vh[:width]
    return {name: table @ basis.T for name, table in tables.items()}


def matched_layers(count: int, of: int, choice: LayerChoice = "spread") -> list[int]:
    """For each of `count` layers of the student, the layer of the base, from 0 to `of` - 1, that it starts from.

    With `spread` the last starts from the last. With `lowest` the extra layers of a deeper student match none.
    """
    if choice == "lowest":
        return list(range(min(count, of)))
    return [math.ceil(number * of / count) - 1 for number in range(1, count + 1)]


def _renamed(student: Any, source: Any, take_layers: LayerChoice) -> dict[str, torch.Tensor]:
    """The weights of `source` under the names that they have in the student."""
    ours, theirs = layers_of(student), layers_of(source)
    path = next(name for name, module in source.named_modules() if module is theirs)
    weights = {name: tensor.detach() for name, tensor in source.named_parameters()}
    found = {name: tensor for name, tensor in weights.items() if not name.startswith(f"{path}.")}
    for ours_number, theirs_number in enumerate(matched_layers(len(ours), len(theirs), take_layers)):
        before = f"{path}.{theirs_number}."
        found |= {
            f"{path}.{ours_number}.{name.removeprefix(before)}": tensor
            for name, tensor in weights.items()
            if name.startswith(before)
        }
    return found


def _embedding_tables(model: Any) -> list[str]:
    """The tables as wide as the token embeddings; a relative position bias is not one of them."""
    width = model.get_input_embeddings().weight.shape[1]
    tables = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Embedding))
    return [f"{name}.weight" for name, module in tables if module.embedding_dim == width]


def _inner_width(config: Any) -> str:
    """The name of the inner width of a layer in this model family."""
    return "hidden_dim" if hasattr(config, "hidden_dim") else "intermediate_size"
