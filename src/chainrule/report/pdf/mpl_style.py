"""The look of charts on paper: colours, letters, and text that is shown as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chainrule.nn.parameters import Array

__all__ = ["COLOURS", "GREY", "empty_figure", "numbers", "plain", "say_empty", "style"]

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
GREY = "#777777"

_STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so every machine draws the same
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "image.composite_image": False,  # each picture keeps its own pixels
    "pdf.fonttype": 42,  # TrueType: text that can be searched, and that publishers take
    "svg.hashsalt": "chainrule",
}


@contextmanager
def style() -> Iterator[None]:
    """This module's look, whatever the settings of the person are; theirs come back afterwards."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(text: str, longest: int = 60) -> str:
    """Text that matplotlib shows as it is.

    A dollar sign would begin a formula, and a character that the font lacks would be a warning. Before matplotlib 3.10,
    a leading underscore left a name out of the legend.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=["DejaVu Sans"])))
    text = " ".join(text.split())
    text = "".join(c if font.get_char_index(ord(c)) else "?" for c in text)
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")


def numbers(values: Sequence[float]) -> Array:
    """Numbers to draw; what is not finite is left out of a drawing, as NaN is."""
    array = np.array(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def say_empty(axes: Axes) -> None:
    """Tell that nothing is missing by mistake."""
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set(xticks=[], yticks=[])
