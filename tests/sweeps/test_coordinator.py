"""The coordinator with workers that do what the test says; and real worker processes that are stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chainrule.sweeps.coordinator import Coordinator
from chainrule.sweeps.space.sweep_file import read_sweep
from chainrule.sweeps.trials import Trials
from chainrule.sweeps.workers.local import LocalWorkers
from chainrule.sweeps.workers.protocol import Event, Task, TrialResult

Script = Callable[[Task], Iterator[Event]]


class FakeWorkers:
    """One worker, whose events a script yields for each task."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._events: Iterator[Event] = iter(())
        self.tasks: list[Task] = []
        self.decisions: list[tuple[int, bool]] = []
        self.free_slots = 1
        self.is_stopped = False

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        self._events, self.free_slots = self._script(task), 0

    def send_decision(self, number: int, *, prune: bool) -> None:
        self.decisions.append((number, prune))

    def next_event(self, timeout: float) -> Event | None:
        event = next(self._events)
        self.free_slots = int(event.result is not None or bool(event.lost))
        return event

    def stop(self) -> None:
        self.is_stopped = True


def run(folder: Path, script: Script, **more: Any) -> tuple[bool, Coordinator, FakeWorkers, Trials]:
    parameters = {"seed": {"values": [0, 1, 2, 3, 4, 5, 6]}}
    metric = {"name": "val_loss", "goal": "minimize"}
    sweep = read_sweep({"method": "grid", "metric": metric, "parameters": parameters, **more})
    workers = FakeWorkers(script)
    with closing(Trials(folder, sweep)) as trials:
        coordinator = Coordinator(sweep, 0, folder, trials, workers, {}, lambda text: None)
        is_done = coordinator.run(lambda: False, lambda: None)
    assert workers.is_stopped
    return is_done, coordinator, workers, trials


def finish(task: Task, value: float) -> Event:
    return Event(task.number, result=TrialResult("finished", [value], value))


def test_trials_are_run_in_order_with_their_settings(tmp_path: Path) -> None:
    is_done, coordinator, workers, trials = run(tmp_path, lambda task: iter([finish(task, float(task.number))]))
    assert (is_done, coordinator.stop_reason, coordinator.needs_attention) == (True, "", "")
    assert [(task.number, task.settings["seed"]) for task in workers.tasks] == [(n, n) for n in range(7)]
    assert workers.tasks[0].settings["run_name"] == trials[0].folder
    assert trials.best is trials[0]


def test_a_trial_resumes_after_the_death_of_its_worker_until_it_seems_to_be_the_cause(tmp_path: Path) -> None:
    def die_in_the_first(task: Task) -> Iterator[Event]:
        yield finish(task, 0.5) if task.number else Event(0, lost="its worker died")

    is_done, _, workers, trials = run(tmp_path, die_in_the_first)
    assert is_done
    assert [task.number for task in workers.tasks] == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert (trials[0].status, trials[0].reason) == ("failed", "its worker died, 4 times in the same epoch.")


def test_deaths_are_counted_from_the_last_epoch(tmp_path: Path) -> None:
    def die_after_an_epoch(task: Task) -> Iterator[Event]:
        epochs = len([one for one in seen if one == task.number])
        seen.append(task.number)
        yield Event(task.number, curve=[0.5] * (epochs + 1))
        yield Event(task.number, lost="its worker died") if epochs < 6 else finish(task, 0.5)

    seen: list[int] = []
    is_done, _, _, trials = run(tmp_path, die_after_an_epoch, run_cap=1)
    assert (is_done, trials[0].status, len(seen)) == (True, "finished", 7)


def test_a_problem_outside_the_trials_stops_the_sweep_and_costs_none(tmp_path: Path) -> None:
    def need_attention(task: Task) -> Iterator[Event]:
        yield Event(task.number, result=TrialResult("needs_attention", [], reason="the disk is full"))

    is_done, coordinator, workers, trials = run(tmp_path, need_attention)
    assert (is_done, coordinator.needs_attention, len(workers.tasks)) == (False, "the disk is full", 1)
    assert [trial.status for trial in trials] == ["running"]


def test_the_worst_trials_are_pruned_at_a_rung(tmp_path: Path) -> None:
    def report(task: Task) -> Iterator[Event]:
        value = [0.3, 0.2, 0.4][task.number]
        for epoch in (1, 2):
            yield Event(task.number, curve=[value] * epoch)
        yield finish(task, value)

    _, _, workers, _ = run(tmp_path, report, run_cap=3, early_terminate={"type": "hyperband", "min_iter": 2, "eta": 2})
    assert workers.tasks[0].rungs[0] == 2
    assert workers.decisions == [(0, False), (1, False), (2, True)]


def test_a_target_and_equal_failures_end_the_sweep(tmp_path: Path) -> None:
    metric = {"name": "val_loss", "goal": "minimize", "target": 0.25}
    (tmp_path / "target").mkdir()
    _, coordinator, workers, _ = run(
        tmp_path / "target", lambda task: iter([finish(task, 0.4 - 0.1 * task.number)]), metric=metric
    )
    assert len(workers.tasks) == 3
    assert "trial 2" in coordinator.stop_reason

    def fail(task: Task) -> Iterator[Event]:
        yield Event(task.number, result=TrialResult("failed", [], reason=f"diverged after {task.number} steps"))

    _, coordinator, workers, _ = run(tmp_path, fail)
    assert len(workers.tasks) == 5
    assert "diverged after 4 steps" in coordinator.stop_reason


@pytest.mark.parametrize(("epochs", "status"), [(5, "aborted"), (1, "finished")])
def test_a_worker_that_waits_at_a_rung_is_stopped(tmp_path: Path, epochs: int, status: str) -> None:
    """At the last epoch's rung, where there is nothing left to train, the trial is completed."""
    log = tmp_path / "workers.log"
    workers = LocalWorkers(1, log, {})
    network = {"dataset": "digits", "epochs": epochs, "num_layers": 1, "hidden_size": 8, "engine": "numpy"}
    output = {"figures": False, "wandb_mode": "disabled", "run_name": "run", "output_dir": str(tmp_path)}
    try:
        workers.submit(Task(0, {**network, **output}, "val_loss", rungs=(1,)))
        assert workers.free_slots == 0
        event = None
        while event is None:
            event = workers.next_event(1.0)
        assert event.curve is not None, event
        assert len(event.curve) == 1
    finally:
        workers.stop()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == status
    assert log.read_text() == ""
