"""Reports on runs and sweeps, as data: sections of Markdown and charts. `html` and `pdf` render them."""

from chainrule.report.writer import write_report

__all__ = ["write_report"]
