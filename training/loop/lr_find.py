"""Learning-rate range test: which rates work? (Smith 2017, "Cyclical Learning Rates", section 3.3)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from consumer.errors import UsageError
from consumer.model.texts.encoder import Encoder
from training.data.duplicates import without_duplicates
from training.data.prepare import DEFAULTS, REPEATED, DataOptions, check_left, read_and_report
from training.encoders.base import check_length, find_base, load_classifier, quiet_transformers
from training.encoders.device import best_device
from training.encoders.freezing import freeze
from training.io.progress import ProgressBar, say
from training.loop.step import Stepper, TrainingRows, make_optimizer
from training.settings import RateTestSettings

#: The test ends when the smoothed loss reaches this multiple of its lowest value.
DIVERGED = 4.0

#: Share of the old value in the smoothed loss.
SMOOTHING = 0.9

#: The two suggestions may differ by this factor; else the curve says too little for one rate.
AGREEING = 10.0

#: The smoothed loss has to fall by this multiple of its own deviation: 99 % of 150 drawn tests of pure noise fall less.
RELIABLE = 6.0

#: Fewest steps up to the lowest loss from which a rate is recommended.
LEAST_STEPS = 15

#: First steps whose slopes are ignored: their smoothed loss is the mean of too few values.
UNSETTLED = 5


@dataclass(frozen=True)
class RateTest:
    """Learning rates, the loss of each step (nats) and its running mean; and the peak rates that they suggest.

    `steepest` is the rate at which the smoothed loss falls fastest per decade, `tenth_of_lowest` a tenth of the rate of
    its lowest value. Both are None if the loss hardly fell. `diverged`: the test ended before the highest rate.
    `recommended` is the one rate to use, the lower of the two; None: `why_none` says why there is none.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    tenth_of_lowest: float | None
    diverged: bool

    @property
    def why_none(self) -> str | None:
        """Why no rate is recommended, and what to try; None if one is."""
        return why_not(self.rates, self.losses, self.smoothed)

    @property
    def recommended(self) -> float | None:
        """The rate for `--learning-rate`."""
        if self.steepest is None or self.tenth_of_lowest is None or self.why_none:
            return None
        return min(self.steepest, self.tenth_of_lowest)

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return asdict(self) | {"recommended": self.recommended, "why_none": self.why_none}

    def as_text(self) -> str:
        """The same for people: the rates that were tried, and the suggested ones."""
        end = "where the loss diverged" if self.diverged else "the highest one"
        tried = f"{len(self.rates)} steps, rates from {self.rates[0]:.1e} to {self.rates[-1]:.1e}, {end}"
        lines = [tried]
        if self.recommended is None:
            lines.append(f"no recommendation: {self.why_none}")
        else:
            lines.append(f"recommended: --learning-rate {self.recommended:.1e}")
        if self.steepest is not None:
            lines.append(f"steepest descent at {self.steepest:.1e}")
            lines.append(f"a tenth of the rate of the lowest loss: {self.tenth_of_lowest:.1e}")
        return "\n".join(lines)


def find_rate(
    train_file: Path, base_name: str, settings: RateTestSettings, options: DataOptions = DEFAULTS
) -> RateTest:
    """Run the test for `base_name` on `train_file`, read with `options`; the model is discarded.

    Raises:
        UsageError: file or base cannot be used.
    """
    quiet_transformers()
    reviews, _, _ = without_duplicates(read_and_report(train_file, say, options))
    check_left(reviews, REPEATED)
    base = find_base(base_name)
    model = load_classifier(base, reviews.label_names, settings.seed)
    check_length(model.config, settings.train_max_length, "--train-max-length")
    freeze(model, settings.freeze)
    encoder = Encoder(base.tokenizer_json, settings.reading)
    rows = TrainingRows.encode(reviews, reviews.label_names, encoder)
    with ProgressBar("range test", settings.steps * settings.batch_size) as bar:

        def on_step(step: int, rate: float, loss: float) -> None:
            bar.update(step * settings.batch_size, f"rate {rate:.1e} loss {loss:.3f}")

        return range_test(model.to(best_device()), rows, settings, on_step)


def range_test(
    model: nn.Module,
    rows: TrainingRows,
    settings: RateTestSettings,
    on_step: Callable[[int, float, float], None] = lambda *_: None,
) -> RateTest:
    """Raise the rate by the same factor each step until the smoothed loss diverges; `model` gets its weights back.

    Args:
        model: a sequence classifier; its device decides where the training runs.
        rows: what it is trained on.
        settings: see `RateTestSettings`.
        on_step: called with the number of steps done, and the rate and the smoothed loss of the last one.

    Raises:
        UsageError: the loss is not a number from the start.
    """
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    diverged = False
    with _weights_kept(model):
        stepper = Stepper(model, make_optimizer(model, settings), rows, settings)
        model.train()
        for step, rate in enumerate(np.geomspace(settings.lowest_rate, settings.highest_rate, settings.steps).tolist()):
            loss = stepper.step(step, rate)
            if diverged := not math.isfinite(loss):
                break
            rates.append(rate)
            losses.append(loss)
            smoothed.append(_running_mean(losses))
            on_step(step + 1, rate, smoothed[-1])
            if diverged := smoothed[-1] > DIVERGED * min(smoothed):
                break
    if not rates:
        raise UsageError(
            "the loss is not a number before the first step: the weights of --base are damaged; use others"
        )
    steepest, tenth = suggestions(rates, losses, smoothed)
    return RateTest(tuple(rates), tuple(losses), tuple(smoothed), steepest, tenth, diverged)


def suggestions(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float]
) -> tuple[float | None, float | None]:
    """The rate of the steepest fall of the smoothed loss, and a tenth of the rate of its lowest value.

    Only slopes before the lowest value count, since the loss diverges after it. None, None: the loss is lowest within
    the first `UNSETTLED` steps, or fell by no more than the standard deviation of the smoothed loss.
    """
    lowest = int(np.argmin(smoothed))
    if lowest <= UNSETTLED or smoothed[UNSETTLED] - smoothed[lowest] <= _noise(losses[: lowest + 1]):
        return None, None
    slopes = np.gradient(np.asarray(smoothed), np.log10(rates))
    steepest = UNSETTLED + int(np.argmin(slopes[UNSETTLED : lowest + 1]))
    return rates[steepest], rates[lowest] / 10


def why_not(rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float]) -> str | None:
    """Why these steps recommend no rate, and what to try; None if they do."""
    lowest = int(np.argmin(smoothed))
    steepest, tenth = suggestions(rates, losses, smoothed)
    if lowest <= UNSETTLED and len(rates) <= LEAST_STEPS:
        return "too few steps before the loss diverged; try a lower --highest-rate or more --steps"
    if lowest <= UNSETTLED:
        return "the loss never falls; check that the labels say something about the texts, or try a lower --lowest-rate"
    fall = smoothed[UNSETTLED] - smoothed[lowest]
    if steepest is None or tenth is None or fall < RELIABLE * _noise(losses[: lowest + 1]):
        return (
            "too noisy: the loss falls hardly more than chance makes it vary from step to step; try a larger "
            "--batch-size, more --steps or a higher --highest-rate"
        )
    if lowest < LEAST_STEPS:
        return f"too few steps: the loss is lowest after {lowest + 1}; try more --steps or a lower --lowest-rate"
    if lowest == len(smoothed) - 1:
        return "the loss still falls at the highest rate, so that the best one is not known; raise --highest-rate"
    if max(steepest, tenth) > AGREEING * min(steepest, tenth):
        return (
            f"too noisy: the steepest descent ({steepest:.1e}) and a tenth of the rate of the lowest loss "
            f"({tenth:.1e}) differ by more than {AGREEING:.0f} times; try a larger --batch-size or more --steps"
        )
    return None


def _noise(losses: Sequence[float]) -> float:
    """Standard deviation of the smoothed loss that is due to the differences between steps."""
    # The difference of two steps has sqrt(2) times the deviation of one; that of an exponential mean is smaller.
    of_step = float(np.std(np.diff(losses))) / math.sqrt(2)
    return of_step * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))


def _running_mean(losses: Sequence[float]) -> float:
    """Exponential mean of `losses`, corrected for the start at 0 (Kingma & Ba 2015, "Adam", section 3)."""
    weights = SMOOTHING ** np.arange(len(losses))[::-1]
    return float(np.average(losses, weights=weights))


@contextmanager
def _weights_kept(model: nn.Module) -> Iterator[None]:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(before)
