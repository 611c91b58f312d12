"""Executing a run: the epochs, checkpoints in between, the test at the end, all of it recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from chainrule.charts.renderer import check_renderer
from chainrule.core.errors import ConfigError, DivergenceError
from chainrule.nn.metrics import Evaluation, make_class_report
from chainrule.runs.checkpointing import RunCheckpoints
from chainrule.runs.config import TrainConfig
from chainrule.runs.figures import draw_all
from chainrule.runs.folder import FIGURES, MODEL
from chainrule.runs.run import Run, Status
from chainrule.runs.tracking.wandb import WandbTracker
from chainrule.runs.writer import RunWriter
from chainrule.terminal.console import Console, stopping_on_interrupt
from chainrule.training.history import EpochRecord, History, record_names
from chainrule.training.trainer import Trainer

__all__ = ["RunResult", "TrainingRun"]


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        status: "finished", "aborted" by the user, or "pruned" (ended early by `watch`).
        folder: the run folder.
        metrics: the content of `metrics.json`.
        history: one record per finished epoch.
    """

    status: Status
    folder: Path
    metrics: dict[str, Any]
    history: History

    @property
    def model_path(self) -> Path:
        """The model file, which `load_model` reads."""
        return self.folder / MODEL


@dataclass
class TrainingRun:
    """One run and its components.

    Attributes:
        watch: called with the history after each epoch; returns whether the run is pruned.
        save_interval: seconds; no checkpoint is saved after an epoch if the last one is younger.
    """

    config: TrainConfig
    run: Run
    trainer: Trainer
    writer: RunWriter
    checkpoints: RunCheckpoints
    tracker: WandbTracker | None
    console: Console
    watch: Callable[[History], bool]
    save_interval: float

    def execute(self) -> RunResult:
        """Train and test. In any case, the run folder and the tracker, if it was started, record how the run ended."""
        status: Status = "failed"
        reason = ""
        # From before the run is marked as running until its end is recorded: a signal that killed the process in
        # between, while testing for example, would leave a run that says "running".
        with stopping_on_interrupt(self.console.note) as stop:
            try:
                self.writer.start(self.run)
                if self.tracker:
                    self.tracker.start(self.run)
                status, reason = self._train(stop)
                metrics = self._test(status)
                if status == "finished":
                    self.checkpoints.remove_older()
                return RunResult(status, self.run.folder, metrics, self.trainer.history)
            except KeyboardInterrupt:
                status, reason = "aborted", "stopped by the user"
                self.console.note(f"Stopped at once. What was saved is in {self.run.folder}")
                raise
            except BaseException as error:
                status, reason = "failed", str(error) or type(error).__name__
                raise
            finally:
                try:
                    self.writer.finish(status, reason)
                except BaseException as error:
                    status, reason = "failed", str(error)
                    raise
                finally:
                    if self.tracker:
                        self.tracker.finish(status, reason)

    def _train(self, stop: Event) -> tuple[Status, str]:
        """Run the epochs; returns the status, and the reason if it ended early."""
        trainer, history, epochs = self.trainer, self.trainer.history, self.config.epochs

        def report_progress(samples: int) -> None:
            self.console.report_progress(samples)
            self.checkpoints.save_if_due()

        with self.console.show_progress(epochs, len(trainer.x)):
            start = time.perf_counter()
            # A run that was interrupted right after an epoch has not been judged by it yet.
            pruned = len(history) > 0 and self.watch(history)
            while len(history) < epochs and not pruned:
                record = next(trainer.run(1, progress=report_progress, should_stop=stop.is_set), None)
                if record is None:
                    self.checkpoints.save()
                    if stop.is_set():
                        return "aborted", "stopped by the user"
                    return "finished", "the validation score no longer improved"
                now = time.perf_counter()
                self.console.report_epoch(record, now - start)
                start = now
                self.writer.log(record, trainer.network)
                if self.tracker:
                    self.tracker.log(record)
                # The first one is always saved: without it, a lost checkpoint could not be noticed.
                self.checkpoints.save_if_due(self.save_interval if len(history) > 1 else 0.0)
                pruned = self.watch(history)
        if pruned and len(history) < epochs:
            return "pruned", "its results were too poor to continue"
        return "finished", ""

    def _test(self, status: Status) -> dict[str, Any]:
        """Evaluate the kept parameters on the test set; save metrics, figures and model."""
        data, trainer, folder = self.run.dataset, self.trainer, self.run.folder
        drawing = self.config.figures and self._can_draw()
        kept = _restore_kept_epoch(trainer, self.config.keep)
        self.console.note("Testing and drawing figures." if drawing else "Testing.")
        test = trainer.evaluate(data.x_test, data.y_test)
        metrics = _make_metrics(status, trainer, kept, test, data.classes)
        model = self.writer.save_model(trainer.network)
        # Before the figures, which take a second.
        self.writer.write_metrics(metrics)
        figures = {}
        if drawing:
            with self.writer.guard(FIGURES):
                (folder / FIGURES).mkdir(exist_ok=True)
                counts = metrics.get("confusion_matrix")
                figures = draw_all(folder / FIGURES, history=trainer.history, dataset=data, test=test, counts=counts)
        if self.tracker:
            self.tracker.report(metrics, test, figures, model)
        score = f"{100 * test.score:.2f} %" if test.score_name == "accuracy" else f"{test.score:.4f}"
        stopped = "Stopped early. " if status == "aborted" else ""
        is_last = kept is not None and kept is trainer.history[-1]
        of_epoch = f" with the parameters of epoch {kept.epoch}" if kept and (stopped or not is_last) else ""
        self.console.note(
            f"{stopped}Test {test.score_name} {score}, loss {test.loss:.4f}{of_epoch}. Results in {folder}"
        )
        return metrics

    def _can_draw(self) -> bool:
        """Whether figures can be drawn; otherwise note why not."""
        try:
            check_renderer()
        except ConfigError as error:
            self.console.note(f"Note: no figures are drawn. {error}")
            return False
        return True


def _restore_kept_epoch(trainer: Trainer, keep: str) -> EpochRecord | None:
    """Set the network to the parameters of the epoch that is kept; returns its record, None without any.

    Args:
        trainer: its unfinished epoch is dropped, so that the metrics belong to the parameters.
        keep: "best" on the validation set, or "last".
    """
    history = trainer.history
    if not len(history):
        return None
    best = history.best() if keep == "best" else None
    trainer.network.parameters.memory[...] = trainer.last_parameters if best is None else trainer.best_parameters
    return best or history[-1]


def _make_metrics(
    status: Status, trainer: Trainer, kept: EpochRecord | None, test: Evaluation, classes: tuple[str, ...]
) -> dict[str, Any]:
    """The content of the metrics file.

    Raises:
        DivergenceError: the loss on the test set is infinite or NaN.
    """
    if not math.isfinite(test.loss):
        raise DivergenceError(
            f"The loss on the test set is {test.loss}: the outputs of the network overflow. Lower the learning rate."
        )
    record = kept.as_dict() if kept else {}
    return {
        "status": status,
        "epochs": len(trainer.history),
        "steps": trainer.step,
        "parameters": trainer.network.parameters.flat.size,
        "kept_epoch": kept.epoch if kept else None,
        **{name: record.get(name) for name in record_names(test.score_name)[2:]},
        "test_loss": test.loss,
        f"test_{test.score_name}": test.score,
        **(make_class_report(test, classes) if classes else {}),
    }
