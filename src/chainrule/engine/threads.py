"""How many threads compute: for the numpy engine by shape, for the compiled engine by the clock."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

__all__ = ["Choice", "blas_threads", "cores", "threads_for"]

# Rows of a batch from which a second thread pays in BLAS, for widths around 128: a smaller product is done before
# another thread has woken up.
_ROWS_THAT_PAY = 256
# Share of the time that may go into trying other numbers of threads.
_FOR_TRIALS = 0.02

# The blocks that are open now, and what restores the number of threads from before the first of them.
_lock = threading.Lock()
_open = 0
_restore: Any = None


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(rows: int) -> int:
    """How many threads BLAS should use for matrix products of this many rows."""
    return cores() if rows >= _ROWS_THAT_PAY else 1


class Choice:
    """Chooses how many threads take the steps of the compiled engine, by the clock.

    Whether another thread pays depends on the shape of the network, on the batch and on what else the machine does just
    now. So each number is tried once; after that the fastest is chosen, and now and then another is tried again, as
    long as all such trials together cost less than a fiftieth of the time.

    Args:
        threads: a number that is always chosen; 0 to choose among 1, 2, 4 and so on up to all cores.

    Attributes:
        threads: how many to use now.
    """

    def __init__(self, threads: int) -> None:
        most = cores()
        self._untried = [threads] if threads else [*(2**n for n in range(most.bit_length()) if 2**n < most), most]
        # Seconds a step when last tried; the one that was tried longest ago comes first.
        self._seconds: dict[int, float] = {}
        self._spent, self._lost = 0.0, 0.0
        self.threads = self._untried[0]

    def learn(self, seconds: float, steps: int) -> None:
        """Take in what some steps with `threads` threads took, and choose for the next ones."""
        self._untried = [threads for threads in self._untried if threads != self.threads]
        self._seconds.pop(self.threads, None)
        self._spent += seconds
        self._lost += max(0.0, seconds - steps * min(self._seconds.values(), default=math.inf))
        self._seconds[self.threads] = seconds / steps
        if self._untried:
            self.threads = self._untried[0]
        elif self._lost < _FOR_TRIALS * self._spent:
            self.threads = next(iter(self._seconds))
        else:
            self.threads = min(self._seconds, key=self._seconds.__getitem__)


@lru_cache(maxsize=1)
def _controller() -> Any:
    """The loaded BLAS libraries. Finding them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def blas_threads(threads: int) -> Iterator[None]:
    """A block in which BLAS uses so many threads.

    The number belongs to the process. Where blocks of several threads of Python overlap, the last to end restores what
    was before the first.
    """
    global _open, _restore
    with _lock:
        limiter = _controller().limit(limits=threads, user_api="blas")
        if _open == 0:
            _restore = limiter
        _open += 1
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            if _open == 0:
                _restore.restore_original_limits()
