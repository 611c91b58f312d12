"""How good a classifier is: its loss, its accuracy, and which classes it takes for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evaluation", "class_report"]


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


def class_report(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, Any]:
    """Scores of each class and the confusion matrix, by scikit-learn.

    Args:
        evaluation: the answers to score.
        classes: the k class names, in the order of the labels.

    Returns:
        `per_class`: class name to `precision`, `recall`, `f1` (0 where undefined) and `support` (samples of the
        class); `confusion_matrix`: k rows of k counts, row i column j counting samples of class i taken for class j.
    """
    # Imported here because it takes a second, which `--help` and the first step should not wait for.
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    numbers = list(range(len(classes)))
    scores = precision_recall_fscore_support(
        evaluation.labels, evaluation.predictions, labels=numbers, zero_division=0.0
    )
    per_class = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in zip(classes, *scores, strict=True)
    }
    counts = confusion_matrix(evaluation.labels, evaluation.predictions, labels=numbers)
    return {"per_class": per_class, "confusion_matrix": counts.tolist()}
