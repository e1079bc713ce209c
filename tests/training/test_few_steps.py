"""A run that is too short to learn says so before it begins, with flags that make it long enough."""

import re

import pytest

from training.loop.batches import total_steps
from training.loop.few_steps import few_steps
from training.settings import FitSettings

pytestmark = pytest.mark.training


@pytest.mark.parametrize("rows", [20, 100, 800, 1500])
@pytest.mark.parametrize("batch", [8, 32])
@pytest.mark.parametrize("rate", [2e-5, 5e-5, 1e-4])
def test_what_it_advises_is_enough(rows: int, batch: int, rate: float) -> None:
    """Each remedy of the warning, taken, silences it."""
    settings = FitSettings(batch_size=batch, learning_rate=rate)
    warning = few_steps(rows, settings)
    if warning is None:
        assert total_steps(rows, 1.5, batch) * rate >= 0.005 * 0.999
        return
    advised = re.split(r"Give |, or |\. On", warning)[1:]
    taken = 0
    for remedy in advised:
        given = {name.replace("-", "_"): float(value) for name, value in re.findall(r"--([a-z-]+) ([\d.e+-]+)", remedy)}
        if given:
            assert (
                few_steps(rows, settings.model_copy(update=given | {"batch_size": int(given.get("batch_size", batch))}))
                is None
            )
            taken += 1
    assert taken >= 1


def test_800_rows_at_the_defaults_are_warned_about_and_a_usual_file_is_not() -> None:
    """38 steps at 5e-5 ended at 66.5 %; the same at a rate that lr-find found, at 87.5 %."""
    defaults = FitSettings()
    warning = few_steps(800, defaults)
    assert warning is not None
    assert warning.startswith(
        "WARNING: 38 optimiser steps (800 rows x 1.5 epochs / 32) at --learning-rate 5e-05 are few"
    )
    assert "--epochs 4 (100 steps)" in warning
    assert "compare --models logreg" in warning
    assert few_steps(800, defaults.model_copy(update={"learning_rate": 2e-4})) is None
    # The 24,805 rows of the large file, with and without the 5 % that calibrate
    assert few_steps(24_805, defaults) is few_steps(23_565, defaults) is None
    # The bound itself: 100 steps at 5e-5
    assert few_steps(100 * 32, defaults.model_copy(update={"epochs": 1.0})) is None
    assert few_steps(99 * 32, defaults.model_copy(update={"epochs": 1.0})) is not None
