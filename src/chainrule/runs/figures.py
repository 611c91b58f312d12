"""The figures of a run: learning curves, confusion matrix, most confident mistakes, samples; as PNG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chainrule.charts.chart import ConfusionMatrix, ImageGrid, LineChart, Series, encode_png
from chainrule.charts.renderer import build_panels, build_spec, save_spec
from chainrule.core.extras import needs_extra
from chainrule.data import Dataset
from chainrule.nn.metrics import Evaluation
from chainrule.training.history import History

__all__ = ["draw_all"]

_MAX_SAMPLES = 30  # classes of which an image is shown
_MAX_MISTAKES = 25


@needs_extra("Figures", "train")
def draw_all(
    folder: Path, *, history: History, dataset: Dataset, test: Evaluation, counts: Sequence[Sequence[int]] | None
) -> dict[str, Path]:
    """Draw every figure that the data allow.

    Args:
        folder: an existing folder for the PNG files.
        history: the finished epochs; without any there are no learning curves.
        dataset: the dataset; its images are drawn if it has an image shape.
        test: the evaluation on the test set.
        counts: the confusion matrix, (k, k): rows are true classes, columns predictions; None without classes.

    Returns:
        Path by name: `learning_curves`, `confusion_matrix`, `worst_mistakes`, `samples`.
    """
    specs = {}
    if counts is not None:
        specs["confusion_matrix"] = build_spec(ConfusionMatrix(dataset.classes, counts, {}))
    if len(history):
        specs["learning_curves"] = build_panels(_chart_learning_curves(history))
    if dataset.image_shape is not None and dataset.classes:
        specs["samples"] = build_spec(_chart_samples(dataset))
        if (test.predictions != test.labels).any():
            specs["worst_mistakes"] = build_spec(_chart_worst_mistakes(dataset, test))
    paths = {name: folder / f"{name}.png" for name in specs}
    for name, path in paths.items():
        save_spec(specs[name], path)
    return paths


def _chart_learning_curves(history: History) -> list[LineChart]:
    """Chart loss and score by epoch, of training and validation."""

    def column(name: str, scale: float = 1) -> list[float]:
        return [math.nan if value is None else scale * value for value in history.column(name)]

    charts = []
    score = history[0].score_name
    in_percent = score == "accuracy"
    for name, scale, label in (("loss", 1, "loss"), (score, 100 if in_percent else 1, score + " (%)" * in_percent)):
        parts = {
            "training (running mean)": column(f"train_{name}", scale),
            "validation (after the epoch)": column(f"val_{name}", scale),
        }
        series = [Series(part, column("epoch"), values) for part, values in parts.items() if math.isfinite(values[-1])]
        charts.append(LineChart("epoch", label, series))
    return charts


def _chart_worst_mistakes(dataset: Dataset, test: Evaluation) -> ImageGrid:
    """Chart the misclassified test images, the most confident predictions first."""
    confidence = np.asarray(test.probabilities)[np.arange(len(test.labels)), test.predictions]
    wrong = np.flatnonzero(test.predictions != test.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MAX_MISTAKES]
    titles = [
        f"{dataset.classes[test.predictions[i]]} {100 * confidence[i]:.2f} %\ntrue: {dataset.classes[test.labels[i]]}"
        for i in worst
    ]
    images = [encode_png(dataset.x_test[i].reshape(dataset.image_shape)) for i in worst]
    return ImageGrid(images, titles)


def _chart_samples(dataset: Dataset) -> ImageGrid:
    labels, first = np.unique(dataset.train_labels, return_index=True)
    images = [encode_png(dataset.x_train[i].reshape(dataset.image_shape)) for i in first[:_MAX_SAMPLES]]
    return ImageGrid(images, [dataset.classes[label] for label in labels[:_MAX_SAMPLES]])
