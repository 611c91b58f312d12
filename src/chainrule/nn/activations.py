"""Activation functions: what a neuron does with the weighted sum of its inputs.

Without one between them, two layers of weights would collapse into a single matrix. An activation is an elementwise
function a = f(z), and backpropagation needs its derivative f'(z) next to it. Both are written for one number and work
on whole arrays; `derivative` gets z and a = f(z), because many derivatives are cheapest when written with a.

Adding one: docs/adding-an-activation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.registry import Registry
from chainrule.nn.parameters import Array

__all__ = ["ACTIVATIONS", "Activation", "Identity", "ReLU", "Sigmoid", "Tanh"]


class Activation:
    """An elementwise function and its derivative. They return new arrays and leave their arguments as they are."""

    function: ClassVar[Callable[..., Any]]
    """a = f(z)."""

    derivative: ClassVar[Callable[..., Any]]
    """f'(z), from z and a = f(z)."""


def _check_activation(activation: type[Activation]) -> None:
    """Try a new activation on three numbers."""
    z = np.array([[-1.0, 0.5, 2.0]])
    a = activation.function(z)
    for what, value in (("function", a), ("derivative", activation.derivative(z, a))):
        if np.shape(value) != z.shape or np.asarray(value).dtype.kind not in "fb":
            raise ConfigError(
                f"{activation.__name__}.{what} must be elementwise: it made {value!r} of {z.shape} numbers."
            )


ACTIVATIONS: Registry[type[Activation]] = Registry("activation", _check_activation)


@ACTIVATIONS.register("identity")
class Identity(Activation):
    """f(z) = z, f'(z) = 1: layers stay linear, whatever their number."""

    @staticmethod
    def function(z: Array) -> Array:
        """z itself."""
        return z

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """1, as z**0: in the precision of z, also where z is infinite."""
        return z**0


@ACTIVATIONS.register("sigmoid")
class Sigmoid(Activation):
    """f(z) = 1 / (1 + exp(-z)), f'(z) = a (1 - a): from 0 to 1; flat, and so slow to learn, far from z = 0."""

    @staticmethod
    def function(z: Array) -> Array:
        """1 / (1 + exp(-z)), with the exponential taken of -|z| only: that cannot overflow."""
        small = np.exp(-np.abs(z))
        a: Array = np.where(z >= 0, 1, small) / (1 + small)
        return a

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """a (1 - a)."""
        return a * (1 - a)


@ACTIVATIONS.register("tanh")
class Tanh(Activation):
    """f(z) = tanh(z), f'(z) = 1 - a**2: a sigmoid stretched to the range from -1 to 1."""

    @staticmethod
    def function(z: Array) -> Array:
        """tanh(z)."""
        return np.tanh(z)

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """1 - a**2."""
        return 1 - a * a


@ACTIVATIONS.register("ReLU")
class ReLU(Activation):
    """f(z) = max(z, 0), f'(z) = 1 where z > 0 and else 0 (at 0 itself, where none exists, 0 is the usual choice)."""

    @staticmethod
    def function(z: Array) -> Array:
        """max(z, 0)."""
        return np.maximum(z, 0)

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """1 where z > 0, else 0: the sign of a, which is 0 or above."""
        return np.sign(a)
