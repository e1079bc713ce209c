"""One optimiser step: reviews in micro-batches, whose gradients are added up, clipped and applied."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn, optim

from consumer.model.engines.first_token import first_token_only
from consumer.model.texts.encoder import Encoded, Encoder
from training.data.reviews import Reviews
from training.encoders.device import CPU_MICRO_BATCH_TOKENS, GPU_MICRO_BATCH_TOKENS, autocast, decide_precision
from training.encoders.objective import LabelLoss, Objective, Outputs, balanced_weights
from training.encoders.parallel import Ranks
from training.loop.batches import at_least, micro_batches, rows_of_step
from training.settings import Arithmetic, StepSettings

MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainingRows:
    """Encoded reviews, the index of the label of each, and the padding token for the shorter ones of a batch.

    A review with several windows is one row, and its windows are in one micro-batch. Its logits are the mean over its
    windows, as in the worker; the loss is that of the mean.
    """

    reviews: Sequence[Encoded]
    labels: Sequence[int]
    pad_id: int

    @classmethod
    def encode(cls, reviews: Reviews, labels: Sequence[str], encoder: Encoder) -> "TrainingRows":
        """Encode `reviews`; `labels[i]` names the i-th logit."""
        index = {label: i for i, label in enumerate(labels)}
        return cls(encoder.encode(reviews.texts), [index[label] for label in reviews.labels], encoder.pad_id)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of the first, longest window of each review."""
        return [len(review.windows[0]) for review in self.reviews]

    @cached_property
    def counts(self) -> list[int]:
        """Number of windows of each review."""
        return [len(review.windows) for review in self.reviews]

    def groups(self, rows: Sequence[int], max_tokens: int) -> list[list[int]]:
        """`rows` in micro-batches, see `micro_batches`."""
        return micro_batches(rows, self.lengths, max_tokens, self.counts)

    def cost(self, group: Sequence[int]) -> int:
        """Padded tokens of a group; its first review is the longest."""
        return self.lengths[group[0]] * sum(self.counts[row] for row in group)

    def tensors(self, rows: Sequence[int], device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """`input_ids` (windows, longest), a mask only if a window is padded, and the labels (rows,)."""
        windows = [window for row in rows for window in self.reviews[row].windows]
        ids = np.full((len(windows), max(map(len, windows))), self.pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        inputs = {"input_ids": torch.from_numpy(ids).to(device)}
        if not mask.all():  # attention without a mask is faster
            inputs["attention_mask"] = torch.from_numpy(mask).to(device)
        return inputs, torch.tensor([self.labels[row] for row in rows], device=device)

    def outputs(
        self,
        model: nn.Module,
        rows: Sequence[int],
        device: torch.device,
        precision: Arithmetic,
        *,
        hidden: bool = False,
        attention: bool = False,
        step: int = 0,  # noqa: ARG002 - for rows of which each step sees something else
    ) -> Outputs:
        """The outputs of `model` for the reviews, with `hidden` states and `attention` only on request.

        `attention` requires a model that exposes it (`attention_shown`), and reviews with one window.
        """
        inputs, labels = self.tensors(rows, device)
        alone = nullcontext() if attention else first_token_only(model)
        with autocast(device, precision), alone:
            found = model(**inputs, output_hidden_states=hidden, output_attentions=attention)
        states = self._means(found.hidden_states[-1][:, 0].float(), rows) if hidden else None
        attended = found.attentions[-1][:, :, 0].float().mean(dim=1) if attention else None
        return Outputs(self._means(found.logits.float(), rows), labels, states, attended)

    def _means(self, windows: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """From (windows, values) the mean over the windows of each review, (rows, values)."""
        if len(windows) == len(rows):
            return windows
        return torch.stack([part.mean(dim=0) for part in torch.split(windows, [self.counts[row] for row in rows])])


def make_optimizer(model: nn.Module, settings: StepSettings) -> optim.AdamW:
    """AdamW for what is not frozen, without decay of biases and norms, which have one dimension."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return optim.AdamW(groups, lr=0.0, fused=True)


def micro_batch_tokens(settings: StepSettings, device: torch.device) -> int:
    """Padded tokens of one micro-batch: as set, or the default for the device."""
    return settings.micro_batch_tokens or (CPU_MICRO_BATCH_TOKENS if device.type == "cpu" else GPU_MICRO_BATCH_TOKENS)


def label_weights(model: nn.Module, rows: TrainingRows, settings: StepSettings) -> torch.Tensor | None:
    """Weight of each label in the loss, (labels,), on the device of `model`; None: all the same."""
    if settings.class_weights == "none":
        return None
    labels: int = model.config.num_labels  # type: ignore[union-attr, assignment]
    return balanced_weights(rows.labels, labels).to(next(model.parameters()).device)


class Stepper:
    """Takes optimiser steps; which reviews a step sees is a pure function of its number.

    Args:
        model: of transformers; its device decides where the training runs.
        optimizer: from `make_optimizer`.
        rows: what it is trained on.
        settings: see `StepSettings`.
        ranks: the processes that share the work; each of them takes every step.
        objective: the loss; default: cross-entropy with the labels, weighted as `settings` say.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: optim.Optimizer,
        rows: TrainingRows,
        settings: StepSettings,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        *,
        objective: Objective | None = None,
    ) -> None:
        self._model, self._optimizer, self._rows, self._settings, self._ranks = model, optimizer, rows, settings, ranks
        self._device = next(model.parameters()).device
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._table = _token_table(model) if self._device.type == "cpu" else None  # a GPU fills it in no time
        self._precision = decide_precision(settings.precision, self._device, ranks)
        self._objective = objective or LabelLoss(rows.labels, label_weights(model, rows, settings))

    def step(self, number: int, learning_rate: float) -> float:
        """Take step `number` (from 0) and return its mean loss before the update, which is skipped if not finite."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        settings = self._settings
        batch = rows_of_step(number, len(self._rows.reviews), settings.batch_size, settings.seed)
        max_tokens = micro_batch_tokens(settings, self._device)
        groups = at_least(self._rows.groups(batch, max_tokens), self._ranks.size)
        costs = [self._rows.cost(group) for group in groups]
        whole = self._objective.divisor(batch)
        total = torch.zeros(1, device=self._device)
        with _rows_of_gradient(self._table) if self._table else nullcontext():
            for index in self._ranks.share(costs):
                _seed_dropout(settings.seed, number, index)
                total += self._backward(groups[index], whole, number)
        self._ranks.add_up([*(p.grad for p in self._trained if p.grad is not None), total])
        loss = total.item()
        if math.isfinite(loss):
            nn.utils.clip_grad_norm_(self._trained, MAX_GRADIENT_NORM)
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss

    def _backward(self, group: Sequence[int], whole: float, step: int) -> torch.Tensor:
        objective = self._objective
        outputs = self._rows.outputs(
            self._model,
            group,
            self._device,
            self._precision,
            hidden=objective.hidden,
            attention=objective.attention,
            step=step,
        )
        loss = objective.total(outputs, group) / whole
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


@contextmanager
def _rows_of_gradient(table: nn.Embedding) -> Iterator[None]:
    """Inside, each backward pass adds only the rows that it looked up in `table` to one dense gradient.

    Otherwise each would fill and add a whole table of zeros: with the 28,996 x 768 of DistilBERT, that takes a tenth of
    a step of eight micro-batches.
    """
    table.weight.grad = torch.zeros_like(table.weight)
    table.sparse = True
    try:
        yield
    finally:
        table.sparse = False


def _token_table(model: Any) -> nn.Embedding | None:
    """The token embeddings of `model` if they are trained and accept a gradient of single rows."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return None
    usable = isinstance(table, nn.Embedding) and not table.scale_grad_by_freq and table.weight.requires_grad
    return table if usable else None


def _seed_dropout(seed: int, step: int, index: int) -> None:
    """Each micro-batch seeds its own dropout, so no generator state has to be saved or shared."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, index)).generate_state(1, np.uint64)[0]))
