"""Losses: one number for how wrong a distribution over k classes is, and the gradient that says how to mend it.

The network's output layer gives k logits z for each sample. Softmax turns them into probabilities,

    p_j = exp(z_j) / sum_i exp(z_i),        log p_j = z_j - log sum_i exp(z_i),

and the loss compares p with y, which is 1 for the right class and 0 for the others. A loss here is two elementwise
functions: `value`, summed over the classes, and `derivative`, its slope h_j with respect to log p_j (p depends on
log p, so the slope of an expression in p carries a factor p: dp/dlog p = p). The chain rule through softmax is then the
same for every loss, because d log p_i / d z_j = (1 if i = j else 0) - p_j:

    dL/dz_j = h_j - p_j * sum_i h_i

This is the full Jacobian of softmax: each logit moves all the probabilities. Working with log p, and not with p, keeps
all of it finite however sure the network is (docs/maths.md has the derivation).

Adding one: docs/adding-a-loss.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Configurable
from chainrule.core.registry import Registry, did_you_mean
from chainrule.nn.parameters import Array

__all__ = ["LOSSES", "CrossEntropy", "Loss", "MeanSquaredError", "log_softmax"]


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

    value: ClassVar[Callable[..., Any]]
    """One class's share of one sample's loss, from y (0 or 1), p and log p."""

    derivative: ClassVar[Callable[..., Any]]
    """The derivative of `value` with respect to log p, from the same arguments."""

    @classmethod
    def arguments(cls, function: str) -> tuple[str, ...]:
        """The hyperparameters that `value` or `derivative` asks for."""
        return tuple(inspect.signature(getattr(cls, function)).parameters)[3:]

    def apply(self, function: str, y: Array, p: Array, log_p: Array) -> Array:
        """Call `value` or `derivative` with this loss's hyperparameters: three arrays (n, k) -> (n, k)."""
        given = {name: getattr(self, name) for name in self.arguments(function)}
        result: Array = getattr(self, function)(y, p, log_p, **given)
        return result


def _check_loss(loss: type[Loss]) -> None:
    """Try a new loss on two samples of three classes."""
    if not (isinstance(loss, type) and issubclass(loss, Loss)):
        raise ConfigError(f"A loss must be a class built on chainrule.nn.losses.Loss, got {loss!r}.")
    for function in ("value", "derivative"):
        for name in loss.arguments(function):
            if name not in loss.fields():
                raise ConfigError(
                    f"{loss.__name__}.{function} asks for {name!r}.{did_you_mean(name, loss.fields())} It can "
                    f"ask for y, p, log_p and the loss's hyperparameters: {', '.join(loss.fields()) or 'none'}."
                )
    log_p = log_softmax(np.array([[0.0, 1.0, 2.0], [2.0, 0.0, -1.0]]))
    y = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for function in ("value", "derivative"):
        values = loss().apply(function, y, np.exp(log_p), log_p)
        if np.shape(values) != log_p.shape:
            raise ConfigError(
                f"{loss.__name__}.{function} must be elementwise: it made {values!r} of {log_p.shape} numbers."
            )


LOSSES: Registry[type[Loss]] = Registry("loss", _check_loss)


@LOSSES.register("cross_entropy", aliases=("ce",))
class CrossEntropy(Loss):
    """L = -sum_j y_j log p_j = -log p[right class], averaged over the batch.

    The slope with respect to log p_j is -y_j, so dL/dz = p - y: the further off, the stronger the pull, with no factor
    that fades when the network is confidently wrong.
    """

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

    @staticmethod
    def value(y: Array, p: Array, log_p: Array) -> Array:
        """1/2 (p - y)**2."""
        return 0.5 * (p - y) * (p - y)

    @staticmethod
    def derivative(y: Array, p: Array, log_p: Array) -> Array:
        """(p - y) p."""
        return (p - y) * p
