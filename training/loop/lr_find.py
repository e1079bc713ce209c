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
from consumer.model.encoder import Encoder
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

#: First steps whose slopes are ignored: their smoothed loss is the mean of too few values.
UNSETTLED = 5


@dataclass(frozen=True)
class RateTest:
    """Learning rates, the loss of each step (nats) and its running mean; and the peak rates that they suggest.

    `steepest` is the rate at which the smoothed loss falls fastest per decade, `tenth_of_lowest` a tenth of the rate of
    its lowest value. Both are None if the loss hardly fell. `diverged`: the test ended before the highest rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    tenth_of_lowest: float | None
    diverged: bool

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return asdict(self)

    def as_text(self) -> str:
        """The same for people: the rates that were tried, and the suggested ones."""
        end = "where the loss diverged" if self.diverged else "the highest one"
        tried = f"{len(self.rates)} steps, rates from {self.rates[0]:.1e} to {self.rates[-1]:.1e}, {end}"
        if self.steepest is None:
            return f"{tried}\nno suggestion: the loss hardly fell; try a higher --highest-rate or more --steps"
        return (
            f"{tried}\nsteepest descent at {self.steepest:.1e}: --learning-rate {self.steepest:.1e}\n"
            f"a tenth of the rate of the lowest loss: --learning-rate {self.tenth_of_lowest:.1e}"
        )


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
    if lowest <= UNSETTLED:
        return None, None
    # The difference of two steps has sqrt(2) times the deviation of one; that of an exponential mean is smaller.
    of_step = float(np.std(np.diff(losses[: lowest + 1]))) / math.sqrt(2)
    if smoothed[UNSETTLED] - smoothed[lowest] <= of_step * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING)):
        return None, None
    slopes = np.gradient(np.asarray(smoothed), np.log10(rates))
    steepest = UNSETTLED + int(np.argmin(slopes[UNSETTLED : lowest + 1]))
    return rates[steepest], rates[lowest] / 10


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
