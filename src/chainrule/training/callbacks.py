"""Callbacks: code of one's own that runs while a network trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from chainrule.core.errors import ConfigError
from chainrule.training.history import EpochRecord, History

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "EpochFunction", "ReduceOnPlateau", "as_callback"]


class Callback:
    """Base of callbacks: override the methods you need.

    A callback may log, change `trainer.optimizer.learning_rate` and other hyperparameters, or set `trainer.stop` to end
    training after the epoch.
    """

    def on_train_start(self, trainer: Trainer) -> None:
        """Called before the first epoch."""

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Called after each epoch, with its record."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Called after the last epoch, however training ended."""


class EarlyStopping(Callback):
    """Stops training when the validation score has not improved for some epochs.

    What it decides depends on the history
    alone, so a resumed run stops where an uninterrupted one does.

    Args:
        patience: epochs without an improvement after which training stops.
        restore_best: whether `fit` leaves the network with the parameters of the best epoch, not the last.

    Raises:
        ConfigError: patience is below 1, or there is no validation set when training starts.
    """

    def __init__(self, patience: int, *, restore_best: bool = True) -> None:
        self.patience, self.restore_best = _check_patience(patience), restore_best

    def on_train_start(self, trainer: Trainer) -> None:
        """Stop a run that had already ended."""
        _check_validation(trainer, "Early stopping")
        trainer.stop = count_stale_epochs(trainer.history) >= self.patience

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Stop if the last improvement is too long ago."""
        if count_stale_epochs(trainer.history) >= self.patience:
            trainer.stop = True


class ReduceOnPlateau(Callback):
    """Reduces the learning rate each time that the validation score has not improved for some epochs.

    Args:
        patience: epochs without an improvement after which the learning rate is reduced.
        factor: what it is multiplied by, between 0 and 1.

    Raises:
        ConfigError: patience is below 1, or the factor not between 0 and 1.
    """

    def __init__(self, patience: int, factor: float = 0.1) -> None:
        self.patience = _check_patience(patience)
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1:
            raise ConfigError(f"factor must be a number between 0 and 1, got {factor!r:.100}.")
        self.factor = float(factor)

    def on_train_start(self, trainer: Trainer) -> None:
        """Give a resumed run the learning rate that it had."""
        _check_validation(trainer, "Reducing the learning rate on a plateau")
        self._set_rate(trainer)

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Count the reductions so far."""
        self._set_rate(trainer)

    def _set_rate(self, trainer: Trainer) -> None:
        best, waited, reductions = -math.inf, 0, 0
        for record in trainer.history:
            score = -math.inf if record.val_score is None else record.val_score
            best, waited = (score, 0) if score > best else (best, waited + 1)
            if waited == self.patience:
                waited, reductions = 0, reductions + 1
        trainer.optimizer.rate_factor = self.factor**reductions


def count_stale_epochs(history: History) -> int:
    """How many epochs have passed since that of the best validation score; 0 without validation."""
    best = history.best()
    return len(history) - best.epoch if best else 0


def _check_validation(trainer: Trainer, what: str) -> None:
    if not len(trainer.x_val):
        raise ConfigError(f"{what} needs a validation set. Pass validation_data, or a val_fraction above 0.")


def _check_patience(patience: int) -> int:
    if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
        raise ConfigError(f"patience must be a whole number of epochs, 1 or more, got {patience!r:.100}.")
    return patience


EpochFunction: TypeAlias = Callable[["Trainer", EpochRecord], None]


class _EpochCallback(Callback):
    """Calls a function after each epoch."""

    def __init__(self, function: EpochFunction) -> None:
        self._function = function

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        self._function(trainer, record)


def as_callback(callback: Callback | EpochFunction) -> Callback:
    """A callback, or a function `f(trainer, record)` that is called after each epoch, as a callback.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
        raise ConfigError(
            f"A callback must be a Callback object or a function f(trainer, record), got {callback!r:.100}."
        )
    return callback if isinstance(callback, Callback) else _EpochCallback(callback)
