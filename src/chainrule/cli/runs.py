"""The runs command: a list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chainrule.cli.flags import new_parser
from chainrule.core.text import printable
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import RunFolder, list_runs
from chainrule.terminal.console import Output

__all__ = ["run"]

_HEAD = ("status", "epochs", "validation", "test", "age", "run")


def run(words: Sequence[str], program: str) -> int:
    """List the runs of a folder, newest first.

    Args:
        words: flags and values.
        program: what the user typed before them.

    Returns:
        0, or 1 when the list could not be printed.
    """
    parser, output = (
        new_parser(program, "List runs, those begun last first. Interrupted ones can be resumed."),
        Output(),
    )
    parser.add_argument("--output_dir", metavar="TEXT", help="folder with the runs (runs)")
    if not {"-h", "--help"}.isdisjoint(words):
        output.write(parser.format_help())
        return int(output.lost)
    folder = Path(getattr(parser.parse_args(list(words)), "output_dir", TrainConfig.output_dir.default))
    runs = list_runs(folder)
    if not runs:
        output.write(f"No runs in {folder}.\n")
        return int(output.lost)
    rows = [_HEAD, *(_row(entry, datetime.now(UTC)) for entry in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        output.write("  ".join([*cells, row[-1]]) + "\n")
    resumable = [entry for entry in runs if entry.status == "interrupted"]
    if resumable:
        output.write(
            f"\nchainrule train --resume {printable(resumable[0].path.name)} goes on with the newest interrupted one.\n"
        )
    return int(output.lost)


def _row(entry: RunFolder, now: datetime) -> tuple[str, ...]:
    """A run's cells."""
    return (
        entry.status,
        str(entry.epochs),
        _percent(entry.val_accuracy),
        _percent(entry.test_accuracy),
        _age(now - entry.started) if entry.started else "-",
        printable(entry.path.name),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _age(age: timedelta) -> str:
    """Such as "3 h": a clock that was set back makes no negative ages."""
    seconds = max(0, int(age.total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
