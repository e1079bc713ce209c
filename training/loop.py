"""The training loop: steps of AdamW under a one-cycle schedule."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn, optim

from consumer.encoder import Encoded
from training.batches import CPU_MICRO_BATCH_TOKENS, GPU_MICRO_BATCH_TOKENS, micro_batches, rows_of_step, total_steps
from training.checkpoint import RunState
from training.settings import FitSettings

#: Share of the old value in the running mean of the loss that is shown.
LOSS_SMOOTHING = 0.98
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainingRows:
    """Encoded reviews, the index of the label of each, and the token that fills up the shorter ones of a batch."""

    reviews: Sequence[Encoded]
    labels: Sequence[int]
    pad_id: int


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate at `step` of `steps`: linear up to 1 over the share `warmup`, then linear down."""
    rise = warmup * steps
    if step + 1 <= rise:
        return (step + 1) / rise
    return (steps - step) / (steps - rise + 1)


def best_device() -> torch.device:
    """A CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_optimizer(model: nn.Module, settings: FitSettings) -> optim.AdamW:
    """AdamW; biases and norms, which have one dimension, do not decay."""
    decaying = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def train(
    model: nn.Module,
    optimizer: optim.Optimizer,
    rows: TrainingRows,
    settings: FitSettings,
    *,
    start: RunState,
    on_step: Callable[[RunState], bool],
    save: Callable[[RunState], None],
    save_seconds: float,
) -> RunState:
    """Fine-tune `model` in place from `start` on; returns where the run stands, which `save` has been told.

    Args:
        model: a sequence classifier; its device decides where the training runs.
        optimizer: from `make_optimizer`, in the state that belongs to `start`.
        rows: what is learnt.
        settings: see `FitSettings`.
        start: where the run stands.
        on_step: called after each step; returns False to stop.
        save: writes a checkpoint.
        save_seconds: time between two checkpoints.
    """
    device = next(model.parameters()).device
    lengths = [review.tokens for review in rows.reviews]
    max_tokens = CPU_MICRO_BATCH_TOKENS if device.type == "cpu" else GPU_MICRO_BATCH_TOKENS
    steps = total_steps(len(lengths), settings.epochs, settings.batch_size)
    state = start
    model.train()
    saved_at = time.monotonic()
    going = True
    while going and state.step < steps:
        started = time.monotonic()
        # Each step seeds its own dropout: a resumed run needs no generator state to repeat an uninterrupted one.
        torch.manual_seed(settings.seed * 1_000_003 + state.step)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * one_cycle(state.step, steps, settings.warmup)

        batch = rows_of_step(state.step, len(lengths), settings.batch_size, settings.seed)
        loss = 0.0
        for micro_batch in micro_batches(batch, lengths, max_tokens):
            inputs, labels = _tensors(rows, micro_batch, device)
            with bf16_autocast(device):
                logits = model(**inputs).logits
            part = nn.functional.cross_entropy(logits.float(), labels, reduction="sum") / len(batch)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        mean = LOSS_SMOOTHING * state.loss + (1 - LOSS_SMOOTHING) * loss if state.step else loss
        state = RunState(state.step + 1, state.seconds + time.monotonic() - started, mean)
        going = on_step(state)
        if not going or state.step == steps or time.monotonic() - saved_at >= save_seconds:
            save(state)
            saved_at = time.monotonic()
    return state


def bf16_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to bf16 where the processor multiplies in it; elsewhere it would be slower and less exact."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16) if native else nullcontext()


def _tensors(
    rows: TrainingRows, micro_batch: Sequence[int], device: torch.device
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """`input_ids` (reviews, longest), the mask only where a review is padded, and the labels (reviews,)."""
    reviews = [rows.reviews[row] for row in micro_batch]
    ids = np.full((len(reviews), max(review.tokens for review in reviews)), rows.pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, review in enumerate(reviews):
        ids[row, : review.tokens] = review.ids
        mask[row, : review.tokens] = 1
    inputs = {"input_ids": torch.from_numpy(ids).to(device)}
    if not mask.all():  # attention without a mask is faster
        inputs["attention_mask"] = torch.from_numpy(mask).to(device)
    return inputs, torch.tensor([rows.labels[row] for row in micro_batch], device=device)
