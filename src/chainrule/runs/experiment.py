"""One run from its configuration to its results: data, network, training, test, figures, trackers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

from chainrule.core.errors import DivergenceError, OutOfMemoryError, OutputError
from chainrule.data import Dataset, load_dataset
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.metrics import Evaluation, class_report
from chainrule.nn.model_file import save_model
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.runs.checkpointing import Saver
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import holding, how_to_go_on
from chainrule.runs.tracking.base import Run, Status, Tracker
from chainrule.runs.tracking.wandb import wandb_tracker
from chainrule.runs.writer import LocalTracker, Writing, create_run_folder
from chainrule.terminal.console import Console
from chainrule.terminal.interrupt import stopping_on_interrupt
from chainrule.training.history import History
from chainrule.training.trainer import Trainer

__all__ = ["Outcome", "describe", "run_experiment"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: "finished", "aborted" by the user, or "pruned": ended early by `watch`.
        folder: the run folder.
        metrics: what `metrics.json` holds.
        history: a record of each finished epoch.
    """

    status: Status
    folder: Path
    metrics: Mapping[str, Any]
    history: History


def run_experiment(
    config: TrainConfig,
    console: Console,
    resume: Path | None = None,
    *,
    data: Dataset | None = None,
    watch: Callable[[History], bool] = lambda history: False,
    save_every: float = 0.0,
) -> Outcome:
    """Train, test and record.

    Args:
        config: what to do.
        console: where notes and progress go.
        resume: the folder of a run with this configuration, to go on with; None begins a new one.
        data: the dataset that the configuration names, where it was loaded before.
        watch: told the history after each epoch; whether training ends there.
        save_every: seconds; a checkpoint is left out after an epoch if the one before is younger.

    Raises:
        DataError: the dataset could not be had. No run folder is left behind.
        OutputError: the run folder cannot be made or written to, or another process uses it.
        CheckpointError: the checkpoints belong to another configuration or to other data.
        DivergenceError: the loss became infinite or NaN. The run folder holds the epochs before.
        OutOfMemoryError: memory was short, in a run that can go on where there is more.
    """
    with console.showing_logs(), _short_of_memory(resume):
        for name, reason in config.ignored.items():
            console.note(f"Note: {name} has no effect: {reason}.")
        data_dir = Path(config.data_dir) if config.data_dir is not None else None
        data = data or load_dataset(
            config.dataset, seed=config.seed, val_fraction=config.val_fraction, dtype=config.dtype, data_dir=data_dir
        )
        sizes = [data.x_train.shape[1], *config.hidden_sizes, len(data.classes)]
        network = NeuralNetwork(
            sizes, config.activation, config.weight_init, config.loss, seed=config.seed, dtype=config.dtype
        )
        rule = OPTIMIZERS[config.optimizer](**config.hyperparameters)
        trainer = Trainer(
            network,
            data,
            rule,
            batch_size=config.batch_size,
            engine=config.engine,
            seed=config.seed,
            threads=config.threads,
        )
        mirror = wandb_tracker(config.wandb_mode, config.wandb_project, config.wandb_entity, notify=console.note)
        name = config.run_name or f"{describe(config)}_{datetime.now():%Y%m%d-%H%M%S}"
        output_dir = Path(config.output_dir or ".")
        folder = resume or create_run_folder(output_dir, name, unique=config.run_name is None)
        with holding(folder), _short_of_memory(folder):
            writing = Writing(folder)
            saver = Saver(trainer, data, config, writing, folder)
            if resume:
                saver.restore(console.note)
            # The name is no part of the configuration: the same one can be trained again under another.
            settings = {name: value for name, value in config.to_dict().items() if name != "run_name"}
            run = Run(folder.name, folder, settings, data, resumed=resume is not None, history=trainer.history)
            trackers: list[Tracker] = [LocalTracker(writing), *([mirror] if mirror else [])]
            console.note(
                f"Training {'-'.join(map(str, sizes))} ({network.parameters.flat.size:,} parameters) on {data.name} "
                f"with {config.optimizer}; results in {folder}"
            )
            work = _Work(config, run, trainer, trackers, saver, console, writing, watch, save_every)
            return work.record()


def describe(config: TrainConfig) -> str:
    """A name that tells the settings that matter: `hl_4_bs_16_ac_ReLU_opt_rmsprop_...`."""
    size = config.hidden_size
    parts = {
        "hl": config.num_layers,
        "bs": config.batch_size,
        "ac": config.activation,
        "opt": config.optimizer,
        "lr": f"{config.hyperparameters['learning_rate']:g}",
        "wd": f"{config.hyperparameters['weight_decay']:g}",
        "sz": "-".join(map(str, size)) if isinstance(size, tuple) else size,
        "init": config.weight_init,
        "loss": {"cross_entropy": "ce", "mean_squared_error": "mse"}.get(config.loss, config.loss),
        "ep": config.epochs,
        "data": config.dataset,
        "seed": config.seed,
    }
    name = "_".join(f"{key}_{value}" for key, value in parts.items())
    # A long list of widths would make a name that no file system takes.
    return name[:150]


@contextmanager
def _short_of_memory(folder: Path | None) -> Iterator[None]:
    """Where memory is short in a run that has begun, say how it goes on once there is more."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except (MemoryError, ImportError) as error:
        # What the system says where there is no room for a library that is imported late, such as matplotlib.
        short = isinstance(error, MemoryError) or "failed to map segment" in str(error)
        if not short or folder is None or not (folder / "run.json").exists():
            raise
        why = f" ({error})" if str(error) else ""
        raise OutOfMemoryError(f"Not enough memory{why}. Free some, {how_to_go_on(folder)}.") from error


@dataclass
class _Work:
    """What a run is made with, and the parts of it: record, train, test."""

    config: TrainConfig
    run: Run
    trainer: Trainer
    trackers: list[Tracker]
    saver: Saver
    console: Console
    writing: Writing
    watch: Callable[[History], bool]
    save_every: float

    def record(self) -> Outcome:
        """Train and test while the trackers listen; whatever happens, each that started learns how the run ended."""
        # From before the run is marked as running until its end is recorded: a signal that killed the process in
        # between, while testing for example, would leave a run that says "running".
        with stopping_on_interrupt(self.console.note) as stop:
            return self._record(stop)

    def _record(self, stop: Event) -> Outcome:
        status: Status = "failed"
        reason = "an unexpected error"
        begun: list[Tracker] = []
        try:
            for tracker in self.trackers:
                begun.append(tracker)
                tracker.start(self.run)
            status, reason = self._train(stop)
            metrics = self._test(status)
            if status == "finished":
                self.saver.tidy()
            return Outcome(status, self.run.folder, metrics, self.trainer.history)
        except KeyboardInterrupt:
            status, reason = "aborted", "stopped by the user"
            self.console.note(f"Stopped at once. What was saved is in {self.run.folder}")
            raise
        except BaseException as error:
            status, reason = "failed", str(error) or type(error).__name__
            raise
        finally:
            _finish(begun, status, reason)

    def _train(self, stop: Event) -> tuple[Status, str]:
        """Run the epochs. Returns how that ended, and why it ended early if it did."""
        trainer, history, epochs = self.trainer, self.trainer.history, self.config.epochs

        def progress(samples: int) -> None:
            self.console.progress(samples)
            self.saver.save_if_due()

        with self.console.training(epochs, len(trainer.x)):
            began = time.perf_counter()
            # A run that was interrupted right after an epoch has not yet been judged by it.
            enough = len(history) > 0 and self.watch(history)
            while len(history) < epochs and not enough:
                record = next(trainer.run(1, progress=progress, should_stop=stop.is_set), None)
                if record is None:
                    self.saver.save()
                    return "aborted", "stopped by the user"
                now = time.perf_counter()
                self.console.epoch(record, now - began)
                began = now
                for tracker in self.trackers:
                    tracker.log(record, trainer.network)
                # The first is never left out: without one, nobody could tell whether a checkpoint was lost.
                self.saver.save_if_due(self.save_every if len(history) > 1 else 0.0)
                enough = self.watch(history)
        if enough and len(history) < epochs:
            return "pruned", "its results were not good enough to go on"
        return "finished", ""

    def _test(self, status: Status) -> dict[str, Any]:
        """Look at the test set, once; write the numbers, the figures and the model."""
        data, trainer, network = self.run.dataset, self.trainer, self.trainer.network
        history = trainer.history
        last, best = (history[-1] if len(history) else None), history.best()
        kept = best if best and self.config.keep == "best" else last
        if kept is not None:
            # An epoch that was not finished leaves no trace, so that the numbers belong to the parameters.
            network.parameters.flat[...] = trainer.best_parameters if kept is best else trainer.last_parameters
        self.console.note("Testing and drawing figures." if self.config.figures else "Testing.")
        test = trainer.evaluate(data.x_test, data.y_test)
        metrics: dict[str, Any] = {
            "status": status,
            "epochs": len(history),
            "steps": trainer.step,
            "parameters": network.parameters.flat.size,
            "kept_epoch": kept.epoch if kept else None,
            "train_loss": kept.train_loss if kept else None,
            "train_accuracy": kept.train_score if kept else None,
            "val_loss": kept.val_loss if kept else None,
            "val_accuracy": kept.val_score if kept else None,
            "test_loss": test.loss,
            "test_accuracy": test.score,
            **class_report(test, data.classes),
        }
        if not math.isfinite(test.loss):
            raise DivergenceError(f"The loss on the test set is {test.loss}: the network's answers overflow.")
        model = self.run.folder / "model.safetensors"
        with self.writing.to("model.safetensors"):
            save_model(network, model, data.classes)
        local, *mirrors = self.trackers
        # Before the figures, which take a second in which much can happen.
        local.report(metrics, test, {}, model)
        figures = self._draw(test, metrics["confusion_matrix"]) if self.config.figures else {}
        for mirror in mirrors:
            mirror.report(metrics, test, figures, model)
        stopped = "Stopped early. " if status == "aborted" else ""
        of = f" with the parameters of epoch {kept.epoch}" if kept and (kept is not last or stopped) else ""
        self.console.note(
            f"{stopped}Test accuracy {100 * test.score:.2f} %, loss {test.loss:.4f}{of}. Results in {self.run.folder}"
        )
        return metrics

    def _draw(self, test: Evaluation, counts: list[list[int]]) -> dict[str, Path]:
        """Draw the figures; returns where they are."""
        from chainrule.runs.figures import draw_all

        folder = self.run.folder / "figures"
        with self.writing.to("figures"):
            folder.mkdir(exist_ok=True)
            return draw_all(folder, history=self.trainer.history, dataset=self.run.dataset, test=test, counts=counts)


def _finish(trackers: list[Tracker], status: Status, reason: str) -> None:
    """Tell each tracker how the run ended; where one cannot record that, the others hear that it failed.

    Raises:
        OutputError: one could not.
    """
    unwritten = None
    for tracker in trackers:
        try:
            tracker.finish(status, reason)
        except OutputError as error:
            status, reason, unwritten = "failed", str(error), error
    if unwritten:
        raise unwritten
