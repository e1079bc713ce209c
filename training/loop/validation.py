"""Measures the model on rows that are held out, while it trains."""

import numpy as np
import torch
from torch import nn

from training.encoders.device import decide_precision
from training.encoders.parallel import Ranks
from training.loop.state import Validation
from training.loop.step import TrainingRows, micro_batch_tokens
from training.settings import StepSettings


def validate(model: nn.Module, rows: TrainingRows, settings: StepSettings, ranks: Ranks) -> Validation:
    """Measure `model` on `rows`; the processes share the work and get the same figures."""
    device = next(model.parameters()).device
    count = len(rows.reviews)
    groups = rows.groups(range(count), micro_batch_tokens(settings, device))
    labels: int = model.config.num_labels  # type: ignore[union-attr, assignment]
    confusion = torch.zeros(labels, labels, dtype=torch.float64, device=device)
    loss = torch.zeros(1, dtype=torch.float64, device=device)
    precision = decide_precision(settings.precision, device, ranks)
    training = model.training
    model.eval()
    with torch.no_grad():
        for index in ranks.share([rows.cost(group) for group in groups]):
            outputs = rows.outputs(model, groups[index], device, precision)
            loss += nn.functional.cross_entropy(outputs.logits, outputs.labels, reduction="sum")
            cells = (outputs.labels, outputs.logits.argmax(dim=1))
            confusion.index_put_(cells, torch.ones(1, dtype=torch.float64, device=device), True)
    model.train(training)
    ranks.add_up([confusion, loss])
    return Validation(
        loss=loss.item() / count,
        accuracy=confusion.trace().item() / count,
        f1=macro_f1(confusion.cpu().numpy()),
    )


def macro_f1(confusion: np.ndarray) -> float:
    """Mean over the labels of 2 TP / (2 TP + FP + FN); `confusion[true, predicted]` counts rows.

    A label that neither occurs nor is predicted has an F1 of 0, as in scikit-learn with `zero_division=0`.
    """
    right = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * right / np.maximum(either, 1)))
