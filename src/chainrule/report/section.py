"""A report as data: sections of text with charts, and a table of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.charts.chart import Chart

__all__ = ["Report", "Section"]


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: the heading.
        text: Markdown (CommonMark, tables, and formulas in LaTeX between `$` signs). A paragraph
            `![caption](chart:NAME)` inserts a chart.
        charts: the charts by name.
    """

    title: str
    text: str
    charts: Mapping[str, Chart] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        title: the title.
        about: one line below the title: what the report covers, and its date.
        sections: the sections, in order.
        runs: rows of the table of runs, each with the same columns; cells are text, numbers, or None.
    """

    title: str
    about: str
    sections: Sequence[Section]
    runs: Sequence[Mapping[str, Any]] = ()
