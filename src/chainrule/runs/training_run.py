"""The run of one network: setting it up, the epochs, checkpoints in between, the test at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from numpy.typing import NDArray

from chainrule.data import Dataset
from chainrule.model import Model
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.losses import LOSSES
from chainrule.nn.metrics import Evaluation, make_class_report
from chainrule.nn.parameters import Array
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.runs.checkpointing import RunCheckpoints
from chainrule.runs.config import TrainConfig
from chainrule.runs.recorded_run import RecordedRun, TestResult, check_finite_loss
from chainrule.runs.run import Run, Status
from chainrule.runs.tracking.wandb import WandbTracker
from chainrule.runs.writer import RunWriter
from chainrule.terminal.console import Console
from chainrule.training.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from chainrule.training.history import EpochRecord, History, record_names
from chainrule.training.trainer import Trainer

__all__ = ["TrainingRun", "make_trainer"]


def make_trainer(config: TrainConfig, data: Dataset, callbacks: Sequence[Callback] = ()) -> Trainer:
    """The network of a configuration and what trains it.

    Raises:
        ConfigError: the data do not fit the configuration.
    """
    if config.views.count > 1:
        config.views.check_shape(data.image_shape, data.x_train.shape[1])
    outputs = len(data.classes) if data.classes else data.y_train.shape[1]
    network = NeuralNetwork(
        [data.x_train.shape[1], *config.hidden_sizes, outputs],
        config.activation,
        config.weight_init,
        LOSSES[config.loss](**config.loss_hyperparameters),
        config.dropout,
        config.input_dropout,
        config.batch_norm,
        seed=config.seed,
        dtype=config.dtype,
    )
    used: list[Callback] = [EarlyStopping(config.patience)] if config.patience else []
    if config.plateau_patience:
        used.append(ReduceOnPlateau(config.plateau_patience, config.plateau_factor))
    return Trainer(
        network,
        data,
        OPTIMIZERS[config.optimizer](**config.hyperparameters),
        batch_size=config.batch_size,
        engine=config.engine,
        seed=config.seed,
        threads=config.threads,
        epochs=config.epochs,
        callbacks=[*used, *callbacks],
        augmentation=config.augmentation,
    )


@dataclass
class TrainingRun(RecordedRun):
    """The run of one network.

    Attributes:
        save_interval: seconds; no checkpoint is saved after an epoch if the last one is younger.
    """

    trainer: Trainer
    checkpoints: RunCheckpoints
    save_interval: float

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
    ) -> TrainingRun:
        """Set up a run in a folder whose lock is held, from its newest checkpoint if it is resumed.

        Args:
            config: see `run_experiment`.
            trainer: of this configuration.
            trained_on: the data of the trainer.
            data: the data without a teacher's targets.
            folder: the run folder.
            tracker: see `RecordedRun`.
            console: see there.
            watch: see there.
            resume: whether the folder holds a run that was started before.
            save_interval: see `TrainingRun`.

        Raises:
            CheckpointError: the checkpoints belong to another configuration or to other data.
        """
        writer = RunWriter(folder)
        checkpoints = RunCheckpoints(trainer, trained_on, config, writer, folder)
        if resume:
            checkpoints.restore(console.note)
            console.report_resumed(len(trainer.history))
        run = Run(folder.name, folder, config.recorded, data, resumed=resume, history=trainer.history)
        return cls(
            config, run, writer, tracker, console, watch,
            trainer=trainer, checkpoints=checkpoints, save_interval=save_interval,
        )  # fmt: skip

    @property
    def history(self) -> History:
        """The finished epochs."""
        return self.trainer.history

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

    def _evaluate(self, status: Status) -> TestResult:
        """Evaluate the parameters of the kept epoch."""
        data, trainer = self.run.dataset, self.trainer
        kept = _restore_kept_epoch(trainer, self.config.keep)
        test = self._predict(data.x_test, data.y_test)
        metrics = _make_metrics(status, trainer, kept, test, data.classes)
        if self.config.views.count > 1 and len(data.x_val):
            val = self._predict(data.x_val, data.y_val)
            metrics |= {"val_loss": val.loss, f"val_{val.score_name}": val.score}
        is_last = kept is not None and kept is trainer.history[-1]
        remark = f" with the parameters of epoch {kept.epoch}" if kept and (status == "aborted" or not is_last) else ""
        return TestResult(metrics, test, trainer.network, remark)

    def _predict(self, x: Array, y: NDArray[Any]) -> Evaluation:
        """Evaluate the network on samples, or on views of them."""
        views, network = self.config.views, self.trainer.network
        if views.count > 1 and isinstance(network, Model):
            return network.evaluate(x, y, views=views, image_shape=self.run.dataset.image_shape)
        return self.trainer.evaluate(x, y)

    def _clean_up(self) -> None:
        self.checkpoints.remove_older()


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
    check_finite_loss(test)
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
