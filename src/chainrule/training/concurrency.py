"""Several trainings at the same time, in threads of Python, with the processor cores divided among them.

The compiled engine runs its steps without Python's lock, and its results do not depend on the number of threads. So
trainings that run side by side give the bits that each gives alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from chainrule.core.machine import cores
from chainrule.engine import ConcurrentEngine, Engine
from chainrule.training.callbacks import Callback
from chainrule.training.history import EpochRecord
from chainrule.training.trainer import Trainer

__all__ = ["CoreShares", "Send", "run_concurrently"]

Result = TypeVar("Result")

Send: TypeAlias = Callable[[Any], None]
"""Passes something from a training to the thread that started it."""

_ENDED = object()


class CoreShares(Callback):
    """Divides the processor cores among trainings: one core for each, and more for the last ones.

    It is a callback of every training. If one of them fails, `fit` of the others ends after the epoch.

    Args:
        count: number of trainings.
        threads: processor cores to use; 0 for all.

    Attributes:
        workers: how many trainings run at the same time.
        has_failed: whether one of them has failed.
    """

    def __init__(self, count: int, threads: int) -> None:
        self._left, self._cores, self._lock = count, threads or cores(), threading.Lock()
        self.workers, self.has_failed = 1, False

    def choose_workers(self, engine: Engine) -> None:
        """Let several run at the same time, if engines like this one can run without Python's lock."""
        self.workers = min(self._left, self._cores) if isinstance(engine, ConcurrentEngine) else 1

    def on_train_start(self, trainer: Trainer) -> None:
        """Give a training its share."""
        self._assign(trainer)

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Give it more once others have ended."""
        self._assign(trainer)
        trainer.stop = trainer.stop or self.has_failed

    def _assign(self, trainer: Trainer) -> None:
        if self.workers > 1 and isinstance(trainer.engine, ConcurrentEngine):
            trainer.engine.limit_threads(self._cores // max(1, min(self.workers, self._left)))

    def leave(self) -> None:
        """Called when one of the trainings has ended."""
        with self._lock:
            self._left -= 1


def run_concurrently(
    trainings: Sequence[Callable[[Send], Result]],
    shares: CoreShares,
    handle: Callable[[Any], None] = lambda event: None,
) -> list[Result]:
    """Call functions that train, as many at a time as `shares` allows; returns their results in order.

    Args:
        trainings: called in threads of their own, with a function that sends events.
        shares: made for as many trainings.
        handle: called in this thread with each event that a training sends.

    Raises the first error, after all trainings that had started have ended; the others are not started.
    """
    events: SimpleQueue[Any] = SimpleQueue()
    errors: list[BaseException] = []

    def run(training: Callable[[Send], Result]) -> Result | None:
        try:
            return None if shares.has_failed else training(events.put)
        except BaseException as error:
            shares.has_failed = True
            errors.append(error)
            return None
        finally:
            shares.leave()
            events.put(_ENDED)

    with ThreadPoolExecutor(shares.workers) as pool:
        futures: list[Future[Any]] = [pool.submit(run, training) for training in trainings]
        running = len(futures)
        try:
            while running:
                event = events.get()
                if event is _ENDED:
                    running -= 1
                else:
                    handle(event)
        except BaseException:  # Ctrl-C, or an error of `handle`
            shares.has_failed = True
            raise
    if errors:
        raise errors[0]
    return [future.result() for future in futures]
