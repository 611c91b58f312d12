"""A custom activation: softplus, a smooth ReLU."""

from __future__ import annotations

import numpy as np

from chainrule.nn.activations import ACTIVATIONS, Activation
from chainrule.nn.parameters import Array


@ACTIVATIONS.register("softplus")
class Softplus(Activation):
    """f(z) = log(1 + exp(z)), f'(z) = 1 / (1 + exp(-z)) = 1 - exp(-a): close to max(z, 0), without its kink."""

    @staticmethod
    def function(z: Array) -> Array:
        """log(1 + exp(z)), computed with exp(-|z|), which cannot overflow."""
        return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """1 - exp(-a); expm1 is accurate for small a, too."""
        return -np.expm1(-a)
