"""What a student takes over from its base: equal shapes are copied, embeddings reduced as well as can be."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import UsageError
from consumer.model.texts.encoder import Encoder
from consumer.model.texts.reading import Reading, Truncation, Windows
from tests.int8_size import TOKEN_BYTES, graph_bytes, weight_bytes
from tests.tiny_encoder import CLEAR, NEUTRAL, make_base
from training.settings import DistilSettings

pytestmark = pytest.mark.training

LABELS = ("neg", "pos")
LAST = "distilbert.transformer.layer.4.ffn.lin1.weight"
TEXTS = ("the film was good", "the story was bad and the plot was awful")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny encoder of four layers x 32 with a head for the labels; no weight, bias or norm is as initialised."""
    import torch

    from training.encoders.base import find_base, load_classifier, quiet_transformers

    quiet_transformers()
    directory = make_base(tmp_path_factory.mktemp("student") / "base", layers=4)
    model = load_classifier(find_base(str(directory)), LABELS, seed=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(directory)
    return find_base(str(directory))


def head_of(model: Any) -> list[Any]:
    """The weights behind the encoder."""
    return [tensor for name, tensor in model.state_dict().items() if not name.startswith("distilbert.")]


def test_a_head_is_kept_only_for_the_labels_that_it_was_trained_for(base: Any) -> None:
    """The same ones in their order; for others, more of them or another order a new one is drawn with the seed."""
    import torch
    from safetensors.torch import load_file

    from training.encoders.base import load_classifier

    stored = load_file(base.directory / "model.safetensors")
    for labels, kept in ((LABELS, True), (LABELS[::-1], False), (("no", "yes"), False), (("bad", *LABELS), False)):
        model = load_classifier(base, labels, seed=5)
        torch.rand(1)
        again, other = (load_classifier(base, labels, seed=seed) for seed in (5, 6))
        assert tuple(model.config.id2label.values()) == labels
        assert model.classifier.weight.shape == (len(labels), 32)
        assert kept == torch.equal(model.pre_classifier.weight, stored["pre_classifier.weight"])
        assert kept == all(map(torch.equal, head_of(model)[::2], head_of(other)[::2]))
        assert all(map(torch.equal, head_of(model), head_of(again)))
        encoder = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("distilbert.")}
        assert len(encoder) == 4 + 4 * 16
        assert all(torch.equal(tensor, stored[name]) for name, tensor in encoder.items())


def test_the_head_of_a_pretrained_encoder_is_drawn_as_transformers_draws_it(tmp_path: Path) -> None:
    """The seed of a run that was published gives the same run again."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from training.encoders.base import classifier_config, find_base, load_classifier

    base = find_base(str(make_base(tmp_path / "base")))
    model = load_classifier(base, LABELS, seed=5)
    torch.manual_seed(5)
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(
        base.directory, config=classifier_config(base, LABELS), dtype=torch.float32
    )
    assert all(map(torch.equal, model.state_dict().values(), theirs.state_dict().values()))
    assert model.training == theirs.training


def student_of(base: Any, **given: Any) -> tuple[Any, Any]:
    """A student of these settings, and its tokenizer's base."""
    from training.encoders.student import make_student, student_shape

    settings = DistilSettings(max_length=64, train_max_length=32, **given)
    shape = student_shape(settings, base)
    return make_student(base, shape, labels=LABELS, texts=TEXTS, settings=settings)


def whole(base: Any) -> Any:
    """The base as a classifier."""
    from training.encoders.base import load_classifier

    return load_classifier(base, LABELS, seed=99)


def test_a_student_of_the_same_shape_is_a_copy(base: Any, tmp_path: Path) -> None:
    """Every weight of the base, head included: the same logits to the last bit."""
    import torch

    student, _ = student_of(base, student="half", layers=4)
    teacher = whole(base).eval()
    ids = torch.tensor([[2, 5, 9, 20, 3]])
    with torch.no_grad():
        assert torch.equal(student.eval()(input_ids=ids).logits, teacher(input_ids=ids).logits)


def test_the_lowest_layers_can_be_taken_instead(base: Any, tmp_path: Path) -> None:
    """Two of four: the first and the second; a student that is deeper than its base begins the rest at random."""
    import torch

    student, _ = student_of(base, student="half", layers=5, take_layers="lowest")
    shallow, _ = student_of(base, student="half", take_layers="lowest")
    theirs = whole(base).state_dict()
    for made, count in ((student, 4), (shallow, 2)):
        ours = made.state_dict()
        for layer in range(count):
            names = [name for name in ours if f"transformer.layer.{layer}." in name]
            assert len(names) == 16
            assert all(torch.equal(ours[name], theirs[name]) for name in names)
    assert not torch.equal(student.state_dict()[LAST], theirs[LAST.replace(".4.", ".3.")])


def test_half_of_the_layers_are_every_second_one(base: Any, tmp_path: Path) -> None:
    """Two of four: the second and the fourth, whole; embeddings are copied."""
    import torch

    student, _ = student_of(base, student="half")
    ours, theirs = student.state_dict(), whole(base).state_dict()
    layers = "distilbert.transformer.layer"
    assert student.config.num_hidden_layers == 2
    for mine, other in ((0, 1), (1, 3)):
        names = [name for name in ours if name.startswith(f"{layers}.{mine}.")]
        assert len(names) == 16
        for name in names:
            assert torch.equal(ours[name], theirs[name.replace(f"{layers}.{mine}.", f"{layers}.{other}.")])
    assert torch.equal(ours["distilbert.embeddings.word_embeddings.weight"], theirs[next(iter(theirs))])


@pytest.mark.parametrize(
    ("count", "of", "layers"), [(2, 4, [1, 3]), (4, 12, [2, 5, 8, 11]), (3, 4, [1, 2, 3]), (4, 2, [0, 0, 1, 1])]
)
def test_layers_are_matched_evenly_and_the_last_with_the_last(count: int, of: int, layers: list[int]) -> None:
    """TinyBERT's uniform mapping, also for a student that is deeper."""
    from training.encoders.student import matched_layers

    assert matched_layers(count, of) == layers


def test_a_module_is_taken_over_as_a_whole_or_not_at_all(base: Any, tmp_path: Path) -> None:
    """A narrower feed-forward is new, its bias of equal shape too; attention beside it is copied."""
    import torch

    student, _ = student_of(base, student="half", feed_forward=48)
    layer, other = student.distilbert.transformer.layer[0], whole(base).distilbert.transformer.layer[1]
    assert torch.equal(layer.attention.q_lin.weight, other.attention.q_lin.weight)
    assert layer.ffn.lin2.bias.shape == other.ffn.lin2.bias.shape
    assert not torch.equal(layer.ffn.lin2.bias, other.ffn.lin2.bias)
    assert layer.ffn.lin1.weight.shape == (48, 32)


def test_reduced_embeddings_are_the_best_of_their_rank() -> None:
    """What is lost is the sum of squares of the left-out singular values (Eckart-Young), and no basis loses less."""
    import torch

    from training.encoders.student import reduced

    draw = torch.Generator().manual_seed(3)
    tables = {name: torch.randn(rows, 12, generator=draw) for name, rows in (("words", 40), ("positions", 10))}
    stacked = torch.cat(list(tables.values()))
    found = reduced(tables, 5)
    assert {name: tuple(table.shape) for name, table in found.items()} == {"words": (40, 5), "positions": (10, 5)}

    def lost(coordinates: torch.Tensor) -> float:
        """Squared error of the best reconstruction from these coordinates."""
        return float((stacked - coordinates @ torch.linalg.lstsq(coordinates, stacked).solution).square().sum())

    values = np.linalg.svd(stacked.numpy(), compute_uv=False)
    least = float((values[5:] ** 2).sum())
    assert lost(torch.cat(list(found.values()))) == pytest.approx(least, rel=1e-4)
    for _ in range(20):
        basis = torch.linalg.qr(torch.randn(12, 5, generator=draw)).Q
        assert lost(stacked @ basis) > least * 1.01
    # And the rows keep their angles: what is reduced is the same table in fewer dimensions.
    kept = reduced(tables, 12)["words"]
    assert torch.allclose(kept @ kept.T, tables["words"] @ tables["words"].T, atol=1e-4)


def test_a_narrow_student_starts_from_reduced_embeddings(base: Any, tmp_path: Path) -> None:
    """Tokens and positions are those of the base in 8 dimensions; the model answers."""
    import torch

    from training.encoders.student import reduced

    student, _ = student_of(base, layers=2, width=8, heads=2, feed_forward=16)
    theirs = whole(base).distilbert.embeddings
    tables = {"words": theirs.word_embeddings.weight.detach(), "positions": theirs.position_embeddings.weight.detach()}
    expected = reduced(tables, 8)
    assert torch.allclose(student.distilbert.embeddings.word_embeddings.weight, expected["words"])
    assert torch.allclose(student.distilbert.embeddings.position_embeddings.weight, expected["positions"])
    assert student(input_ids=torch.tensor([[2, 5, 3]])).logits.shape == (1, 2)


def test_a_narrow_student_of_a_deberta_has_a_narrow_pooler(base: Any, tmp_path: Path) -> None:
    """Its configuration names the width of the pooler beside that of the encoder; the model answers."""
    import torch
    from transformers import DebertaV2Config, DebertaV2Model

    from training.encoders.base import find_base

    config = DebertaV2Config(
        vocab_size=24,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
    )
    DebertaV2Model(config).save_pretrained(tmp_path / "deberta")
    (tmp_path / "deberta" / "tokenizer.json").write_text(base.tokenizer_json)
    deberta = find_base(str(tmp_path / "deberta"))
    student, _ = student_of(deberta, layers=1, width=16, heads=2, feed_forward=16)
    assert student(input_ids=torch.tensor([[2, 5, 3]])).logits.shape == (1, 2)
    assert student.pooler.dense.weight.shape == (16, 16)


def test_a_smaller_vocabulary_has_the_tokens_in_use_with_their_embeddings(base: Any, tmp_path: Path) -> None:
    """Special tokens and those of the texts stay, in their old order; a text is cut as before, under other numbers."""
    import torch

    student, small = student_of(base, student="half", vocabulary=23)
    kept = json.loads(small.tokenizer_json)["model"]["vocab"]
    used = {word for text in TEXTS for word in text.split()}
    assert kept.keys() == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"} | used
    assert sorted(kept.values()) == list(range(len(kept)))
    assert (student.config.vocab_size, student.config.pad_token_id) == (len(kept), 0)
    old = json.loads(base.tokenizer_json)["model"]["vocab"]
    before, after = (
        Encoder(tokenizer, Reading(64, Truncation.HEAD)) for tokenizer in (base.tokenizer_json, small.tokenizer_json)
    )
    new_name = {number: token for token, number in kept.items()}
    old_name = {number: token for token, number in old.items()}
    for one, other in zip(before.encode(TEXTS), after.encode(TEXTS), strict=True):
        assert [old_name[n] for n in one.windows[0]] == [new_name[n] for n in other.windows[0]]
    tables = whole(base).distilbert.embeddings.word_embeddings.weight
    ours = student.distilbert.embeddings.word_embeddings.weight
    for token, number in kept.items():
        assert torch.equal(ours[number], tables[old[token]])


def test_the_most_frequent_tokens_are_kept_and_pieces_with_them() -> None:
    """Beyond what is always kept, the number of uses decides; ids in the post-processor move along."""
    from tokenizers import Tokenizer, models, processors

    from training.encoders.vocabulary import prune

    words = ["[unused]", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "rare", "often", "##ly", "never"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
    tokenizer.add_special_tokens(["[MASK]"])
    told, kept = prune(tokenizer.to_str(), Counter({7: 1, 8: 9, 9: 5, 3: 99}), 9)
    assert [[*words, "[MASK]"][old] for old in kept] == (
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "often", "##ly", "[MASK]"]
    )
    assert Tokenizer.from_str(told).encode("often").ids == [2, 6, 3]
    assert Tokenizer.from_str(told).encode("oftenly").tokens == ["[CLS]", "often", "##ly", "[SEP]"]
    with pytest.raises(UsageError, match="special tokens and characters alone are 7"):
        prune(tokenizer.to_str(), {}, 6)


def test_tokens_in_use_are_those_of_every_window(base: Any) -> None:
    """What only the second window reads counts, what is behind the last one does not."""
    from training.encoders.vocabulary import count_used

    encoder = Encoder(base.tokenizer_json, Reading(8, Truncation.WINDOWS, Windows(overlap=0, most=2)))
    used = count_used([f"{'film ' * 6}{'great ' * 6}awful"], encoder)
    vocabulary = json.loads(base.tokenizer_json)["model"]["vocab"]
    assert used == {vocabulary["film"]: 6, vocabulary["great"]: 6, vocabulary["[CLS]"]: 2, vocabulary["[SEP]"]: 2}


def test_a_vocabulary_of_another_kind_stays_whole() -> None:
    """Byte-pair tokens are made of one another, so none can be taken out: told with what to do."""
    from tokenizers import Tokenizer, models

    from training.encoders.vocabulary import prune

    with pytest.raises(UsageError, match="a BPE vocabulary cannot be reduced"):
        prune(Tokenizer(models.BPE({"a": 0, "b": 1}, [])).to_str(), {}, 1)


def test_shapes_that_cannot_be_are_refused(base: Any) -> None:
    """Wider than the base, heads that do not share the width out; a preset is never larger than its base allows."""
    from training.encoders.student import student_shape

    with pytest.raises(UsageError, match="a student of width 256 is wider than its base, which has 32"):
        student_shape(DistilSettings(), base)
    with pytest.raises(UsageError, match="a width of 16 is not a multiple of 3 heads"):
        student_shape(DistilSettings(width=16, heads=3), base)
    shape = student_shape(DistilSettings(width=16), base)
    assert (shape.layers, shape.heads, shape.vocabulary) == (4, 4, 4 + len(NEUTRAL) + 8)
    assert len(CLEAR["neg"]) + len(CLEAR["pos"]) == 8


def test_the_small_preset_is_within_its_bounds() -> None:
    """9.5 M parameters and 12 MB in int8 whatever the base: counted on the architecture, without weights."""
    import torch
    from transformers import AutoModelForSequenceClassification, BertConfig, DistilBertConfig

    from training.encoders.student import PRESETS

    shape = PRESETS["small"]
    configs = (
        DistilBertConfig(
            vocab_size=shape.vocabulary, dim=shape.width, n_layers=shape.layers, n_heads=shape.heads, hidden_dim=1024
        ),
        BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.feed_forward,
        ),
    )
    for config in configs:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
        shapes = [tuple(parameter.shape) for parameter in model.parameters()]
        assert sum(map(math.prod, shapes)) < 9.55e6
        files = weight_bytes(shapes, shape.layers) + graph_bytes(shape.layers) + TOKEN_BYTES * shape.vocabulary
        assert files < 12e6
