"""The curve of a run: every step counts, it stays small, and it does not depend on where a run was stopped."""

import math
from dataclasses import asdict

import pytest
from pydantic import TypeAdapter

from training.loop.curve import MOST, Curve
from training.loop.state import RunState


def loss_of(step: int) -> float:
    """A loss that differs from step to step."""
    return 1 / step + math.sin(step) / 10


def curve_of(steps: int, begun: Curve | None = None, first: int = 1) -> Curve:
    """The curve of `steps` steps, or what follows on one that was `begun`."""
    curve = begun or Curve()
    for step in range(first, steps + 1):
        curve = curve.after_step(step, loss_of(step), step / 1000)
    return curve


@pytest.mark.parametrize("steps", [1, MOST, MOST + 1, MOST + 2, 3 * MOST + 7, 20 * MOST + 3])
def test_a_curve_stays_small_and_counts_every_step(steps: int) -> None:
    """Its points cover all steps, each with the mean loss of its own."""
    curve = curve_of(steps)
    assert len(curve.points) <= MOST
    assert len(curve.points) == math.ceil(steps / curve.every)
    begin = 0
    for point in curve.points:
        own = range(begin + 1, point.step + 1)
        assert point.loss == pytest.approx(sum(map(loss_of, own)) / len(own))
        assert point.learning_rate == point.step / 1000
        begin = point.step
    assert begin == steps


def test_a_resumed_run_has_the_curve_of_one_that_was_not_stopped() -> None:
    """Stopped anywhere, and read back from the header of a checkpoint."""
    header = TypeAdapter(RunState)
    for stopped in (1, MOST, MOST + 1, 2 * MOST + 5):
        state = RunState(step=stopped, curve=curve_of(stopped))
        read = header.validate_json(header.dump_json(state))
        assert asdict(read) == asdict(state)
        assert curve_of(3 * MOST, read.curve, stopped + 1) == curve_of(3 * MOST)
