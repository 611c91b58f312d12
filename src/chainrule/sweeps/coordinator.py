"""Running a sweep: who asks for the next trial, gives it to a worker, and writes down what comes back.

One thread of one process decides and writes everything. So there is nothing to lock, and killing it at any moment
leaves a file from which the next one goes on: trials that had ended are kept, those that had not go on from their last
checkpoint with the same settings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from chainrule.core.errors import ConfigError
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import make_run_name
from chainrule.sweeps.search import propose
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.trials import Trial, Trials
from chainrule.sweeps.workers.local import Event
from chainrule.sweeps.workers.trial_run import Ended, Task

__all__ = ["Coordinator", "Workers"]

# The first so many trials failing in the same way is no accident.
_FAILURES = 5
# A worker that dies in a trial so often without finishing another epoch dies of the trial.
_DEATHS = 4


class Workers(Protocol):
    """What runs trials: processes on this machine, or a cluster."""

    @property
    def free(self) -> int:
        """How many trials can be begun."""

    def begin(self, task: Task) -> None:
        """Let a worker run a trial; one must be free."""

    def answer(self, number: int, *, stop: bool) -> None:
        """Tell the trial's worker whether the trial ends here."""

    def event(self, seconds: float) -> Event | None:
        """The next thing that a worker tells; None if it tells nothing for so long."""

    def stop(self) -> None:
        """Ask all workers to save and end."""


class Coordinator:
    """Runs a sweep until it is done.

    Args:
        sweep: the file.
        seed: of the search.
        folder: of the sweep.
        trials: the trials so far.
        workers: what runs them.
        overrides: settings that the user gave for all trials, such as `wandb_mode`.
        notify: told, in words for the user, what happened.

    Attributes:
        running: the trials that workers run now.
        verdict: why no more trials are begun, once that is so; "" before.
        halted: what somebody has to mend before the sweep can go on; "" where there is nothing.
    """

    def __init__(
        self,
        sweep: Sweep,
        seed: int,
        folder: Path,
        trials: Trials,
        workers: Workers,
        overrides: dict[str, Any],
        notify: Callable[[str], object],
    ) -> None:
        self._sweep, self._seed, self._folder = sweep, seed, folder
        self._trials, self._workers, self._notify = trials, workers, notify
        self._overrides = overrides
        self._rungs = sweep.early.rungs if sweep.early else ()
        self.running: dict[int, Trial] = {}
        self.verdict = self.halted = ""
        self._waiting = False
        self._failed: list[Trial] | None = []  # while none has done anything else
        self._began: dict[int, float] = {}
        self._deaths: dict[int, int] = {}
        self._open = [trial for trial in trials if trial.status == "running"]
        for trial in trials:
            self._judge(trial)

    def run(self, should_stop: Callable[[], bool], changed: Callable[[], object]) -> bool:
        """Begin trials and write down results until the sweep is done.

        Args:
            should_stop: asked a few times a second.
            changed: called when there may be something new to show.

        Returns:
            Whether it is done; False if it was stopped.
        """
        try:
            while True:
                while not should_stop() and self._workers.free and (trial := self._next()):
                    self._begin(trial)
                    changed()
                if should_stop():
                    return False
                if not self.running and not self._more:
                    return not self._open
                if not self.running and not self._waiting:
                    self._waiting = True
                    self._notify("Waiting for workers.")
                event = self._workers.event(0.2)
                if event is not None:
                    self._handle(event)
                changed()
        finally:
            self._workers.stop()

    @property
    def _more(self) -> bool:
        """Whether there are trials to begin, or to go on with."""
        if self.halted:
            return False
        # Open ones even after the verdict: they have been promised, and others' results do not depend on it.
        full = self._sweep.size is not None and len(self._trials) >= self._sweep.size
        return bool(self._open) or not (self.verdict or full)

    def _next(self) -> Trial | None:
        """An open trial, or else a new one; None where there is nothing to begin."""
        if not self._more:
            return None
        if self._open:
            return self._open.pop(0)
        number = len(self._trials)
        stored = propose(self._sweep, self._seed, number, self._trials)
        values = self._trials.values(stored)
        return self._trials.begin(stored, values, self._name(number, values))

    def _settings(self, values: dict[str, Any]) -> dict[str, Any]:
        # Figures take as long as some epochs, and hundreds of them are looked at by nobody; nor are hundreds of W&B
        # runs for those who did not ask for them.
        unless_asked = {"threads": 1, "figures": False, "wandb_mode": "disabled"}
        settings = {**unless_asked, **self._sweep.fixed, **values, **self._overrides}
        # Workers elsewhere have another current folder.
        plugins = TrainConfig.fields()["plugin"].parse(settings.get("plugin"))
        settings["plugin"] = [str(Path(plugin).resolve()) for plugin in plugins]
        if settings.get("data_dir") is not None:
            settings["data_dir"] = str(Path(settings["data_dir"]).resolve())
        return settings

    def _name(self, number: int, values: dict[str, Any]) -> str:
        """A folder's name that tells the settings, and is the same whenever the trial is begun."""
        try:
            name = make_run_name(TrainConfig.from_mapping(self._settings(values)))
        except ConfigError:  # told by the run
            name = "trial"
        return f"{number:04d}_{name}"

    def _begin(self, trial: Trial) -> None:
        settings = self._settings(self._trials.values(trial.stored))
        places = {"run_name": trial.folder, "output_dir": str(self._folder)}
        self._began.setdefault(trial.number, time.monotonic())
        self.running[trial.number] = trial
        self._workers.begin(Task(trial.number, {**settings, **places}, self._sweep.metric.name, self._rungs))

    def _handle(self, event: Event) -> None:
        trial = self.running.get(event.number)
        if trial is None:
            return
        if event.curve is not None:
            if len(event.curve) > len(trial.curve):
                self._deaths[trial.number] = 0
            self._trials.report(trial, event.curve)
            if len(event.curve) in self._rungs:
                self._workers.answer(trial.number, stop=self._stops(trial, event.curve))
        elif event.ended is None:
            self._lost(trial, event.lost)
        elif event.ended.status in ("aborted", "halted"):
            del self.running[trial.number]
            self._open.append(trial)
            if event.ended.status == "halted":
                self.halted = event.ended.reason
        else:
            self._end(trial, event.ended)

    def _stops(self, trial: Trial, curve: Sequence[float]) -> bool:
        """Whether the rule for early termination ends the trial."""
        if self._sweep.early is None:
            return False
        cost = self._sweep.metric.cost
        others = [[cost(value) for value in other.curve] for other in self._trials if other is not trial]
        return self._sweep.early.stops([cost(value) for value in curve], others)

    def _end(self, trial: Trial, ended: Ended) -> None:
        del self.running[trial.number]
        self._trials.report(trial, ended.curve)
        seconds = time.monotonic() - self._began[trial.number]
        self._trials.end(trial, ended.status, ended.value, ended.reason, seconds)
        self._notify(self._news(trial))
        self._judge(trial)
        if trial.status != "failed":
            self._failed = None
        elif self._failed is not None:
            self._failed.append(trial)
            kinds = {re.sub(r"[\d.e+-]+", "#", one.reason.replace(one.folder, "")) for one in self._failed}
            if len(self._failed) == _FAILURES and len(kinds) == 1:
                self.verdict = f"the first {_FAILURES} trials all failed in the same way: {trial.reason}"

    def _news(self, trial: Trial) -> str:
        """A line about a trial that has ended."""
        if trial.status == "failed":
            return f"Trial {trial.number} failed: {trial.reason}"
        best = self._trials.best
        name, value = self._sweep.metric.name, trial.value or 0.0
        said = f"Trial {trial.number} {trial.status} after epoch {len(trial.curve)}: {name} {value:.4f}"
        return said + (f" (best {best.value:.4f}, trial {best.number})" if best and best.value is not None else "")

    def _lost(self, trial: Trial, why: str) -> None:
        """A worker died: the trial goes on elsewhere, unless it seems to be the reason."""
        del self.running[trial.number]
        self._deaths[trial.number] = self._deaths.get(trial.number, 0) + 1
        if self._deaths[trial.number] >= _DEATHS:
            self.running[trial.number] = trial
            self._end(trial, Ended("failed", list(trial.curve), reason=f"{why}, {_DEATHS} times in the same epoch."))
            return
        self._notify(f"Trial {trial.number}: {why}; it goes on from its last checkpoint.")
        self._open.append(trial)

    def _judge(self, trial: Trial) -> None:
        """Whether the trial's result ends the sweep."""
        metric = self._sweep.metric
        if trial.value is not None and metric.reached(trial.value):
            self.verdict = f"trial {trial.number} has reached the target: {metric.name} {trial.value:g}"
