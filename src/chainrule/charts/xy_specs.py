"""Vega-Lite specifications of line charts and bar charts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from chainrule.charts.chart import BarChart, LineChart, Series
from chainrule.charts.values import Spec, make_label_expression, shorten, to_finite, wrap

__all__ = ["build_bar_spec", "build_line_spec"]

_COLORS = 7
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
_MAX_LEGEND = _COLORS * len(_DASHES)  # of more series, two would look the same
_MAX_PLAIN_POINTS = 100  # more points are drawn smaller and translucent
_MAX_MARKED = 15  # points of a line that are marked
_MAX_BARS_HEIGHT = 760  # pixels: a page without its margins and the caption
# Properties of the value at the end of a bar, for negative and other values.
_VALUE_SIDES = (("align", "'right'", "'left'"), ("dx", -4, 4))
_MIN_DECADES = 3  # values across so many have a logarithmic axis


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
    limits = [float(limit) for limit in chart.y_range]
    y_scale = _make_scale(limits or heights) | ({"domain": limits} if limits else {})
    y = _make_axis("y", chart.y_label, y_scale, tickCount=6)
    x_scale = {**_make_scale([row["x"] for row in known]), "nice": False, "padding": 8}
    integers = {"tickMinStep": 1, "format": "d"} if all(row["x"] == round(row["x"]) for row in known) else {}
    x = _make_axis("x", chart.x_label, x_scale, grid=False, tickCount={"expr": "ceil(width / 60)"}, **integers)
    layers = [layer for number, series in enumerate(chart.series) for layer in _build_layers(number, series, y)]
    if interactive:
        select = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
        opacity = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}
        tooltip = _describe(chart.series, [], y=chart.y_label, x=chart.x_label)
        hover = _make_layer("circle", {"opacity": opacity, "tooltip": tooltip}, size=70)
        known_points = [{"filter": "isValid(datum.x) && isValid(datum.y)"}]
        layers.append({**hover, "transform": known_points, "params": [{"name": "hover", "select": select}]})
    for layer in layers:
        layer["mark"]["clip"] = bool(limits)
    ends = _find_ends(chart.series, known, limits or [min(heights), max(heights)])
    if ends:
        label = _make_layer("text", {"text": {"field": "series"}}, align="left", dx=6)
        layers.append({**label, "data": {"values": ends}})
    symbol = "circle" if any(series.mark == "points" for series in chart.series) else "stroke"
    encoding = {"x": x, "y": y, "color": _encode_color(chart.series, symbol=None if ends else symbol)}
    if len(chart.series) > _COLORS:
        dashes = [_DASHES[number // _COLORS % len(_DASHES)] for number in range(len(chart.series))]
        encoding["strokeDash"] = {**encoding["color"], "scale": {**encoding["color"]["scale"], "range": dashes}}
    return {"height": 260, "data": {"values": rows}, "encoding": encoding, "layer": layers}


def _tabulate(number: int, series: Series) -> list[Spec]:
    """The points of a series as rows of data."""
    names = ["x", "y", *(["low", "high"] if series.has_interval else [])]
    columns = [map(to_finite, getattr(series, name)) for name in names]
    shared = {"s": number, "series": shorten(series.name, 48)}
    rows = [{**shared, **dict(zip(names, values, strict=True))} for values in zip(*columns, strict=False)]
    for row, note in zip(rows, series.notes, strict=False):
        row["note"] = shorten(note, 200)
    return rows


def _make_scale(values: Sequence[float]) -> Spec:
    is_log = min(values) > 0 and max(values) >= 10**_MIN_DECADES * min(values)
    return {"type": "log"} if is_log else {"zero": False}


def _make_layer(kind: str, encoding: Spec | None = None, **mark: Any) -> Spec:
    return {"mark": {"type": kind, **mark}, "encoding": encoding or {}}


def _make_axis(field: str, title: str, scale: Spec, **keys: Any) -> Spec:
    return {"field": field, "type": "quantitative", "scale": scale, "axis": {"title": shorten(title), **keys}}


def _describe(series: Sequence[Series], names: Sequence[str], **fields: str) -> Spec:
    """The tooltip: names, series, numbers with the titles of their fields, and the note."""
    # The point nearest to the pointer is the datum of a Vega datum.
    row = "(datum.datum || datum)"
    entries = {name: f"{row}.{name}" for name in [*names, *(["series"] if any(one.name for one in series) else [])]}
    for field, title in fields.items():
        key = shorten(title, 40)
        entries[f"{key} " if key in entries else key] = f"format({row}.{field}, '.4~g')"
    if any(len(one.notes) for one in series):
        entries["note"] = f"{row}.note || ''"
    return {"value": {"expr": "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in entries.items()) + "}"}}


def _encode_color(series: Sequence[Series], *, symbol: str | None) -> Spec:
    """The color of each series; with the shape of a symbol, also a legend above the chart."""
    names = [shorten(one.name, 48) for one in series]
    named = [number for number, name in enumerate(names) if name]
    legend = None
    if symbol and 0 < len(named) <= _MAX_LEGEND:
        columns = {"expr": f"max(1, floor(width / {6.2 * max(map(len, names)) + 36}))"}
        legend = {"columns": columns, "values": named, "symbolType": symbol, "labelExpr": make_label_expression(names)}
    return {"field": "s", "type": "nominal", "scale": {"domain": list(range(len(series)))}, "legend": legend}


def _build_layers(number: int, series: Series, y: Spec) -> list[Spec]:
    """The layers of a series: its band or error bars, and above them the line or the points."""
    interval = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    if series.mark == "points":
        look = {"size": 28, "opacity": 1} if len(series.x) <= _MAX_PLAIN_POINTS else {"size": 14, "opacity": 0.6}
        layers = [_make_layer("rule", interval), _make_layer("circle", **look)]
    else:
        shape = "step-after" if series.mark == "step" else "linear"
        # Marks keep points visible that have no neighbor to be connected with.
        is_marked = sum(to_finite(value) is not None for value in series.y) <= _MAX_MARKED
        line = _make_layer("line", interpolate=shape, point={"size": 16} if is_marked else False)
        layers = [_make_layer("area", interval, opacity=0.18, interpolate=shape), line]
    chosen = {"transform": [{"filter": f"datum.s === {number}"}]}
    return [{**chosen, **layer} for layer in layers[0 if series.has_interval else 1 :]]


def _find_ends(series: Sequence[Series], known: Sequence[Spec], limits: Sequence[float]) -> list[Spec]:
    """The last points of the lines, if they can be labeled there: few lines that end apart at the right edge."""
    ends = {row["s"]: row for row in known}
    bottom, top = limits
    left, right = (limit(row["x"] for row in known) for limit in (min, max))
    heights = sorted((row["y"] - bottom) / ((top - bottom) or 1) for row in ends.values())
    is_short = 2 <= len(ends) == len(series) <= 6 and all(0 < len(one.name) <= 24 for one in series)
    is_apart = heights[0] >= 0 and heights[-1] <= 1 and all(b - a >= 0.06 for a, b in pairwise(heights))
    is_right = all(row["x"] >= left + 0.95 * (right - left) for row in ends.values())
    has_points = any(one.mark == "points" for one in series)
    return list(ends.values()) if is_short and is_apart and is_right and not has_points else []


def build_bar_spec(chart: BarChart) -> Spec | None:
    """Build the specification of horizontal bars, or of points with error bars, the first group on top."""
    groups, count = len(chart.names), len(chart.series)
    rows = [
        {**row, "name": shorten(chart.names[group])}
        for number, series in enumerate(chart.series)
        for group, row in enumerate(_tabulate(number, replace(series, x=range(groups))))
    ]
    if all(row["y"] is None for row in rows):
        return None
    labels = [wrap(name, 30) for name in chart.names]
    natural = max(26, 15 * count + 8, 13 * max(map(len, labels)) + 4)
    step = min(natural, max(_MAX_BARS_HEIGHT / groups, 8))
    if step < natural:
        labels = [[shorten(name, 40)] for name in chart.names]
    has_bars = chart.mark == "bars"
    x = _make_axis("y", chart.x_label, {"zero": has_bars}, tickCount=7)
    if has_bars and any((row["y"] or 0) < 0 for row in rows):
        x["scale"]["padding"] = 36  # room for the values beside negative bars
    bar = {"type": "bar", "height": {"band": 0.92}} if has_bars else {"type": "circle", "size": 50, "opacity": 1}
    tooltip = _describe(chart.series, ["name"], y=chart.x_label)
    layers: list[Spec] = [{"mark": bar, "encoding": {"x": x, "tooltip": tooltip}}]
    plain = {"color": None} if has_bars else {}
    if any(series.has_interval for series in chart.series):
        interval = {"x": {**x, "field": "low"}, "x2": {"field": "high"}, **plain}
        layers.append(_make_layer("rule", interval, style="interval"))
    elif has_bars and step / count >= 9:
        side = {name: {"expr": f"datum.y < 0 ? {left} : {right}"} for name, left, right in _VALUE_SIDES}
        text = {"x": x, "text": {"field": "y", "format": ".3~g"}, **plain}
        layers.append(_make_layer("text", text, style="value", fontSize=min(10.5, 0.75 * step / count), **side))
    if to_finite(chart.reference) is not None:
        reference = {"x": {"datum": to_finite(chart.reference)}, "y": None, "yOffset": None, "color": None}
        layers.append({"data": {"values": [{}]}, **_make_layer("rule", reference, style="reference")})
    axis = {"title": None, "labelExpr": make_label_expression(labels), "labelFontSize": min(11, 0.85 * step)}
    scale = {"domain": list(range(groups)), "paddingInner": 0.2, "paddingOuter": 0.15}
    encoding: Spec = {
        "y": {"field": "x", "type": "ordinal", "scale": scale, "axis": axis},
        "color": _encode_color(chart.series, symbol="square" if has_bars else "circle"),
    }
    if count > 1:
        encoding["yOffset"] = {"field": "s", "type": "nominal", "scale": {"domain": list(range(count))}}
    return {"height": step * groups, "data": {"values": rows}, "encoding": encoding, "layer": layers}
