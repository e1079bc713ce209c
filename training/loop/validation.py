"""Measures the model on rows that are held out, while it trains."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from training.encoders.device import decide_precision
from training.encoders.objective import Outputs
from training.encoders.parallel import Ranks
from training.loop.state import Validation
from training.loop.step import TrainingRows, micro_batch_tokens
from training.settings import StepSettings

#: Measures a model on held-out rows: `validate`, or `measure_tokens`.
Measure = Callable[[nn.Module, TrainingRows, StepSettings, Ranks], Validation]


def validate(model: nn.Module, rows: TrainingRows, settings: StepSettings, ranks: Ranks) -> Validation:
    """Measure a classifier on `rows`; the processes share the work and get the same figures."""
    device = next(model.parameters()).device
    labels: int = model.config.num_labels  # type: ignore[union-attr, assignment]
    confusion = torch.zeros(labels, labels, dtype=torch.float64, device=device)
    loss = torch.zeros(1, dtype=torch.float64, device=device)
    for outputs in _outputs(model, rows, settings, ranks):
        loss += nn.functional.cross_entropy(outputs.logits, outputs.labels, reduction="sum")
        cells = (outputs.labels, outputs.logits.argmax(dim=1))
        confusion.index_put_(cells, torch.ones(1, dtype=torch.float64, device=device), True)
    ranks.add_up([confusion, loss])
    count = len(rows.reviews)
    return Validation(
        loss=loss.item() / count,
        accuracy=confusion.trace().item() / count,
        f1=macro_f1(confusion.cpu().numpy()),
    )


def measure_tokens(model: nn.Module, rows: TrainingRows, settings: StepSettings, ranks: Ranks) -> Validation:
    """As `validate`, for a model that predicts masked tokens: each of them counts, with no F1 of so many labels."""
    sums = torch.zeros(3, dtype=torch.float64, device=next(model.parameters()).device)  # loss, right, tokens
    for outputs in _outputs(model, rows, settings, ranks):
        sums[0] += nn.functional.cross_entropy(outputs.logits, outputs.labels, reduction="sum")
        sums[1] += (outputs.logits.argmax(dim=1) == outputs.labels).sum()
        sums[2] += len(outputs.labels)
    ranks.add_up([sums])
    loss, right, tokens = sums.tolist()
    return Validation(loss=loss / tokens, accuracy=right / tokens)


def _outputs(model: nn.Module, rows: TrainingRows, settings: StepSettings, ranks: Ranks) -> Iterator[Outputs]:
    """The outputs of `model` for the share of `rows` that this process measures, without dropout and gradients."""
    device = next(model.parameters()).device
    groups = rows.groups(range(len(rows.reviews)), micro_batch_tokens(settings, device))
    precision = decide_precision(settings.precision, device, ranks)
    training = model.training
    model.eval()
    with torch.no_grad():
        for index in ranks.share([rows.cost(group) for group in groups]):
            yield rows.outputs(model, groups[index], device, precision)
    model.train(training)


def macro_f1(confusion: np.ndarray) -> float:
    """Mean over the labels of 2 TP / (2 TP + FP + FN); `confusion[true, predicted]` counts rows.

    A label that neither occurs nor is predicted has an F1 of 0, as in scikit-learn with `zero_division=0`.
    """
    right = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * right / np.maximum(either, 1)))
