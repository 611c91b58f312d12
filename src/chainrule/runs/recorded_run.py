"""What the runs of a network and of an ensemble have in common: start and end are recorded, the result is tested."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from chainrule.charts.renderer import check_renderer
from chainrule.core.errors import ConfigError, DivergenceError
from chainrule.nn.metrics import Evaluation
from chainrule.nn.network import Network
from chainrule.runs.config import TrainConfig
from chainrule.runs.figures import draw_all
from chainrule.runs.folder import FIGURES, MODEL
from chainrule.runs.run import Run, Status
from chainrule.runs.tracking.wandb import WandbTracker
from chainrule.runs.writer import RunWriter
from chainrule.terminal.console import Console, stopping_on_interrupt
from chainrule.training.history import History

__all__ = ["RecordedRun", "RunResult", "TestResult", "check_finite_loss"]


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


@dataclass(frozen=True)
class TestResult:
    """What was tested at the end of a run.

    Attributes:
        metrics: the content of `metrics.json`.
        test: the evaluation on the test set.
        model: the network, or the members of an ensemble.
        remark: what the model is, such as " with the parameters of epoch 3"; may be empty.
    """

    metrics: dict[str, Any]
    test: Evaluation
    model: Network | Sequence[Network]
    remark: str


@dataclass
class RecordedRun(ABC):
    """A run and what records it.

    Attributes:
        watch: called with the history after each epoch; returns whether the run is pruned.
    """

    config: TrainConfig
    run: Run
    writer: RunWriter
    tracker: WandbTracker | None
    console: Console
    watch: Callable[[History], bool]

    def describe(self, network: Network) -> str:
        """What is trained, given its network, or the first of its networks."""
        return f"{'-'.join(map(str, network.sizes))} ({network.parameters.flat.size:,} parameters)"

    @property
    @abstractmethod
    def history(self) -> History:
        """The finished epochs."""

    @abstractmethod
    def _train(self, stop: Event) -> tuple[Status, str]:
        """Run the epochs; returns the status, and the reason if it ended early."""

    @abstractmethod
    def _evaluate(self, status: Status) -> TestResult:
        """Evaluate on the test set what is kept."""

    @abstractmethod
    def _clean_up(self) -> None:
        """Remove what a finished run does not need."""

    def execute(self, stop: Event | None = None) -> RunResult:
        """Train and test. In any case, the run folder and the tracker, if it was started, record how the run ended.

        Args:
            stop: training stops when it is set; by default, Ctrl-C and SIGTERM set one.
        """
        status: Status = "failed"
        reason = ""
        # From before the run is marked as running until its end is recorded: a signal that killed the process in
        # between, while testing for example, would leave a run that says "running".
        with nullcontext(stop) if stop else stopping_on_interrupt(self.console.note) as stopped:
            try:
                self.writer.start(self.run)
                if self.tracker:
                    self.tracker.start(self.run)
                status, reason = self._train(stopped)
                metrics = self._test(status)
                if status == "finished":
                    self._clean_up()
                return RunResult(status, self.run.folder, metrics, self.history)
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

    def _test(self, status: Status) -> dict[str, Any]:
        """Evaluate what is kept on the test set; save metrics, figures and model."""
        data, folder = self.run.dataset, self.run.folder
        drawing = self.config.figures and self._can_draw()
        self.console.note("Testing and drawing figures." if drawing else "Testing.")
        result = self._evaluate(status)
        test = result.test
        model = self.writer.save_model(result.model)
        # Before the figures, which take a second.
        self.writer.write_metrics(result.metrics)
        figures = {}
        if drawing:
            with self.writer.guard(FIGURES):
                (folder / FIGURES).mkdir(exist_ok=True)
                counts = result.metrics.get("confusion_matrix")
                figures = draw_all(folder / FIGURES, history=self.history, dataset=data, test=test, counts=counts)
        if self.tracker:
            self.tracker.report(result.metrics, test, figures, model)
        score = f"{100 * test.score:.2f} %" if test.score_name == "accuracy" else f"{test.score:.4f}"
        stopped = "Stopped early. " if status == "aborted" else ""
        self.console.note(
            f"{stopped}Test {test.score_name} {score}, loss {test.loss:.4f}{result.remark}. Results in {folder}"
        )
        return result.metrics

    def _can_draw(self) -> bool:
        """Whether figures can be drawn; otherwise note why not."""
        try:
            check_renderer()
        except ConfigError as error:
            self.console.note(f"Note: no figures are drawn. {error}")
            return False
        return True


def check_finite_loss(test: Evaluation) -> None:
    """Raise DivergenceError if the loss on the test set is infinite or NaN."""
    if not math.isfinite(test.loss):
        raise DivergenceError(
            f"The loss on the test set is {test.loss}: the outputs of the network overflow. Lower the learning rate."
        )
