"""An activation of one's own: softplus, a ReLU with a rounded corner."""

from __future__ import annotations

import numpy as np

from chainrule.nn.activations import ACTIVATIONS, Activation
from chainrule.nn.parameters import Array


@ACTIVATIONS.register("softplus")
class Softplus(Activation):
    """f(z) = log(1 + exp(z)), f'(z) = 1 / (1 + exp(-z)) = 1 - exp(-a): near max(z, 0), but with no kink."""

    @staticmethod
    def function(z: Array) -> Array:
        """log(1 + exp(z)), with the exponential taken of -|z| only: that cannot overflow."""
        return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """1 - exp(-a); expm1 keeps its digits where a is tiny."""
        return -np.expm1(-a)
