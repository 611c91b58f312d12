"""How many threads compute: for the numpy engine by shape, for the compiled engine by the clock."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from chainrule.core.machine import cores

__all__ = ["ThreadTuner", "blas_threads", "threads_for"]

# Rows of a batch from which a second thread pays in BLAS, for widths around 128: a smaller product is done before
# another thread has woken up.
_ROWS_THAT_PAY = 256
# Share of the time that may go into trying other numbers of threads.
_FOR_TRIALS = 0.02

# The blocks that are open now, and what restores the number of threads from before the first of them.
_lock = threading.Lock()
_open = 0
_restore: Any = None


def threads_for(rows: int) -> int:
    """How many threads BLAS should use for matrix products of this many rows."""
    return cores() if rows >= _ROWS_THAT_PAY else 1


class ThreadTuner:
    """Chooses the number of threads for the compiled engine's steps by measuring.

    Whether another thread pays depends on the shape of the network, on the batch and on what else the machine does just
    now. So each number is tried twice, the first time to warm up; after that the fastest is chosen, and now and then
    another is tried again, as long as all such trials together cost less than a fiftieth of the time.

    Args:
        threads: a number that is always chosen; 0 to choose among 1, 2, 4 and so on up to `most`.
        most: the largest number to try; 0 for all cores.

    Attributes:
        threads: how many to use now.
        trying: whether this is a trial, for which few steps will do.
    """

    def __init__(self, threads: int, most: int = 0) -> None:
        most = most or cores()
        candidates = [threads] if threads else [*(2**n for n in range(most.bit_length()) if 2**n < most), most]
        self._to_try = 2 * candidates if len(candidates) > 1 else candidates
        # Seconds a step when last tried; the one that was tried longest ago comes first.
        self._seconds: dict[int, float] = {}
        self._spent, self._lost = 0.0, 0.0
        self.threads, self.trying = self._to_try[0], len(candidates) > 1

    def record(self, seconds: float, steps: int, trial: int) -> None:
        """Record how long steps took, and choose the number of threads for the next ones.

        Args:
            seconds: what they took with `threads` threads.
            steps: how many there were.
            trial: how many there are in a trial.
        """
        self._seconds.pop(self.threads, None)
        if not self._to_try:
            self._spent += seconds
            self._lost += max(0.0, seconds - steps * min(self._seconds.values(), default=math.inf))
        self._seconds[self.threads] = seconds / steps
        self._to_try = self._to_try[1:]
        if self._to_try:
            self.threads = self._to_try[0]
            return
        best = min(self._seconds, key=self._seconds.__getitem__)
        oldest = next(iter(self._seconds))
        would_lose = (self._seconds[oldest] - self._seconds[best]) * trial
        self.trying = oldest != best and self._lost + would_lose < _FOR_TRIALS * self._spent
        self.threads = oldest if self.trying else best


@lru_cache(maxsize=1)
def _controller() -> Any:
    """The loaded BLAS libraries. Finding them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def blas_threads(threads: int) -> Iterator[None]:
    """A block in which BLAS uses this many threads.

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
