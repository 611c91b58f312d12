"""Figures of a run: what it learned, where it errs, and what that looks like. Drawn by matplotlib as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chainrule.data import Dataset
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.parameters import Array
    from chainrule.training.history import History

__all__ = ["draw_all"]

# With more classes than this, figures have no room for numbers and names.
_READABLE_CLASSES = 30

_TRAIN_COLOUR, _VALIDATION_COLOUR, _GREY = "#4269d0", "#e0691a", "#666666"


def draw_all(
    folder: Path, *, history: History, dataset: Dataset, test: Evaluation, counts: Sequence[Sequence[int]]
) -> dict[str, Path]:
    """Draw every figure that the data allow.

    Args:
        folder: where the PNG files go; must exist.
        history: records of the finished epochs; none gives no learning curves.
        dataset: for its images (if it has any) and class names.
        test: answers on the test set.
        counts: the confusion matrix, row the true class, column the answer.

    Returns:
        Path by name: `learning_curves`, `confusion_matrix`, `worst_mistakes`, `samples`.
    """
    drawings: dict[str, Callable[[], Figure]] = {"confusion_matrix": lambda: _confusion_matrix(counts, dataset.classes)}
    if len(history):
        drawings["learning_curves"] = lambda: _learning_curves(history)
    if dataset.image_shape is not None:
        drawings["samples"] = lambda: _samples(dataset)
        if (test.predictions != test.labels).any():
            drawings["worst_mistakes"] = lambda: _worst_mistakes(dataset, test)
    paths = {}
    for name, draw in drawings.items():
        with replacing(folder / f"{name}.png") as temporary:
            # Software and date would make equal runs have unequal files.
            draw().savefig(temporary, format="png", dpi=120, metadata={"Software": None})
        paths[name] = folder / f"{name}.png"
    return paths


def _figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Not pyplot's: nothing global is touched and no window can open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _learning_curves(history: History) -> Figure:
    """Loss and accuracy by epoch, training and validation."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(10, 4)
    epochs = history.column("epoch")
    for axes, name, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("", " (%)"), strict=True):
        scale = 100 if unit else 1
        for part, label, colour in (
            ("train", "training, as it went", _TRAIN_COLOUR),
            ("val", "validation, after the epoch", _VALIDATION_COLOUR),
        ):
            values = history.column(f"{part}_{name}")
            if values[-1] is not None:
                axes.plot(epochs, [scale * (v or 0.0) for v in values], "o-", color=colour, label=label, markersize=4)
        axes.set(xlabel="epoch", ylabel=name + unit, title=name.capitalize())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def _confusion_matrix(counts: Sequence[Sequence[int]], classes: tuple[str, ...]) -> Figure:
    """Counts, shaded by the share of the true class; right answers in blue, mistakes in orange."""
    matrix = np.array(counts)
    classes = tuple(_plain(name) for name in classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    k = len(classes)
    size = min(max(5.0, 0.62 * k + 2.2), 16.0)
    figure = _figure(size, size)
    axes = figure.subplots()
    right = np.eye(k, dtype=bool)
    # Mistakes are rare: their shade is stretched so that 1 % and 10 % can be told apart at a glance.
    shade = np.where(right, shares, np.sqrt(shares))
    axes.imshow(np.ma.masked_where(~right, shade), cmap="Blues", vmin=0, vmax=1.3)
    axes.imshow(np.ma.masked_where(right, shade), cmap="Oranges", vmin=0, vmax=1)
    if k <= _READABLE_CLASSES:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            dark = shade[row, column] > (0.75 if row == column else 0.6)
            text, colour = str(matrix[row, column]), "white" if dark else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
        names = [f"{name}  {100 * share:.1f} %" for name, share in zip(classes, shares.diagonal(), strict=True)]
        axes.set_xticks(range(k), classes, rotation=45, ha="right")
        axes.set_yticks(range(k), names)
        axes.set_xticks(np.arange(k + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(k + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
    accuracy = 100 * matrix.trace() / max(matrix.sum(), 1)
    axes.set(xlabel="answer of the network", ylabel="true class, and the share of it that was recognised")
    axes.set_title(f"Test set: {accuracy:.2f} % of {matrix.sum()} right")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def _worst_mistakes(dataset: Dataset, test: Evaluation) -> Figure:
    """The wrong answers that the network was surest of."""
    sure = test.probabilities[np.arange(len(test.labels)), test.predictions]
    wrong = np.flatnonzero(test.predictions != test.labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:25]
    titles = [
        f"said {dataset.classes[test.predictions[i]]} ({100 * sure[i]:.2f} %)\ntruth: {dataset.classes[test.labels[i]]}"
        for i in worst
    ]
    return _grid(dataset, dataset.x_test[worst], titles, "The mistakes that the network was surest of")


def _samples(dataset: Dataset) -> Figure:
    """The first training image of each class."""
    labels, first = np.unique(dataset.y_train, return_index=True)
    labels, first = labels[:_READABLE_CLASSES], first[:_READABLE_CLASSES]
    names = [dataset.classes[label] for label in labels]
    return _grid(dataset, dataset.x_train[first], names, f"One training image a class of {dataset.name}")


def _grid(dataset: Dataset, images: Array, titles: Sequence[str], heading: str) -> Figure:
    """Images in rows of five with a title above each."""
    rows = -(-len(images) // 5)
    figure = _figure(8.5, 1.75 * rows + 0.6)
    figure.suptitle(heading, fontsize=12)
    cells: Any = figure.subplots(rows, 5, squeeze=False).flat
    for position, axes in enumerate(cells):
        axes.set_axis_off()
        if position < len(images):
            _image(axes, images[position].reshape(dataset.image_shape), titles[position])
    return figure


def _image(axes: Axes, pixels: Array, title: str) -> None:
    axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(_plain(title), fontsize=8)


def _plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
