"""Logits to probabilities that mean what they say: scaled by what calibration fitted, then softmax. Pure functions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How the logits of a text are scaled before softmax. The order of the labels stays.

    Logits are divided by `temperature` (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2). With
    `sharpening` s, they are then multiplied by 1 + s m², where m is how far the highest is above the second. It is for
    models whose surest answers are not sure enough while the others are too sure, which no single temperature mends:
    those that learned from a teacher whose logits have a ceiling. A temperature that depends on the sorted logits is
    parameterised temperature scaling (Tomani et al. 2022, "Parameterized Temperature Scaling for Boosting the
    Expressive Power in Post-Hoc Uncertainty Calibration"); this is the form with one number more.
    """

    temperature: float = 1.0
    sharpening: float = 0.0

    def probabilities(self, logits: Floats) -> Floats:
        """Probabilities of the labels, shape (..., labels) like the `logits`."""
        scaled = self.scale(logits)
        exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))

    def scale(self, logits: Floats) -> Floats:
        """The `logits`, shape (..., labels), as softmax gets them."""
        scaled = logits / self.temperature
        if not self.sharpening:
            return scaled
        return np.asarray(scaled * (1 + self.sharpening * _margin(scaled) ** 2))

    def unscale(self, scaled: Floats) -> Floats:
        """The logits of which `scale` makes `scaled`; logarithms of probabilities give logits up to a constant."""
        if not self.sharpening:
            return scaled * self.temperature
        # s m³ + m = M has one real root; by hyperbolic functions, nothing cancels out.
        root = np.sqrt(3 * self.sharpening)
        margin = 2 / root * np.sinh(np.arcsinh(1.5 * root * _margin(scaled)) / 3)
        return np.asarray(scaled / (1 + self.sharpening * margin**2) * self.temperature)


#: Softmax alone.
PLAIN = Scaling()


def _margin(logits: Floats) -> Floats:
    """Highest minus second, shape (..., 1)."""
    ordered = np.sort(logits, axis=-1)
    return np.asarray(ordered[..., -1:] - ordered[..., -2:-1])
