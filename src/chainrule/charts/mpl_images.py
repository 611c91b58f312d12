"""Image grids and confusion matrices, drawn by matplotlib."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.charts.chart import ConfusionMatrix, ImageGrid
from chainrule.charts.mpl_style import GRAY, escape_mathtext, mark_as_empty, new_figure
from chainrule.charts.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["draw_confusion_matrix", "draw_image_grid"]

# With more classes than these, there is no room for counts in the cells, or for names at the axes.
_MAX_COUNTED, _MAX_NAMED = 20, 60

_CHARACTER = 0.6  # average width of a character, relative to the font size


def draw_confusion_matrix(chart: ConfusionMatrix, width: float) -> Figure:
    """Draw the counts, and beside them examples of the most frequent mistakes."""
    k = len(chart.classes)
    matrix = np.array(chart.counts, dtype=np.int64).reshape(k, k)
    mistakes = matrix * ~np.eye(k, dtype=bool)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:3]
    worst = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, mistakes.shape), strict=True) if mistakes[i, j]]
    worst = [(i, j) for i, j in worst if chart.examples.get(f"{i},{j}")]
    figure = new_figure(width, min(0.72 * width, max(1.8, 0.42 * k + 1.1)))
    if not k:
        mark_as_empty(figure.subplots())
        return figure
    if not worst:
        _draw_counts(figure.subplots(), matrix, chart.classes)
    else:
        side_width = 0.27 * width
        parts: Any = figure.subfigures(1, 2, width_ratios=[width - side_width, side_width])
        _draw_counts(parts[0].subplots(), matrix, chart.classes)
        captions = [f"{chart.classes[i]} predicted as {chart.classes[j]}: {matrix[i, j]} times" for i, j in worst]
        images = [list(chart.examples[f"{i},{j}"])[:3] for i, j in worst]
        _draw_examples(parts[1], images, captions, side_width, figure.get_figheight())
    return figure


def _draw_counts(axes: Axes, matrix: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Draw the cells, shaded by their share of the true class, with the recall of each class beside its name."""
    from matplotlib.colors import LinearSegmentedColormap

    k = len(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(k, dtype=bool)
    # Mistakes are rare: the square root makes 1 % and 10 % distinguishable.
    shade = np.where(diagonal, shares, np.sqrt(shares))
    cell_style: dict[str, Any] = {"vmin": 0, "vmax": 1, "edgecolors": "white"}
    cell_style["linewidth"] = 0.8 if k <= _MAX_COUNTED else 0.2 if k <= _MAX_NAMED else 0
    edges = np.arange(k + 1) - 0.5
    for hidden, scale in ((~diagonal, LIGHT.correct), (diagonal, LIGHT.wrong)):
        colors = LinearSegmentedColormap.from_list("share", list(scale))
        axes.pcolormesh(edges, edges, np.ma.masked_where(hidden, shade), cmap=colors, **cell_style)
    if k <= _MAX_COUNTED:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            style: dict[str, Any] = {"fontsize": min(7.5, 70 / k), "ha": "center", "va": "center_baseline"}
            style["color"] = "white" if shade[row, column] > 0.75 else "black"
            axes.text(column, row, str(matrix[row, column]), **style)
    if k <= _MAX_NAMED:
        names = [escape_mathtext(name, 18) for name in classes]
        size = min(7.5, 170 / k)
        tilt: dict[str, Any] = {"rotation": 90, "ha": "center"}
        if k <= _MAX_COUNTED:
            tilt = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(k), names, fontsize=size, **tilt)
        recalls = [f"{name}  {100 * share:.1f} %" for name, share in zip(names, shares.diagonal(), strict=True)]
        axes.set_yticks(range(k), recalls, fontsize=size)
    axes.set(xlabel="predicted class", ylabel="true class (recall)", aspect="equal")
    axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5))
    axes.tick_params(which="both", length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _draw_examples(
    figure: Any, images: Sequence[Sequence[str]], captions: Sequence[str], width: float, height: float
) -> None:
    """Draw rows of images, each row below its caption."""
    axes = _add_canvas(figure, width, height)
    block = height / 3
    side = min((width - 0.3) / 3, block - 0.55)
    for row, (files, caption) in enumerate(zip(images, captions, strict=True)):
        top = row * block + 0.12
        lines = _wrap_text(caption, width - 0.1, 7, 2)
        axes.text(0, top, "\n".join(lines), fontsize=7, va="top", linespacing=1.2)
        for column, file in enumerate(files):
            _draw_image(axes, file, column * (side + 0.06), top + 0.14 * len(lines) + 0.05, side)


def draw_image_grid(chart: ImageGrid, width: float) -> Figure:
    """Draw images in rows, each with its title and optionally with bars of probabilities."""
    count = len(chart.images)
    if not count:
        figure = new_figure(width, 1)
        mark_as_empty(figure.subplots())
        return figure
    has_bars = len(chart.probabilities) > 0
    # Bars and their names need two inches beside an image, even if a page has room for more columns.
    columns = max(1, min(chart.columns, count, int(width / 2.1) if has_bars else int(width / 0.5)))
    cell = width / columns
    bars = min(len(chart.classes), 10) if has_bars else 0
    size = 7 if cell >= 0.9 else 5.5
    titles = [_wrap_text(title, cell - 0.08, size, 3) for title in chart.titles]
    side = min(0.85, 0.4 * cell) if has_bars else min(cell - 0.12, 1.1)
    rows = -(-count // columns)
    title_lines = [max(len(lines) for lines in titles[row * columns : (row + 1) * columns]) for row in range(rows)]
    line_height = 1.25 * size / 72
    heights = [line_height * lines + max(side, 0.115 * bars) + 0.2 for lines in title_lines]
    figure = new_figure(width, sum(heights))
    figure.set_layout_engine("none")  # all positions are computed here
    axes = _add_canvas(figure, width, sum(heights))
    for number, file in enumerate(chart.images):
        row, column = divmod(number, columns)
        top, left = sum(heights[:row]) + 0.04, column * cell
        middle = left + (cell - 0.08) / 2
        style: dict[str, Any] = {"fontsize": size, "va": "top", "linespacing": 1.2}
        below = top + line_height * title_lines[row] + 0.04
        if has_bars:
            axes.text(left, top, "\n".join(titles[number]), **style)
            _draw_image(axes, file, left, below, side)
            _draw_probabilities(
                axes, chart.probabilities[number], chart.classes, left + side, below, cell - side - 0.12
            )
        else:
            axes.text(middle, top, "\n".join(titles[number]), ha="center", **style)
            _draw_image(axes, file, middle - side / 2, below, side)
    return figure


def _draw_probabilities(
    axes: Axes, values: Sequence[float], classes: Sequence[str], left: float, top: float, width: float
) -> None:
    """Draw small horizontal bars with class names; of many classes the ten most likely, in class order."""
    shares = np.nan_to_num(np.array(values, dtype=np.float64))
    shown = np.sort(np.argsort(-shares, kind="stable")[:10])
    name_width = 0.52 * width
    best = int(shares.argmax()) if len(shares) else -1
    for position, index in enumerate(shown):
        y = top + 0.115 * (position + 0.5)
        max_length = int((name_width - 0.06) * 72 / (6 * _CHARACTER))
        style: dict[str, Any] = {"fontsize": 6, "va": "center_baseline", "color": "black" if index == best else GRAY}
        axes.text(left + name_width - 0.03, y, escape_mathtext(classes[index], max_length), ha="right", **style)
        length = (width - name_width - 0.26) * min(max(float(shares[index]), 0.0), 1.0)
        color = LIGHT.series[0] if index == best else "#9bb8cc"
        axes.barh(y, length, 0.085, left=left + name_width, color=color)
        if index == best:
            axes.text(left + name_width + length + 0.03, y, f"{100 * shares[index]:.0f} %", **style)
    axes.plot([left + name_width] * 2, [top, top + 0.115 * len(shown)], color=GRAY, linewidth=0.5)


def _add_canvas(figure: Any, width: float, height: float) -> Axes:
    """Add axes over the whole figure with inches as unit and the origin in the upper left corner."""
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_in_layout(False)
    axes.set_autoscale_on(False)
    axes.set(xlim=(-0.03, width - 0.03), ylim=(height, 0))
    return axes


def _draw_image(axes: Axes, file: str, left: float, top: float, side: float) -> None:
    """Draw a base64-encoded PNG file as large as fits into a square, without interpolation."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(file))).convert("RGB"))
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    extent = (left, left + width * scale, top + height * scale, top)
    axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto")


def _wrap_text(text: str, width: float, size: float, max_lines: int) -> list[str]:
    """Wrap text to a width in inches; its own line breaks are kept."""
    max_length = max(4, int(width * 72 / (size * _CHARACTER)))
    lines = [line for own in text.split("\n") for line in textwrap.wrap(own, max_length)]
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], lines[max_lines - 1][: max_length - 2] + " …"]
    return [escape_mathtext(line) for line in lines]
