"""A sweep's trials as text, as CSV and as a live table."""

from __future__ import annotations

import csv
import io
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import printable
from chainrule.sweeps.space.distributions import Constant
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.trials import STATUSES, Trial, Trials

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["LiveTable", "draw_sparkline", "format_csv", "format_summary", "get_row"]

_MAX_ROWS = 16  # a terminal would cut off more
_BARS = "▁▂▃▄▅▆▇█"


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
    return dict(zip(_get_columns(sweep), [*values, *map(trial.settings.get, sweep.parameters)], strict=True))


def _get_columns(sweep: Sweep) -> list[str]:
    return ["trial", "status", sweep.metric.name, "epochs_trained", "seconds", "run", "reason", *sweep.parameters]


def format_csv(sweep: Sweep, trials: Trials) -> str:
    """All trials as CSV, a row each."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_get_columns(sweep))
    writer.writerows(get_row(sweep, trial).values() for trial in trials)
    return buffer.getvalue()


def draw_sparkline(curve: Sequence[float], width: int = 12) -> str:
    """The last values of a curve as bars, scaled from the lowest to the highest of them.

    >>> draw_sparkline([1, 2, 3])
    '▁▅█'
    """
    values = [value for value in curve if math.isfinite(value)][-width:]
    if not values:
        return ""
    low, high = min(values), max(values)
    heights = [(value - low) / (high - low) if high > low else 0.5 for value in values]
    return "".join(_BARS[min(int(height * 8), 7)] for height in heights)


class LiveTable:
    """The live table of a running sweep; `running` are the trials that workers run now, by number."""

    def __init__(self, sweep: Sweep, trials: Trials, running: Mapping[int, Trial], workers: int) -> None:
        self._sweep, self._trials, self._running, self._workers = sweep, trials, running, workers
        self._started, self._done_before = time.monotonic(), self._count_done()
        self._varied = [name for name, choice in sweep.parameters.items() if not isinstance(choice, Constant)]

    def _count_done(self) -> int:
        return sum(trial.status != "running" for trial in self._trials)

    def render(self) -> RenderableType:
        """The table as it is now."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=True)
        for title, min_width in (("trial", 5), ("epoch", 5), (self._sweep.metric.name, 8), ("", 12)):
            table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=min_width)
        table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)
        shown = list(self._running.values())[:_MAX_ROWS]
        for trial in shown:
            last = f"{trial.curve[-1]:.4f}" if trial.curve else ""
            parameters = printable(self._format_parameters(trial))
            row = str(trial.number), str(len(trial.curve)), last, draw_sparkline(trial.curve), parameters
            table.add_row(*map(Text, row))
        counts = Counter(trial.status for trial in self._trials)
        total = f"/{self._sweep.size:,}" if self._sweep.size is not None else ""
        line = f"{self._count_done()}{total} trials, {counts['pruned']} pruned, {counts['failed']} failed"
        if best := self._trials.best:
            line += f"; best {best.value:.4f} (trial {best.number})"
        hidden = len(self._running) - len(shown)
        more = [Text(f"and {hidden} more")] if hidden else []
        return Group(Text(line + self._format_remaining_time()), table, *more)

    def _format_parameters(self, trial: Trial) -> str:
        """The parameters that differ between trials."""
        values = ((name, trial.settings[name]) for name in self._varied)
        return " ".join(f"{name}={f'{value:.3g}' if isinstance(value, float) else value}" for name, value in values)

    def _format_remaining_time(self) -> str:
        """The remaining time, estimated from the trials per second so far."""
        done = self._count_done() - self._done_before
        if self._sweep.size is None or done < self._workers:
            return ""
        seconds = (self._sweep.size - self._count_done()) * (time.monotonic() - self._started) / done
        hours, minutes = divmod(math.ceil(seconds / 60), 60)
        return f"; about {hours} h {minutes:02} min left" if hours else f"; about {minutes} min left"
