"""A loss of one's own: the focal loss with gamma = 2, from arXiv 1708.02002 (2017)."""

from __future__ import annotations

from chainrule.nn.losses import LOSSES, Loss
from chainrule.nn.parameters import Array


@LOSSES.register("focal")
class Focal(Loss):
    """L = -sum_j y_j (1 - p_j)**2 log p_j: cross-entropy that cares less about samples which are nearly right.

    With q = 1 - p, the slope with respect to log p is -y (q**2 - 2 q p log p), because dp/dlog p = p.
    """

    @staticmethod
    def value(y: Array, p: Array, log_p: Array) -> Array:
        """-y (1 - p)**2 log p."""
        return -y * (1 - p) * (1 - p) * log_p

    @staticmethod
    def derivative(y: Array, p: Array, log_p: Array) -> Array:
        """-y (1 - p) ((1 - p) - 2 p log p)."""
        return -y * (1 - p) * ((1 - p) - 2 * p * log_p)
