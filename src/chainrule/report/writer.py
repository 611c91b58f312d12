"""Writing the report on runs and sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chainrule.core.errors import ConfigError, OutputError
from chainrule.report.html.page import write_page
from chainrule.report.overview import build_overview
from chainrule.report.pdf.document import write_pdf
from chainrule.report.run_records import find_run_records

__all__ = ["METRICS", "write_report"]

METRICS = ("val_accuracy", "val_loss", "test_accuracy", "test_loss", "train_accuracy", "train_loss")


def write_report(
    sources: Sequence[Path | str] | Path | str = ("runs",),
    to: Path | str = ".",
    *,
    title: str = "",
    metric: str = "val_accuracy",
    pdf: bool = False,
) -> Path:
    """Write a report on runs and sweeps: the best run, hyperparameter importance, learning curves, mistakes.

    Args:
        sources: run folders, sweep folders, and folders that hold either; or one of them.
        to: output folder, created if missing. It gets `report.html`.
        title: heading of the report; "Report" if empty.
        metric: one of `METRICS`, by which runs are compared. Losses are minimized, accuracies maximized.
        pdf: also write `Report.pdf`.

    Returns:
        The path of `report.html`, one file that works offline.

    Raises:
        ConfigError: a source does not exist, there are no runs, the metric is unknown, or a package of the extra
            `report` is not installed.
        OutputError: the report cannot be written, or the PDF cannot be compiled.
    """
    if metric not in METRICS:
        raise ConfigError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}.")
    sources = [sources] if isinstance(sources, Path | str) else sources
    report = build_overview(find_run_records(sources), title or "Report", metric)
    folder = Path(to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_page(report, folder / "report.html")
        if pdf:
            write_pdf(report, folder / "Report.pdf")
    except OSError as error:
        raise OutputError(f"Cannot write the report to {folder}: {error.strerror or error}.") from error
    return folder / "report.html"
