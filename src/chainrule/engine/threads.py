"""How many threads the matrix products use: a policy by shape.

A small product is done before a second thread has woken up, so more threads make small batches slower; large ones gain.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

__all__ = ["blas_threads", "threads_for"]

# Rows of a batch from which a second thread pays, for widths around 128.
_ROWS_THAT_PAY = 256


def threads_for(rows: int) -> int:
    """How many threads to use for matrix products of this many rows."""
    return len(os.sched_getaffinity(0)) if rows >= _ROWS_THAT_PAY else 1


@lru_cache(maxsize=1)
def _controller() -> Any:
    """The loaded BLAS libraries. Finding them takes milliseconds, so it is done once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def blas_threads(rows: int) -> AbstractContextManager[object]:
    """A `with` block in which BLAS uses the threads that suit products of this many rows."""
    limit: AbstractContextManager[object] = _controller().limit(limits=threads_for(rows), user_api="blas")
    return limit
