"""Activation functions: what a neuron does with the weighted sum of its inputs.

Without one between them, two layers of weights would collapse into a single matrix. An activation is an elementwise
function a = f(z), and backpropagation needs its derivative f'(z) next to it. Both are written for one number and work
on whole arrays; `derivative` gets z and a = f(z), because many derivatives are cheapest when written with a.

Adding one: docs/adding-an-activation.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.registry import Registry
from chainrule.nn.parameters import Array

__all__ = [
    *("ACTIVATIONS", "ELU", "GELU", "GELUTanh", "SELU", "Activation", "Identity", "LeakyReLU", "Mish", "ReLU"),
    *("SiLU", "Sigmoid", "Softplus", "Tanh", "erf", "sigmoid"),
]


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


_erf_of_each = np.vectorize(math.erf, otypes=[np.float64])


def erf(z: Array) -> Array:
    """The error function. NumPy has none, SciPy takes longer to load than all the rest, and this is rarely called."""
    z = np.asarray(z)
    result: Array = _erf_of_each(z).astype(z.dtype)[()]
    return result


# What stands for it where a function is compiled for single numbers.
erf.scalar_name = "math.erf"  # type: ignore[attr-defined]


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


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), with the exponential taken of -|z| only: that cannot overflow."""
    small = np.exp(-np.abs(z))
    a: Array = np.where(z >= 0, 1, small) / (1 + small)
    return a


@ACTIVATIONS.register("sigmoid")
class Sigmoid(Activation):
    """f(z) = 1 / (1 + exp(-z)), f'(z) = a (1 - a): from 0 to 1; flat, and so slow to learn, far from z = 0."""

    @staticmethod
    def function(z: Array) -> Array:
        """1 / (1 + exp(-z))."""
        return sigmoid(z)

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


@ACTIVATIONS.register("leaky_ReLU", aliases=("LeakyReLU",))
class LeakyReLU(Activation):
    """f(z) = z where z > 0, else 0.01 z: a unit whose z are all negative still learns.

    Reference: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013).
    """

    @staticmethod
    def function(z: Array) -> Array:
        """max(z, 0.01 z)."""
        a: Array = np.maximum(z, 0.01 * z)
        return a

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """1 where z > 0, else 0.01."""
        return np.where(z > 0, z**0, 0.01 * z**0)


@ACTIVATIONS.register("ELU")
class ELU(Activation):
    """f(z) = z where z > 0, else exp(z) - 1.

    Reference: Clevert, Unterthiner and Hochreiter, arXiv 1511.07289 (2015).
    """

    @staticmethod
    def function(z: Array) -> Array:
        """z, or exp(z) - 1, with the exponential of negative numbers only: that cannot overflow."""
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """1 where z > 0, else exp(z) = a + 1."""
        return np.where(z > 0, z**0, a + 1)


SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


@ACTIVATIONS.register("SELU")
class SELU(Activation):
    """f(z) = scale * (z where z > 0, else alpha * (exp(z) - 1)), which drives activations to mean 0 and variance 1.

    Both constants follow from that fixed point. Reference: Klambauer et al., arXiv 1706.02515 (2017).
    """

    @staticmethod
    def function(z: Array) -> Array:
        """The scaled z, or the scaled exp(z) - 1."""
        return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """scale where z > 0, else scale * alpha * exp(z) = a + scale * alpha."""
        return np.where(z > 0, SELU_SCALE * z**0, a + SELU_SCALE * SELU_ALPHA)


@ACTIVATIONS.register("softplus")
class Softplus(Activation):
    """f(z) = log(1 + exp(z)), f'(z) = sigmoid(z): a smooth ReLU. Reference: Dugas et al. (2001)."""

    @staticmethod
    def function(z: Array) -> Array:
        """max(z, 0) + log(1 + exp(-|z|)), which cannot overflow."""
        return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """sigmoid(z) = 1 - exp(-a)."""
        return -np.expm1(-a)


@ACTIVATIONS.register("SiLU", aliases=("swish",))
class SiLU(Activation):
    """f(z) = z sigmoid(z), f'(z) = s (1 + z (1 - s)) with s = sigmoid(z).

    Reference: Elfwing, Uchibe and Doya, arXiv 1702.03118 (2017); Ramachandran, Zoph and Le, arXiv 1710.05941 (2017).
    """

    @staticmethod
    def function(z: Array) -> Array:
        """z sigmoid(z)."""
        return z * sigmoid(z)

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """s + a (1 - s)."""
        s = sigmoid(z)
        return s + a * (1 - s)


def tanh_softplus(z: Array) -> Array:
    """tanh(log(1 + exp(z))) = ((1 + exp(z))**2 - 1) / ((1 + exp(z))**2 + 1), by exp(-|z|), which cannot overflow."""
    e = np.exp(-np.abs(z))
    a: Array = np.where(z > 0, (1 + 2 * e) / (1 + 2 * e + 2 * e * e), e * (e + 2) / (e * (e + 2) + 2))
    return a


@ACTIVATIONS.register("mish")
class Mish(Activation):
    """f(z) = z t with t = tanh(log(1 + exp(z))), f'(z) = t + z (1 - t**2) sigmoid(z).

    Reference: Misra, arXiv 1908.08681 (2019).
    """

    @staticmethod
    def function(z: Array) -> Array:
        """z t."""
        return z * tanh_softplus(z)

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """t + z (1 - t**2) sigmoid(z)."""
        t = tanh_softplus(z)
        return t + z * (1 - t * t) * sigmoid(z)


ROOT_HALF = 0.7071067811865476
DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)


@ACTIVATIONS.register("GELU")
class GELU(Activation):
    """f(z) = z Phi(z), f'(z) = Phi(z) + z phi(z), with the normal distribution's Phi and density phi.

    Reference: Hendrycks and Gimpel, arXiv 1606.08415 (2016).
    """

    @staticmethod
    def function(z: Array) -> Array:
        """z Phi(z), Phi(z) = (1 + erf(z / sqrt(2))) / 2."""
        return z * (0.5 * (1 + erf(ROOT_HALF * z)))

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """Phi(z) + z phi(z)."""
        near = np.minimum(np.abs(z), 40)  # beyond, the density is 0, and squares could overflow
        slope: Array = 0.5 * (1 + erf(ROOT_HALF * z)) + z * (DENSITY * np.exp(-0.5 * near * near))
        return slope


ROOT_2_OVER_PI = 0.7978845608028654


@ACTIVATIONS.register("GELU_tanh")
class GELUTanh(Activation):
    """f(z) = z (1 + tanh u) / 2 with u = sqrt(2 / pi) (z + 0.044715 z**3): GELU to three digits, faster.

    Reference: Hendrycks and Gimpel, arXiv 1606.08415 (2016).
    """

    @staticmethod
    def function(z: Array) -> Array:
        """z (1 + tanh u) / 2."""
        near = np.maximum(np.minimum(z, 40), -40)  # beyond, tanh u is 1 or -1, and cubes could overflow
        a: Array = 0.5 * z * (1 + np.tanh(ROOT_2_OVER_PI * (near + 0.044715 * near * near * near)))
        return a

    @staticmethod
    def derivative(z: Array, a: Array) -> Array:
        """(1 + t) / 2 + z (1 - t**2) u' / 2 with t = tanh u."""
        near = np.maximum(np.minimum(z, 40), -40)
        t = np.tanh(ROOT_2_OVER_PI * (near + 0.044715 * near * near * near))
        slope: Array = 0.5 * (1 + t) + 0.5 * near * (1 - t * t) * (ROOT_2_OVER_PI * (1 + 3 * 0.044715 * near * near))
        return slope
