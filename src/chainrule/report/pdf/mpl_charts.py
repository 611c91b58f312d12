"""Charts drawn on paper by matplotlib: vector graphics, at the size in which they are printed.

Equal charts give equal files: no date is written, jitter has a seed, and the settings of the person do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.files import replacing
from chainrule.report.charts import Bars, Chart, Confusion, Lines, Parallel, Series
from chainrule.report.pdf.mpl_images import confusion, images
from chainrule.report.pdf.mpl_parallel import parallel
from chainrule.report.pdf.mpl_style import COLOURS, empty_figure, numbers, plain, say_empty, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chainrule.nn.parameters import Array

__all__ = ["draw", "save"]

_DASHES = ("-", "--", ":", "-.")
_TALLEST = 8.4  # inches: a page less its margins and the caption
_NO_DATE: dict[str, dict[str, None]] = {
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
    ".png": {"Software": None},
}


def draw(chart: Chart, width: float = 6.5) -> Figure:
    """Draw a chart.

    Args:
        chart: what is to be seen.
        width: of the figure, in inches. The height follows from what is in it.

    Returns:
        A figure that pyplot does not know of.
    """
    with style():
        if isinstance(chart, Lines):
            return _lines(chart, width)
        if isinstance(chart, Bars):
            return _bars(chart, width)
        if isinstance(chart, Parallel):
            return parallel(chart, width)
        if isinstance(chart, Confusion):
            return confusion(chart, width)
        return images(chart, width)


def save(chart: Chart, file: Path) -> None:
    """Draw a chart into a file: the old file or the new one, whole.

    Args:
        chart: what is to be seen.
        file: ends in .pdf, .svg or .png. Its folder must exist.

    Raises:
        ValueError: it ends in something else.
        OSError: it cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in _NO_DATE:
        raise ValueError(f"a chart's file must end in one of {sorted(_NO_DATE)}. Got {file.name!r} instead.")
    figure = draw(chart)
    # The style once more: some of it is asked for only when the file is written.
    with style(), replacing(file) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=150, metadata=_NO_DATE[suffix])


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str], width: float) -> None:
    """Names above the axes, where they can cover nothing."""
    longest = max(map(len, names))
    columns = max(1, min(len(names), int(width * 72 / (longest * 4.3 + 36))))
    figure.legend(handles, names, loc="outside upper left", ncols=columns, borderaxespad=0.2, columnspacing=1.5)
    rows = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + 0.155 * rows)


def _lines(chart: Lines, width: float) -> Figure:
    """Lines, steps and points, with bands or error bars."""
    from matplotlib.ticker import MaxNLocator

    figure = empty_figure(width, 0.46 * width)
    axes = figure.subplots()
    handles, names, ends = [], [], []
    whole = True
    for number, series in enumerate(chart.series):
        x, y = numbers(series.x), numbers(series.y)
        shown = np.isfinite(x) & np.isfinite(y)
        if not shown.any():
            continue
        whole = whole and bool((x[shown] == np.round(x[shown])).all())
        colour, dashes = COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS) % len(_DASHES)]
        handle = _one_series(axes, series, x, y, colour, dashes)
        if series.name:
            handles.append(handle)
            names.append(plain(series.name))
            last = np.flatnonzero(shown)[-1]
            ends.append((float(x[last]), float(y[last]), colour, series.look))
    axes.set(xlabel=plain(chart.x_label), ylabel=plain(chart.y_label))
    axes.margins(x=0.02)
    if not axes.has_data():
        say_empty(axes)
        return figure
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(chart.y_range):
        axes.set_ylim(*chart.y_range)
    if names and not _label_ends(axes, names, ends):
        _legend(figure, handles, names, width)
    return figure


def _one_series(axes: Axes, series: Series, x: Array, y: Array, colour: str, dashes: str) -> Any:
    """Draw one series; what stands for it in a legend comes back."""
    banded = len(series.low) > 0 and len(series.high) > 0
    low, high = (numbers(series.low), numbers(series.high)) if banded else (y, y)
    if series.look == "points":
        dots: dict[str, Any] = {"color": colour, "markersize": 3.5 if len(x) <= 100 else 2.2, "markeredgewidth": 0}
        if not banded:
            return axes.plot(x, y, "o", alpha=1 if len(x) <= 100 else 0.6, **dots)[0]
        reach = np.maximum(np.nan_to_num([y - low, high - y]), 0)
        return axes.errorbar(x, y, yerr=reach, fmt="o", elinewidth=0.9, capsize=2, **dots)
    step = {"drawstyle": "steps-post"} if series.look == "step" else {}
    if banded:
        where = {"step": "post"} if step else {}
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, **where)  # type: ignore[arg-type]
    # A line needs two points that follow each other; dots keep the others visible.
    marker = "o" if np.isfinite(y).sum() <= 15 else ""
    return axes.plot(x, y, dashes, color=colour, marker=marker, markersize=3, **step)[0]  # type: ignore[arg-type]


def _label_ends(axes: Axes, names: Sequence[str], ends: Sequence[tuple[float, float, str, str]]) -> bool:
    """Write the names at the ends of the lines, if they are few and end apart at the right edge; else do nothing."""
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    if not 2 <= len(names) <= 6 or max(map(len, names)) > 24 or {look for *_, look in ends} - {"line", "step"}:
        return False
    heights = np.array([(y - bottom) / (top - bottom) for _, y, _, _ in ends])
    apart = np.diff(np.sort(heights))
    if (heights < 0).any() or (heights > 1).any() or (apart < 0.06).any():
        return False
    if min((x - left) / (right - left) for x, *_ in ends) < 0.95:
        return False
    for name, height, (_, _, colour, _) in zip(names, heights, ends, strict=True):
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center"}
        axes.annotate(name, (1, height), (3, 0), color=colour, fontsize=7, **place)
    return True


def _bars(chart: Bars, width: float) -> Figure:
    """Horizontal bars, or dots with intervals, the first group on top."""
    many, groups = max(len(chart.series), 1), len(chart.names)
    height = 0.5 + groups * (0.11 + 0.13 * many)
    figure = empty_figure(width, min(max(height, 0.9), _TALLEST - 0.4))
    axes = figure.subplots()
    axes.set(xlabel=plain(chart.x_label))
    handles, names = [], []
    thickness = 0.8 / many
    for number, series in enumerate(chart.series):
        values = numbers(series.y)
        places = np.arange(groups) + (number - (many - 1) / 2) * thickness
        colour = COLOURS[number % len(COLOURS)]
        banded = len(series.low) > 0 and len(series.high) > 0
        reach = np.zeros((2, groups))
        if banded:
            edges = [values - numbers(series.low), numbers(series.high) - values]
            reach = np.maximum(np.nan_to_num(np.array(edges)), 0)
        if chart.look == "points":
            handle: Any = axes.errorbar(
                values, places, xerr=reach if banded else None, fmt="o", color=colour, markersize=4, capsize=2
            )
        else:
            bar_style: dict[str, Any] = {"error_kw": {"elinewidth": 0.8, "capsize": 2, "ecolor": "#222222"}}
            handle = axes.barh(
                places, values, 0.92 * thickness, color=colour, xerr=reach if banded else None, **bar_style
            )
            if not banded:
                _write_values(axes, values, places, min(6.5, 60 * thickness * figure.get_figheight() / (groups + 1)))
        if series.name:
            handles.append(handle)
            names.append(plain(series.name))
    if not groups or not axes.has_data():
        say_empty(axes)
        return figure
    room = 72 * (figure.get_figheight() - 0.5) / groups  # points
    axes.set_yticks(range(groups), [plain(name, 36) for name in chart.names], fontsize=min(7.5, 0.85 * room))
    axes.set_ylim(groups - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    if chart.reference is not None and np.isfinite(chart.reference):
        axes.axvline(chart.reference, color="#222222", linestyle="--", linewidth=1)
    if len(names) > 1:
        _legend(figure, handles, names, width)
    return figure


def _write_values(axes: Axes, values: Array, places: Array, size: float) -> None:
    """Write each value at the end of its bar, if there is room for digits."""
    if size < 4.5:
        return
    for value, place in zip(values, places, strict=True):
        if np.isfinite(value):
            side = 1 if value >= 0 else -1
            axes.annotate(
                f"{value:.3g}".replace("-", "\u2212"),
                (value, place),
                (2 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="center_baseline",
                fontsize=size,
                color="#333333",
            )
    axes.margins(x=0.08)
