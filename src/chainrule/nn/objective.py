"""Objectives: what a network is trained for.

An objective puts together the four things that depend on what the output means: the output link (what turns the output
layer's z into an answer), the form of the targets, the loss with its derivative with respect to z, and the score by
which people judge the answers. Networks, optimizers, engines and the training loop know objectives and none of the
four; what is recorded as `train_accuracy` is the score under its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.validation import check_labels
from chainrule.nn.losses import Loss, log_softmax
from chainrule.nn.metrics import Evaluation
from chainrule.nn.parameters import Array, Labels

__all__ = ["OBJECTIVES", "Objective", "SoftmaxClassification", "make_objective"]


class Objective(ABC):
    """Base of all objectives.

    Args:
        loss: the elementwise loss, with its hyperparameters.

    Attributes:
        link: name of the output link, which the loss names too.
        min_outputs: how many outputs a network needs at least.
        score_name: name of the score, of which more is better.
        score_range: the lowest and the highest score that there is.
    """

    link: ClassVar[str]
    min_outputs: ClassVar[int] = 1
    score_name: ClassVar[str]
    score_range: ClassVar[tuple[float, float]]

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    @abstractmethod
    def check_targets(self, y: ArrayLike, outputs: int) -> NDArray[Any]:
        """Targets in the form that the other methods take, for a network with that many outputs.

        Raises:
            ConfigError: they do not fit; the message says what is expected.
        """

    @abstractmethod
    def loss_and_gradient(self, z: Array, targets: NDArray[Any]) -> tuple[float, Array]:
        """The mean loss of a batch, and its derivative with respect to the output layer's z, (n, k)."""

    @abstractmethod
    def sum_scores(self, z: Array, targets: NDArray[Any]) -> float:
        """The sum of the samples' scores."""

    @abstractmethod
    def predict(self, z: Array) -> NDArray[Any]:
        """The answers, in the form of the targets, from the output layer's z, (n, k)."""

    @abstractmethod
    def predict_proba(self, z: Array) -> Array:
        """The probabilities of the classes, (n, k), from the output layer's z, (n, k)."""

    @abstractmethod
    def evaluate(self, z: Array, targets: NDArray[Any]) -> Evaluation:
        """Loss, score and answers from the output layer's z, (n, k), and n targets."""


class SoftmaxClassification(Objective):
    """One class of k for each sample: softmax turns z into probabilities, and the score is the accuracy.

    The chain rule through softmax is the same for every loss: with h = dL/dlog p, the loss's `derivative`,

        dL/dz_j = h_j - p_j * sum_i h_i          (nn/losses.py derives it)
    """

    link = "softmax"
    min_outputs = 2
    score_name = "accuracy"
    score_range = (0.0, 1.0)

    def check_targets(self, y: ArrayLike, outputs: int) -> Labels:
        """Labels as an (n,) int64 array, each from 0 to k - 1."""
        return check_labels(y, n_classes=outputs)

    def loss_and_gradient(self, z: Array, targets: NDArray[Any]) -> tuple[float, Array]:
        """The mean loss of a batch and its gradient.

        Args:
            z: the logits, (n, k).
            targets: the labels, (n,).

        Returns:
            The mean over the n samples, and its derivative with respect to the logits, (n, k), of their dtype. A batch
            that is shorter than the others divides by its own length.
        """
        log_p, p, y = _compare(z, targets)
        slope = self.loss.apply("derivative", y, p, log_p)
        gradient = slope - p * slope.sum(axis=1, keepdims=True)
        gradient /= len(targets)
        return float(self.loss.apply("value", y, p, log_p).sum(dtype=np.float64)) / len(targets), gradient

    def sum_scores(self, z: Array, targets: NDArray[Any]) -> float:
        """The number of samples whose largest logit is that of their class."""
        return float(np.count_nonzero(z.argmax(axis=1) == targets))

    def predict(self, z: Array) -> NDArray[np.int64]:
        """The most probable class of each sample, (n,)."""
        labels: NDArray[np.int64] = z.argmax(axis=1)
        return labels

    def predict_proba(self, z: Array) -> Array:
        """The probability of each class, (n, k), rows sum to 1."""
        return np.exp(log_softmax(z))

    def evaluate(self, z: Array, targets: NDArray[Any]) -> Evaluation:
        """Loss, accuracy, predictions and probabilities."""
        predictions = self.predict(z)
        with np.errstate(all="ignore"):
            log_p, p, y = _compare(z, targets)
            losses: Array = self.loss.apply("value", y, p, log_p).sum(axis=1)
        return Evaluation(
            loss=float(losses.mean(dtype=np.float64)),
            score=float((predictions == targets).mean()),
            labels=targets,
            predictions=predictions,
            probabilities=p,
            score_name=self.score_name,
        )


OBJECTIVES: dict[str, type[Objective]] = {objective.link: objective for objective in (SoftmaxClassification,)}


def make_objective(loss: Loss) -> Objective:
    """The objective that trains with a loss: the one whose output link the loss is made for."""
    return OBJECTIVES[loss.link](loss)


def _compare(logits: Array, labels: Labels) -> tuple[Array, Array, Array]:
    """Compute log p, p and y, each (n, k)."""
    log_p = log_softmax(logits)
    y = np.zeros_like(log_p)
    y[np.arange(len(labels)), labels] = 1
    return log_p, np.exp(log_p), y
