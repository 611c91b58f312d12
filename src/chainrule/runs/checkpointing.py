"""Saving the checkpoints of a run while it trains, and resuming from them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from chainrule.core.errors import CheckpointError
from chainrule.core.files import exists
from chainrule.data import Dataset
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import CHECKPOINTS, HISTORY
from chainrule.runs.writer import RunWriter
from chainrule.training.checkpoint import Checkpoints
from chainrule.training.trainer import Trainer

__all__ = ["RunCheckpoints"]


class RunCheckpoints:
    """Saves and restores the checkpoints of one run."""

    def __init__(self, trainer: Trainer, data: Dataset, config: TrainConfig, writer: RunWriter, folder: Path) -> None:
        self._trainer, self._folder, self._writer = trainer, folder, writer
        self._interval = 60.0 * config.checkpoint_every
        self._checkpoints = Checkpoints(folder / CHECKPOINTS, trainer.checkpoint_shapes(), config.dtype)
        plugins = b"\0".join(Path(file).read_bytes() for file in config.plugin)
        # What a checkpoint depends on, by name; the data are added when they are hashed.
        self._fingerprint = {
            "configuration": config.fingerprint,
            "engine": type(trainer.engine).__name__,
            "plugin code": hashlib.sha256(plugins).hexdigest(),
        }
        try:
            # Hashing 200 MB takes 0.2 s, during which the first epoch can run already.
            self._data = ThreadPoolExecutor(1).submit(lambda: data.digest)
        except RuntimeError:  # no thread could be started
            self._data = Future()
            self._data.set_result(data.digest)
        self._last_save = time.monotonic()

    def _compute_fingerprint(self) -> dict[str, str]:
        return {**self._fingerprint, "data": self._data.result()}

    def save(self) -> None:
        """Save a checkpoint.

        Raises:
            OutputError: it cannot be written; the previous one is intact.
        """
        with self._writer.guard(CHECKPOINTS):
            self._checkpoints.save(self._trainer.checkpoint(self._compute_fingerprint()))
        self._last_save = time.monotonic()

    def save_if_due(self, interval: float | None = None) -> None:
        """Save a checkpoint unless the last one is younger than `interval` seconds.

        Args:
            interval: by default that of checkpoints within an epoch.
        """
        if time.monotonic() - self._last_save >= (self._interval if interval is None else interval):
            self.save()

    def remove_older(self) -> None:
        """Remove all but the newest checkpoint of a finished run, which can be trained further from it."""
        self._checkpoints.remove_older()

    def restore(self, notify: Callable[[str], object]) -> None:
        """Restore the trainer from the newest checkpoint; without one, training starts from the beginning.

        Raises:
            CheckpointError: the checkpoint belongs to another configuration or to other data.
        """
        checkpoint, problems = self._checkpoints.newest, self._checkpoints.problems
        if checkpoint is None:
            # A run may be killed between its first record and its first checkpoint, but later it always has one.
            # Lines are counted, not read: a damaged history is not overwritten either.
            history = self._folder / HISTORY
            finished = history.read_bytes().count(b"\n") if exists(history) else 0
            if problems or finished > 1:
                why = " ".join(problems) or "There is none."
                raise CheckpointError(
                    f"{self._folder} has {finished} finished epochs and no intact checkpoint; training from the start "
                    f"would overwrite them. {why} Restore an intact checkpoint, or start a new run."
                )
            notify("No checkpoint was saved yet: training from the start.")
            return
        for name, value in self._compute_fingerprint().items():
            if checkpoint.fingerprint.get(name) != value:
                raise CheckpointError(
                    f"The checkpoints in {self._folder} were made with other {name}: resuming would mix two runs. Use "
                    f"the {name} that the run was started with, or start a new run."
                )
        for problem in problems:
            notify(f"Note: {problem}")
        self._trainer.restore(checkpoint)
        finished, inside = len(checkpoint.history), checkpoint.position
        where = f"in epoch {finished + 1}, after {inside:,} samples" if inside else f"after epoch {finished}"
        notify(f"Resuming {self._folder.name} {where}.")
