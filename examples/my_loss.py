"""A custom loss with a hyperparameter: the focal loss, arXiv 1708.02002 (2017)."""

from __future__ import annotations

import numpy as np

from chainrule.core.fields import Float
from chainrule.nn.losses import LOSSES, Loss
from chainrule.nn.parameters import Array


@LOSSES.register("focal")
class Focal(Loss):
    """L = -sum_j y_j (1 - p_j)**gamma log p_j: cross-entropy with less weight on samples that are classified well.

    With q = 1 - p, the derivative with respect to log p is -y (q**gamma - gamma q**(gamma - 1) p log p), because
    dp/dlog p = p.
    """

    gamma = Float(2.0, "exponent of 1 - p", ge=1)

    @staticmethod
    def value(y: Array, p: Array, log_p: Array, gamma: float) -> Array:
        """-y q**gamma log p; q = -expm1(log p) is accurate where p is close to 1, too."""
        return -y * (-np.expm1(log_p)) ** gamma * log_p

    @staticmethod
    def derivative(y: Array, p: Array, log_p: Array, gamma: float) -> Array:
        """-y q**(gamma - 1) (q - gamma p log p)."""
        q = -np.expm1(log_p)
        return -y * q ** (gamma - 1) * (q - gamma * p * log_p)
