"""The course of the learning rate: pure functions of the step, so that a resumed run has the same rates."""

import math

from training.settings import FitSettings

#: Start and end of a triangle, as a share of the peak, as in ktrain's autofit.
TRIANGLE_BASE = 0.1


def rate_factor(settings: FitSettings, step: int, steps: int, steps_per_epoch: float) -> float:
    """Share of the peak learning rate at `step` (from 0) of `steps` under the policy of `settings`; 0 to 1."""
    if settings.policy == "triangular":
        return triangular(step, steps_per_epoch)
    if settings.policy == "sgdr":
        length, multiplier = settings.cycles
        return sgdr(step, steps_per_epoch * length, multiplier)
    return (linear if settings.policy == "linear" else one_cycle)(step, steps, settings.warmup)


def describe(settings: FitSettings) -> str:
    """The policy of `settings` in words, to be used within a sentence."""
    if settings.policy == "triangular":
        return "up and down in every epoch"
    if settings.policy == "sgdr":
        length, multiplier = settings.cycles
        grow = f", each {multiplier:g} times longer" if multiplier > 1 else ""
        return f"cosine down in cycles of {length:g} epochs{grow}"
    return f"linear up over {settings.warmup:.0%} of the steps, then down"


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Linear up to 1 over the share `warmup` of the steps, then linear down; no step is at 0."""
    rise = warmup * steps
    if step + 1 <= rise:
        return (step + 1) / rise
    return (steps - step) / (steps - rise + 1)


def linear(step: int, steps: int, warmup: float) -> float:
    """As `get_linear_schedule_with_warmup` of transformers: 0 at the first step of a warm-up, 1 at the first after it.

    It is `one_cycle` shifted by one step, for comparisons with the Trainer.
    """
    rise = math.ceil(warmup * steps)
    if step < rise:
        return step / rise
    return (steps - step) / (steps - rise)


def triangular(step: int, steps_per_epoch: float) -> float:
    """Up from `TRIANGLE_BASE` to 1 and down again in every epoch.

    Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.1, with half an epoch as step size.
    """
    position = (step + 0.5) % steps_per_epoch / steps_per_epoch
    return TRIANGLE_BASE + (1 - TRIANGLE_BASE) * (1 - abs(2 * position - 1))


def sgdr(step: int, first_cycle: float, multiplier: float) -> float:
    """Cosine from 1 towards 0, restarted each cycle (Loshchilov & Hutter 2017, "SGDR", equation 5, minimum 0).

    Args:
        step: from 0.
        first_cycle: steps of the first cycle.
        multiplier: each cycle is this much longer than the one before.
    """
    length, done = first_cycle, float(step)
    while done >= length:
        done -= length
        length *= multiplier
    return (1 + math.cos(math.pi * done / length)) / 2
