"""Several trainings at the same time, in threads of Python, with the processor cores divided among them.

The compiled engine runs its steps without Python's lock, and its results do not depend on the number of threads. So
trainings that run side by side give the bits that each gives alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from chainrule.core.machine import cores
from chainrule.engine import ConcurrentEngine, Engine
from chainrule.training.callbacks import Callback
from chainrule.training.history import EpochRecord
from chainrule.training.trainer import Trainer

__all__ = ["CoreShares", "run_concurrently"]

Result = TypeVar("Result")


class CoreShares(Callback):
    """Divides the processor cores among trainings: one core for each, and more for the last ones.

    Used as a callback of every training. If one of them fails, the others stop after their epoch.

    Args:
        count: number of trainings.
        threads: processor cores to use; 0 for all.
        engine: of the trainings; one that cannot run without Python's lock trains them one after the other.

    Attributes:
        workers: how many trainings run at the same time.
    """

    def __init__(self, count: int, threads: int, engine: Engine) -> None:
        self._cores = threads or cores()
        self.workers = min(count, self._cores) if isinstance(engine, ConcurrentEngine) else 1
        self._left, self._lock, self.failed = count, threading.Lock(), False

    def on_train_start(self, trainer: Trainer) -> None:
        """Give a training its share."""
        self._assign(trainer)

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Give it more when others have ended."""
        self._assign(trainer)
        trainer.stop = trainer.stop or self.failed

    def _assign(self, trainer: Trainer) -> None:
        if self.workers > 1 and isinstance(trainer.engine, ConcurrentEngine):
            trainer.engine.limit_threads(max(1, self._cores // max(1, min(self.workers, self._left))))

    def leave(self) -> None:
        """Called when one of the trainings has ended."""
        with self._lock:
            self._left -= 1


def run_concurrently(tasks: Sequence[Callable[[], Result]], shares: CoreShares) -> list[Result]:
    """Call functions that train, as many at a time as `shares` allows; returns their results in order.

    Raises the first error, after all that had started have ended; the rest is not started.
    """

    def run(task: Callable[[], Result]) -> Result | None:
        if shares.failed:
            return None
        try:
            return task()
        except BaseException:
            shares.failed = True
            raise
        finally:
            shares.leave()

    with ThreadPoolExecutor(shares.workers) as pool:
        futures: list[Future[Any]] = [pool.submit(run, task) for task in tasks]
        try:
            for future in futures:
                future.exception()
        except BaseException:  # Ctrl-C
            shares.failed = True
            raise
    for future in futures:
        future.result()
    return [future.result() for future in futures]
