"""The runs command: a list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chainrule.cli.flags import new_parser
from chainrule.core.errors import printable
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import RunFolder, list_runs
from chainrule.terminal.console import print_text

__all__ = ["run"]

_HEAD = ("status", "epochs", "validation", "test", "age", "run")


def run(words: Sequence[str], program: str) -> int:
    """List the runs of a folder, latest start first."""
    parser = new_parser(program, "List runs, latest start first. Interrupted ones can be resumed.")
    parser.add_argument("--output_dir", metavar="TEXT", help="folder of the run folders (default: runs)")
    if not {"-h", "--help"}.isdisjoint(words):
        return print_text(parser.format_help())
    folder = Path(getattr(parser.parse_args(list(words)), "output_dir", TrainConfig.output_dir.default))
    runs = list_runs(folder)
    if not runs:
        return print_text(f"No runs in {folder}.\n")
    rows = [_HEAD, *(_make_row(entry, datetime.now(UTC)) for entry in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    if interrupted := [entry for entry in runs if entry.status == "interrupted"]:
        name = printable(interrupted[0].path.name)
        lines += ["", f"`chainrule train --resume {name}` resumes the latest interrupted run."]
    return print_text("\n".join(lines) + "\n")


def _make_row(entry: RunFolder, now: datetime) -> tuple[str, ...]:
    return (
        entry.status,
        str(entry.epochs),
        _format_percent(entry.val_accuracy),
        _format_percent(entry.test_accuracy),
        _format_age(now - entry.started) if entry.started else "-",
        printable(entry.path.name),
    )


def _format_percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def _format_age(age: timedelta) -> str:
    """Such as "3 h"; never negative, even if the clock was set back."""
    seconds = max(0, int(age.total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
