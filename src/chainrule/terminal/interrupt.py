"""Ctrl-C as a request to stop at the next consistent state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stopping_on_interrupt"]


@contextmanager
def stopping_on_interrupt(notify: Callable[[str], object]) -> Iterator[threading.Event]:
    """During a block, let the first Ctrl-C or SIGTERM set an event; the second one raises KeyboardInterrupt.

    Args:
        notify: receives a message for the user when the event is set.

    Yields:
        The event, which the block must check now and then.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only.
        yield stop
        return

    def request_stop(_signal: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        notify("Stopping after the current batches; press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
