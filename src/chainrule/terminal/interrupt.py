"""Ctrl-C as a request: work ends at the next place where nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stopping_on_interrupt"]


@contextmanager
def stopping_on_interrupt(notify: Callable[[str], object]) -> Iterator[threading.Event]:
    """A block in which Ctrl-C, or SIGTERM, asks for a clean stop between two batches; the second one stops at once.

    Args:
        notify: told, in words for the user, that the request has arrived.

    Returns:
        An event that is set by the first request. Whoever works in the block looks at it now and then.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only; elsewhere, nothing is to be handled.
        yield stop
        return

    def ask(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        notify("Stopping after the current batches; press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
