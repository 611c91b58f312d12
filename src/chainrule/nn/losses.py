"""Losses: one number for how wrong an output is, and the gradient that says how to improve it.

The output layer gives k numbers z for each sample. For classification softmax turns them into probabilities,

    p_j = exp(z_j) / sum_i exp(z_i),        log p_j = z_j - log sum_i exp(z_i),

and the loss compares p with y, which is 1 for the right class and 0 for the others. A loss here is two elementwise
functions: `value`, summed over the classes, and `derivative`, its slope h_j with respect to log p_j (p depends on
log p, so the slope of an expression in p carries a factor p: dp/dlog p = p). The chain rule through softmax is then the
same for every loss, because d log p_i / d z_j = (1 if i = j else 0) - p_j:

    dL/dz_j = h_j - p_j * sum_i h_i

This is the full Jacobian of softmax: each logit moves all the probabilities. Working with log p, and not with p, keeps
all of it finite however sure the network is (docs/maths.md has the derivation).

For all other targets the outputs do not depend on each other. There a loss is an elementwise function of y and z, an
`ElementwiseLoss`, and its `derivative` is dL/dz itself.

Adding one: docs/adding-a-loss.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Configurable, Float
from chainrule.core.registry import Registry, did_you_mean
from chainrule.nn.activations import sigmoid
from chainrule.nn.parameters import Array

__all__ = [
    *(
        "LOSSES",
        "BinaryCrossEntropy",
        "CrossEntropy",
        "ElementwiseLoss",
        "Huber",
        "Loss",
        "MeanSquaredError",
        "Poisson",
    ),
    *("SquaredError", "log_softmax"),
]

LABEL_SMOOTHING = Float(0.0, "share of the target that is spread evenly over all classes while training", ge=0, lt=1)


def log_softmax(logits: Array) -> Array:
    """log p for each row of logits. The largest logit is subtracted first, so no exponential can overflow.

    Args:
        logits: (n, k).

    Returns:
        (n, k), all <= 0; exp of each row sums to 1.

    >>> log_softmax(np.array([[0.0, 0.0]]))
    array([[-0.69314718, -0.69314718]])
    """
    shifted: Array = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


class Loss(Configurable):
    """A sum over classes of an elementwise function of y, p and log p.

    Its hyperparameters, if it has any, are fields; `value` and `derivative` ask for those they need by name, after y, p
    and log_p.
    """

    link: ClassVar[str] = "softmax"
    """The output link that turns the output layer's z into what the loss compares; it decides the objective."""

    inputs: ClassVar[tuple[str, ...]] = ("y", "p", "log_p")
    """The arrays that `value` and `derivative` get first."""

    value: ClassVar[Callable[..., Any]]
    """One class's share of one sample's loss, from y (0 or 1), p and log p."""

    derivative: ClassVar[Callable[..., Any]]
    """The derivative of `value` with respect to log p, from the same arguments."""

    @classmethod
    def arguments(cls, function: str) -> tuple[str, ...]:
        """The hyperparameters that `value` or `derivative` asks for."""
        return tuple(inspect.signature(getattr(cls, function)).parameters)[len(cls.inputs) :]

    def apply(self, function: str, *arrays: Array) -> Array:
        """Call `value` or `derivative` with this loss's hyperparameters: the `inputs`, (n, k) each -> (n, k)."""
        given = {name: getattr(self, name) for name in self.arguments(function)}
        result: Array = getattr(self, function)(*arrays, **given)
        return result


class ElementwiseLoss(Loss):
    """A sum over outputs of an elementwise function of y and z; `derivative` is that with respect to z."""

    link = "identity"
    inputs = ("y", "z")


def _check_loss(loss: type[Loss]) -> None:
    """Try a new loss on two samples of three classes."""
    if not (isinstance(loss, type) and issubclass(loss, Loss)):
        raise ConfigError(f"A loss must be a class built on chainrule.nn.losses.Loss, got {loss!r}.")
    for function in ("value", "derivative"):
        for name in loss.arguments(function):
            if name not in loss.fields():
                raise ConfigError(
                    f"{loss.__name__}.{function} asks for {name!r}.{did_you_mean(name, loss.fields())} It can ask for "
                    f"{', '.join(loss.inputs)} and the loss's hyperparameters: {', '.join(loss.fields()) or 'none'}."
                )
    z = np.array([[0.0, 1.0, 2.0], [2.0, 0.0, -1.0]])
    y = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    known = {"y": y, "z": z, "p": np.exp(log_softmax(z)), "log_p": log_softmax(z)}
    for function in ("value", "derivative"):
        values = loss().apply(function, *(known[name] for name in loss.inputs))
        if np.shape(values) != z.shape:
            raise ConfigError(
                f"{loss.__name__}.{function} must be elementwise: it made {values!r} of {z.shape} numbers."
            )


LOSSES: Registry[type[Loss]] = Registry("loss", _check_loss)


@LOSSES.register("cross_entropy", aliases=("ce",))
class CrossEntropy(Loss):
    """L = -sum_j y_j log p_j = -log p[right class], averaged over the batch.

    The slope with respect to log p_j is -y_j, so dL/dz = p - y: the further off, the stronger the pull, with no factor
    that fades when the network is confidently wrong. Label smoothing: Szegedy et al., arXiv 1512.00567 (2015).
    """

    label_smoothing = LABEL_SMOOTHING

    @staticmethod
    def value(y: Array, p: Array, log_p: Array) -> Array:
        """-y log p."""
        return -y * log_p

    @staticmethod
    def derivative(y: Array, p: Array, log_p: Array) -> Array:
        """-y."""
        return -y


@LOSSES.register("mean_squared_error", aliases=("mse",))
class MeanSquaredError(Loss):
    """L = 1/2 sum_j (p_j - y_j)**2 on the probabilities, averaged over the batch (the sum over classes is not).

    The slope with respect to log p_j is (p_j - y_j) p_j, so dL/dz_j = p_j ((p_j - y_j) - sum_i p_i (p_i - y_i)): where
    p is near 0 or 1 this is near 0, which is why squared error learns slowly from confident mistakes. Leaving out the
    sum (the diagonal of the Jacobian only) is a common mistake, and gives another direction.
    """

    label_smoothing = LABEL_SMOOTHING

    @staticmethod
    def value(y: Array, p: Array, log_p: Array) -> Array:
        """1/2 (p - y)**2."""
        return 0.5 * (p - y) * (p - y)

    @staticmethod
    def derivative(y: Array, p: Array, log_p: Array) -> Array:
        """(p - y) p."""
        return (p - y) * p


@LOSSES.register("squared_error")
class SquaredError(ElementwiseLoss):
    """L = 1/2 sum_j (z_j - y_j)**2, for regression; the sum is over the targets of a sample."""

    @staticmethod
    def value(y: Array, z: Array) -> Array:
        """1/2 (z - y)**2."""
        return 0.5 * (z - y) * (z - y)

    @staticmethod
    def derivative(y: Array, z: Array) -> Array:
        """z - y."""
        return z - y


@LOSSES.register("huber")
class Huber(ElementwiseLoss):
    """Squared error near the target and absolute error far from it, for regression with outliers.

    With e = z - y: L = 1/2 e**2 where |e| <= delta, else delta (|e| - delta / 2). Reference: Huber (1964).
    """

    delta = Float(1.0, "distance from the target at which the error becomes linear", gt=0)

    @staticmethod
    def value(y: Array, z: Array, delta: float) -> Array:
        """With c = min(|e|, delta): c (|e| - c / 2)."""
        c = np.minimum(np.abs(z - y), delta)
        return c * (np.abs(z - y) - 0.5 * c)

    @staticmethod
    def derivative(y: Array, z: Array, delta: float) -> Array:
        """e, clipped to [-delta, delta]."""
        return np.maximum(np.minimum(z - y, delta), -delta)


@LOSSES.register("poisson")
class Poisson(ElementwiseLoss):
    """Half the Poisson deviance of the expectation exp(z), for counts y: L = exp(z) - y z + (y log y - y)."""

    link = "exp"

    @staticmethod
    def value(y: Array, z: Array) -> Array:
        """exp(z) - y z + y log y - y, which is 0 where exp(z) = y."""
        return np.exp(z) - y * z + np.where(y > 0, y * np.log(np.maximum(y, 1e-30)) - y, y)

    @staticmethod
    def derivative(y: Array, z: Array) -> Array:
        """exp(z) - y."""
        return np.exp(z) - y


@LOSSES.register("binary_cross_entropy", aliases=("bce",))
class BinaryCrossEntropy(ElementwiseLoss):
    """L = -sum_j (y_j log p_j + (1 - y_j) log(1 - p_j)) with p = sigmoid(z), for any number of true labels."""

    link = "sigmoid"
    label_smoothing = LABEL_SMOOTHING

    @staticmethod
    def value(y: Array, z: Array) -> Array:
        """log(1 + exp(z)) - y z, with the exponential of -|z|, which cannot overflow."""
        value: Array = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))) - y * z
        return value

    @staticmethod
    def derivative(y: Array, z: Array) -> Array:
        """p - y."""
        return sigmoid(z) - y
