"""Objectives: what a network is trained for.

An objective puts together the four things that depend on what the output means: the output link (what turns the output
layer's z into an answer), the form of the targets, the loss with its derivative with respect to z, and the score by
which people judge the answers. Networks, optimizers, engines and the training loop know objectives and none of the
four; what is recorded as `train_accuracy` is the score under its name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ConfigError
from chainrule.core.validation import check_class_targets, check_targets
from chainrule.nn.activations import sigmoid
from chainrule.nn.losses import Loss, log_softmax
from chainrule.nn.metrics import Evaluation
from chainrule.nn.parameters import Array, Labels

__all__ = [
    *("OBJECTIVES", "MultilabelClassification", "Objective", "Regression", "SoftmaxClassification", "make_objective"),
]


class Objective(ABC):
    """Base of all objectives.

    Args:
        loss: the elementwise loss, with its hyperparameters.

    Attributes:
        has_classes: whether targets are class numbers, one for each sample, or probabilities of the classes.
        links: names of the output links that it can have, which a loss names too.
        min_outputs: how many outputs a network needs at least.
        score_name: name of the score, of which more is better.
        score_range: the lowest and the highest score that there is.
        score_constants: numbers for each output that scores of training samples depend on; empty for none.
    """

    has_classes: ClassVar[bool] = False
    links: ClassVar[tuple[str, ...]]
    min_outputs: ClassVar[int] = 1
    score_name: ClassVar[str]
    score_range: ClassVar[tuple[float, float]]

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.smoothing: float = getattr(loss, "label_smoothing", 0.0)
        self.score_constants: NDArray[np.float64] = np.zeros(0)

    def prepare(self, targets: NDArray[Any]) -> None:
        """Called with the training targets before the first step."""
        self.score_constants = np.zeros(0)

    @abstractmethod
    def check_targets(self, y: ArrayLike, outputs: int, dtype: str, name: str = "y") -> NDArray[Any]:
        """Targets in the form that the other methods take, for a network with that many outputs of this dtype.

        Raises:
            ConfigError: they do not fit; the message says what is expected.
        """

    @abstractmethod
    def compute_losses(self, z: Array, targets: NDArray[Any]) -> tuple[Array, Array]:
        """What each output adds to its sample's loss in training, (n, k), and the derivative of the sum over them."""

    @abstractmethod
    def compute_scores(self, z: Array, targets: NDArray[Any]) -> NDArray[np.float64]:
        """Each sample's score in training, (n,)."""

    @abstractmethod
    def predict(self, z: Array) -> NDArray[Any]:
        """The answers, in the form of the targets, from the output layer's z, (n, k)."""

    @abstractmethod
    def predict_proba(self, z: Array) -> Array:
        """The probabilities of the classes, (n, k), from the output layer's z, (n, k).

        Raises:
            ConfigError: the objective has none.
        """

    @abstractmethod
    def average(self, z: Array) -> Array:
        """The z, (n, k), whose answer is the mean of the answers of several networks' z, (m, n, k)."""

    @abstractmethod
    def evaluate(self, z: Array, targets: NDArray[Any], weights: Array | None = None) -> Evaluation:
        """Loss, without label smoothing, score and answers from z, (n, k), n targets and the samples' weights, (n,)."""

    def loss_and_gradient(self, z: Array, targets: NDArray[Any], weights: Array | None = None) -> tuple[float, Array]:
        """The mean loss of a batch and its gradient.

        Args:
            z: the output layer's z, (n, k).
            targets: in the form of `check_targets`.
            weights: of the samples, (n,), with a mean of 1 over all training samples; None for equal ones.

        Returns:
            The weighted losses' sum, and its derivative with respect to z, (n, k), of its dtype; each divided by n. A
            batch that is shorter than the others divides by its own length.
        """
        losses, gradient = self.compute_losses(z, targets)
        if weights is not None:
            losses, gradient = losses * weights[:, None], gradient * weights[:, None]
        gradient /= len(targets)
        return float(losses.sum(dtype=np.float64)) / len(targets), gradient

    def sum_scores(self, z: Array, targets: NDArray[Any], weights: Array | None = None) -> float:
        """The weighted sum of the samples' scores."""
        scores = self.compute_scores(z, targets)
        return float(scores.sum() if weights is None else (scores * weights).sum())


class SoftmaxClassification(Objective):
    """One class of k for each sample: softmax turns z into probabilities, and the score is the accuracy.

    The chain rule through softmax is the same for every loss: with h = dL/dlog p, the loss's `derivative`,

        dL/dz_j = h_j - p_j * sum_i h_i          (nn/losses.py derives it)

    Targets are class numbers, (n,), or soft: the probabilities of the k classes, (n, k), of which the largest counts
    for the score. With label smoothing s, y is 1 - s + s / k for the right class and s / k for the others; for soft
    targets (1 - s) y + s / k.
    """

    has_classes = True
    links = ("softmax",)
    min_outputs = 2
    score_name = "accuracy"
    score_range = (0.0, 1.0)

    def check_targets(self, y: ArrayLike, outputs: int, dtype: str, name: str = "y") -> NDArray[Any]:
        """Labels as an (n,) int64 array, each from 0 to k - 1, or probabilities of the classes, (n, k)."""
        return check_class_targets(y, n_classes=outputs, dtype=dtype, name=name)

    def compute_losses(self, z: Array, targets: NDArray[Any]) -> tuple[Array, Array]:
        """The loss's `value`, and the chain rule through softmax."""
        log_p, p, y = _compare(z, targets, self.smoothing)
        slope = self.loss.apply("derivative", y, p, log_p)
        gradient = slope - p * slope.sum(axis=1, keepdims=True)
        return self.loss.apply("value", y, p, log_p), gradient

    def compute_scores(self, z: Array, targets: NDArray[Any]) -> NDArray[np.float64]:
        """1 for each sample whose largest logit is that of its class, else 0."""
        scores: NDArray[np.float64] = (z.argmax(axis=1) == _find_classes(targets)).astype(np.float64)
        return scores

    def predict(self, z: Array) -> NDArray[np.int64]:
        """The most probable class of each sample, (n,)."""
        labels: NDArray[np.int64] = z.argmax(axis=1)
        return labels

    def predict_proba(self, z: Array) -> Array:
        """The probability of each class, (n, k), rows sum to 1."""
        return np.exp(log_softmax(z))

    def average(self, z: Array) -> Array:
        """The logarithm of the mean probabilities."""
        return _log_mean_exp(np.stack([log_softmax(logits) for logits in z]))

    def evaluate(self, z: Array, targets: NDArray[Any], weights: Array | None = None) -> Evaluation:
        """Loss, accuracy, predictions and probabilities."""
        predictions, labels = self.predict(z), _find_classes(targets)
        with np.errstate(all="ignore"):
            log_p, p, y = _compare(z, targets, 0.0)
            losses: Array = self.loss.apply("value", y, p, log_p).sum(axis=1)
        return Evaluation(
            loss=_average(losses, weights),
            score=_average(predictions == labels, weights),
            labels=labels,
            predictions=predictions,
            probabilities=p,
            score_name=self.score_name,
        )


class _ElementwiseObjective(Objective):
    """An objective whose outputs do not depend on each other; its loss is an `ElementwiseLoss`."""

    def compute_losses(self, z: Array, targets: NDArray[Any]) -> tuple[Array, Array]:
        """The loss's `value` and `derivative`."""
        y = targets * z.dtype.type(1 - self.smoothing) + z.dtype.type(self.smoothing / 2) if self.smoothing else targets
        return self.loss.apply("value", y, z), self.loss.apply("derivative", y, z)

    def _compute_mean_loss(self, z: Array, targets: NDArray[Any], weights: Array | None) -> float:
        with np.errstate(all="ignore"):
            return _average(self.loss.apply("value", targets, z).sum(axis=1), weights)


class Regression(_ElementwiseObjective):
    """Numbers for each sample: the answer is z, or exp(z) for counts, and the score is R2.

    R2 is 1 minus the mean squared error divided by the variance of the target, averaged over the targets. That of
    training samples uses the variance over the whole training set.
    """

    links = ("identity", "exp")
    score_name = "r2"
    score_range = (-math.inf, 1.0)

    def prepare(self, targets: NDArray[Any]) -> None:
        """Compute 1 / variance of each target; a constant target counts nothing."""
        variance = targets.var(axis=0, dtype=np.float64)
        self.score_constants = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)

    def check_targets(self, y: ArrayLike, outputs: int, dtype: str, name: str = "y") -> Array:
        """Numbers as an (n, k) array; at least 0 for counts."""
        low = 0.0 if self.loss.link == "exp" else -math.inf
        return check_targets(y, columns=outputs, dtype=dtype, low=low, name=name)

    def compute_scores(self, z: Array, targets: NDArray[Any]) -> NDArray[np.float64]:
        """1 - the mean over the targets of squared error / variance, whose mean over the training set is R2."""
        constants = self.score_constants if len(self.score_constants) else np.ones(z.shape[1])
        errors = (self._apply_link(z) - targets).astype(np.float64)
        scores: NDArray[np.float64] = 1.0 - (errors * errors * constants).mean(axis=1)
        return scores

    def predict(self, z: Array) -> Array:
        """The expected targets: (n,) for one target, else (n, k)."""
        return _squeeze(self._apply_link(z))

    def predict_proba(self, z: Array) -> Array:
        """Refused: regression has no classes."""
        raise ConfigError(f"The loss {type(self.loss).__name__} is for regression, which has no classes: use predict.")

    def average(self, z: Array) -> Array:
        """The mean, or the logarithm of the mean count."""
        if self.loss.link == "exp":
            return _log_mean_exp(z)
        mean: Array = z.mean(axis=0)
        return mean

    def evaluate(self, z: Array, targets: NDArray[Any], weights: Array | None = None) -> Evaluation:
        """Loss, R2 and predictions."""
        answers = self._apply_link(z)
        residual, total = (
            np.average(np.square(difference, dtype=np.float64), axis=0, weights=weights)
            for difference in (answers - targets, targets - np.average(targets, axis=0, weights=weights))
        )
        # As usual for a constant target: 1 if it is met exactly, else 0.
        scores = np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), residual == 0)
        return Evaluation(
            loss=self._compute_mean_loss(z, targets, weights),
            score=float(scores.mean()),
            labels=_squeeze(targets),
            predictions=self.predict(z),
            probabilities=None,
            score_name=self.score_name,
        )

    def _apply_link(self, z: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.exp(z) if self.loss.link == "exp" else z


class MultilabelClassification(_ElementwiseObjective):
    """Any number of k labels for each sample, each true with probability sigmoid(z): with k = 1, binary classification.

    The score is the fraction of samples with all labels right. With label smoothing s, y is 1 - s / 2 or s / 2.
    """

    links = ("sigmoid",)
    score_name = "accuracy"
    score_range = (0.0, 1.0)

    def check_targets(self, y: ArrayLike, outputs: int, dtype: str, name: str = "y") -> Array:
        """An (n, k) array of zeros and ones."""
        targets = check_targets(y, columns=outputs, dtype=dtype, low=0.0, high=1.0, name=name)
        wrong = (targets != 0) & (targets != 1)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ConfigError(f"{name} must hold 0 (false) and 1 (true), got {targets[row, column]:g} in row {row}.")
        return targets

    def compute_scores(self, z: Array, targets: NDArray[Any]) -> NDArray[np.float64]:
        """1 for each sample whose labels are all right, else 0."""
        scores: NDArray[np.float64] = ((z > 0) == (targets > 0.5)).all(axis=1).astype(np.float64)
        return scores

    def predict(self, z: Array) -> NDArray[np.int64]:
        """0 or 1 for each label: (n,) for one label, else (n, k)."""
        return _squeeze((z > 0).astype(np.int64))

    def predict_proba(self, z: Array) -> Array:
        """The probability of each label, (n, k)."""
        return sigmoid(z)

    def average(self, z: Array) -> Array:
        """log(p / (1 - p)) of the mean probability p, where log p = -log(1 + exp(-z)) and 1 - p is p at -z."""
        return _log_mean_exp(-np.logaddexp(0, -z)) - _log_mean_exp(-np.logaddexp(0, z))

    def evaluate(self, z: Array, targets: NDArray[Any], weights: Array | None = None) -> Evaluation:
        """Loss, accuracy, predictions and probabilities."""
        return Evaluation(
            loss=self._compute_mean_loss(z, targets, weights),
            score=_average(self.compute_scores(z, targets), weights),
            labels=_squeeze(targets),
            predictions=self.predict(z),
            probabilities=self.predict_proba(z),
            score_name=self.score_name,
        )


OBJECTIVES: dict[str, type[Objective]] = {
    link: objective
    for objective in (SoftmaxClassification, Regression, MultilabelClassification)
    for link in objective.links
}


def make_objective(loss: Loss) -> Objective:
    """The objective that trains with a loss: the one whose output link the loss is made for.

    Raises:
        ConfigError: there is none.
    """
    if loss.link not in OBJECTIVES:
        raise ConfigError(
            f"The link of {type(loss).__name__} must be one of {', '.join(OBJECTIVES)}, got {loss.link!r:.100}."
        )
    return OBJECTIVES[loss.link](loss)


def _find_classes(targets: NDArray[Any]) -> Labels:
    """The class numbers, (n,), of class numbers or of probabilities."""
    return targets if targets.ndim == 1 else targets.argmax(axis=1)


def _compare(logits: Array, targets: NDArray[Any], smoothing: float) -> tuple[Array, Array, Array]:
    """Compute log p, p and y, each (n, k)."""
    log_p = log_softmax(logits)
    rest = smoothing / logits.shape[1]
    if targets.ndim == 2:
        soft = targets.astype(log_p.dtype, copy=False)
        y = soft * log_p.dtype.type(1 - smoothing) + log_p.dtype.type(rest) if smoothing else soft
    else:
        y = np.full_like(log_p, rest)
        y[np.arange(len(targets)), targets] = 1 - smoothing + rest
    return log_p, np.exp(log_p), y


def _log_mean_exp(values: Array) -> Array:
    """log of the mean of exp over the first axis, by subtracting the largest, as in `log_softmax`."""
    largest: Array = values.max(axis=0)
    result: Array = largest + np.log(np.exp(values - largest).mean(axis=0))
    return result


def _squeeze(values: NDArray[Any]) -> NDArray[Any]:
    """(n,) for one output, else (n, k)."""
    return values[:, 0] if values.shape[1] == 1 else values


def _average(values: NDArray[Any], weights: Array | None) -> float:
    """The weighted mean of the samples' values; NaN without samples."""
    if weights is None:
        return float(values.mean(dtype=np.float64))
    return float(np.average(values.astype(np.float64), weights=weights))
