"""The style of matplotlib's charts: fonts, lines, and text that is shown literally."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["GRAY", "escape_mathtext", "mark_as_empty", "new_figure", "replace_non_finite", "use_style"]

GRAY = "#777777"

_STYLE = Path(__file__).with_name("chart.mplstyle")


@contextmanager
def use_style() -> Iterator[None]:
    """Apply the style instead of the user's settings, which are restored afterwards."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. It is unknown to pyplot, so no global state changes and no window can open."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def escape_mathtext(text: str, max_length: int = 60) -> str:
    """Escape text so that matplotlib shows it literally, on one line.

    A dollar sign would start a formula, and a character missing from the font would be a warning. Before matplotlib
    3.10, a leading underscore excluded a name from the legend.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=["DejaVu Sans"])))
    text = " ".join(text.split())
    text = "".join(c if font.get_char_index(ord(c)) else "?" for c in text)
    if len(text) > max_length:
        text = text[: max_length - 1] + "…"
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")


def replace_non_finite(values: Sequence[float]) -> NDArray[np.float64]:
    """Convert to an array with NaN, which is not drawn, for values that are not finite."""
    array = np.array(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def mark_as_empty(axes: Axes) -> None:
    """Write "no data" into axes that have nothing to show."""
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=GRAY)
    axes.set(xticks=[], yticks=[])
