"""What a person sees of a sweep: a table of its trials, with the curves of those that run."""

from __future__ import annotations

import csv
import io
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.core.text import printable
from chainrule.sweeps.space.distributions import Constant
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.trials import STATUSES, Trial, Trials

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Picture", "csv_table", "sparkline", "summary"]

_MOST_SHOWN = 16  # trials; more lines than a terminal has would be cut off
_BARS = "▁▂▃▄▅▆▇█"


def sparkline(curve: Sequence[float], width: int = 12) -> str:
    """A curve's last values as bars, from the lowest to the highest of them.

    >>> sparkline([1, 2, 3])
    '▁▅█'
    """
    shown = [value for value in curve if math.isfinite(value)][-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    steps = [(value - low) / (high - low) if high > low else 0.5 for value in shown]
    return "".join(_BARS[min(int(step * 8), 7)] for step in steps)


def summary(sweep: Sweep, trials: Trials) -> str:
    """How far a sweep is, in some lines."""
    counts = Counter(trial.status for trial in trials)
    of = f" of {sweep.size:,}" if sweep.size is not None else ""
    lines = [f"{len(trials)}{of} trials: " + ", ".join(f"{counts[status]} {status}" for status in STATUSES)]
    best = trials.best
    if best is not None and best.value is not None:
        lines.append(f"best {sweep.metric.name} {best.value:.4f}, trial {best.number} ({best.folder})")
        lines += [f"  {name}: {value}" for name, value in trials.values(best.stored).items()]
    return printable_lines(lines)


def printable_lines(lines: Sequence[str]) -> str:
    """Lines without characters that would command the terminal."""
    return "".join(f"{printable(line)}\n" for line in lines)


def csv_table(sweep: Sweep, trials: Trials) -> str:
    """All trials as CSV: number, status, metric, epochs, seconds, run folder, reason, and a column a setting."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = list(sweep.space)
    writer.writerow(["trial", "status", sweep.metric.name, "epochs_trained", "seconds", "run", "reason", *names])
    for trial in trials:
        values = trials.values(trial.stored)
        known = [trial.number, trial.status, _blank(trial.value), len(trial.curve), _blank(trial.seconds)]
        writer.writerow([*known, trial.folder, trial.reason, *(values[name] for name in names)])
    return buffer.getvalue()


def _blank(value: float | None) -> float | str:
    return "" if value is None else value


class Picture:
    """The live table of a sweep that runs.

    Args:
        sweep: the file.
        trials: its trials.
        running: those that workers run now.
        workers: how many workers there are.
    """

    def __init__(self, sweep: Sweep, trials: Trials, running: Mapping[int, Trial], workers: int) -> None:
        self._sweep, self._trials, self._running, self._workers = sweep, trials, running, workers
        self._began, self._before = time.monotonic(), self._ended()

    def _ended(self) -> int:
        return sum(trial.status != "running" for trial in self._trials)

    def draw(self) -> RenderableType:
        """The table as it is now."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=True)
        for title, least in (("trial", 5), ("epoch", 5), (self._sweep.metric.name, 8), ("", 12)):
            table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=least)
        table.add_column("settings", no_wrap=True, overflow="ellipsis", ratio=1)
        shown = list(self._running.values())[:_MOST_SHOWN]
        for trial in shown:
            row: list[Any] = [str(trial.number), str(len(trial.curve))]
            row += [f"{trial.curve[-1]:.4f}" if trial.curve else "", sparkline(trial.curve)]
            table.add_row(*map(Text, [*row, printable(self._settings(trial))]))
        counts = Counter(trial.status for trial in self._trials)
        of = f"/{self._sweep.size:,}" if self._sweep.size is not None else ""
        line = f"{self._ended()}{of} trials, {counts['pruned']} pruned, {counts['failed']} failed"
        best = self._trials.best
        if best is not None and best.value is not None:
            line += f"; best {best.value:.4f} (trial {best.number})"
        hidden = len(self._running) - len(shown)
        more = [Text(f"and {hidden} more")] if hidden else []
        return Group(Text(line + self._left()), table, *more)

    def _settings(self, trial: Trial) -> str:
        """What is different from trial to trial."""
        values = self._trials.values(trial.stored)
        varied = [name for name, distribution in self._sweep.space.items() if not isinstance(distribution, Constant)]
        shown = {name: f"{values[name]:.3g}" if isinstance(values[name], float) else values[name] for name in varied}
        return " ".join(f"{name}={value}" for name, value in shown.items())

    def _left(self) -> str:
        """The time that is left, from how fast it went so far."""
        done = self._ended() - self._before
        if self._sweep.size is None or done < self._workers:
            return ""
        seconds = (self._sweep.size - self._ended()) * (time.monotonic() - self._began) / done
        minutes = math.ceil(seconds / 60)
        return (
            f"; about {minutes // 60} h {minutes % 60:02} min left" if minutes >= 60 else f"; about {minutes} min left"
        )
