"""Charts as Plotly figures in JSON types.

Figures hold no colors. The `meta` of a trace names its index in the palette or its part of the chart, by which the
page's script (`page.js`) colors it for a light or a dark page.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from chainrule.charts.chart import BarChart, ConfusionMatrix, LineChart, ParallelCoordinates, Series

__all__ = ["build_figure", "to_json_types"]

Figure = dict[str, Any]


def build_figure(chart: LineChart | BarChart | ParallelCoordinates | ConfusionMatrix) -> Figure:
    """Build the Plotly figure of a chart.

    Returns:
        {"data": traces, "layout": layout} for Plotly; no traces if there is nothing to show. And "meta" for the page: a
        `note` to print, the minimal `width` in pixels, and of a confusion matrix the `descriptions` and `examples` of
        its cells and the one to `start` with.
    """
    if isinstance(chart, LineChart):
        figure = _build_line_figure(chart)
    elif isinstance(chart, BarChart):
        figure = _build_bar_figure(chart)
    elif isinstance(chart, ParallelCoordinates):
        figure = _build_parallel_figure(chart)
    else:
        figure = _build_confusion_figure(chart)
    result: Figure = to_json_types(figure)
    return result


def to_json_types(value: Any) -> Any:
    """Convert a value to JSON types: NumPy numbers to Python numbers, numbers that are not finite to None.

    >>> to_json_types({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_json_types(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [to_json_types(item) for item in value]
    return str(value)


def _escape_plotly(text: str) -> str:
    """Escape text for Plotly, which interprets some HTML tags and, in templates, `%{`."""
    return html.escape(text, quote=False).replace("%{", "&#37;{")


def _wrap_text(text: str, width: int = 24) -> str:
    """Escape text and wrap it to at most three lines, for axis labels."""
    return "<br>".join(_escape_plotly(line) for line in textwrap.wrap(text, width, max_lines=3, placeholder=" …"))


def _get_max_length(texts: Sequence[str]) -> int:
    """The length of the longest text."""
    return max(map(len, texts), default=0)


def _are_finite(*values: Any) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)


def _make_title(text: str) -> dict[str, Any]:
    return {"text": _wrap_text(text, 48), "standoff": 12}


def _make_shared_keys(series: Series, color: int) -> dict[str, Any]:
    """The keys shared by the traces of a series. A click on its name in the legend hides all of them."""
    return {"name": _wrap_text(series.name, 40), "legendgroup": f"series {color}", "meta": {"color": color}}


def _make_error_bars(series: Series, values: Sequence[float]) -> dict[str, Any]:
    """Error bars from `low` to `high`; none for points with a missing number."""
    limits = [
        (low, value, high) if _are_finite(low, value, high) else None
        for low, value, high in zip(series.low, values, series.high, strict=False)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": [limit and limit[2] - limit[1] for limit in limits],
        "arrayminus": [limit and limit[1] - limit[0] for limit in limits],
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
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "uirevision": "kept",
            **layout,
        },
        "meta": {"note": note, "width": 0, **(meta or {})},
    }


def _build_line_figure(chart: LineChart) -> Figure:
    data = [trace for i, s in enumerate(chart.series) if len(s.x) for trace in _make_traces(s, i, chart.y_label)]
    few = len(chart.series) <= 8 and all(series.mark != "points" for series in chart.series)
    y_axis: dict[str, Any] = {"title": _make_title(chart.y_label), "automargin": True}
    if len(chart.y_range):
        y_axis["range"] = list(chart.y_range)
    return _assemble(
        data,
        height=400 + 10 * min(len(data), 12),
        xaxis={"title": _make_title(chart.x_label), "automargin": True},
        yaxis=y_axis,
        hovermode="x unified" if few else "closest",
    )


def _make_traces(series: Series, color: int, y_label: str) -> list[Figure]:
    """The traces of one series: its band, and above it the line or the points."""
    is_points = series.mark == "points"
    shape = "hv" if series.mark == "step" else "linear"
    shared = _make_shared_keys(series, color)
    traces: list[Figure] = []
    has_intervals = len(series.low) > 0 and len(series.high) > 0
    if has_intervals and not is_points:
        rows = zip(series.x, series.low, series.high, strict=False)
        edges = [row for row in rows if _are_finite(*row)]
        for part, column in (("edge", 1), ("band", 2)):
            traces.append(
                {
                    **shared,
                    "type": "scatter",
                    "mode": "lines",
                    "x": [row[0] for row in edges],
                    "y": [row[column] for row in edges],
                    "line": {"shape": shape, "width": 0},
                    "fill": "tonexty" if part == "band" else "none",
                    "meta": {"color": color, "part": part},
                    "showlegend": False,
                    "hoverinfo": "skip",
                }
            )
    is_single = sum(_are_finite(y) for y in series.y) == 1
    notes = [f"<br>{_wrap_text(note, 60)}" if note else "" for note in series.notes]
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
        "hovertemplate": f"{_wrap_text(series.name or y_label, 40)} %{{y:.4~g}}"
        + ("%{text}" if notes else "")
        + "<extra></extra>",
    }
    if has_intervals and is_points:
        trace["error_y"] = _make_error_bars(series, series.y)
    return [*traces, trace]


def _build_bar_figure(chart: BarChart) -> Figure:
    count = max(len(chart.series), 1)
    data = [
        _make_group_trace(series, i, (i - (count - 1) / 2) * 0.7 / count, chart)
        for i, series in enumerate(chart.series)
        if len(series.y) and len(chart.names)
    ]
    if data and chart.reference is not None and _are_finite(chart.reference):
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
        xaxis={"title": _make_title(chart.x_label), "automargin": True},
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
    size = min(len(chart.names), len(series.y))
    values = list(series.y)[:size]
    has_intervals = len(series.low) > 0 and len(series.high) > 0
    notes = [*series.notes, *[""] * size][:size]
    labels = [f"{value:.4g}" if _are_finite(value) else "" for value in values]
    suffix = f": {_wrap_text(series.name, 40)}" if series.name else ""
    heads = [_wrap_text(name, 60) + suffix for name in chart.names[:size]]
    trace: Figure = {
        **_make_shared_keys(series, color),
        "x": values,
        "y": list(range(size)),
        "showlegend": bool(series.name),
        "hovertext": [
            f"{head}<br>{_escape_plotly(chart.x_label)} {label}" + (f"<br>{_wrap_text(note, 60)}" if note else "")
            for head, label, note in zip(heads, labels, notes, strict=True)
        ],
        "hoverinfo": "text",
    }
    if chart.mark == "points":
        trace |= {"type": "scatter", "mode": "markers", "marker": {"size": 9}, "y": [i + offset for i in range(size)]}
    else:
        trace |= {"type": "bar", "orientation": "h", "cliponaxis": False, "marker": {"cornerradius": 2}}
        if not has_intervals and len(chart.series) == 1 and all(value >= 0 for value in values if _are_finite(value)):
            trace |= {"text": labels, "textposition": "auto"}
    if has_intervals:
        trace["error_x"] = _make_error_bars(series, values)
    return trace


def _build_parallel_figure(chart: ParallelCoordinates) -> Figure:
    count = min((len(axis.values) for axis in chart.axes), default=0)
    complete = [i for i in range(count) if all(_are_finite(axis.values[i]) for axis in chart.axes)]
    notes = [] if len(complete) == count else [f"{count - len(complete)} of {count} runs lack a value and are omitted."]
    data: list[Figure] = []
    margin = {"l": 60, "r": 60, "t": 56, "b": 24}
    if complete:
        dimensions = []
        for position, axis in enumerate(chart.axes[:-1]):
            dimensions.append(_make_dimension(axis.name, [axis.values[i] for i in complete], axis.labels, position))
        metric = chart.axes[-1]
        values = [metric.values[i] for i in complete]
        low, high = _find_focus(values)
        outside = sum(not low <= value <= high for value in values)
        if outside:
            notes.append(
                f"{outside} of {len(complete)} runs are beyond the end of the last axis and are drawn at its end."
            )
        clipped = [min(max(value, low), high) for value in values]
        dimensions.append(_make_dimension(metric.name, clipped, metric.labels, len(dimensions)))
        data = [
            {
                "type": "parcoords",
                "dimensions": dimensions,
                "line": {"color": clipped, "cmin": low, "cmax": high},
                "labelangle": 0,
                "meta": {"part": "parallel"},
                "customdata": [chart.runs[i] for i in complete] if len(chart.runs) >= count else [],
            }
        ]
        first, last = chart.axes[0], chart.axes[-1]
        margin["l"] = 24 + max(8 * _get_max_length(first.labels), 4 * len(first.name), 40)
        margin["r"] = 24 + 4 * len(last.name)
    # Labels are left of their axis and must not reach the previous one. The names of many axes are tilted.
    length: float = max([9, *(_get_max_length(axis.labels) for axis in chart.axes[1:])])
    sides = [len(a.name + b.name) / 2 for a, b in pairwise(chart.axes)]
    if len(chart.axes) > 6:
        margin |= {"t": 110, "r": 120}
        data = [{**one, "labelangle": -25} for one in data]
    else:
        length = max([length, *sides])
    meta = {"note": " ".join(notes), "width": round(8 * length + 8) * len(chart.axes)}
    return _assemble(data, 420, meta, margin=margin, showlegend=False)


def _make_dimension(name: str, values: list[float], labels: Sequence[str], position: int) -> dict[str, Any]:
    """One axis of parallel coordinates. On a categorical axis the lines get a small deterministic jitter."""
    dimension: dict[str, Any] = {"label": _escape_plotly(name), "values": values}
    if labels:
        # Multiples of the golden ratio spread evenly; a different multiplier per axis separates lines that met.
        step = 0.6180339887 * (position + 1)
        dimension["values"] = [value + 0.4 * (i * step % 1 - 0.5) for i, value in enumerate(values)]
        dimension["tickvals"] = list(range(len(labels)))
        dimension["ticktext"] = [_escape_plotly(label) for label in labels]
        dimension["range"] = [-0.5, len(labels) - 0.5]
    else:
        low, high = min(values), max(values)
        room = 0 if high > low else abs(high) / 10 or 1
        dimension["range"] = [low - room, high + room]
        dimension["tickformat"] = "~g" if all(float(value).is_integer() for value in values) else ".3~g"
    return dimension


def _find_focus(values: list[float]) -> tuple[float, float]:
    """The range of the metric to show, so that a few failed runs do not squeeze all others into one line.

    It ends at Tukey's fences, 1.5 interquartile ranges beyond the quartiles, or at the extreme value within them.
    """
    ordered = sorted(values)
    lower, upper = (ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.75))
    reach = 1.5 * (upper - lower)
    if reach == 0:
        return ordered[0], ordered[-1]
    return max(ordered[0], lower - reach), min(ordered[-1], upper + reach)


def _build_confusion_figure(chart: ConfusionMatrix) -> Figure:
    size = len(chart.classes)
    totals = [sum(row) for row in chart.counts]
    cells = [(i, j) for i in range(size) for j in range(size)]
    shares = [[chart.counts[i][j] / max(totals[i], 1) for j in range(size)] for i in range(size)]
    names = chart.classes
    descriptions = [
        [
            f"true {names[i]}, predicted as {names[j]}: {chart.counts[i][j]} ({100 * shares[i][j]:.1f} %)"
            for j in range(size)
        ]
        for i in range(size)
    ]
    max_wrong = max((shares[i][j] for i, j in cells if i != j), default=0)
    start = max(cells, key=lambda cell: (cell[0] != cell[1], chart.counts[cell[0]][cell[1]]), default=(0, 0))
    text = [[str(chart.counts[i][j]) if chart.counts[i][j] else "" for j in range(size)] for i in range(size)]
    data: list[Figure] = []
    for part in ("correct", "wrong"):
        inside = {(i, j) for i, j in cells if (i == j) == (part == "correct")}
        # Mistakes are rare: the square root makes 1 % and 10 % distinguishable.
        power = 1 if part == "correct" else 0.5
        data.append(
            {
                "type": "heatmap",
                "z": [[shares[i][j] ** power if (i, j) in inside else None for j in range(size)] for i in range(size)],
                "zmin": 0,
                "zmax": 1 if part == "correct" else max(max_wrong, 0.1) ** power,
                "text": [[text[i][j] if (i, j) in inside else "" for j in range(size)] for i in range(size)],
                "texttemplate": "%{text}" if size <= 30 else "",
                "hovertext": [[_escape_plotly(text) for text in row] for row in descriptions],
                "hoverinfo": "text",
                "hoverongaps": False,
                "showscale": False,
                "xgap": 1 if size <= 30 else 0,
                "ygap": 1 if size <= 30 else 0,
                "meta": {"part": part},
            }
        )
    ticks = {
        "tickvals": list(range(size)),
        "ticktext": [_wrap_text(name, 16) for name in chart.classes],
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "tickfont": {"size": 12 if size <= 30 else 10},
    }
    tilt = 0 if _get_max_length(chart.classes) <= 3 else -45 if size <= 30 else -90
    return _assemble(
        data if size else [],
        height=150 + size * (36 if size <= 15 else 24 if size <= 30 else 14),
        xaxis={**ticks, "title": _make_title("predicted class"), "tickangle": tilt, "range": [-0.5, size - 0.5]},
        yaxis={**ticks, "title": _make_title("true class"), "range": [size - 0.5, -0.5]},
        showlegend=False,
        meta={
            "descriptions": descriptions,
            "examples": chart.examples,
            "start": start,
            "width": 130 + size * (32 if size <= 30 else 12),
        },
    )
