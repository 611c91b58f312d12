"""A custom activation: softsign, which approaches -1 and 1 more slowly than tanh."""

from __future__ import annotations

import numpy as np

from chainrule.nn.activations import ACTIVATIONS, Activation
from chainrule.nn.parameters import Array


@ACTIVATIONS.register("softsign")
class Softsign(Activation):
    """f(z) = z / (1 + |z|), f'(z) = 1 / (1 + |z|)**2 = (1 - |a|)**2."""

    @staticmethod
    def function(z: Array) -> Array:
        """z / (1 + |z|)."""
        return z / (1 + np.abs(z))

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """(1 - |a|)**2."""
        return (1 - np.abs(a)) ** 2
