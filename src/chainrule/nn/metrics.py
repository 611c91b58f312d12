"""How good a classifier is: its loss, its accuracy, and which classes it takes for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evaluation", "make_class_report"]


@dataclass(frozen=True)
class Evaluation:
    """A network's answers on n labelled samples of k classes.

    Attributes:
        loss: mean loss, without any penalty on the weights.
        score: the fraction classified correctly.
        labels: the right answers, (n,) int64.
        predictions: the network's answers, (n,) int64.
        probabilities: the distribution that it gave for each sample, (n, k), rows sum to 1.
    """

    loss: float
    score: float
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    probabilities: NDArray[np.floating[Any]]
    score_name: str = "accuracy"

    @property
    def accuracy(self) -> float:
        """The fraction classified correctly: the score of a classifier."""
        return self.score


def make_class_report(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, Any]:
    """Compute the scores of each class, and the confusion matrix.

    Args:
        evaluation: labels and predictions, (n,).
        classes: the k class names, in the order of the labels.

    Returns:
        `per_class`: class name to `precision`, `recall`, `f1` (0 if undefined) and `support` (samples of the class);
        `confusion_matrix`: k rows of k counts, row i column j counting samples of class i that were predicted as j.
    """
    k = len(classes)
    counts = np.bincount(k * evaluation.labels + evaluation.predictions, minlength=k * k).reshape(k, k)
    correct, support, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    per_class = {
        name: {
            "precision": float(correct[i] / max(predicted[i], 1)),
            "recall": float(correct[i] / max(support[i], 1)),
            "f1": float(2 * correct[i] / max(support[i] + predicted[i], 1)),
            "support": int(support[i]),
        }
        for i, name in enumerate(classes)
    }
    return {"per_class": per_class, "confusion_matrix": counts.tolist()}
