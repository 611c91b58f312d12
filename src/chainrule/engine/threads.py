"""How many threads the matrix products use: a policy by shape.

A small product is done before a second thread has woken up, so more threads make small batches slower; large ones gain.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

__all__ = ["blas_threads", "cores", "step_threads", "threads_for"]

# Rows of a batch from which a second thread pays, for widths around 128.
_ROWS_THAT_PAY = 256

# The blocks that are open now, and what restores the number of threads from before the first of them.
_lock = threading.Lock()
_open = 0
_restore: Any = None


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(rows: int) -> int:
    """How many threads to use for matrix products of this many rows."""
    return cores() if rows >= _ROWS_THAT_PAY else 1


def step_threads(rows: int) -> int:
    """How many threads to give to a training step of the compiled engine.

    The threads wait for each other twice a step, so a step takes as long as the slowest one. On processors that nothing
    else uses a second thread gains from 16 rows on; on busy ones only long steps are safe from losing.
    """
    return cores() if rows >= _ROWS_THAT_PAY else 1


@lru_cache(maxsize=2)
def _controller(scipy_is_loaded: bool) -> Any:
    """The loaded BLAS libraries, NumPy's and, once it is loaded, SciPy's. Finding them takes milliseconds."""
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
        limiter = _controller("scipy.linalg" in sys.modules).limit(limits=threads, user_api="blas")
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
