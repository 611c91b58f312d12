"""A sweep's results as text and as a table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import Any

from chainrule.core.errors import printable
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.trials import STATUSES, Trial, Trials

__all__ = ["format_csv", "format_summary", "get_row"]


def format_summary(sweep: Sweep, trials: Trials) -> str:
    """The number of trials by status and the best trial, in a few lines."""
    counts = Counter(trial.status for trial in trials)
    total = f" of {sweep.size:,}" if sweep.size is not None else ""
    lines = [f"{len(trials)}{total} trials: " + ", ".join(f"{counts[status]} {status}" for status in STATUSES)]
    if best := trials.best:
        lines.append(f"best {sweep.metric.name} {best.value:.4f}, trial {best.number} ({best.folder})")
        lines += [f"  {name}: {value}" for name, value in best.settings.items()]
    return "\n".join(map(printable, lines))


def get_row(sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """A trial as a row of a table: number, status, metric, epochs, seconds, run folder, reason, and each parameter."""
    values = trial.number, trial.status, trial.value, len(trial.curve), trial.seconds, trial.folder, trial.reason
    settings = [trial.settings[name] for name in sweep.parameters]
    return dict(zip(_get_columns(sweep), [*values, *settings], strict=True))


def _get_columns(sweep: Sweep) -> list[str]:
    return ["trial", "status", sweep.metric.name, "epochs_trained", "seconds", "run", "reason", *sweep.parameters]


def format_csv(sweep: Sweep, trials: Trials) -> str:
    """All trials as CSV, a row each."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _get_columns(sweep), lineterminator="\n")
    writer.writeheader()
    writer.writerows(get_row(sweep, trial) for trial in trials)
    return buffer.getvalue()
