"""Charts drawn by matplotlib, at the size in which they are printed.

Files are deterministic: no date is written, jitter is seeded, and the user's matplotlib settings are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.charts.chart import BarChart, Chart, ConfusionMatrix, LineChart, ParallelCoordinates, Series
from chainrule.charts.mpl_images import draw_confusion_matrix, draw_image_grid
from chainrule.charts.mpl_parallel import draw_parallel_coordinates
from chainrule.charts.mpl_style import escape_mathtext, mark_as_empty, new_figure, replace_non_finite, use_style
from chainrule.charts.palette import LIGHT
from chainrule.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

__all__ = ["draw_chart", "save_chart", "save_figure"]

_DASHES = ("-", "--", ":", "-.")
_MAX_HEIGHT = 8.4  # inches: a page without its margins and the caption
_METADATA: dict[str, dict[str, None]] = {
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
    ".png": {"Software": None},
}


def draw_chart(chart: Chart, width: float = 6.5) -> Figure:
    """Draw a chart.

    Args:
        chart: the chart.
        width: of the figure, in inches. The height depends on the content.
    """
    with use_style():
        if isinstance(chart, LineChart):
            return _draw_line_chart(chart, width)
        if isinstance(chart, BarChart):
            return _draw_bar_chart(chart, width)
        if isinstance(chart, ParallelCoordinates):
            return draw_parallel_coordinates(chart, width)
        if isinstance(chart, ConfusionMatrix):
            return draw_confusion_matrix(chart, width)
        return draw_image_grid(chart, width)


def save_chart(chart: Chart, file: Path) -> None:
    """Draw a chart into a file (see `save_figure`)."""
    save_figure(draw_chart(chart), file)


def save_figure(figure: Figure, file: Path) -> None:
    """Write a figure to a file, which is replaced atomically.

    Args:
        figure: the figure.
        file: a path that ends in .pdf, .svg or .png, in an existing folder.

    Raises:
        ValueError: it ends in something else.
        OSError: it cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in _METADATA:
        raise ValueError(f"The file of a chart must end in one of {sorted(_METADATA)}, got {file.name!r}.")
    # Some of the style takes effect only when the file is written.
    with use_style(), replacing(file) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=150, metadata=_METADATA[suffix])


def _add_legend(figure: Figure, handles: Sequence[Any], names: Sequence[str], width: float) -> None:
    """Add a legend above the axes, where it covers nothing."""
    longest = max(map(len, names))
    columns = max(1, min(len(names), int(width * 72 / (longest * 4.3 + 36))))
    figure.legend(handles, names, loc="outside upper left", ncols=columns, borderaxespad=0.2, columnspacing=1.5)
    rows = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + 0.155 * rows)


def _draw_line_chart(chart: LineChart, width: float) -> Figure:
    """Draw lines, steps and points, with bands or error bars."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(width, 0.46 * width)
    axes = figure.subplots()
    handles, names, ends = [], [], []
    is_integer = True
    for number, series in enumerate(chart.series):
        x, y = replace_non_finite(series.x), replace_non_finite(series.y)
        shown = np.isfinite(x) & np.isfinite(y)
        if not shown.any():
            continue
        is_integer = is_integer and bool((x[shown] == np.round(x[shown])).all())
        color, dashes = LIGHT.series[number % len(LIGHT.series)], _DASHES[number // len(LIGHT.series) % len(_DASHES)]
        handle = _draw_series(axes, series, x, y, color, dashes)
        if series.name:
            handles.append(handle)
            names.append(escape_mathtext(series.name))
            last = np.flatnonzero(shown)[-1]
            ends.append((float(x[last]), float(y[last]), color, series.mark))
    axes.set(xlabel=escape_mathtext(chart.x_label), ylabel=escape_mathtext(chart.y_label))
    axes.margins(x=0.02)
    if not axes.has_data():
        mark_as_empty(axes)
        return figure
    if is_integer:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(chart.y_range):
        axes.set_ylim(*chart.y_range)
    if names and not _label_ends(axes, names, ends):
        _add_legend(figure, handles, names, width)
    return figure


def _draw_series(axes: Axes, series: Series, x: Array, y: Array, color: str, dashes: str) -> Any:
    """Draw one series and return its legend handle."""
    if series.mark == "points":
        dots: dict[str, Any] = {"color": color, "markersize": 3.5 if len(x) <= 100 else 2.2, "markeredgewidth": 0}
        if not series.has_interval:
            return axes.plot(x, y, "o", alpha=1 if len(x) <= 100 else 0.6, **dots)[0]
        return axes.errorbar(x, y, yerr=_get_error_bars(series), fmt="o", elinewidth=0.9, capsize=2, **dots)
    step = {"drawstyle": "steps-post"} if series.mark == "step" else {}
    if series.has_interval:
        low, high = replace_non_finite(series.low), replace_non_finite(series.high)
        where: Any = "post" if step else None
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0, step=where)
    # Markers keep points visible that have no neighbor to be connected with.
    marker = "o" if np.isfinite(y).sum() <= 15 else ""
    return axes.plot(x, y, dashes, color=color, marker=marker, markersize=3, **step)[0]  # type: ignore[arg-type]


def _get_error_bars(series: Series) -> Array | None:
    """Distances from the values to `low` and `high`, (2, n); 0 where one is missing. None for a series without."""
    if not series.has_interval:
        return None
    low, y, high = map(replace_non_finite, (series.low, series.y, series.high))
    distances: Array = np.nan_to_num(np.array([y - low, high - y]))
    return distances.clip(min=0)


def _label_ends(axes: Axes, names: Sequence[str], ends: Sequence[tuple[float, float, str, str]]) -> bool:
    """Label lines at their ends, if they are few and end apart at the right edge; otherwise return False."""
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    if not 2 <= len(names) <= 6 or max(map(len, names)) > 24 or {mark for *_, mark in ends} - {"line", "step"}:
        return False
    heights = np.array([(y - bottom) / (top - bottom) for _, y, _, _ in ends])
    apart = np.diff(np.sort(heights))
    if (heights < 0).any() or (heights > 1).any() or (apart < 0.06).any():
        return False
    if min((x - left) / (right - left) for x, *_ in ends) < 0.95:
        return False
    for name, height, (_, _, color, _) in zip(names, heights, ends, strict=True):
        style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center"}
        axes.annotate(name, (1, height), (3, 0), color=color, fontsize=7, **style)
    return True


def _draw_bar_chart(chart: BarChart, width: float) -> Figure:
    """Draw horizontal bars, or points with error bars, the first group on top."""
    count, groups = max(len(chart.series), 1), len(chart.names)
    height = 0.5 + groups * (0.11 + 0.13 * count)
    figure = new_figure(width, min(max(height, 0.9), _MAX_HEIGHT - 0.4))
    axes = figure.subplots()
    axes.set(xlabel=escape_mathtext(chart.x_label))
    handles, names = [], []
    thickness = 0.8 / count
    for number, series in enumerate(chart.series):
        values = replace_non_finite(series.y)
        positions = np.arange(groups) + (number - (count - 1) / 2) * thickness
        color = LIGHT.series[number % len(LIGHT.series)]
        reach = _get_error_bars(series)
        if chart.mark == "points":
            handle: Any = axes.errorbar(values, positions, xerr=reach, fmt="o", color=color, markersize=4, capsize=2)
        else:
            error_style = {"elinewidth": 0.8, "capsize": 2, "ecolor": "#222222"}
            handle = axes.barh(positions, values, 0.92 * thickness, color=color, xerr=reach, error_kw=error_style)
            if reach is None:
                _write_values(axes, values, positions, min(6.5, 60 * thickness * figure.get_figheight() / (groups + 1)))
        if series.name:
            handles.append(handle)
            names.append(escape_mathtext(series.name))
    if not groups or not axes.has_data():
        mark_as_empty(axes)
        return figure
    room = 72 * (figure.get_figheight() - 0.5) / groups  # points
    axes.set_yticks(range(groups), [escape_mathtext(name, 36) for name in chart.names], fontsize=min(7.5, 0.85 * room))
    axes.set_ylim(groups - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    if chart.reference is not None and np.isfinite(chart.reference):
        axes.axvline(chart.reference, color="#222222", linestyle="--", linewidth=1)
    if len(names) > 1:
        _add_legend(figure, handles, names, width)
    return figure


def _write_values(axes: Axes, values: Array, positions: Array, size: float) -> None:
    """Write each value at the end of its bar if the font is large enough to read."""
    if size < 4.5:
        return
    for value, position in zip(values, positions, strict=True):
        if np.isfinite(value):
            text = f"{value:.3g}".replace("-", "\u2212")
            offset, side = (2, "left") if value >= 0 else (-2, "right")
            style: dict[str, Any] = {"ha": side, "va": "center_baseline", "fontsize": size, "color": "#333333"}
            axes.annotate(text, (value, position), (offset, 0), textcoords="offset points", **style)
    axes.margins(x=0.08)
