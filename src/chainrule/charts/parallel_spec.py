"""The Vega specification of parallel coordinates, in which ranges of the axes can be selected with the pointer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.charts.chart import Axis, ParallelCoordinates
from chainrule.charts.palette import LIGHT
from chainrule.charts.theme import WIDTH
from chainrule.charts.values import VEGA, Spec, shorten, to_finite

__all__ = ["build_parallel_spec"]

_HEIGHT = 300
_MAX_TICKS = 20
_MAX_BOLD = 30  # of more runs, the worse ones are translucent

Array = NDArray[np.float64]


def build_parallel_spec(chart: ParallelCoordinates) -> Spec | None:
    """Build the specification of one line per run across the axes, the best runs on top.

    The signal `brushes` holds a range of heights, [low, high] from 0 to 1, for each axis, or null. The data set `runs`
    holds the run's number `run`, its heights `h` and whether it is `inside` all ranges.
    """
    metric = np.array([to_finite(value) for value in chart.axes[-1].values] if chart.axes else [], dtype=np.float64)
    if not np.isfinite(metric).any():
        return None
    low, high = _find_focus(metric[np.isfinite(metric)])
    focused = Axis(chart.axes[-1].name, list(metric.clip(low, high)))
    axes = [*chart.axes[:-1], focused]
    scaled = [_scale_axis(axis, number, log=axis is not focused) for number, axis in enumerate(axes)]
    heights = np.array([positions for positions, _ in scaled])
    lower_is_better = any(word in focused.name.lower() for word in ("loss", "error"))
    order = np.argsort(np.nan_to_num(-metric if lower_is_better else metric, nan=-np.inf), kind="stable")
    runs = []
    for run, rank in zip(order.tolist(), np.linspace(0, 1, len(order)), strict=True):
        row = {"run": run, "h": [_round(height) for height in heights[:, run]], "metric": _round(focused.values[run])}
        names = [shorten(name) for name in chart.runs[run : run + 1]]
        values = [f"{shorten(axis.name, 40)}: {_describe(axis, run)}" for axis in chart.axes]
        opacity = round(0.2 + 0.55 * rank**2, 3) if len(order) > _MAX_BOLD else 0.9
        runs.append({**row, "opacity": opacity, "tip": "\n".join([*names, *values])})
    ticks = [
        (number, height, shorten(label, 24)) for number, (_, found) in enumerate(scaled) for height, label in found
    ]
    outside = int(((metric < low) | (metric > high)).sum())
    note = f"{outside} of {len(metric)} runs are beyond the end of the last axis and are drawn at its end."
    room = max(max((7 * len(label) for *_, label in ticks), default=0) + 16, 64)
    names = [shorten(axis.name, 28) for axis in axes]
    positions = [position for position, _ in LIGHT.metric]
    domain = [low + (high - low) * position for position in positions] if high > low else [low - 1, low + 1]
    color = {"type": "linear", "domain": domain, "zero": False, "clamp": True, "reverse": lower_is_better}
    count = len(axes)
    is_tilted = count > 6 or max(map(len, names)) * 6.5 > WIDTH / count
    brushed = (f"(!brushes[{n}] || isValid(datum.h[{n}]) && inrange(datum.h[{n}], brushes[{n}]))" for n in range(count))
    inside = {"type": "formula", "as": "inside", "expr": " && ".join(brushed)}
    return {
        "$schema": VEGA,
        "height": _HEIGHT,
        "signals": _build_signals(count),
        "data": [
            {"name": "runs", "values": runs, "transform": [inside]},
            {"name": "ticks", "values": [{"axis": number, "h": h, "label": label} for number, h, label in ticks]},
            {"name": "axes", "values": [{"axis": number, "name": name} for number, name in enumerate(names)]},
        ],
        "scales": [
            {"name": "x", "type": "linear", "domain": [0, max(count - 1, 1)], "range": "width"},
            {"name": "metric", "range": "metric", **color},
        ],
        "marks": _build_marks(count, is_tilted=is_tilted),
        # A viewer's font may be wider than that by which the size of an SVG file was computed.
        "padding": {"left": 5, "top": 5, "bottom": 5, "right": 5 + (1.5 * len(names[-1]) if is_tilted else 0)},
        **({"title": {"text": note, "orient": "bottom", "anchor": "start", "offset": 10}} if outside else {}),
        "usermeta": {"width": room * count},
    }


def _round(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None


def _describe(axis: Axis, run: int) -> str:
    value = to_finite(axis.values[run])
    return "none" if value is None else axis.labels[round(value)] if len(axis.labels) else f"{value:.4g}"


def _find_focus(values: Array) -> tuple[float, float]:
    """The range of the metric to show, so that a few failed runs do not squeeze all others into one line.

    It ends at Tukey's fences, 1.5 interquartile ranges beyond the quartiles, or at the extreme value within them.
    """
    lower, upper = np.quantile(values, [0.25, 0.75], method="nearest")
    reach = 1.5 * (upper - lower) or np.inf
    return float(max(values.min(), lower - reach)), float(min(values.max(), upper + reach))


def _scale_axis(axis: Axis, number: int, *, log: bool) -> tuple[Array, list[tuple[float, str]]]:
    """Scale the values of an axis to heights from 0 to 1, and find its ticks; logarithmic for values across decades."""
    values = np.array([to_finite(value) for value in axis.values], dtype=np.float64)
    if len(axis.labels):
        # Jitter separates lines through the same label: multiples of the golden ratio spread evenly.
        jitter = 0.4 * (np.arange(len(values)) * 0.6180339887 * (number + 1) % 1 - 0.5)
        shown = range(0, len(axis.labels), -(-len(axis.labels) // _MAX_TICKS))
        end = 0.3 if len(axis.labels) > 1 else 0.5
        size = len(axis.labels) - 1 + 2 * end
        return (values + jitter + end) / size, [((index + end) / size, axis.labels[index]) for index in shown]
    known = values[np.isfinite(values)]
    if not len(known):
        return values, []
    low, high = float(known.min()), float(known.max())
    if low == high:
        return np.where(np.isfinite(values), 0.5, np.nan), [(0.5, f"{low:.4g}")]
    if log and low > 0 and high >= 50 * low:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        marks = [factor * 10.0**decade for decade in decades for factor in ((1,) if len(decades) > 3 else (1, 3))]
        values, start, size = np.log10(values), math.log10(low), math.log10(high / low)
        ticks = [((math.log10(mark) - start) / size, f"{mark:.4g}") for mark in marks]
    else:
        raw = (high - low) / 5
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw)
        start, size = low, high - low
        marks = [step * mark for mark in range(math.ceil(low / step), math.floor(high / step) + 1)]
        ticks = [((mark - low) / size, f"{mark:.6g}") for mark in marks]
    return (values - start) / size, [(height, label) for height, label in ticks if -1e-9 <= height <= 1 + 1e-9]


def _build_signals(count: int) -> list[Spec]:
    """The width of the chart, and the ranges selected by dragging along an axis; a click removes one."""
    container = f"isFinite(containerSize()[0]) ? containerSize()[0] : {WIDTH}"
    pressed, dragged = "@axis:pointerdown", "[@axis:pointerdown, window:pointerup] > window:pointermove!"
    height = "clamp(1 - y() / height, 0, 1)"
    brushes = ", ".join(f"drag.axis === {number} ? range : brushes[{number}]" for number in range(count))

    def react(name: str, value: Any, *handlers: Spec, **keys: Any) -> Spec:
        return {"name": name, "value": value, **keys, "on": list(handlers)}

    drag = {"events": dragged, "update": f"[min(drag.start, {height}), max(drag.start, {height})]"}
    return [
        react("width", WIDTH, {"events": "window:resize", "update": container}, update=container),
        {"name": "step", "update": f"width / {max(count - 1, 1)}"},
        react("drag", {"axis": -1}, {"events": pressed, "update": f"{{axis: datum.axis, start: {height}}}"}),
        react("range", None, drag, {"events": pressed, "update": "null", "force": True}),
        react("brushes", [None] * count, {"events": {"signal": "range"}, "update": f"[{brushes}]"}),
    ]


def _build_marks(count: int, *, is_tilted: bool) -> list[Spec]:
    """The lines of the runs, the axes with names and ticks, and the selected ranges."""

    def mark(kind: str, data: str, style: str, **update: Any) -> Spec:
        encoding = {name: value if isinstance(value, dict) else {"value": value} for name, value in update.items()}
        source = {"from": {"data": data}, "encode": {"update": encoding}}
        return {"type": kind, "style": style, "interactive": False, **source}

    # A line has gaps where a value is missing.
    path = " + ".join(
        f"(isValid(datum.h[{n}]) ? (isValid(datum.h[{n - 1}]) ? 'L' : 'M') + {n} * step"
        f" + ',' + (1 - datum.h[{n}]) * height : '')"
        for n in range(count)
    )
    is_brushed = " || ".join(f"brushes[{number}]" for number in range(count))
    color = {"scale": "metric", "field": "metric"}
    opacity = {"signal": f"!datum.inside ? 0.04 : ({is_brushed}) ? 0.9 : datum.opacity"}
    look = {"stroke": color, "strokeWidth": 1.2, "strokeOpacity": opacity}
    lines = mark("path", "runs", "run", path={"signal": path}, tooltip={"field": "tip"}, **look)
    lines["encode"]["hover"] = {"strokeWidth": {"value": 4}, "strokeOpacity": {"value": 1}}
    x = {"scale": "x", "field": "axis"}
    full = {"y": 0, "y2": {"signal": "height"}}
    tilt = {"angle": -25, "align": "left"} if is_tilted else {"angle": 0, "align": "center"}
    limit = {"signal": f"datum.axis < {count - 1} ? step - 6 : 90"}
    tick = {"x": x, "y": {"signal": "height * (1 - datum.h)"}, "dx": 6, "text": {"field": "label"}, "limit": limit}
    handle = mark("rect", "axes", "brush", xc=x, width=22, opacity=0, cursor="crosshair", **full)
    end = "height * (1 - (brushes[datum.axis] ? brushes[datum.axis][{}] : 0))"
    selected = {"y": {"signal": end.format(1)}, "y2": {"signal": end.format(0)}}
    return [
        {**lines, "interactive": True},
        mark("rule", "axes", "axis-line", x=x, **full),
        mark("text", "axes", "axis-name", x=x, y=-10, text={"field": "name"}, **tilt),
        mark("text", "ticks", "halo", **tick),
        mark("text", "ticks", "tick", **tick),
        {**handle, "name": "axis", "interactive": True},
        mark("rect", "axes", "brush", xc=x, width=14, **selected),
    ]
