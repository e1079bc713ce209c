"""The curves of a run as event files that TensorBoard shows while it trains."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from consumer.errors import UsageError
from training.encoders.parallel import Ranks
from training.io.output import storing
from training.io.progress import say
from training.loop.state import RunState, Watch

ReportTo = Literal["none", "tensorboard"]

#: Directory of the event files, in that of the checkpoints.
EVENTS = "tensorboard"


def check_report_to(report_to: ReportTo) -> None:
    """Raise `UsageError` if what `report_to` needs is not installed: better before hours of training than after."""
    if report_to == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--report-to tensorboard needs TensorBoard: pip install 'review-consumer[tensorboard]'")


@contextmanager
def watching(report_to: ReportTo, directory: Path, start: RunState, ranks: Ranks) -> Iterator[Watch]:
    """What `train` calls after each step; in the first process it writes events to `EVENTS` in `directory`.

    A resumed run adds to the events of the processes before it. What they wrote of steps after the last checkpoint,
    which are trained again, is hidden.

    Raises:
        GaveUp: the events cannot be written.
    """
    if report_to == "none" or not ranks.first:
        yield lambda *_: None
        return
    from torch.utils.tensorboard import SummaryWriter

    events = directory / EVENTS
    with storing(events):
        writer = SummaryWriter(str(events), purge_step=start.step + 1 if start.step else None)
    say(f"events for TensorBoard: tensorboard --logdir {events}")

    def write(state: RunState, loss: float, learning_rate: float) -> None:
        figures = {"loss/training": loss, "learning rate": learning_rate}
        ended = state.epochs[-1] if state.epochs else None
        if ended and ended.step == state.step and ended.validation:
            seen = ended.validation
            figures |= {"loss/validation": seen.loss, "accuracy/validation": seen.accuracy}
            figures |= {} if seen.f1 is None else {"F1/validation": seen.f1}
        with storing(events):
            for name, figure in figures.items():
                writer.add_scalar(name, figure, state.step)
            writer.flush()  # a kill loses no step that a checkpoint has

    try:
        yield write
    finally:
        writer.close()
