"""Confusion matrices and grids of small pictures on paper."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.report.charts import Confusion, Images
from chainrule.report.pdf.mpl_style import COLOURS, GREY, empty_figure, plain, say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["confusion", "images"]

# With more classes than these, a cell has no room for its count, and an axis none for names.
_COUNTED, _NAMED = 20, 60

_LETTER = 0.6  # the width of a usual letter, in parts of the font size


def confusion(chart: Confusion, width: float) -> Figure:
    """The counts, and beside them examples of what was confused most."""
    k = len(chart.classes)
    matrix = np.array(chart.counts, dtype=np.int64).reshape(k, k)
    wrong = matrix * ~np.eye(k, dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:3]
    worst = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[i, j]]
    worst = [(i, j) for i, j in worst if chart.examples.get(f"{i},{j}")]
    beside = 0.27 * width if worst else 0.0
    figure = empty_figure(width, min(0.72 * width, max(1.8, 0.42 * k + 1.1)))
    if not k:
        say_empty(figure.subplots())
        return figure
    if not worst:
        _matrix(figure.subplots(), matrix, chart.classes)
    else:
        parts: Any = figure.subfigures(1, 2, width_ratios=[width - beside, beside])
        _matrix(parts[0].subplots(), matrix, chart.classes)
        captions = [f"{chart.classes[i]} taken for {chart.classes[j]}: {matrix[i, j]} times" for i, j in worst]
        shown = [list(chart.examples[f"{i},{j}"])[:3] for i, j in worst]
        _examples(parts[1], shown, captions, beside, figure.get_figheight())
    return figure


def _matrix(axes: Axes, matrix: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Counts, shaded by the share of the true class: right answers blue, mistakes orange."""
    k = len(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    hits = np.eye(k, dtype=bool)
    # Mistakes are rare: their shade is stretched so that 1 % and 10 % can be told apart at a glance.
    shade = np.where(hits, shares, np.sqrt(shares))
    mesh: dict[str, Any] = {"edgecolors": "white", "linewidth": 0.8 if k <= _COUNTED else 0.2}
    edges = np.arange(k + 1) - 0.5
    axes.pcolormesh(edges, edges, np.ma.masked_where(~hits, shade), cmap="Blues", vmin=0, vmax=1.3, **mesh)
    axes.pcolormesh(edges, edges, np.ma.masked_where(hits, shade), cmap="Oranges", vmin=0, vmax=1, **mesh)
    if k <= _COUNTED:
        size = min(7.5, 70 / k)
        for row, column in zip(*np.nonzero(matrix), strict=True):
            dark = shade[row, column] > (0.75 if row == column else 0.6)
            style: dict[str, Any] = {"fontsize": size, "color": "white" if dark else "black"}
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center_baseline", **style)
    if k <= _NAMED:
        names = [plain(name, 18) for name in classes]
        size = min(7.5, 170 / k)
        axes.set_xticks(range(k), names, rotation=90 if k > _COUNTED else 45, ha="right", fontsize=size)
        if k <= _COUNTED:
            axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor")
        else:
            axes.set_xticklabels(names, rotation=90, ha="center")
        axes.set_yticks(range(k), names, fontsize=size)
    axes.set(xlabel="answer of the network", ylabel="true class", aspect="equal")
    axes.set_ylim(k - 0.5, -0.5)
    axes.set_xlim(-0.5, k - 0.5)
    axes.tick_params(which="both", length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _examples(
    figure: Any, pictures: Sequence[Sequence[str]], captions: Sequence[str], width: float, height: float
) -> None:
    """Rows of pictures, each under its caption."""
    axes = _sheet(figure, width, height)
    block = height / 3
    side = min((width - 0.3) / 3, block - 0.55)
    for row, (files, caption) in enumerate(zip(pictures, captions, strict=True)):
        top = row * block + 0.12
        lines = _wrapped(caption, width - 0.1, 7, 2)
        axes.text(0, top, "\n".join(lines), fontsize=7, va="top", linespacing=1.2)
        for column, file in enumerate(files):
            _picture(axes, file, column * (side + 0.06), top + 0.14 * len(lines) + 0.05, side)


def images(chart: Images, width: float) -> Figure:
    """Pictures in rows, each with its title and perhaps bars of probabilities."""
    count = len(chart.pictures)
    if not count:
        figure = empty_figure(width, 1)
        say_empty(figure.subplots())
        return figure
    barred = len(chart.probabilities) > 0
    # Bars and their names need two inches beside a picture, whatever the page on a screen can hold.
    columns = max(1, min(chart.columns, count, int(width / 2.1) if barred else int(width / 0.5)))
    cell = width / columns
    bars = min(len(chart.classes), 10) if barred else 0
    size = 7 if cell >= 0.9 else 5.5
    titles = [_wrapped(title, cell - 0.08, size, 3) for title in chart.titles]
    side = min(0.85, 0.4 * cell) if barred else min(cell - 0.12, 1.1)
    rows = -(-count // columns)
    over = [max(len(lines) for lines in titles[row * columns : (row + 1) * columns]) for row in range(rows)]
    line = 1.25 * size / 72
    heights = [line * lines + max(side, 0.115 * bars) + 0.2 for lines in over]
    figure = empty_figure(width, sum(heights))
    figure.set_layout_engine("none")  # every place is known already
    axes = _sheet(figure, width, sum(heights))
    for number, file in enumerate(chart.pictures):
        row, column = divmod(number, columns)
        top, left = sum(heights[:row]) + 0.04, column * cell
        middle = left + (cell - 0.08) / 2
        place: dict[str, Any] = {"fontsize": size, "va": "top", "linespacing": 1.2}
        below = top + line * over[row] + 0.04
        if barred:
            axes.text(left, top, "\n".join(titles[number]), **place)
            _picture(axes, file, left, below, side)
            _probabilities(axes, chart.probabilities[number], chart.classes, left + side, below, cell - side - 0.12)
        else:
            axes.text(middle, top, "\n".join(titles[number]), ha="center", **place)
            _picture(axes, file, middle - side / 2, below, side)
    return figure


def _probabilities(
    axes: Axes, values: Sequence[float], classes: Sequence[str], left: float, top: float, width: float
) -> None:
    """Small horizontal bars with the names of the classes; of many classes the ten likeliest, in their order."""
    shares = np.nan_to_num(np.array(values, dtype=np.float64))
    kept = np.sort(np.argsort(-shares, kind="stable")[:10])
    names = 0.52 * width  # of it, for the names
    best = int(shares.argmax()) if len(shares) else -1
    for position, index in enumerate(kept):
        y = top + 0.115 * (position + 0.5)
        letters = int((names - 0.06) * 72 / (6 * _LETTER))
        style: dict[str, Any] = {"fontsize": 6, "va": "center_baseline", "color": "black" if index == best else GREY}
        axes.text(left + names - 0.03, y, plain(classes[index], letters), ha="right", **style)
        length = (width - names - 0.26) * min(max(float(shares[index]), 0.0), 1.0)
        colour = COLOURS[0] if index == best else "#9bb8cc"
        axes.barh(y, length, 0.085, left=left + names, color=colour)
        if index == best:
            axes.text(left + names + length + 0.03, y, f"{100 * shares[index]:.0f} %", **style)
    axes.plot([left + names] * 2, [top, top + 0.115 * len(kept)], color=GREY, linewidth=0.5)


def _sheet(figure: Any, width: float, height: float) -> Axes:
    """Axes over the whole figure whose unit is an inch, from the upper left corner."""
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_in_layout(False)
    axes.set_autoscale_on(False)
    axes.set(xlim=(-0.03, width - 0.03), ylim=(height, 0))
    return axes


def _picture(axes: Axes, file: str, left: float, top: float, side: float) -> None:
    """A PNG file in base64, as large as fits into a square; its pixels stay what they are."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(file))).convert("RGB"))
    tall, wide = pixels.shape[:2]
    scale = side / max(tall, wide)
    extent = (left, left + wide * scale, top + tall * scale, top)
    axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto")


def _wrapped(text: str, width: float, size: float, lines: int) -> list[str]:
    """A text in lines that fit into a width in inches; its own line breaks stay."""
    letters = max(4, int(width * 72 / (size * _LETTER)))
    parts = [part for own in text.split("\n") for part in textwrap.wrap(own, letters)]
    if len(parts) > lines:
        parts = [*parts[: lines - 1], parts[lines - 1][: letters - 2] + " …"]
    return [plain(part) for part in parts]
