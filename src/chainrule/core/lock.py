"""File locks: one process at a time works in a folder. The OS releases a lock when its process dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chainrule.core.errors import ChainruleError, OutputError
from chainrule.core.files import exists

__all__ = ["hold_lock", "is_locked"]


@contextmanager
def hold_lock(path: Path, *, busy: str, unwritable: Callable[[OSError], ChainruleError]) -> Iterator[None]:
    """Hold the lock file `path` during a block. Its folder is created if missing, but not the folder's parents.

    Args:
        path: the lock file.
        busy: the message if another process holds the lock.
        unwritable: makes the error to raise if the lock file cannot be created.

    Raises:
        OutputError: another process holds the lock.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        path.parent.mkdir(exist_ok=True)
        # `is_locked` of another process holds the lock for a moment.
        lock.acquire(timeout=1, poll_interval=0.05)
    except Timeout:
        raise OutputError(busy) from None
    except OSError as error:
        raise unwritable(error) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path`."""
    from filelock import FileLock, Timeout

    if not exists(path):
        return False
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False
