"""Vega-Lite specifications of confusion matrices and image grids."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.charts.chart import ConfusionMatrix, ImageGrid
from chainrule.charts.palette import LIGHT
from chainrule.charts.theme import WIDTH
from chainrule.charts.values import Spec, label_expression, shorten, wrap

__all__ = ["build_confusion_spec", "build_grid_spec", "find_worst_cell"]

_MAX_FULL = 30  # classes; of more, cells without samples are left out
_MIN_COUNTED, _MIN_NAMED = 16, 6  # pixels: smaller cells have no room for counts, or for names at the axes
_EXAMPLES_WIDTH = 150
_CHARACTER = 0.55  # average width of a character, relative to the font size
_MAX_BARS = 10


def build_confusion_spec(chart: ConfusionMatrix, *, interactive: bool) -> Spec | None:
    """Build the specification of a confusion matrix, in a file with examples of the most frequent mistakes.

    Cells are shaded by their share of the true class, and the names of true classes show the recall.

    Args:
        chart: the chart.
        interactive: outline the cell in the signals `row` and `column`, and describe cells in a tooltip.
    """
    k = len(chart.classes)
    if not k:
        return None
    counts = np.array(chart.counts, dtype=np.int64).reshape(k, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(k, dtype=bool)
    # Mistakes are rare: the square root makes 1 % and 10 % distinguishable.
    shades = np.where(diagonal, shares, np.sqrt(shares))
    largest = {"correct": 1.0, "wrong": float(shades.max(where=~diagonal, initial=math.sqrt(0.1)))}
    worst = [] if interactive else _find_worst(chart, np.where(diagonal, 0, counts))
    cell = (36 if k <= 15 else 24 if k <= _MAX_FULL else 12) if interactive else min(36, (330 if worst else 460) / k)
    is_dark = shades > 0.75 * np.where(diagonal, *largest.values())
    values = {"n": counts, "share": shares, "shade": shades, "dark": is_dark}
    rows = [
        {"i": i, "j": j, **{name: value[i, j].item() for name, value in values.items()}}
        for i, j in np.ndindex(k, k)
        if k <= _MAX_FULL or counts[i, j]
    ]
    tooltip = None
    if interactive:
        names = label_expression([shorten(name) for name in chart.classes])
        fields = {"true class": names.replace("value", "i"), "predicted class": names.replace("value", "j")}
        tooltip = [{"field": title, "title": title} for title in fields]
        tooltip += [{"field": "n", "title": "samples"}, {"field": "share", "format": ".1%", "title": "of the class"}]
    layers = [_build_cells(part, largest[part], gap=cell >= _MIN_COUNTED, tooltip=tooltip) for part in largest]
    if cell >= _MIN_COUNTED:
        layers.append(_build_counts(min(11, 0.36 * cell)))
    matrix: Spec = {"width": {"step": cell}, "height": {"step": cell}, "data": {"values": rows}, "layer": layers}
    matrix["encoding"] = _encode_classes(chart.classes, shares.diagonal(), cell)
    matrix["resolve"] = {"scale": {"color": "independent"}}
    if interactive:
        matrix["transform"] = [{"calculate": value, "as": title} for title, value in fields.items()]
        row, column = find_worst_cell(chart)
        matrix["params"] = [{"name": "row", "value": row}, {"name": "column", "value": column}]
        outline = {"filter": "datum.i == row && datum.j == column"}
        layers.append({"transform": [outline], "mark": {"type": "rect", "style": "outline"}})
    return {"hconcat": [matrix, _build_examples(chart, worst, counts, cell * k)], "spacing": 24} if worst else matrix


def find_worst_cell(chart: ConfusionMatrix) -> tuple[int, int]:
    """The cell of the most frequent mistake; without mistakes, one beside the diagonal."""
    counts = np.array(chart.counts, dtype=np.int64)
    row, column = np.unravel_index(np.where(np.eye(len(counts), dtype=bool), -1, counts).argmax(), counts.shape)
    return int(row), int(column)


def _build_cells(part: str, largest: float, *, gap: bool, tooltip: Any) -> Spec:
    """The cells on the diagonal ("correct") or the others ("wrong"), which have different color scales."""
    positions = [position for position, _ in getattr(LIGHT, part)]
    scale = {"type": "linear", "domain": [largest * position for position in positions], "range": part}
    return {
        "transform": [{"filter": "datum.i == datum.j" if part == "correct" else "datum.i != datum.j"}],
        "mark": {"type": "rect", "style": "cell" if gap else []},
        "encoding": {
            "color": {"field": "shade", "type": "quantitative", "scale": scale, "legend": None},
            **({"tooltip": tooltip} if tooltip else {}),
        },
    }


def _build_counts(size: float) -> Spec:
    return {
        "transform": [{"filter": "datum.n > 0"}],
        "mark": {"type": "text", "fontSize": size},
        "encoding": {
            "text": {"field": "n"},
            "color": {"condition": {"test": "datum.dark", "value": "white"}},
        },
    }


def _encode_classes(classes: Sequence[str], recalls: NDArray[np.float64], cell: float) -> Spec:
    k = len(classes)
    names = [shorten(name, 18) for name in classes]
    axis: Spec = {"labels": cell >= _MIN_NAMED, "labelFontSize": min(11, 0.9 * cell), "labelLimit": 0}
    axis |= {"labelOverlap": False}
    angle = 0 if max(map(len, names)) <= 3 and k <= 15 else -45 if cell >= _MIN_COUNTED else -90
    tilt = {"labelAngle": angle, "labelAlign": "right" if angle else "center"}
    if angle == -90:
        tilt["labelBaseline"] = "middle"
    labels = [f"{name}  {100 * recall:.1f} %" for name, recall in zip(names, recalls, strict=True)]
    scale = {"domain": list(range(k)), "padding": 0}
    shared: Spec = {"type": "ordinal", "scale": scale}
    x = axis | tilt | {"title": "predicted class", "labelExpr": label_expression(names)}
    y = axis | {"title": "true class (recall)", "labelExpr": label_expression(labels)}
    return {"x": {"field": "j", **shared, "axis": x}, "y": {"field": "i", **shared, "axis": y}}


def _find_worst(chart: ConfusionMatrix, mistakes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Of the three most frequent mistakes, those with examples."""
    order = np.argsort(-mistakes, axis=None, kind="stable")[:3]
    cells = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, mistakes.shape), strict=True)]
    return [(i, j) for i, j in cells if mistakes[i, j] and chart.examples.get(f"{i},{j}")]


def _build_examples(
    chart: ConfusionMatrix, cells: Sequence[tuple[int, int]], counts: NDArray[np.int64], height: float
) -> Spec:
    """Rows of images, each row below its caption."""
    canvas = _Canvas()
    block = max(height / 3, 84.0)
    side = min((_EXAMPLES_WIDTH - 12) / 3, block - 44)
    for row, (i, j) in enumerate(cells):
        caption = f"{chart.classes[i]} predicted as {chart.classes[j]}: {counts[i, j]} times"
        lines = wrap(caption, int(_EXAMPLES_WIDTH / (10 * _CHARACTER)), 2)
        canvas.write(0, row * block, lines, 10)
        for column, file in enumerate(list(chart.examples[f"{i},{j}"])[:3]):
            canvas.draw_image(file, column * (side + 6), row * block + 13 * len(lines) + 5, side)
    return canvas.build(_EXAMPLES_WIDTH, block * (len(cells) - 1) + 34 + side)


def build_grid_spec(chart: ImageGrid) -> Spec | None:
    """Build the specification of images in rows, each with its title and optionally with bars of probabilities."""
    if not chart.images:
        return None
    columns = max(chart.columns, 1)
    cell = WIDTH / columns
    size = 10.0 if cell >= 85 else 8.0
    bars = min(len(chart.classes), _MAX_BARS) if len(chart.probabilities) else 0
    side = min(82.0, 0.4 * cell) if bars else min(cell - 12, 104.0)
    titles = [_wrap_title(title, cell - 8, size) for title in chart.titles]
    canvas = _Canvas()
    top = 0.0
    for start in range(0, len(chart.images), columns):
        numbers = range(start, min(start + columns, len(chart.images)))
        below = top + 1.25 * size * max(len(titles[number]) for number in numbers) + 4
        for number in numbers:
            left = (number - start) * cell
            canvas.write(left if bars else left + cell / 2, top, titles[number], size, "left" if bars else "center")
            canvas.draw_image(chart.images[number], left if bars else left + (cell - side) / 2, below, side)
            if bars:
                shares = np.nan_to_num(np.array(chart.probabilities[number], dtype=np.float64))
                canvas.draw_bars(shares, chart.classes, left + side, below, cell - side - 12)
        top = below + max(side, 11 * bars) + 16
    return canvas.build(WIDTH, top - 16)


def _wrap_title(title: str, width: float, size: float) -> list[str]:
    """Wrap a title to at most three lines; its own line breaks are kept."""
    lines = [line for own in title.split("\n") for line in wrap(own, max(4, int(width / (size * _CHARACTER))))]
    return lines if len(lines) <= 3 else [*lines[:2], lines[2][:-2] + " …"]


class _Canvas:
    """Images, texts and bars at positions in pixels from the upper left corner."""

    def __init__(self) -> None:
        self._images: list[Spec] = []
        self._texts: list[Spec] = []
        self._bars: list[Spec] = []

    def write(
        self, x: float, y: float, lines: list[str], size: float, align: str = "left", weight: str = "ink"
    ) -> None:
        self._texts.append({"x": x, "y": y, "text": lines, "size": size, "align": align, "style": weight})

    def draw_image(self, file: str, left: float, top: float, side: float) -> None:
        """Place a base64-encoded PNG file as large as fits into a square."""
        from PIL import Image

        with Image.open(io.BytesIO(base64.b64decode(file))) as image:
            scale = side / max(image.size)
            width, height = (scale * length for length in image.size)
        url = f"data:image/png;base64,{file}"
        self._images.append({"x": left, "y": top, "url": url, "width": width, "height": height})

    def draw_bars(
        self, shares: NDArray[np.float64], classes: Sequence[str], left: float, top: float, width: float
    ) -> None:
        """Place small horizontal bars with class names; of many classes the ten most likely, in class order."""
        shown = np.sort(np.argsort(-shares, kind="stable")[:_MAX_BARS])
        best = int(shares.argmax()) if len(shares) else -1
        names = 0.52 * width
        for position, index in enumerate(shown):
            y = top + 11 * position
            style = "best" if index == best else "other"
            name = shorten(classes[index], max(3, int((names - 6) / (8.5 * _CHARACTER))))
            self.write(left + names - 4, y, [name], 8.5, "right", style)
            length = (width - names - 30) * min(max(float(shares[index]), 0.0), 1.0)
            self._bars.append({"x": left + names, "y": y, "x2": left + names + length, "y2": y + 8, "style": style})
            if index == best:
                self.write(left + names + length + 4, y, [f"{100 * shares[index]:.0f} %"], 8.5, "left", style)

    def build(self, width: float, height: float) -> Spec:
        """Build the specification."""

        def encode(*names: str) -> Spec:
            return {name: {"field": name, "type": "quantitative", "scale": None, "axis": None} for name in names}

        layers: list[Spec] = []
        for size in sorted({(image["width"], image["height"]) for image in self._images}):
            images = [image for image in self._images if (image["width"], image["height"]) == size]
            mark = {"type": "image", "width": size[0], "height": size[1], "align": "left", "baseline": "top"}
            encoding = {**encode("x", "y"), "url": {"field": "url"}}
            layers.append({"data": {"values": images}, "mark": {**mark, "smooth": False}, "encoding": encoding})
        for style in ("other", "best"):
            bars = [bar for bar in self._bars if bar["style"] == style]
            if bars:
                encoding = {**encode("x", "y"), "x2": {"field": "x2"}, "y2": {"field": "y2"}}
                mark = {"type": "rect", "style": f"{style}-bar"}
                layers.append({"data": {"values": bars}, "mark": mark, "encoding": encoding})
        for look in sorted({(text["style"], text["align"], text["size"]) for text in self._texts}):
            texts = [text for text in self._texts if (text["style"], text["align"], text["size"]) == look]
            mark = {"type": "text", "style": look[0], "align": look[1], "fontSize": look[2], "baseline": "top"}
            encoding = {**encode("x", "y"), "text": {"field": "text"}}
            layers.append(
                {"data": {"values": texts}, "mark": {**mark, "lineHeight": 1.25 * look[2]}, "encoding": encoding}
            )
        return {"width": width, "height": height, "layer": layers}
