"""Parallel coordinates, drawn by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.charts.chart import Axis, ParallelCoordinates
from chainrule.charts.mpl_style import escape_mathtext, mark_as_empty, new_figure, replace_non_finite
from chainrule.charts.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["draw_parallel_coordinates"]


def draw_parallel_coordinates(chart: ParallelCoordinates, width: float) -> Figure:
    """Draw one line per run across the axes, the best runs on top and darkest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.patheffects import withStroke

    figure = new_figure(width, 0.55 * width)
    axes = figure.subplots()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    metric = replace_non_finite(chart.axes[-1].values) if chart.axes else np.zeros(0)
    if not np.isfinite(metric).any():
        mark_as_empty(axes)
        return figure
    count = len(chart.axes)
    random = np.random.default_rng(0)
    scales = [_scale_axis(axis, log=number < count - 1) for number, axis in enumerate(chart.axes)]
    heights = np.array([positions for positions, _ in scales])  # (axes, runs)
    for row, axis in zip(heights, chart.axes, strict=True):
        if len(axis.labels):  # jitter, or lines through the same label would overlap
            row += random.uniform(-0.3, 0.3, len(row)) * min(1 / max(len(axis.labels) - 1, 1), 0.4)

    lower_is_better = any(word in chart.axes[-1].name.lower() for word in ("loss", "error"))
    quality = np.nan_to_num(-metric if lower_is_better else metric, nan=-np.inf)
    order = np.argsort(quality, kind="stable")
    # Failed runs would use up the color scale: the worst tenth shares one color, marked by an arrow at the color bar.
    known = metric[np.isfinite(metric)]
    cut = float(np.quantile(known, 0.9 if lower_is_better else 0.1))
    # Most runs of a sweep end near the best: the norm spreads these.
    norm = PowerNorm(0.25, known.min(), cut) if lower_is_better else PowerNorm(4, cut, known.max())
    scale = LinearSegmentedColormap.from_list("metric", list(LIGHT.metric))
    colors = ScalarMappable(norm, scale.reversed() if lower_is_better else scale)
    shades = colors.to_rgba(np.where(np.isfinite(metric), metric, cut))
    shades[~np.isfinite(metric)] = (0.8, 0.8, 0.8, 1)
    rank = np.empty(len(order))
    rank[order] = np.linspace(0, 1, len(order)) if len(order) > 1 else 1
    shades[:, 3] = 1 if len(order) <= 30 else 0.15 + 0.6 * rank**2
    lines = np.stack([np.broadcast_to(np.arange(count)[:, None], heights.shape), heights], axis=2).swapaxes(0, 1)
    axes.add_collection(
        LineCollection(list(lines[order]), colors=shades[order], linewidths=(0.5 + 0.3 * rank[order] ** 4))
    )
    room = (width - 1) * 72 / max(count - 1, 1)  # points between adjacent axes
    tilt = 0 if max(len(axis.name) for axis in chart.axes) * 4.9 < room else 25
    halo = [withStroke(linewidth=2, foreground="white", alpha=0.85)]
    for number, ((_, ticks), axis) in enumerate(zip(scales, chart.axes, strict=True)):
        axes.plot([number, number], [-0.13, 1.13], color="#333333", linewidth=0.8, zorder=3)
        axes.text(
            number, 1.17, escape_mathtext(axis.name, 28), ha="left" if tilt else "center", rotation=tilt, fontsize=7.5
        )
        for position, label in ticks:
            axes.plot([number - 0.015, number + 0.015], [position, position], color="#333333", linewidth=0.8, zorder=3)
            text = escape_mathtext(label, max(6, int(room / 4.2)) if number < count - 1 else 12)
            label_at: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 6.5, "zorder": 4}
            axes.annotate(text, (number, position), (4, 0), path_effects=halo, **label_at)
    axes.set(xlim=(-0.1, count - 0.9), ylim=(-0.15, 1.17), xticks=[], yticks=[])
    end = "neither" if cut in (known.min(), known.max()) else "max" if lower_is_better else "min"
    bar: Any = figure.colorbar(colors, ax=axes, fraction=0.03, pad=0.06, aspect=30, extend=end)
    bar.solids.set_rasterized(False)
    bar.solids.set_edgecolor("face")  # otherwise viewers show seams
    bar.outline.set_visible(False)
    # Evenly spaced along the bar; round numbers would crowd at one end.
    marks = norm.inverse(np.linspace(0, 1, 6))
    bar.set_ticks(marks, labels=[f"{mark:.3g}" for mark in marks])
    bar.minorticks_off()
    bar.set_label(escape_mathtext(chart.axes[-1].name), fontsize=7)
    return figure


def _scale_axis(axis: Axis, log: bool) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """Scale the values of an axis to 0..1, and find its ticks; logarithmic, if allowed, for values across decades."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    values = replace_non_finite(axis.values)
    if len(axis.labels):
        top = max(len(axis.labels) - 1, 1)
        shown = range(0, len(axis.labels), -(-len(axis.labels) // 20))
        return values / top, [(number / top, axis.labels[number]) for number in shown]
    known = values[np.isfinite(values)]
    if not len(known):
        return values, []
    log = log and bool(known.min() > 0) and bool(known.max() >= 50 * known.min())
    low, high = (np.log10(known.min()), np.log10(known.max())) if log else (known.min(), known.max())
    if low == high:
        return np.where(np.isfinite(values), 0.5, np.nan), [(0.5, f"{known[0]:.4g}")]
    marks = (LogLocator(numticks=6) if log else MaxNLocator(5)).tick_values(known.min(), known.max())
    positions = [((np.log10(mark) if log else mark) - low) / (high - low) for mark in marks]
    ticks = [(x, f"{mark:.4g}") for x, mark in zip(positions, marks, strict=True) if -1e-9 <= x <= 1 + 1e-9]
    return ((np.log10(values) if log else values) - low) / (high - low), ticks
