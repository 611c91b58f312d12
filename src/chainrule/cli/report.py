"""The report command: one page, and on request a PDF, about runs and sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from chainrule.cli.flags import new_parser, parse_words
from chainrule.core.errors import ConfigError, OutputError
from chainrule.runs.config import TrainConfig
from chainrule.terminal.console import Output

__all__ = ["run"]

_ABOUT = """Report on runs: one HTML page that needs no network, with the best run, what made the difference, learning
curves and mistakes. Without names, on all runs and sweeps of the output folder."""

_METRICS = ("val_accuracy", "val_loss", "test_accuracy", "test_loss", "train_accuracy", "train_loss")


def run(words: Sequence[str], program: str) -> int:
    """Write a report.

    Args:
        words: names of runs, sweeps or folders, and flags.
        program: what the user typed before them.

    Returns:
        0, or 1 when the result could not be told.

    Raises:
        ConfigError: there are no such runs, or something that the report needs is not installed.
        OutputError: it cannot be written.
    """
    parser, output = new_parser(program, _ABOUT), Output()
    parser.add_argument("names", nargs="*", metavar="RUN", help="a run, a sweep, or a folder of runs")
    parser.add_argument("--output_dir", metavar="TEXT", help="folder with the runs (runs)")
    parser.add_argument("--to", metavar="TEXT", help="folder for the report (report in the folder with the runs)")
    parser.add_argument(
        "--metric", metavar="NAME", help=f"what runs are compared by: {', '.join(_METRICS)} (val_accuracy)"
    )
    parser.add_argument("--title", metavar="TEXT", help="its heading (Report)")
    parser.add_argument(
        "--pdf", action="store_true", default=False, help="also write report.tex and Report.pdf (latexmk)"
    )
    if not {"-h", "--help"}.isdisjoint(words):
        output.write(parser.format_help())
        return int(output.lost)
    given = parse_words(parser, words)
    output_dir = Path(str(given.get("output_dir", TrainConfig.output_dir.default)))
    folder = Path(str(given.get("to", output_dir / "report")))
    metric = str(given.get("metric", _METRICS[0]))
    if metric not in _METRICS:
        raise ConfigError(f"--metric must be one of {', '.join(_METRICS)}. Got {metric!r} instead.")
    names = [str(name) for name in cast("list[str]", given.get("names", []))]

    from chainrule.report.html.page import write_page
    from chainrule.report.overview import overview
    from chainrule.report.records import find_records

    report = overview(find_records(names, output_dir), str(given.get("title", "Report")), metric)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_page(report, folder / "report.html")
        output.write(f"{folder / 'report.html'}\n")
        if given["pdf"]:
            from chainrule.report.pdf.document import compile_pdf, write_document

            output.write(f"{compile_pdf(write_document(report, folder))}\n")
    except OSError as error:
        raise OutputError(
            f"Cannot write to {folder}: {error.strerror or error}. Give another --to, or make room."
        ) from error
    return int(output.lost)
