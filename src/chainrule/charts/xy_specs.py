"""Vega-Lite specifications of line charts and bar charts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from chainrule.charts.chart import BarChart, LineChart, Series
from chainrule.charts.values import Spec, label_expression, shorten, spans_decades, to_finite, wrap

__all__ = ["build_bar_spec", "build_line_spec"]

_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
_COLORS = 7
_MAX_LEGEND = _COLORS * len(_DASHES)  # of more series, two would look the same
_MAX_PLAIN_POINTS = 100  # more points are drawn smaller and translucent
_MAX_MARKED = 15  # points of a line that are marked
_MAX_BARS_HEIGHT = 760


def build_line_spec(chart: LineChart, *, interactive: bool) -> Spec | None:
    """Build the specification of lines, steps and points, with bands or error bars.

    Args:
        chart: the chart.
        interactive: show the values of the nearest point in a tooltip.

    Returns:
        The specification, or None if there is nothing to draw.
    """
    rows = [row for number, series in enumerate(chart.series) for row in _tabulate(number, series)]
    known = [row for row in rows if row["x"] is not None and row["y"] is not None]
    if not known:
        return None
    heights = [row[key] for row in rows for key in ("y", "low", "high") if row.get(key) is not None]
    bottom, top = map(float, chart.y_range) if len(chart.y_range) else (min(heights), max(heights))
    at_ends = _fits_end_labels(chart.series, known, bottom, top)
    y_scale = {"domain": list(chart.y_range)} if len(chart.y_range) else _make_scale(heights)
    is_integer = all(row["x"] == round(row["x"]) for row in known)
    symbol = "circle" if any(series.mark == "points" for series in chart.series) else "stroke"
    x_axis = {"title": shorten(chart.x_label), "grid": False, "tickCount": {"expr": "ceil(width / 60)"}}
    if is_integer:
        x_axis |= {"tickMinStep": 1, "format": "d"}
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": y_scale,
        "axis": {"title": shorten(chart.y_label), "tickCount": 6},
    }
    layers = _build_bands(chart.series, y) + _build_lines(chart.series) + _build_points(chart.series, y)
    if interactive:
        layers.append(_build_hover(chart))
    for layer in layers if len(chart.y_range) else []:
        layer["mark"]["clip"] = True
    if at_ends:
        layers.append(_build_end_labels(chart.series))
    return {
        "height": 260,
        "data": {"values": rows},
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "scale": _make_scale([row["x"] for row in rows]) | {"nice": False, "padding": 8},
                "axis": x_axis,
            },
            "y": y,
            "color": _encode_color(chart.series, has_legend=not at_ends, symbol=symbol),
        },
        "layer": layers,
    }


def _tabulate(number: int, series: Series) -> list[Spec]:
    """The points of a series as rows of data."""
    names = ["x", "y", *(["low", "high"] if series.has_interval else [])]
    columns = [map(to_finite, getattr(series, name)) for name in names]
    rows = [{"s": number, **dict(zip(names, values, strict=True))} for values in zip(*columns, strict=False)]
    for row, note in zip(rows, series.notes, strict=False):
        row["note"] = shorten(note, 200)
    return rows


def _make_scale(values: Sequence[float | None]) -> Spec:
    return {"type": "log"} if spans_decades(values) else {"zero": False}


def _encode_color(series: Sequence[Series], *, has_legend: bool, symbol: str) -> Spec:
    """The color of each series, with a legend above the chart if there is more than one series to tell apart."""
    named = [number for number, one in enumerate(series) if one.name]
    legend = None
    if has_legend and 0 < len(named) <= _MAX_LEGEND:
        names = [shorten(one.name, 48) for one in series]
        legend = {
            "title": None,
            "orient": "top",
            "direction": "horizontal",
            "columns": {"expr": f"max(1, floor(width / {6.2 * max(map(len, names)) + 36}))"},
            "values": named,
            "labelExpr": label_expression(names),
            "labelLimit": 320,
            "symbolType": symbol,
        }
    return {"field": "s", "type": "nominal", "scale": {"domain": list(range(len(series)))}, "legend": legend}


def _select(numbers: Sequence[int]) -> list[Spec]:
    """The transformation that keeps only the rows of some series."""
    return [{"filter": f"indexof({list(numbers)}, datum.s) >= 0"}]


def _get_interpolation(mark: str) -> str:
    return "step-after" if mark == "step" else "linear"


def _build_bands(series: Sequence[Series], y: Spec) -> list[Spec]:
    return [
        {
            "transform": _select([number]),
            "mark": {"type": "area", "opacity": 0.18, "interpolate": _get_interpolation(one.mark)},
            "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
        }
        for number, one in enumerate(series)
        if one.has_interval and one.mark != "points"
    ]


def _build_lines(series: Sequence[Series]) -> list[Spec]:
    """A layer for each look: whether points are marked, the steps, and the dashes that tell equal colors apart."""
    looks: dict[tuple[str, int, bool], list[int]] = {}
    for number, one in enumerate(series):
        if one.mark != "points":
            is_marked = sum(to_finite(value) is not None for value in one.y) <= _MAX_MARKED
            looks.setdefault((one.mark, number // _COLORS % len(_DASHES), is_marked), []).append(number)
    return [
        {
            "transform": _select(numbers),
            "mark": {
                "type": "line",
                "interpolate": _get_interpolation(mark),
                "point": {"size": 16} if is_marked else False,
                **({"strokeDash": _DASHES[dash]} if dash else {}),
            },
        }
        for (mark, dash, is_marked), numbers in looks.items()
    ]


def _build_points(series: Sequence[Series], y: Spec) -> list[Spec]:
    layers: list[Spec] = []
    for number, one in enumerate(series):
        if one.mark == "points":
            if one.has_interval:
                interval = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
                layers.append({"transform": _select([number]), "mark": {"type": "rule"}, "encoding": interval})
            is_plain = len(one.x) <= _MAX_PLAIN_POINTS
            mark = {"type": "circle", "size": 28 if is_plain else 14, "opacity": 1 if is_plain else 0.6}
            layers.append({"transform": _select([number]), "mark": mark})
    return layers


def _fits_end_labels(series: Sequence[Series], known: Sequence[Spec], bottom: float, top: float) -> bool:
    """Whether lines can be labeled at their ends: they are few, and end apart at the right edge."""
    names = [one.name for one in series]
    if not 2 <= len(names) <= 6 or not all(0 < len(name) <= 24 for name in names):
        return False
    if any(one.mark == "points" for one in series) or top <= bottom:
        return False
    ends = {row["s"]: row for row in known}
    left, right = (limit(row["x"] for row in known) for limit in (min, max))
    heights = sorted((row["y"] - bottom) / (top - bottom) for row in ends.values())
    return (
        len(ends) == len(names)
        and heights[0] >= 0
        and heights[-1] <= 1
        and all(high - low >= 0.06 for low, high in pairwise(heights))
        and all(row["x"] >= left + 0.95 * (right - left) for row in ends.values())
    )


def _build_end_labels(series: Sequence[Series]) -> Spec:
    names = [shorten(one.name) for one in series]
    return {
        "transform": [
            {"filter": "isValid(datum.x) && isValid(datum.y)"},
            {"joinaggregate": [{"op": "max", "field": "x", "as": "end"}], "groupby": ["s"]},
            {"filter": "datum.x == datum.end"},
            {"calculate": label_expression(names).replace("datum.value", "datum.s"), "as": "name"},
        ],
        "mark": {"type": "text", "align": "left", "dx": 6},
        "encoding": {"text": {"field": "name"}},
    }


def _build_hover(chart: LineChart) -> Spec:
    """An invisible layer that marks the point nearest to the pointer and describes it."""
    names = [shorten(series.name) for series in chart.series]
    fields = {"y": chart.y_label, "x": chart.x_label}
    tooltip: list[Spec] = [{"field": field, "title": shorten(label, 40)} for field, label in fields.items()]
    for tip in tooltip:
        tip |= {"type": "quantitative", "format": ".4~g"}
    if any(names):
        tooltip.insert(0, {"field": "name", "title": "series"})
    if any(len(series.notes) for series in chart.series):
        tooltip.append({"field": "note", "title": "note"})
    return {
        "transform": [
            {"filter": "isValid(datum.x) && isValid(datum.y)"},
            {"calculate": label_expression(names).replace("datum.value", "datum.s"), "as": "name"},
        ],
        "params": [
            {
                "name": "hover",
                "select": {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"},
            }
        ],
        "mark": {"type": "circle", "size": 70},
        "encoding": {
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0},
            "tooltip": tooltip,
        },
    }


def build_bar_spec(chart: BarChart) -> Spec | None:
    """Build the specification of horizontal bars, or of points with error bars, the first group on top."""
    rows = [
        {**row, "g": group, "name": shorten(chart.names[group]), "series": shorten(series.name)}
        for number, series in enumerate(chart.series)
        for group, row in enumerate(_tabulate(number, _with_positions(series, len(chart.names))))
    ]
    if all(row["y"] is None for row in rows):
        return None
    groups, count = len(chart.names), len(chart.series)
    labels = [wrap(name, 30) for name in chart.names]
    natural = max(26, 15 * count + 8, 13 * max(map(len, labels)) + 4)
    step = min(natural, max(_MAX_BARS_HEIGHT / groups, 8))
    if step < natural:
        labels = [[shorten(name, 40)] for name in chart.names]
    has_bars = chart.mark == "bars"
    value: Spec = {"field": "y", "type": "quantitative", "scale": {"zero": has_bars}}
    value["axis"] = {"title": shorten(chart.x_label), "tickCount": 7}
    if has_bars and any((row["y"] or 0) < 0 for row in rows):
        value["scale"]["padding"] = 36  # room for the values beside negative bars
    tooltip: list[Spec] = [{"field": "name", "title": "name"}]
    if any(series.name for series in chart.series):
        tooltip.append({"field": "series", "title": "series"})
    tooltip.append({"field": "y", "type": "quantitative", "title": shorten(chart.x_label, 40), "format": ".4~g"})
    if any(len(series.notes) for series in chart.series):
        tooltip.append({"field": "note", "title": "note"})
    bar = {"type": "bar", "height": {"band": 0.92}} if has_bars else {"type": "circle", "size": 50, "opacity": 1}
    layers: list[Spec] = [{"mark": bar, "encoding": {"x": value, "tooltip": tooltip}}]
    if any(series.has_interval for series in chart.series):
        interval = {"x": {**value, "field": "low"}, "x2": {"field": "high"}}
        layers.append({"mark": {"type": "rule", "style": "interval"} if has_bars else "rule", "encoding": interval})
        if has_bars:
            layers[-1]["encoding"]["color"] = None
    elif has_bars and step / count >= 9:
        layers.append(_build_values(value, min(10.5, 0.75 * step / count)))
    if to_finite(chart.reference) is not None:
        reference = {"x": {"datum": chart.reference}, "y": None, "yOffset": None, "color": None}
        layers.append({"data": {"values": [{}]}, "mark": {"type": "rule", "style": "reference"}, "encoding": reference})
    axis = {
        "title": None,
        "labelExpr": label_expression(labels),
        "labelFontSize": min(11, 0.85 * step),
        "labelLimit": 0,
        "labelBaseline": "middle",
        "grid": False,
    }
    scale = {"domain": list(range(groups)), "paddingInner": 0.2, "paddingOuter": 0.15}
    encoding: Spec = {
        "y": {"field": "g", "type": "ordinal", "scale": scale, "axis": axis},
        "color": _encode_color(chart.series, has_legend=True, symbol="square" if has_bars else "circle"),
    }
    if count > 1:
        encoding["yOffset"] = {"field": "s", "type": "nominal", "scale": {"domain": list(range(count))}}
    return {"height": step * groups, "data": {"values": rows}, "encoding": encoding, "layer": layers}


def _with_positions(series: Series, count: int) -> Series:
    """The series of a bar chart, whose `x` is unused, with x = 0, 1, ... as positions."""
    return Series(series.name, range(count), series.y, series.mark, series.low, series.high, series.notes)


def _build_values(value: Spec, size: float) -> Spec:
    """Each value at the end of its bar."""
    mark: dict[str, Any] = {
        "type": "text",
        "fontSize": size,
        "align": {"expr": "datum.y < 0 ? 'right' : 'left'"},
        "dx": {"expr": "datum.y < 0 ? -4 : 4"},
        "style": "value",
    }
    return {"mark": mark, "encoding": {"x": value, "text": {"field": "y", "format": ".3~g"}, "color": None}}
