"""Charts as Plotly figures in JSON types.

Figures hold no colors. The `meta` of a trace names its index in the palette or its part of the chart, by which the
page's script (`page.js`) colors it for a light or a dark page.
"""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Callable, Sequence
from itertools import compress, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.charts.chart import Axis, BarChart, ConfusionMatrix, LineChart, ParallelCoordinates, Series

__all__ = ["build_figure", "to_json_types"]

Figure = dict[str, Any]


def build_figure(chart: LineChart | BarChart | ParallelCoordinates | ConfusionMatrix) -> Figure:
    """Build the Plotly figure of a chart.

    Returns:
        {"data": traces, "layout": layout} for Plotly; no traces if there is nothing to show. And "meta" for the page: a
        `note` to print, the minimal `width` in pixels, and of a confusion matrix the `descriptions` and `examples` of
        its cells and the one to `start` with.
    """
    builders: dict[type, Callable[[Any], Figure]] = {
        LineChart: _build_line_figure,
        BarChart: _build_bar_figure,
        ParallelCoordinates: _build_parallel_figure,
        ConfusionMatrix: _build_confusion_figure,
    }
    figure: Figure = to_json_types(builders[type(chart)](chart))
    return figure


def to_json_types(value: Any) -> Any:
    """Convert a value to JSON types: NumPy numbers to Python numbers, numbers that are not finite to None.

    >>> to_json_types({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    from plotly.utils import PlotlyJSONEncoder

    return json.loads(json.dumps(value, cls=PlotlyJSONEncoder))


def _escape_plotly(text: str) -> str:
    """Escape text for Plotly, which interprets some HTML tags and, in templates, `%{`."""
    return html.escape(text, quote=False).replace("%{", "&#37;{")


def _wrap_text(text: str, width: int = 24) -> str:
    """Escape text and wrap it to at most three lines, for axis labels."""
    return "<br>".join(_escape_plotly(line) for line in textwrap.wrap(text, width, max_lines=3, placeholder=" …"))


def _get_max_length(texts: Sequence[str]) -> int:
    """The length of the longest text."""
    return max(map(len, texts), default=0)


def _make_axis(label: str, **keys: Any) -> dict[str, Any]:
    return {"title": {"text": _wrap_text(label, 48), "standoff": 12}, "automargin": True, **keys}


def _make_shared_keys(series: Series, color: int) -> dict[str, Any]:
    """The keys shared by the traces of a series. A click on its name in the legend hides all of them."""
    return {"name": _wrap_text(series.name, 40), "legendgroup": f"series {color}", "meta": {"color": color}}


def _make_error_bars(series: Series) -> dict[str, Any]:
    """Error bars from `low` to `high`; none for points with a missing number."""
    size = min(len(series.y), len(series.low), len(series.high))
    low, value, high = np.array([series.low[:size], series.y[:size], series.high[:size]], dtype=np.float64)
    complete = np.isfinite(low + value + high)
    return {
        "type": "data",
        "symmetric": False,
        "array": np.where(complete, high - value, np.nan),
        "arrayminus": np.where(complete, value - low, np.nan),
        "thickness": 1.5,
        "width": 4,
    }


def _assemble(data: list[Figure], height: int, meta: dict[str, Any] | None = None, **layout: Any) -> Figure:
    """Combine traces with the layout that all figures share."""
    named = {trace["legendgroup"] for trace in data if trace.get("name")}
    # A longer legend would leave little room for the chart, in colors that nobody can tell apart.
    has_legend = len(named) <= 12
    note = "" if has_legend else "Hover over a line or a bar to see its name."
    return {
        "data": data,
        "layout": {
            "height": height,
            "margin": {"l": 60, "r": 36, "t": 24, "b": 56},
            "showlegend": (len(named) > 1 or "reference" in named) and has_legend,
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
            "plot_bgcolor": "rgba(0,0,0,0)",
            "uirevision": "kept",
            **layout,
        },
        "meta": {"note": note, "width": 0, **(meta or {})},
    }


def _build_line_figure(chart: LineChart) -> Figure:
    data = [trace for i, s in enumerate(chart.series) if len(s.x) for trace in _make_traces(s, i, chart.y_label)]
    few = len(chart.series) <= 8 and all(series.mark != "points" for series in chart.series)
    return _assemble(
        data,
        height=400 + 10 * min(len(data), 12),
        xaxis=_make_axis(chart.x_label),
        yaxis=_make_axis(chart.y_label, **({"range": chart.y_range} if len(chart.y_range) else {})),
        hovermode="x unified" if few else "closest",
    )


def _make_traces(series: Series, color: int, y_label: str) -> list[Figure]:
    """The traces of one series: its band, and above it the line or the points."""
    is_points = series.mark == "points"
    shape = "hv" if series.mark == "step" else "linear"
    shared = _make_shared_keys(series, color)
    traces: list[Figure] = []
    if series.has_interval and not is_points:
        rows = np.array([series.x, series.low, series.high], dtype=np.float64)
        x, low, high = rows[:, np.isfinite(rows).all(axis=0)]
        for part, y, fill in (("edge", low, "none"), ("band", high, "tonexty")):
            line = {"mode": "lines", "line": {"shape": shape, "width": 0}, "fill": fill}
            hidden = {"showlegend": False, "hoverinfo": "skip", "meta": {"color": color, "part": part}}
            traces.append({**shared, "type": "scatter", "x": x, "y": y, **line, **hidden})
    is_single = np.isfinite(np.array(series.y, dtype=np.float64)).sum() == 1
    notes = [f"<br>{_wrap_text(note, 60)}" if note else "" for note in series.notes]
    text = "%{text}" if notes else ""
    trace: Figure = {
        **shared,
        "type": "scatter",
        "mode": "markers" if is_points or is_single else "lines",
        "x": list(series.x),
        "y": list(series.y),
        "line": {"shape": shape, "width": 2},
        "marker": {"size": 7, "opacity": 0.8},
        "showlegend": bool(series.name),
        "text": notes,
        "hovertemplate": f"{_wrap_text(series.name or y_label, 40)} %{{y:.4~g}}{text}<extra></extra>",
    }
    if series.has_interval and is_points:
        trace["error_y"] = _make_error_bars(series)
    return [*traces, trace]


def _build_bar_figure(chart: BarChart) -> Figure:
    count = max(len(chart.series), 1)
    data = [
        _make_group_trace(series, i, (i - (count - 1) / 2) * 0.7 / count, chart)
        for i, series in enumerate(chart.series)
        if len(series.y) and len(chart.names)
    ]
    if data and chart.reference is not None and math.isfinite(chart.reference):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [chart.reference] * 2,
                "y": [-0.5, len(chart.names) - 0.5],
                "line": {"dash": "dash", "width": 1.5},
                "name": f"reference {chart.reference:.4g}",
                "legendgroup": "reference",
                "meta": {"part": "reference"},
                "hoverinfo": "name",
                "cliponaxis": False,
            }
        )
    return _assemble(
        data,
        height=110 + len(chart.names) * max(30, 18 * count + 10),
        xaxis=_make_axis(chart.x_label),
        yaxis={
            "tickvals": list(range(len(chart.names))),
            "ticktext": [_wrap_text(name) for name in chart.names],
            "range": [len(chart.names) - 0.5, -0.5],
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "ticklabelstandoff": 6,
        },
        barmode="group",
        bargap=0.3,
        hovermode="closest",
    )


def _make_group_trace(series: Series, color: int, offset: float, chart: BarChart) -> Figure:
    """The trace of one series of bars or points, shifted by `offset` from the center of each group."""
    values = np.array(series.y, dtype=np.float64)
    places = np.arange(len(values))
    notes = series.notes or [""] * len(values)
    labels = [f"{value:.4g}" if np.isfinite(value) else "" for value in values]
    suffix = f": {_wrap_text(series.name, 40)}" if series.name else ""
    heads = [_wrap_text(name, 60) + suffix for name in chart.names]
    trace: Figure = {
        **_make_shared_keys(series, color),
        "x": values,
        "y": places,
        "showlegend": bool(series.name),
        "hovertext": [
            f"{head}<br>{_escape_plotly(chart.x_label)} {label}" + (f"<br>{_wrap_text(note, 60)}" if note else "")
            for head, label, note in zip(heads, labels, notes, strict=True)
        ],
        "hoverinfo": "text",
    }
    if chart.mark == "points":
        trace |= {"type": "scatter", "mode": "markers", "marker": {"size": 9}, "y": places + offset}
    else:
        trace |= {"type": "bar", "orientation": "h", "cliponaxis": False, "marker": {"cornerradius": 2}}
        if not series.has_interval and len(chart.series) == 1 and not (values < 0).any():
            trace |= {"text": labels, "textposition": "auto"}
    if series.has_interval:
        trace["error_x"] = _make_error_bars(series)
    return trace


def _build_parallel_figure(chart: ParallelCoordinates) -> Figure:
    if not chart.axes:
        return _assemble([], 420)
    values = np.array([axis.values for axis in chart.axes], dtype=np.float64)
    complete = np.logical_and.reduce(np.isfinite(values))
    count, shown = len(complete), values[:, complete]
    omitted = count - shown.shape[1]
    notes = [f"{omitted} of {count} runs lack a value and are omitted."] if omitted else []
    first, *others = chart.axes
    # The names of many axes are tilted.
    is_tilted = len(chart.axes) > 6
    data: list[Figure] = []
    if complete.any():
        low, high = _find_focus(shown[-1])
        if outside := int(((shown[-1] < low) | (shown[-1] > high)).sum()):
            notes.append(
                f"{outside} of {len(shown[-1])} runs are beyond the end of the last axis and are drawn at its end."
            )
        shown[-1] = shown[-1].clip(low, high)
        data.append(
            {
                "type": "parcoords",
                "dimensions": [_make_dimension(axis, shown[i], i) for i, axis in enumerate(chart.axes)],
                "line": {"color": shown[-1], "cmin": low, "cmax": high},
                "labelangle": -25 if is_tilted else 0,
                "meta": {"part": "parallel"},
                "customdata": list(compress(chart.runs, complete)) if len(chart.runs) >= count else [],
            }
        )
    left = 24 + max(8 * _get_max_length(first.labels), 4 * len(first.name), 40)
    right = 24 + 4 * len(chart.axes[-1].name)
    # Labels are left of their axis and must not reach the previous one.
    lengths = [9, *(_get_max_length(axis.labels) for axis in others)]
    names = [] if is_tilted else [len(a.name + b.name) / 2 for a, b in pairwise(chart.axes)]
    return _assemble(
        data,
        420,
        {"note": " ".join(notes), "width": round(8 * max(lengths + names) + 8) * len(chart.axes)},
        margin={"l": left, "r": 120 if is_tilted else right, "t": 110 if is_tilted else 56, "b": 24},
        showlegend=False,
    )


def _make_dimension(axis: Axis, values: NDArray[np.float64], position: int) -> dict[str, Any]:
    """One axis of parallel coordinates. On a categorical axis the lines get a small deterministic jitter."""
    dimension: dict[str, Any] = {"label": _escape_plotly(axis.name), "values": values}
    if axis.labels:
        # Multiples of the golden ratio spread evenly; a different multiplier per axis separates lines that met.
        step = 0.6180339887 * (position + 1)
        return dimension | {
            "values": values + 0.4 * (np.arange(len(values)) * step % 1 - 0.5),
            "tickvals": list(range(len(axis.labels))),
            "ticktext": [_escape_plotly(label) for label in axis.labels],
            "range": [-0.5, len(axis.labels) - 0.5],
        }
    low, high = values.min(), values.max()
    room = 0 if high > low else abs(high) / 10 or 1
    tick_format = "~g" if (values == np.round(values)).all() else ".3~g"
    return dimension | {"range": [low - room, high + room], "tickformat": tick_format}


def _find_focus(values: NDArray[np.float64]) -> tuple[float, float]:
    """The range of the metric to show, so that a few failed runs do not squeeze all others into one line.

    It ends at Tukey's fences, 1.5 interquartile ranges beyond the quartiles, or at the extreme value within them.
    """
    lower, upper = np.quantile(values, [0.25, 0.75], method="nearest")
    reach = 1.5 * (upper - lower) or np.inf
    return max(values.min(), lower - reach), min(values.max(), upper + reach)


def _build_confusion_figure(chart: ConfusionMatrix) -> Figure:
    names, size = chart.classes, len(chart.classes)
    counts = np.array(chart.counts, dtype=np.int64).reshape(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    correct = np.eye(size, dtype=bool)
    descriptions = [
        [
            f"true {true}, predicted as {predicted}: {count} ({100 * share:.1f} %)"
            for predicted, count, share in zip(names, row, row_shares, strict=True)
        ]
        for true, row, row_shares in zip(names, counts, shares, strict=True)
    ]
    text = np.where(counts > 0, counts.astype(str), "")
    has_room = size <= 30
    data: list[Figure] = []
    # Mistakes are rare: the square root makes 1 % and 10 % distinguishable.
    for part, inside, shade in (("correct", correct, shares), ("wrong", ~correct, np.sqrt(shares))):
        data.append(
            {
                "type": "heatmap",
                "z": np.where(inside, shade, np.nan),
                "zmin": 0,
                "zmax": 1 if part == "correct" else shade.max(where=inside, initial=math.sqrt(0.1)),
                "text": np.where(inside, text, ""),
                "texttemplate": "%{text}" if has_room else "",
                "hovertext": [[_escape_plotly(text) for text in row] for row in descriptions],
                "hoverinfo": "text",
                "hoverongaps": False,
                "showscale": False,
                "xgap": 1 if has_room else 0,
                "ygap": 1 if has_room else 0,
                "meta": {"part": part},
            }
        )
    ticks = {
        "tickvals": list(range(size)),
        "ticktext": [_wrap_text(name, 16) for name in names],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "tickfont": {"size": 12 if has_room else 10},
    }
    tilt = 0 if _get_max_length(names) <= 3 else -45 if has_room else -90
    # The most frequent mistake; without any, a cell beside the diagonal.
    start = np.unravel_index(np.where(correct, -1, counts).argmax(), counts.shape) if size else (0, 0)
    return _assemble(
        data if size else [],
        height=150 + size * (36 if size <= 15 else 24 if has_room else 14),
        xaxis=_make_axis("predicted class", **ticks, tickangle=tilt, range=[-0.5, size - 0.5]),
        yaxis=_make_axis("true class", **ticks, range=[size - 0.5, -0.5]),
        showlegend=False,
        meta={
            "descriptions": descriptions,
            "examples": chart.examples,
            "start": start,
            "width": 130 + size * (32 if has_room else 12),
        },
    )
