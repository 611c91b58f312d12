"""A report as data: sections of text with charts, and a table of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.report.charts import Chart

__all__ = ["Report", "Section"]


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: its heading.
        text: Markdown (CommonMark and tables). A paragraph `![caption](chart:NAME)` stands where a chart goes.
        charts: by name.
    """

    title: str
    text: str
    charts: Mapping[str, Chart] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        title: above everything.
        about: one line under the title: what it was made of, and when.
        sections: in order.
        runs: rows of the table of runs, each with the same columns: texts, numbers, or None.
    """

    title: str
    about: str
    sections: Sequence[Section]
    runs: Sequence[Mapping[str, Any]] = ()
