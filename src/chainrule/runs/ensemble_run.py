"""The run of an ensemble: a run for each member, several at the same time, and the test of their average."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np

from chainrule.core.errors import ChainruleError, DataError, DivergenceError
from chainrule.core.files import exists
from chainrule.core.seeding import derive_seed
from chainrule.data import Dataset
from chainrule.ensemble import Ensemble
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.metrics import make_class_report
from chainrule.nn.network import Network
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import HISTORY, JOURNAL, MEMBERS, create_run_folder, run_lock
from chainrule.runs.recorded_run import RecordedRun, RunResult, TestResult, check_finite_loss
from chainrule.runs.run import Run, Status
from chainrule.runs.tracking.wandb import WandbTracker
from chainrule.runs.training_run import TrainingRun, make_trainer
from chainrule.runs.writer import RunWriter
from chainrule.terminal.console import Console
from chainrule.training.concurrency import CoreShares, Send, run_concurrently
from chainrule.training.history import EpochRecord, History, record_names
from chainrule.training.trainer import Trainer

__all__ = ["EnsembleRun"]


class _MemberConsole(Console):
    """Sends what a member's run reports to the thread that prints it."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__(quiet=True)
        self._send = send

    def note(self, text: str) -> None:
        self._send("note", text)

    @contextmanager
    def show_progress(self, epochs: int, samples: int, members: int = 1) -> Iterator[None]:
        yield

    def report_progress(self, done: int) -> None:
        self._send("progress", done)

    def report_resumed(self, epochs: int) -> None:
        self._send("resumed", epochs)

    def report_epoch(self, record: EpochRecord, seconds: float, member: int | None = None) -> None:
        self._send("epoch", (record, seconds))


@dataclass
class EnsembleRun(RecordedRun):
    """The run of an ensemble. Each member has a run folder in `members/`, from which it is resumed.

    The history has an epoch once every member has finished it: the mean of the members' records.

    Attributes:
        trained_on: the training samples, with a teacher's targets if there is one.
        shares: divides the cores among the members.
        save_interval: see `TrainingRun`.
    """

    trained_on: Dataset
    shares: CoreShares
    save_interval: float
    _networks: dict[int, NeuralNetwork] = field(default_factory=dict)
    _histories: dict[int, History] = field(default_factory=dict)
    _results: dict[int, RunResult] = field(default_factory=dict)
    _positions: dict[int, int] = field(default_factory=dict)
    _pruned: Event = field(default_factory=Event)
    _setup: Lock = field(default_factory=Lock)

    @classmethod
    def open(
        cls,
        config: TrainConfig,
        trainer: Trainer,
        trained_on: Dataset,
        data: Dataset,
        folder: Path,
        tracker: WandbTracker | None,
        console: Console,
        watch: Callable[[History], bool],
        *,
        resume: bool,
        save_interval: float,
    ) -> EnsembleRun:
        """Set up a run in a folder whose lock is held. The arguments are those of `TrainingRun.open`."""
        history = History()
        if resume:
            # What was recorded once stays so: the records of members that are trained again are the same.
            with suppress(OSError, ValueError, DataError):
                history = History.from_jsonl((folder / HISTORY).read_text(encoding="utf-8"))
        shares = CoreShares(config.members, config.threads)
        shares.choose_workers(trainer.engine)
        run = Run(folder.name, folder, config.recorded, data, resumed=resume, history=history)
        return cls(
            config, run, RunWriter(folder), tracker, console, watch,
            trained_on=trained_on, shares=shares, save_interval=save_interval,
        )  # fmt: skip

    def describe(self, network: Network) -> str:
        """The number of members, and how many are trained at the same time."""
        at_a_time = f"{self.shares.workers} at a time" if self.shares.workers > 1 else "one after the other"
        return f"{self.config.members} members, {at_a_time}: {super().describe(network)} each,"

    def __post_init__(self) -> None:
        self._history = History(list(self.run.history))

    @property
    def history(self) -> History:
        """The mean of the members' histories."""
        return self._history

    def _train(self, stop: Event) -> tuple[Status, str]:
        """Train the members that are not finished."""
        config = self.config
        if len(self.history) and self.watch(self.history):
            self._pruned.set()

        def handle(event: tuple[int, str, Any]) -> None:
            try:
                self._handle(*event)
            except BaseException:
                stop.set()
                raise

        with self.console.show_progress(config.epochs, len(self.trained_on.x_train), config.members):
            members = [partial(self._train_member, number, stop) for number in range(config.members)]
            run_concurrently(members, self.shares, handle)
        if len(self._results) == config.members and all(r.status == "finished" for r in self._results.values()):
            return "finished", ""
        if self._pruned.is_set():
            return "pruned", "its results were too poor to continue"
        return "aborted", "stopped by the user"

    def _train_member(self, number: int, stop: Event, send: Send) -> None:
        """Train a member, in a thread of its own, from its last checkpoint if it has one."""
        if stop.is_set() or self._pruned.is_set():
            return
        config = self.config.of_member(derive_seed(self.config.seed, number))
        console = _MemberConsole(lambda kind, content: send((number, kind, content)))
        folder = self.run.folder / MEMBERS / str(number)
        try:
            resume = exists(folder / JOURNAL)
            if not resume:
                create_run_folder(folder.parent, folder.name, unique=False)
            with run_lock(folder):
                # One at a time, because compiling and hashing the data are done once.
                with self._setup:
                    trainer = make_trainer(config, self.trained_on, [self.shares])
                    run = TrainingRun.open(
                        config, trainer, self.trained_on, self.run.dataset, folder, None, console,
                        lambda history: self._pruned.is_set(), resume=resume, save_interval=self.save_interval,
                    )  # fmt: skip
                send((number, "history", History(list(run.history))))
                result = run.execute(stop)
            assert isinstance(trainer.network, NeuralNetwork)  # noqa: S101  (`make_trainer` made it)
            send((number, "result", (result, trainer.network)))
        except BaseException as error:
            stop.set()
            if isinstance(error, ChainruleError) and error.run_folder is not None:
                error.run_folder = self.run.folder
            if isinstance(error, DivergenceError):
                raise DivergenceError(f"Member {number}: {error}") from error
            raise

    def _handle(self, number: int, kind: str, content: Any) -> None:
        """Record what a member reports."""
        if kind == "note" and content != "Testing.":
            self.console.note(f"member {number}: {content}")
        elif kind == "progress":
            self._positions[number] = content
            self.console.report_progress(sum(self._positions.values()))
        elif kind == "resumed":
            self.console.report_resumed(content)
        elif kind == "history":
            self._histories[number] = content
            self._log_epochs()
        elif kind == "epoch":
            record, seconds = content
            self._positions[number] = 0
            self._histories[number].append(record)
            self.console.report_epoch(record, seconds, number)
            self._log_epochs()
        elif kind == "result":
            self._results[number], self._networks[number] = content
            self._log_epochs()

    def _log_epochs(self) -> None:
        """Record the epochs that all members have finished now; those of early stopping have no more of them."""
        while True:
            epoch, members = len(self.history) + 1, range(self.config.members)
            over = {number for number, result in self._results.items() if result.status == "finished"}
            reached = {number for number, history in self._histories.items() if len(history) >= epoch}
            if not reached or any(number not in reached | over for number in members):
                return
            record = _average([self._histories[number][epoch - 1] for number in sorted(reached)])
            self._history.append(record)
            self.writer.log(record)
            if self.tracker:
                self.tracker.log(record)
            if self.watch(self.history):
                self._pruned.set()

    def _evaluate(self, status: Status) -> TestResult:
        """Evaluate the averaged probabilities of the members that have finished an epoch."""
        data = self.run.dataset
        trained = [number for number in sorted(self._results) if len(self._results[number].history)]
        networks = [self._networks[number] for number in trained]
        if not networks:  # stopped at once
            networks = [_make_network(self.config.of_member(self.config.seed), self.trained_on)]
        ensemble = Ensemble(networks)
        views: Any = {"views": self.config.views, "image_shape": data.image_shape}
        test = ensemble.evaluate(data.x_test, data.y_test, **views)
        check_finite_loss(test)
        results = [self._results[number].metrics for number in trained]
        names = record_names(test.score_name)[2:]
        metrics: dict[str, Any] = {name: _mean([result[name] for result in results]) for name in names}
        if len(data.x_val):
            val = ensemble.evaluate(data.x_val, data.y_val, **views)
            metrics |= {"val_loss": val.loss, f"val_{val.score_name}": val.score}
        metrics = {
            "status": status,
            "epochs": len(self.history),
            "steps": sum(result["steps"] for result in results),
            "parameters": sum(network.parameters.flat.size for network in networks),
            "members": len(networks),
            "kept_epoch": None,
            **metrics,
            "test_loss": test.loss,
            f"test_{test.score_name}": test.score,
            **{
                f"member_{name}": [result[name] for result in results]
                for name in ("kept_epoch", f"val_{test.score_name}", f"test_{test.score_name}")
            },
            **(make_class_report(test, data.classes) if data.classes else {}),
        }
        scores = [result[f"test_{test.score_name}"] for result in results]
        remark = f", averaged over {len(networks)} members"
        if scores:
            factor, unit = (100, " %") if test.score_name == "accuracy" else (1, "")
            remark += f" (alone {factor * min(scores):.2f} to {factor * max(scores):.2f}{unit})"
        return TestResult(metrics, test, networks, remark)

    def _clean_up(self) -> None:
        """Nothing: the runs of the members have done it."""


def _make_network(config: TrainConfig, data: Dataset) -> NeuralNetwork:
    network = make_trainer(config, data).network
    assert isinstance(network, NeuralNetwork)  # noqa: S101  (`make_trainer` made it)
    return network


def _average(records: list[EpochRecord]) -> EpochRecord:
    """The mean of records of the same epoch."""
    first = records[0]
    return EpochRecord(
        epoch=first.epoch,
        step=first.step,
        train_loss=float(np.mean([record.train_loss for record in records])),
        train_score=float(np.mean([record.train_score for record in records])),
        val_loss=_mean([record.val_loss for record in records]),
        val_score=_mean([record.val_score for record in records]),
        score_name=first.score_name,
    )


def _mean(values: list[float | None]) -> float | None:
    """The mean of the values that are there; None if there are none."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None
