"""How good a network is: its loss, its score, and which classes it takes for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evaluation", "make_class_report"]


@dataclass(frozen=True)
class Evaluation:
    """A network's answers on n samples with known targets.

    Attributes:
        loss: mean loss, without any penalty on the weights.
        score: the objective's score, such as the fraction classified correctly.
        labels: the right answers: class numbers, (n,) int64, or targets, (n, k).
        predictions: the network's answers, in the same form.
        probabilities: of the classes, (n, k); rows sum to 1 where a sample has one class. None for regression.
        score_name: which score it is.
    """

    loss: float
    score: float
    labels: NDArray[Any]
    predictions: NDArray[Any]
    probabilities: NDArray[np.floating[Any]] | None
    score_name: str = "accuracy"

    @property
    def accuracy(self) -> float:
        """The fraction classified correctly: the score of a classifier.

        Raises:
            AttributeError: the score is another one.
        """
        if self.score_name != "accuracy":
            raise AttributeError(f"This evaluation has no accuracy: its score is {self.score_name}.")
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
