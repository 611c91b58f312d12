"""The live table of a running sweep: its running trials with their learning curves."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chainrule.core.errors import printable
from chainrule.sweeps.space.distributions import Constant
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.trials import Trial, Trials

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["LiveTable", "draw_sparkline"]

_MAX_ROWS = 16  # a terminal would cut off more
_BARS = "▁▂▃▄▅▆▇█"


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
