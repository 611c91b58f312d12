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

__all__ = ["Objective", "SoftmaxClassification"]


class Objective(ABC):
    """Base of all objectives.

    Args:
        loss: the elementwise loss, with its hyperparameters.

    Attributes:
        link: name of the output link.
        score_name: name of the score, of which more is better.
    """

    link: ClassVar[str]
    score_name: ClassVar[str]

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
    def evaluate(self, z: Array, targets: NDArray[Any]) -> Evaluation:
        """Loss, score and answers from the output layer's z, (n, k), and n targets."""


class SoftmaxClassification(Objective):
    """One class of k for each sample: softmax turns z into probabilities, and the score is the accuracy.

    The chain rule through softmax is the same for every loss: with h = dL/dlog p, the loss's `derivative`,

        dL/dz_j = h_j - p_j * sum_i h_i          (nn/losses.py derives it)
    """

    link = "softmax"
    score_name = "accuracy"

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

    def evaluate(self, z: Array, targets: NDArray[Any]) -> Evaluation:
        """Loss, accuracy, predictions and probabilities."""
        predictions = z.argmax(axis=1)
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


def _compare(logits: Array, labels: Labels) -> tuple[Array, Array, Array]:
    """Compute log p, p and y, each (n, k)."""
    log_p = log_softmax(logits)
    y = np.zeros_like(log_p)
    y[np.arange(len(labels)), labels] = 1
    return log_p, np.exp(log_p), y
