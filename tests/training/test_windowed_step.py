"""What a step and the validation learn and measure of reviews that are several windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.texts.encoder import Encoded
from tests.tiny_encoder import make_base
from training.loop.batches import micro_batches
from training.settings import StepSettings

pytestmark = pytest.mark.training


def windowed(draw: np.random.Generator, count: int) -> Encoded:
    """A review of `count` windows of random words; the last one is shorter."""
    lengths = [16] * (count - 1) + [int(draw.integers(3, 17))]
    return Encoded(tuple(draw.integers(4, 20, n).astype(np.int32) for n in lengths), sum(lengths), False)


def test_the_loss_is_that_of_the_mean_logits_however_a_step_is_cut(tmp_path: Path) -> None:
    """By hand, without micro-batches: one label and one loss a review, whatever the number of its windows."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.encoders.parallel import Ranks
    from training.loop.step import Stepper, TrainingRows, make_optimizer
    from training.loop.validation import validate

    # Given reviews of one to five windows
    draw, labels = np.random.default_rng(3), [0, 1, 1, 0, 1, 0, 1, 1]
    rows = TrainingRows([windowed(draw, count) for count in (1, 5, 2, 1, 3, 1, 2, 4)], labels, 0)
    torch.manual_seed(1)
    model: Any = DistilBertForSequenceClassification.from_pretrained(
        make_base(tmp_path / "base"),
        num_labels=2,
        dtype=torch.float32,
        dropout=0.0,
        attention_dropout=0.0,
        seq_classif_dropout=0.0,
    )
    torch.nn.init.normal_(model.classifier.weight)
    means = []
    for review in rows.reviews:
        with torch.no_grad():
            logits = [model(input_ids=torch.from_numpy(w.astype(np.int64))[None]).logits for w in review.windows]
        means.append(torch.cat(logits).mean(dim=0))
    mean = torch.stack(means)
    expected = torch.nn.functional.cross_entropy(mean, torch.tensor(labels)).item()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # When a step is taken in pieces of different sizes, then its loss and its update are the same
    updated = []
    for tokens in (16, 64, 10_000):
        model.load_state_dict(before)
        settings = StepSettings(batch_size=8, micro_batch_tokens=tokens, precision="fp32")
        loss = Stepper(model.train(), make_optimizer(model, settings), rows, settings).step(0, 1e-3)
        assert loss == pytest.approx(expected, rel=1e-4)
        updated.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    for other in updated[1:]:
        assert max(float((updated[0][name] - other[name]).abs().max()) for name in other) < 2e-5
    # And validation measures the same mean
    model.load_state_dict(before)
    seen = validate(model, rows, StepSettings(micro_batch_tokens=64, precision="fp32"), Ranks())
    assert seen.loss == pytest.approx(expected, rel=1e-4)
    assert seen.accuracy == pytest.approx((mean.argmax(dim=1) == torch.tensor(labels)).float().mean().item())


@given(
    st.lists(st.tuples(st.integers(2, 40), st.integers(1, 8)), min_size=1, max_size=40),
    st.integers(8, 400),
)
def test_micro_batches_count_windows(reviews: list[tuple[int, int]], max_tokens: int) -> None:
    """No group is above the budget once padded, but for one review that is so alone; each review is in one group."""
    lengths, counts = zip(*reviews, strict=True)
    groups = micro_batches(range(len(reviews)), lengths, max_tokens, counts)
    assert sorted(row for group in groups for row in group) == list(range(len(reviews)))
    for group in groups:
        assert len(group) == 1 or lengths[group[0]] * sum(counts[row] for row in group) <= max_tokens
        assert lengths[group[0]] == max(lengths[row] for row in group)
