"""What makes probabilities of logits: one temperature, or one that falls with the margin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.inference.scaling import PLAIN, Scaling

LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=5)
TEMPERATURES = st.floats(0.1, 10)


def test_by_hand() -> None:
    """Logits of 0 and 6 are 3 apart at temperature 2; sharpened by 0.1 they are 3 * (1 + 0.1 * 9) = 5.7 apart."""
    logits = np.array([[0.0, 6.0], [1.0, 1.0]])
    assert Scaling(2, 0.1).probabilities(logits)[:, 1] == pytest.approx([1 / (1 + math.exp(-5.7)), 0.5])
    assert Scaling(2).probabilities(logits)[:, 1] == pytest.approx([1 / (1 + math.exp(-3)), 0.5])
    assert PLAIN.probabilities(logits)[:, 1] == pytest.approx([1 / (1 + math.exp(-6)), 0.5])


def test_the_margin_is_that_of_the_two_highest() -> None:
    """Of labels that are out of the question, nothing depends on how far."""
    near, far = (Scaling(1, 0.5).probabilities(np.array([4.0, 3.0, low])) for low in (-20.0, -25.0))
    assert near == pytest.approx(far, abs=1e-9)
    assert near[0] == pytest.approx(1 / (1 + math.exp(-1.5)))


@given(LOGITS, TEMPERATURES, st.floats(0, 10))
def test_no_label_overtakes_another(logits: list[float], temperature: float, sharpening: float) -> None:
    """And the probabilities are probabilities, however extreme the numbers."""
    found = Scaling(temperature, sharpening).probabilities(np.array(logits))
    assert found.sum() == pytest.approx(1)
    assert found[int(np.argmax(logits))] == found.max()
    assert (np.diff(found[np.argsort(logits, kind="stable")]) >= -1e-12).all()


@given(LOGITS, TEMPERATURES, st.floats(0, 10))
def test_scaling_can_be_undone(logits: list[float], temperature: float, sharpening: float) -> None:
    """So that a bundle can be calibrated again, from the probabilities that it gives."""
    scaling = Scaling(temperature, sharpening)
    again = scaling.unscale(scaling.scale(np.array(logits)))
    assert again == pytest.approx(logits, rel=1e-6, abs=1e-6)
