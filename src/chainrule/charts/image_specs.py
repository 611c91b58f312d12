"""Vega-Lite specifications of confusion matrices and image grids."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chainrule.charts.chart import ConfusionMatrix, ImageGrid
from chainrule.charts.palette import LIGHT
from chainrule.charts.theme import WIDTH
from chainrule.charts.values import VEGA, Spec, make_label_expression, shorten, wrap

__all__ = ["build_confusion_spec", "build_grid_spec", "find_worst_cell"]

_MAX_FULL = 30  # classes; of more, cells without samples are left out
_MIN_COUNTED, _MIN_NAMED = 16, 6  # pixels: smaller cells have no room for counts, or for names at the axes
_EXAMPLES_WIDTH = 150
_CHARACTER = 0.55  # average width of a character, relative to the font size
_MAX_BARS = 10
_PNG = "data:image/png;base64,"


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
    layers = [_build_cells(part, largest[part], gap=cell >= _MIN_COUNTED) for part in largest]
    if cell >= _MIN_COUNTED:
        count = {"text": {"field": "n"}, "color": {"condition": {"test": "datum.dark", "value": "white"}}}
        text = {"type": "text", "fontSize": min(11, 0.36 * cell)}
        layers.append({"transform": [{"filter": "datum.n > 0"}], "mark": text, "encoding": count})
    matrix: Spec = {"width": {"step": cell}, "height": {"step": cell}, "data": {"values": rows}, "layer": layers}
    matrix["encoding"] = _encode_classes(chart.classes, shares.diagonal(), cell)
    matrix["resolve"] = {"scale": {"color": "independent"}}
    if interactive:
        names = make_label_expression([shorten(name) for name in chart.classes])
        cell_texts = {
            name: names.replace("value", key) for name, key in (("true class", "i"), ("predicted class", "j"))
        }
        cell_texts |= {"samples": "datum.n", "of the class": "format(datum.share, '.1%')"}
        tooltip = ", ".join(f"'{title}': {text}" for title, text in cell_texts.items())
        matrix["encoding"]["tooltip"] = {"value": {"expr": f"{{{tooltip}}}"}}
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


def _build_cells(part: str, largest: float, *, gap: bool) -> Spec:
    """The cells on the diagonal ("correct") or the others ("wrong"), which have different color scales."""
    positions = [position for position, _ in getattr(LIGHT, part)]
    scale = {"type": "linear", "domain": [largest * position for position in positions], "range": part}
    return {
        "transform": [{"filter": "datum.i == datum.j" if part == "correct" else "datum.i != datum.j"}],
        "mark": {"type": "rect", "style": "cell" if gap else []},
        "encoding": {"color": {"field": "shade", "type": "quantitative", "scale": scale, "legend": None}},
    }


def _encode_classes(classes: Sequence[str], recalls: NDArray[np.float64], cell: float) -> Spec:
    k = len(classes)
    names = [shorten(name, 18) for name in classes]
    size = min(11, 0.9 * cell)
    axis: Spec = {"labels": cell >= _MIN_NAMED, "labelFontSize": size, "labelLimit": 0, "labelOverlap": False}
    angle = 0 if max(map(len, names)) <= 3 and k <= 15 else -45 if cell >= _MIN_COUNTED else -90
    tilt = {"labelAngle": angle, "labelAlign": "right" if angle else "center"}
    tilt |= {"labelBaseline": "middle"} if angle == -90 else {}
    labels = [f"{name}  {100 * recall:.1f} %" for name, recall in zip(names, recalls, strict=True)]
    shared: Spec = {"type": "ordinal", "scale": {"domain": list(range(k)), "padding": 0}}
    x = axis | tilt | {"title": "predicted class", "labelExpr": make_label_expression(names)}
    y = axis | {"title": "true class (recall)", "labelExpr": make_label_expression(labels)}
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
    block = max(height / 3, 84.0)
    side = min((_EXAMPLES_WIDTH - 12) / 3, block - 44)
    captions, images = [], []
    for row, (i, j) in enumerate(cells):
        caption = f"{chart.classes[i]} predicted as {chart.classes[j]}: {counts[i, j]} times"
        captions.append({"x": 0, "y": row * block, "text": wrap(caption, int(_EXAMPLES_WIDTH / 5.5), 2)})
        for column, file in enumerate(list(chart.examples[f"{i},{j}"])[:3]):
            images.append({"x": column * (side + 6), "y": row * block + 31, "url": _PNG + file})
    position = {name: {"field": name, "type": "quantitative", "scale": None, "axis": None} for name in ("x", "y")}
    image = {"type": "image", "width": side, "height": side, "align": "left", "baseline": "top", "smooth": False}
    text = {"type": "text", "align": "left", "baseline": "top", "fontSize": 10, "lineHeight": 13}
    layers = [
        {"data": {"values": rows}, "mark": mark, "encoding": {**position, field: {"field": field}}}
        for field, rows, mark in (("url", images, image), ("text", captions, text))
    ]
    return {"width": _EXAMPLES_WIDTH, "height": block * (len(cells) - 1) + 31 + side, "layer": layers}


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
    items: dict[str, list[Spec]] = {"image": [], "rect": [], "text": []}
    top = 0.0
    for start in range(0, len(chart.images), columns):
        numbers = range(start, min(start + columns, len(chart.images)))
        below = top + 1.25 * size * max(len(titles[number]) for number in numbers) + 4
        for number in numbers:
            left = (number - start) * cell
            title = (left, "left") if bars else (left + cell / 2, "center")
            items["text"].append(_make_text(titles[number], *title, top, size, LIGHT.ink))
            image_left = left if bars else left + (cell - side) / 2
            items["image"].append({"x": image_left, "y": below, "url": _PNG + chart.images[number]})
            if bars:
                shares = np.nan_to_num(np.array(chart.probabilities[number], dtype=np.float64))
                _add_bars(items, shares, chart.classes, left + side, below, cell - side - 12)
        top = below + max(side, 11 * bars) + 16
    marks: list[Spec] = [
        {"type": kind, "from": {"data": kind}, "encode": {"enter": {name: {"field": name} for name in rows[0]}}}
        for kind, rows in items.items()
        if rows
    ]
    same = {"width": side, "height": side, "align": "left", "baseline": "top", "smooth": False}
    marks[0]["encode"]["enter"] |= {name: {"value": value} for name, value in same.items()}
    data = [{"name": kind, "values": rows} for kind, rows in items.items()]
    return {"$schema": VEGA, "width": WIDTH, "height": top - 16, "data": data, "marks": marks}


def _make_text(lines: list[str], x: float, align: str, y: float, size: float, fill: str) -> Spec:
    look = {"fontSize": size, "lineHeight": 1.25 * size, "align": align, "baseline": "top", "fill": fill}
    return {"x": x, "y": y, "text": lines, **look}


def _wrap_title(title: str, width: float, size: float) -> list[str]:
    """Wrap a title to at most three lines; its own line breaks are kept."""
    lines = [line for own in title.split("\n") for line in wrap(own, max(4, int(width / (size * _CHARACTER))))]
    return lines if len(lines) <= 3 else [*lines[:2], lines[2][:-2] + " …"]


def _add_bars(
    items: dict[str, list[Spec]],
    shares: NDArray[np.float64],
    classes: Sequence[str],
    left: float,
    top: float,
    width: float,
) -> None:
    """Add small horizontal bars with class names; of many classes the ten most likely, in class order."""
    shown = np.sort(np.argsort(-shares, kind="stable")[:_MAX_BARS])
    start = left + 0.52 * width
    for position, index in enumerate(shown):
        y = top + 11 * position
        is_best = index == shares.argmax()
        fill = LIGHT.ink if is_best else LIGHT.soft
        name = shorten(classes[index], max(3, int((start - left - 6) / (8.5 * _CHARACTER))))
        items["text"].append(_make_text([name], start - 4, "right", y, 8.5, fill))
        end = start + (0.48 * width - 30) * min(max(float(shares[index]), 0.0), 1.0)
        bar = {"x": start, "x2": end, "y": y, "y2": y + 8, "fill": LIGHT.series[0]}
        items["rect"].append({**bar, "opacity": 1 if is_best else 0.35})
        if is_best:
            items["text"].append(_make_text([f"{100 * shares[index]:.0f} %"], end + 4, "left", y, 8.5, fill))
