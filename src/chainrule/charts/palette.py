"""The colors of all charts: of figures and PDFs (light), and of HTML pages (light or dark)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "Palette"]


@dataclass(frozen=True)
class Palette:
    """Colors of a light or a dark background.

    Attributes:
        series: colors of series, in order. Okabe and Ito's, which color-blind readers can tell apart, without yellow.
        correct: color scale of the diagonal of a confusion matrix: (position from 0 to 1, color).
        wrong: color scale of its other cells.
        metric: color scale of the lines in parallel coordinates, from the lowest to the highest value: viridis.
        ink: color of text.
        soft: color of less important text, and of axes.
        paper: color of the background.
        grid: color of grid lines.
    """

    series: Sequence[str]
    correct: Sequence[tuple[float, str]]
    wrong: Sequence[tuple[float, str]]
    metric: Sequence[tuple[float, str]]
    ink: str
    soft: str
    paper: str
    grid: str


LIGHT = Palette(
    series=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"),
    correct=((0, "#eef3f6"), (0.5, "#b5d0e2"), (1, "#2a6fa8")),
    wrong=((0, "#f6f5f2"), (0.2, "#f8dfb8"), (0.6, "#e59a52"), (1, "#b23a1e")),
    metric=((0, "#fde725"), (0.25, "#5ec962"), (0.5, "#21918c"), (0.75, "#3b528b"), (1, "#440154")),
    ink="#1d2329",
    soft="#59626d",
    paper="#ffffff",
    grid="#e4e7e9",
)
DARK = Palette(
    series=("#6fb1e4", "#f0965f", "#5cc9a0", "#e58bb4", "#f0c04f", "#8fd0f5", "#a3adb8"),
    correct=((0, "#1d242c"), (0.5, "#264660"), (1, "#3a78aa")),
    wrong=((0, "#1c2026"), (0.2, "#3d2e25"), (0.6, "#7d4726"), (1, "#c25a2b")),
    metric=((0, "#5a3a80"), (0.25, "#4a66a8"), (0.5, "#2aa198"), (0.75, "#6fce5f"), (1, "#fde725")),
    ink="#e3e6ea",
    soft="#9aa4b0",
    paper="#15181d",
    grid="#2b313a",
)
