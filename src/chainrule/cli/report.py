"""The report command: an HTML page, and optionally a PDF, about runs and sweeps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from chainrule.cli.flags import add_field, new_parser, parse_words
from chainrule.core.errors import ConfigError, OutputError
from chainrule.core.fields import Bool, Choice, Configurable, OptionalStr, Str
from chainrule.report.writer import METRICS, write_report
from chainrule.runs.config import TrainConfig
from chainrule.terminal.console import print_text

__all__ = ["run"]

_ABOUT = """Report on runs and sweeps: one HTML page that works offline, with the best run, hyperparameter importance,
learning curves and mistakes. Without names, it covers all runs and sweeps of the output folder."""


class ReportSettings(Configurable):
    """Where the report goes, and how it compares runs."""

    output_dir = Str(str(TrainConfig.output_dir.default), "folder with the runs")
    to = OptionalStr(None, "folder for the report; `report` in the folder with the runs if left out")
    metric = Choice(METRICS[0], "metric by which runs are compared", METRICS)
    title = Str("Report", "title of the report")
    pdf = Bool(False, "also write Report.pdf")


def run(words: Sequence[str], program: str) -> int:
    """Write a report and print the paths of its files."""
    parser = new_parser(program, _ABOUT, "[RUN ...] ")
    parser.add_argument("names", nargs="*", metavar="RUN", help="a run, a sweep, or a folder of runs")
    for field in ReportSettings.fields().values():
        if field.type is bool:  # takes no value, so that names of runs may follow it
            parser.add_argument(f"--{field.name}", action="store_true", default=argparse.SUPPRESS, help=field.help)
        else:
            add_field(parser, field)
    if not {"-h", "--help"}.isdisjoint(words):
        return print_text(parser.format_help())
    given = parse_words(parser, words)
    names = cast("list[str]", given.pop("names", []))
    settings = ReportSettings(**given)
    output_dir = Path(settings.output_dir)
    sources = [_find_source(name, output_dir) for name in names] or [output_dir]
    try:
        page = write_report(
            sources,
            settings.to or output_dir / "report",
            title=settings.title,
            metric=settings.metric,
            pdf=settings.pdf,
        )
    except OutputError as error:
        raise OutputError(f"{error} --to chooses another folder.") from error
    return print_text(f"{page}\n" + (f"{page.with_name('Report.pdf')}\n" if settings.pdf else ""))


def _find_source(name: str, output_dir: Path) -> Path:
    """The folder of a run, a sweep or several runs, in the output folder or at a path."""
    for path in (output_dir / name, Path(name)):
        if path.is_dir():
            return path
    raise ConfigError(
        f"There is no run, sweep or folder {name!r} in {output_dir} or in the current folder. `chainrule runs` and "
        "`chainrule sweep list` list them."
    )
