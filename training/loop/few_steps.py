"""Whether a run is long enough to learn: what to say before hours, or only minutes, are spent on nothing."""

import math

from training.loop.batches import total_steps
from training.settings import FitSettings

#: Steps times peak learning rate below which a run hardly leaves its start. AdamW moves a weight by about the rate in
#: each step, so that both count alike. 800 reviews at the defaults, 38 steps at 5e-5, ended at 66.5 % accuracy, and
#: with a higher rate at 87.5 %. The bound lies between the two.
ENOUGH = 100 * 5e-5

#: A higher peak rate than this makes a pretrained encoder diverge, and replaces no steps.
HIGHEST_RATE = 3e-4

#: Rows up to which a linear model on words may be as good.
FEW_ROWS = 1000


def few_steps(rows: int, settings: FitSettings) -> str | None:
    """The warning that steps or rate are too few for so many `rows` to train on, with what to set; None: they are not.

    Frozen layers and the schedule do not count.
    """
    steps, rate = total_steps(rows, settings.epochs, settings.batch_size), min(settings.learning_rate, HIGHEST_RATE)
    needed = math.ceil(round(ENOUGH / rate, 6))
    if steps >= needed:
        return None
    epochs = math.ceil(needed * settings.batch_size / rows * 2) / 2
    remedies = [f"--epochs {epochs:g} ({total_steps(rows, epochs, settings.batch_size)} steps)"]
    if settings.batch_size >= 16:
        half = settings.batch_size // 2
        shorter = math.ceil(needed * half / rows * 2) / 2
        remedies.append(f"--batch-size {half} --epochs {shorter:g} ({total_steps(rows, shorter, half)} steps)")
    if (higher := ENOUGH / steps) <= HIGHEST_RATE:
        remedies.append(f"--learning-rate {_rounded_up(higher):.1e}, if review-training lr-find recommends as much")
    small = f". On {rows} rows also try review-training compare --models logreg" if rows < FEW_ROWS else ""
    return (
        f"WARNING: {steps} optimiser steps ({rows} rows x {settings.epochs:g} epochs / {settings.batch_size}) at "
        f"--learning-rate {settings.learning_rate:g} are few: the model may end close to where it starts. Give "
        f"{', or '.join(remedies)}{small}"
    )


def _rounded_up(rate: float) -> float:
    """With two digits."""
    digit = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return math.ceil(round(rate / digit, 6)) * digit
