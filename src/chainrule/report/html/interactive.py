"""Charts on a page: each chart as a figure of Plotly, a plain dictionary that JSON can hold.

A figure holds no colours. A trace says in its `meta` which colour of the page's palette is its own, or which part of
the chart it is, and the page's script (`page.js`) paints it for a light or a dark page.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from chainrule.report.charts import Bars, Confusion, Lines, Parallel, Series

__all__ = ["figure", "jsonable"]

Figure = dict[str, Any]


def figure(chart: Lines | Bars | Parallel | Confusion) -> Figure:
    """Draw a chart.

    Returns:
        {"data": traces, "layout": layout}, as Plotly takes it, without traces where there is nothing to see. And
        "meta", what the page needs besides: a `note` to print, the least `width` in pixels, a confusion matrix's
        `sentences` and `examples` by cell, and the cell to `start` with.
    """
    if isinstance(chart, Lines):
        drawn = _lines(chart)
    elif isinstance(chart, Bars):
        drawn = _bars(chart)
    elif isinstance(chart, Parallel):
        drawn = _parallel(chart)
    else:
        drawn = _confusion(chart)
    result: Figure = jsonable(drawn)
    return result


def jsonable(value: Any) -> Any:
    """The value as JSON can hold it: NumPy's numbers as Python's, a number that is not finite as None.

    >>> jsonable({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [jsonable(item) for item in value]
    return str(value)


def _plain(text: str) -> str:
    """A text that Plotly shows as it is: Plotly takes some tags for markup, and `%{` in templates for a field."""
    return html.escape(text, quote=False).replace("%{", "&#37;{")


def _wrapped(text: str, width: int = 24) -> str:
    """The same on up to three lines, for the labels of an axis."""
    return "<br>".join(_plain(line) for line in textwrap.wrap(text, width, max_lines=3, placeholder=" …"))


def _longest(texts: Sequence[str]) -> int:
    """Letters in the longest of the texts."""
    return max(map(len, texts), default=0)


def _finite(*values: Any) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)


def _title(text: str) -> dict[str, Any]:
    return {"text": _wrapped(text, 48), "standoff": 12}


def _named(series: Series, colour: int) -> dict[str, Any]:
    """What all traces of a series share. A click on its name in the legend hides them together."""
    return {"name": _wrapped(series.name, 40), "legendgroup": f"series {colour}", "meta": {"colour": colour}}


def _errors(series: Series, values: Sequence[float]) -> dict[str, Any]:
    """Error bars from `low` to `high`; none where one of the three numbers is missing."""
    limits = [
        (low, value, high) if _finite(low, value, high) else None
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


def _figure(data: list[Figure], height: int, meta: dict[str, Any] | None = None, **layout: Any) -> Figure:
    """A figure with the layout that all share."""
    named = {trace["legendgroup"] for trace in data if trace.get("name")}
    # A longer legend would leave little room for the chart, and no eye tells so many colours apart.
    legible = len(named) <= 12
    note = "" if legible else "Point at a line or a bar to see its name."
    return {
        "data": data,
        "layout": {
            "height": height,
            "margin": {"l": 60, "r": 36, "t": 24, "b": 56},
            "showlegend": (len(named) > 1 or "reference" in named) and legible,
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "uirevision": "kept",
            **layout,
        },
        "meta": {"note": note, "width": 0, **(meta or {})},
    }


def _lines(chart: Lines) -> Figure:
    data = [
        trace for i, series in enumerate(chart.series) if len(series.x) for trace in _line(series, i, chart.y_label)
    ]
    few = len(chart.series) <= 8 and all(series.look != "points" for series in chart.series)
    y_axis: dict[str, Any] = {"title": _title(chart.y_label), "automargin": True}
    if len(chart.y_range):
        y_axis["range"] = list(chart.y_range)
    return _figure(
        data,
        height=400 + 10 * min(len(data), 12),
        xaxis={"title": _title(chart.x_label), "automargin": True},
        yaxis=y_axis,
        hovermode="x unified" if few else "closest",
    )


def _line(series: Series, colour: int, y_label: str) -> list[Figure]:
    """The traces of one series: its band, and then the line or the points upon it."""
    points = series.look == "points"
    shape = "hv" if series.look == "step" else "linear"
    shared = _named(series, colour)
    traces: list[Figure] = []
    intervals = len(series.low) > 0 and len(series.high) > 0
    if intervals and not points:
        rows = zip(series.x, series.low, series.high, strict=False)
        edges = [row for row in rows if _finite(*row)]
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
                    "meta": {"colour": colour, "part": part},
                    "showlegend": False,
                    "hoverinfo": "skip",
                }
            )
    alone = sum(_finite(y) for y in series.y) == 1
    notes = [f"<br>{_wrapped(note, 60)}" if note else "" for note in series.notes]
    trace: Figure = {
        **shared,
        "type": "scatter",
        "mode": "markers" if points or alone else "lines",
        "x": list(series.x),
        "y": list(series.y),
        "line": {"shape": shape, "width": 2},
        "marker": {"size": 7, "opacity": 0.8},
        "showlegend": bool(series.name),
        "text": notes,
        "hovertemplate": f"{_wrapped(series.name or y_label, 40)} %{{y:.4~g}}"
        + ("%{text}" if notes else "")
        + "<extra></extra>",
    }
    if intervals and points:
        trace["error_y"] = _errors(series, series.y)
    return [*traces, trace]


def _bars(chart: Bars) -> Figure:
    count = max(len(chart.series), 1)
    data = [
        _group(series, i, (i - (count - 1) / 2) * 0.7 / count, chart)
        for i, series in enumerate(chart.series)
        if len(series.y) and len(chart.names)
    ]
    if data and chart.reference is not None and _finite(chart.reference):
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
    return _figure(
        data,
        height=110 + len(chart.names) * max(30, 18 * count + 10),
        xaxis={"title": _title(chart.x_label), "automargin": True},
        yaxis={
            "tickvals": list(range(len(chart.names))),
            "ticktext": [_wrapped(name) for name in chart.names],
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


def _group(series: Series, colour: int, offset: float, chart: Bars) -> Figure:
    """One series of bars or points, `offset` beside the middle of each group."""
    size = min(len(chart.names), len(series.y))
    values = list(series.y)[:size]
    intervals = len(series.low) > 0 and len(series.high) > 0
    notes = [*series.notes, *[""] * size][:size]
    labels = [f"{value:.4g}" if _finite(value) else "" for value in values]
    heads = [
        f"{_wrapped(name, 60)}{': ' if series.name else ''}{_wrapped(series.name, 40)}" for name in chart.names[:size]
    ]
    trace: Figure = {
        **_named(series, colour),
        "x": values,
        "y": list(range(size)),
        "showlegend": bool(series.name),
        "hovertext": [
            f"{head}<br>{_plain(chart.x_label)} {label}" + (f"<br>{_wrapped(note, 60)}" if note else "")
            for head, label, note in zip(heads, labels, notes, strict=True)
        ],
        "hoverinfo": "text",
    }
    if chart.look == "points":
        trace |= {"type": "scatter", "mode": "markers", "marker": {"size": 9}, "y": [i + offset for i in range(size)]}
    else:
        trace |= {"type": "bar", "orientation": "h", "cliponaxis": False, "marker": {"cornerradius": 2}}
        if not intervals and len(chart.series) == 1 and all(value >= 0 for value in values if _finite(value)):
            trace |= {"text": labels, "textposition": "auto"}
    if intervals:
        trace["error_x"] = _errors(series, values)
    return trace


def _parallel(chart: Parallel) -> Figure:
    count = min((len(axis.values) for axis in chart.axes), default=0)
    whole = [i for i in range(count) if all(_finite(axis.values[i]) for axis in chart.axes)]
    notes = [] if len(whole) == count else [f"{count - len(whole)} of {count} runs lack a value and are left out."]
    data: list[Figure] = []
    margin = {"l": 60, "r": 60, "t": 56, "b": 24}
    if whole:
        dimensions = []
        for position, axis in enumerate(chart.axes[:-1]):
            dimensions.append(_dimension(axis.name, [axis.values[i] for i in whole], axis.labels, position))
        metric = chart.axes[-1]
        values = [metric.values[i] for i in whole]
        low, high = _focus(values)
        outside = sum(not low <= value <= high for value in values)
        if outside:
            notes.append(
                f"{outside} of {len(whole)} runs lie beyond the end of the last axis and are drawn at its end."
            )
        clipped = [min(max(value, low), high) for value in values]
        dimensions.append(_dimension(metric.name, clipped, metric.labels, len(dimensions)))
        data = [
            {
                "type": "parcoords",
                "dimensions": dimensions,
                "line": {"color": clipped, "cmin": low, "cmax": high},
                "labelangle": 0,
                "meta": {"part": "parallel"},
                "customdata": [chart.runs[i] for i in whole] if len(chart.runs) >= count else [],
            }
        ]
        first, last = chart.axes[0], chart.axes[-1]
        margin["l"] = 24 + max(8 * _longest(first.labels), 4 * len(first.name), 40)
        margin["r"] = 24 + 4 * len(last.name)
    # Labels stand left of their axes and may not reach the one before. Of many axes the names are tilted.
    letters: float = max([9, *(_longest(axis.labels) for axis in chart.axes[1:])])
    sides = [len(a.name + b.name) / 2 for a, b in pairwise(chart.axes)]
    if len(chart.axes) > 6:
        margin |= {"t": 110, "r": 120}
        data = [{**one, "labelangle": -25} for one in data]
    else:
        letters = max([letters, *sides])
    meta = {"note": " ".join(notes), "width": round(8 * letters + 8) * len(chart.axes)}
    return _figure(data, 420, meta, margin=margin, showlegend=False)


def _dimension(name: str, values: list[float], labels: Sequence[str], position: int) -> dict[str, Any]:
    """An axis of parallel coordinates. On an axis of names the lines are spread a little, the same way every time."""
    dimension: dict[str, Any] = {"label": _plain(name), "values": values}
    if labels:
        # Multiples of the golden ratio spread evenly; another multiplier on each axis parts lines that met.
        step = 0.6180339887 * (position + 1)
        dimension["values"] = [value + 0.4 * (i * step % 1 - 0.5) for i, value in enumerate(values)]
        dimension["tickvals"] = list(range(len(labels)))
        dimension["ticktext"] = [_plain(label) for label in labels]
        dimension["range"] = [-0.5, len(labels) - 0.5]
    else:
        low, high = min(values), max(values)
        room = 0 if high > low else abs(high) / 10 or 1
        dimension["range"] = [low - room, high + room]
        dimension["tickformat"] = "~g" if all(float(value).is_integer() for value in values) else ".3~g"
    return dimension


def _focus(values: list[float]) -> tuple[float, float]:
    """The part of the metric to show: a few runs that failed must not press all others into one line.

    It ends 1.5 times the distance of the quartiles beyond them (Tukey's fences), or at the last value before.
    """
    ordered = sorted(values)
    lower, upper = (ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.75))
    reach = 1.5 * (upper - lower)
    if reach == 0:
        return ordered[0], ordered[-1]
    return max(ordered[0], lower - reach), min(ordered[-1], upper + reach)


def _confusion(chart: Confusion) -> Figure:
    size = len(chart.classes)
    totals = [sum(row) for row in chart.counts]
    cells = [(i, j) for i in range(size) for j in range(size)]
    shares = [[chart.counts[i][j] / max(totals[i], 1) for j in range(size)] for i in range(size)]
    sentences = [
        [
            f"true {chart.classes[i]}, taken for {chart.classes[j]}: {chart.counts[i][j]} ({100 * shares[i][j]:.1f} %)"
            for j in range(size)
        ]
        for i in range(size)
    ]
    wrong = max((shares[i][j] for i, j in cells if i != j), default=0)
    start = max(cells, key=lambda cell: (cell[0] != cell[1], chart.counts[cell[0]][cell[1]]), default=(0, 0))
    text = [[str(chart.counts[i][j]) if chart.counts[i][j] else "" for j in range(size)] for i in range(size)]
    data: list[Figure] = []
    for part in ("right", "wrong"):
        inside = {(i, j) for i, j in cells if (i == j) == (part == "right")}
        # Errors are stretched by a square root: else 1 % and 10 % look alike, and both like none.
        power = 1 if part == "right" else 0.5
        data.append(
            {
                "type": "heatmap",
                "z": [[shares[i][j] ** power if (i, j) in inside else None for j in range(size)] for i in range(size)],
                "zmin": 0,
                "zmax": 1 if part == "right" else max(wrong, 0.1) ** power,
                "text": [[text[i][j] if (i, j) in inside else "" for j in range(size)] for i in range(size)],
                "texttemplate": "%{text}" if size <= 30 else "",
                "hovertext": [[_plain(sentence) for sentence in row] for row in sentences],
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
        "ticktext": [_wrapped(name, 16) for name in chart.classes],
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "tickfont": {"size": 12 if size <= 30 else 10},
    }
    tilt = 0 if _longest(chart.classes) <= 3 else -45 if size <= 30 else -90
    return _figure(
        data if size else [],
        height=150 + size * (36 if size <= 15 else 24 if size <= 30 else 14),
        xaxis={**ticks, "title": _title("taken for"), "tickangle": tilt, "range": [-0.5, size - 0.5]},
        yaxis={**ticks, "title": _title("true"), "range": [size - 0.5, -0.5]},
        showlegend=False,
        meta={
            "sentences": sentences,
            "examples": chart.examples,
            "start": start,
            "width": 130 + size * (32 if size <= 30 else 12),
        },
    )
