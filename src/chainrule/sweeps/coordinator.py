"""The coordinator of a sweep: proposes trials, submits them to workers and stores their results.

One thread of one process decides and writes everything, so nothing needs a lock, and it may be killed at any moment:
trials that are over are kept, the others resume from their last checkpoints with the same settings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import make_run_name
from chainrule.sweeps.search import propose
from chainrule.sweeps.space.sweep_file import Sweep
from chainrule.sweeps.trials import Trial, Trials
from chainrule.sweeps.workers.protocol import Event, Task, TrialResult, Workers

__all__ = ["Coordinator"]

# The sweep ends if its first trials, this many, all fail for the same reason.
_MAX_FAILURES = 5
# A trial fails if its workers die this often without finishing another epoch.
_MAX_DEATHS = 4


class Coordinator:
    """Runs a sweep until it is done; `overrides` are settings of all trials that take precedence over the sweep file.

    Attributes:
        running: the trials that workers run now, by number.
        stop_reason: why no more trials are started, or "".
        needs_attention: the problem to fix before the sweep can be resumed, or "".
    """

    def __init__(
        self,
        sweep: Sweep,
        seed: int,
        folder: Path,
        trials: Trials,
        workers: Workers,
        overrides: Mapping[str, Any],
        notify: Callable[[str], object],
    ) -> None:
        self._sweep, self._seed, self._folder, self._overrides = sweep, seed, folder, overrides
        self._trials, self._workers, self._notify = trials, workers, notify
        self._rungs = sweep.early_stopping.rungs if sweep.early_stopping else ()
        self.running: dict[int, Trial] = {}
        self.stop_reason = self.needs_attention = ""
        self._is_waiting = False
        self._failed: list[Trial] | None = []  # None once a trial has not failed
        self._started: dict[int, float] = {}
        self._deaths: dict[int, int] = {}
        self._interrupted = [trial for trial in trials if trial.status == "running"]
        for trial in trials:
            self._check_target(trial)

    def run(self, should_stop: Callable[[], bool], changed: Callable[[], object]) -> bool:
        """Start trials and store results until the sweep is done.

        Args:
            should_stop: called a few times a second.
            changed: called when there may be something new to display.

        Returns:
            Whether the sweep is done; False if it was stopped.
        """
        try:
            while True:
                while not should_stop() and self._workers.free_slots and (trial := self._get_next_trial()):
                    self._start(trial)
                    changed()
                if should_stop():
                    return False
                if not self.running and not self._has_more:
                    return not self._interrupted
                if not self.running and not self._is_waiting:
                    self._is_waiting = True
                    self._notify("Waiting for workers.")
                event = self._workers.next_event(timeout=0.2)
                if event is not None:
                    self._handle(event)
                changed()
        finally:
            self._workers.stop()

    @property
    def _has_more(self) -> bool:
        if self.needs_attention:
            return False
        # Interrupted trials are resumed even if a target is reached: the result must not depend on interruptions.
        is_full = self._sweep.size is not None and len(self._trials) >= self._sweep.size
        return bool(self._interrupted) or not (self.stop_reason or is_full)

    def _get_next_trial(self) -> Trial | None:
        """An interrupted trial, or else a new one; None if there are no more."""
        if not self._has_more:
            return None
        if self._interrupted:
            return self._interrupted.pop(0)
        number = len(self._trials)
        params = propose(self._sweep, self._seed, number, self._trials)
        return self._trials.create(params, self._make_name(number, self._sweep.decode(params)))

    def _get_settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The complete settings of the trial with these parameter values."""
        # By default no figures, which take as long as some epochs, and no W&B runs.
        defaults = {"threads": 1, "figures": False, "wandb_mode": "disabled"}
        settings = {**defaults, **self._sweep.fixed, **values, **self._overrides}
        # Workers may have another current folder.
        plugins = TrainConfig.fields()["plugin"].parse(settings.get("plugin"))
        settings["plugin"] = [str(Path(plugin).resolve()) for plugin in plugins]
        if settings.get("data_dir") is not None:
            settings["data_dir"] = str(Path(settings["data_dir"]).resolve())
        return settings

    def _make_name(self, number: int, values: Mapping[str, Any]) -> str:
        """The name of a trial's run folder: its number and its settings."""
        try:
            name = make_run_name(TrainConfig(self._get_settings(values)))
        except ConfigError:  # the trial will fail with it
            name = "trial"
        return f"{number:04d}_{name}"

    def _start(self, trial: Trial) -> None:
        settings = self._get_settings(trial.settings) | {"run_name": trial.folder, "output_dir": str(self._folder)}
        self._started.setdefault(trial.number, time.monotonic())
        self.running[trial.number] = trial
        self._workers.submit(Task(trial.number, settings, self._sweep.metric.name, self._rungs))

    def _handle(self, event: Event) -> None:
        trial = self.running.get(event.number)
        if trial is None:
            return
        if event.curve is not None:
            if len(event.curve) > len(trial.curve):
                self._deaths[trial.number] = 0
            self._trials.report(trial, event.curve)
            if len(event.curve) in self._rungs:
                self._workers.send_decision(trial.number, prune=self._should_prune(trial, event.curve))
        elif event.result is None:
            self._handle_loss(trial, event.lost)
        elif event.result.is_final:
            self._finish(trial, event.result)
        else:
            del self.running[trial.number]
            self._interrupted.append(trial)
            if event.result.status == "needs_attention":
                self.needs_attention = event.result.reason

    def _should_prune(self, trial: Trial, curve: Sequence[float]) -> bool:
        hyperband, cost = self._sweep.early_stopping, self._sweep.metric.cost
        others = [[cost(value) for value in other.curve] for other in self._trials if other is not trial]
        return hyperband is not None and hyperband.should_prune([cost(value) for value in curve], others)

    def _finish(self, trial: Trial, result: TrialResult) -> None:
        del self.running[trial.number]
        self._trials.report(trial, result.curve)
        seconds = time.monotonic() - self._started[trial.number]
        self._trials.finish(trial, result.status, result.value, result.reason, seconds)
        self._notify(self._describe_result(trial))
        self._check_target(trial)
        if trial.status != "failed":
            self._failed = None
        elif self._failed is not None:
            self._failed.append(trial)
            reasons = {re.sub(r"[\d.e+-]+", "#", one.reason.replace(one.folder, "")) for one in self._failed}
            if len(self._failed) == _MAX_FAILURES and len(reasons) == 1:
                self.stop_reason = f"the first {_MAX_FAILURES} trials all failed for the same reason: {trial.reason}"

    def _describe_result(self, trial: Trial) -> str:
        if trial.status == "failed":
            return f"Trial {trial.number} failed: {trial.reason}"
        best, metric = self._trials.best, self._sweep.metric.name
        text = f"Trial {trial.number} {trial.status} after epoch {len(trial.curve)}: {metric} {trial.value:.4f}"
        return text + (f" (best {best.value:.4f}, trial {best.number})" if best else "")

    def _handle_loss(self, trial: Trial, reason: str) -> None:
        """Resume the trial of a worker that died, unless the trial seems to be the cause."""
        self._deaths[trial.number] = self._deaths.get(trial.number, 0) + 1
        if self._deaths[trial.number] >= _MAX_DEATHS:
            reason = f"{reason}, {_MAX_DEATHS} times in the same epoch."
            self._finish(trial, TrialResult("failed", list(trial.curve), reason=reason))
            return
        del self.running[trial.number]
        self._notify(f"Trial {trial.number}: {reason}; it resumes from its last checkpoint.")
        self._interrupted.append(trial)

    def _check_target(self, trial: Trial) -> None:
        """End the sweep if the trial has reached the metric's target."""
        metric = self._sweep.metric
        if trial.value is None or metric.target is None:
            return
        if metric.cost(trial.value) <= metric.cost(metric.target):
            self.stop_reason = f"trial {trial.number} has reached the target: {metric.name} {trial.value:g}"
