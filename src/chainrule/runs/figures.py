"""The figures of a run: learning curves, confusion matrix, most confident mistakes, samples; as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chainrule.charts.chart import ConfusionMatrix, ImageGrid, encode_png
from chainrule.charts.mpl_charts import draw_chart, save_figure
from chainrule.charts.mpl_style import new_figure, use_style
from chainrule.charts.palette import LIGHT
from chainrule.core.extras import needs_extra
from chainrule.data import Dataset
from chainrule.nn.metrics import Evaluation
from chainrule.training.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_all"]

_MAX_SAMPLES = 30  # classes of which an image is shown
_MAX_MISTAKES = 25


@needs_extra("Figures", "train")
def draw_all(
    folder: Path, *, history: History, dataset: Dataset, test: Evaluation, counts: Sequence[Sequence[int]]
) -> dict[str, Path]:
    """Draw every figure that the data allow.

    Args:
        folder: an existing folder for the PNG files.
        history: the finished epochs; without any there are no learning curves.
        dataset: the dataset; its images are drawn if it has an image shape.
        test: the evaluation on the test set.
        counts: the confusion matrix, (k, k): rows are true classes, columns predictions.

    Returns:
        Path by name: `learning_curves`, `confusion_matrix`, `worst_mistakes`, `samples`.
    """
    figures = {"confusion_matrix": draw_chart(ConfusionMatrix(dataset.classes, counts, {}))}
    if len(history):
        figures["learning_curves"] = _draw_learning_curves(history)
    if dataset.image_shape is not None:
        figures["samples"] = _draw_samples(dataset)
        if (test.predictions != test.labels).any():
            figures["worst_mistakes"] = _draw_worst_mistakes(dataset, test)
    paths = {name: folder / f"{name}.png" for name in figures}
    for name, path in paths.items():
        save_figure(figures[name], path)
    return paths


def _draw_learning_curves(history: History) -> Figure:
    from matplotlib.ticker import MaxNLocator

    epochs = history.column("epoch")
    with use_style():
        figure = new_figure(6.5, 2.6)
        for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            scale, unit = (100, " (%)") if name == "accuracy" else (1, "")
            for part, color in zip(("train", "val"), LIGHT.series, strict=False):
                values = history.column(f"{part}_{name}")
                if values[-1] is not None:
                    label = "training (running mean)" if part == "train" else "validation (after the epoch)"
                    axes.plot(
                        epochs, [scale * (v or 0.0) for v in values], "o-", color=color, label=label, markersize=3
                    )
            axes.set(xlabel="epoch", ylabel=name + unit)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.legend()
    return figure


def _draw_worst_mistakes(dataset: Dataset, test: Evaluation) -> Figure:
    """Draw the misclassified test images, the most confident predictions first."""
    confidence = test.probabilities[np.arange(len(test.labels)), test.predictions]
    wrong = np.flatnonzero(test.predictions != test.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MAX_MISTAKES]
    titles = [
        f"{dataset.classes[test.predictions[i]]} {100 * confidence[i]:.2f} %\ntrue: {dataset.classes[test.labels[i]]}"
        for i in worst
    ]
    images = [encode_png(dataset.x_test[i].reshape(dataset.image_shape)) for i in worst]
    return draw_chart(ImageGrid(images, titles))


def _draw_samples(dataset: Dataset) -> Figure:
    labels, first = np.unique(dataset.y_train, return_index=True)
    images = [encode_png(dataset.x_train[i].reshape(dataset.image_shape)) for i in first[:_MAX_SAMPLES]]
    return draw_chart(ImageGrid(images, [dataset.classes[label] for label in labels[:_MAX_SAMPLES]]))
