"""Callbacks: code of one's own that runs while a network trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from chainrule.core.errors import ConfigError
from chainrule.training.history import EpochRecord

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

__all__ = ["Callback", "EpochFunction", "as_callback"]


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
