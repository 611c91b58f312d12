"""Saving a run's checkpoints while it trains, and going on from them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from chainrule.core.errors import CheckpointError
from chainrule.data import Dataset
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import RunFolder, configuration_hash
from chainrule.runs.writer import Writing
from chainrule.training.checkpoint import Checkpoints
from chainrule.training.trainer import Trainer

__all__ = ["Saver"]


class Saver:
    """Saves and restores the checkpoints of one run.

    Args:
        trainer: what is saved and restored.
        data: of the run.
        config: of the run.
        writing: what writes to the folder.
        folder: of the run.
    """

    def __init__(self, trainer: Trainer, data: Dataset, config: TrainConfig, writing: Writing, folder: Path) -> None:
        self._trainer, self._folder, self._writing = trainer, folder, writing
        self._seconds = 60.0 * config.checkpoint_every
        self._checkpoints = Checkpoints(folder / "checkpoints", trainer.checkpoint_shapes(), config.dtype)
        self._configuration = configuration_hash(config)
        self._engine = type(trainer.engine).__name__
        self._plugins = _files_hash(config.plugin)
        try:
            # Hashing 200 MB takes a fifth of a second, which the first epoch need not wait for.
            self._data = ThreadPoolExecutor(1).submit(lambda: data.digest)
        except RuntimeError:  # no more threads to be had
            self._data = Future()
            self._data.set_result(data.digest)
        self._saved = time.monotonic()

    def _meant_for(self) -> dict[str, str]:
        return {
            "configuration": self._configuration,
            "engine": self._engine,
            "plugin code": self._plugins,
            "data": self._data.result(),
        }

    def save(self) -> None:
        """Save a checkpoint.

        Raises:
            OutputError: it cannot be written; the one before is whole.
        """
        with self._writing.to("checkpoints"):
            self._checkpoints.save(self._trainer.checkpoint(self._meant_for()))
        self._saved = time.monotonic()

    def save_if_due(self, seconds: float | None = None) -> None:
        """Save one if the last was long ago.

        Args:
            seconds: how long; without it as long as between two within an epoch.
        """
        if time.monotonic() - self._saved >= (self._seconds if seconds is None else seconds):
            self.save()

    def tidy(self) -> None:
        """Keep the newest checkpoint alone, once the run is done: with more epochs it can go on from there."""
        self._checkpoints.tidy()

    def restore(self, notify: Callable[[str], object]) -> None:
        """Let the trainer go on from the newest checkpoint, or begin anew where there is none.

        Args:
            notify: told, in words for the user, where the run goes on and what was damaged.

        Raises:
            CheckpointError: it belongs to another configuration or to other data.
        """
        checkpoint, problems = self._checkpoints.newest, self._checkpoints.problems
        if checkpoint is None:
            # A run is killed between its first record and its first checkpoint, but no later without having one.
            finished = RunFolder.read(self._folder).epochs
            if problems or finished > 1:
                why = " ".join(problems) or "There is none."
                raise CheckpointError(
                    f"{self._folder} has {finished} finished epochs and no checkpoint that is whole; to begin anew "
                    f"would overwrite them. {why} Put back a checkpoint that is whole, or begin a new run without "
                    "--resume."
                )
            notify("No checkpoint was saved yet: beginning anew.")
            return
        for name, value in self._meant_for().items():
            if checkpoint.meant_for.get(name) != value:
                raise CheckpointError(
                    f"The checkpoints in {self._folder} were made with other {name}: training would not go on but mix "
                    f"two runs. Give the {name} that the run began with, or begin a new run without --resume."
                )
        for problem in problems:
            notify(f"Note: {problem}")
        self._trainer.restore(checkpoint)
        finished, inside = len(checkpoint.history), checkpoint.position
        where = f"in epoch {finished + 1}, after {inside:,} samples" if inside else f"after epoch {finished}"
        notify(f"Resuming {self._folder.name} {where}.")


def _files_hash(files: Sequence[str]) -> str:
    """SHA-256 of what is in some files."""
    return hashlib.sha256(b"\0".join(Path(file).read_bytes() for file in files)).hexdigest()
