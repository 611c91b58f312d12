"""Atomic file replacement, defensive reads, file locks, the cache folder."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chainrule.core.errors import ChainruleError, ConfigError, OutputError

__all__ = [
    "cache_folder",
    "converting_write_errors",
    "exists",
    "hold_lock",
    "is_locked",
    "make_write_error",
    "read_json",
    "read_text",
    "replacing",
    "size_of",
    "write_bytes",
    "write_json",
    "write_text",
]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file atomically: yield a temporary path beside `path` and rename it to `path` if the block succeeds.

    The contents are flushed to disk before the rename, so a crash or a power failure leaves the old or the new file. If
    the block raises, or the disk is full, the temporary file is removed and `path` is unchanged.

    Args:
        path: the file to replace or create, in an existing folder.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp creates files that only their owner can read; results follow the umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _flush_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _flush_folder(folder: Path) -> None:
    """Flush a rename to disk. Not all file systems support it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically by `content`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace a file atomically by `content`, encoded as UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Replace a file atomically by `content` as indented JSON. Numbers must be finite: JSON has no NaN."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free disk space"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR), "Check the path"),
}


def make_write_error(path: Path, error: OSError, then: str = "") -> OutputError:
    """The error for a file or folder that cannot be written: why, and what to do; `then` continues the sentence."""
    remedy = _REMEDIES.get(error.errno or 0, "Make it writable") + (then and f", {then}")
    return OutputError(f"Cannot write to {path}: {error.strerror or error}. {remedy}.")


@contextmanager
def converting_write_errors(path: Path, then: str = "") -> Iterator[None]:
    """Convert an OSError of a block that writes to `path` by `make_write_error`."""
    try:
        yield
    except OSError as error:
        raise make_write_error(path, error, then) from error


def exists(path: Path) -> bool:
    """Whether the file or folder exists; False also if that cannot be determined, as for a name that is too long."""
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def size_of(path: Path) -> int:
    """The size of a regular file in bytes. Check it before opening a file: a pipe would block, a device may never end.

    Raises:
        OSError: it does not exist or is no regular file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return status.st_size


def read_text(path: Path, largest: int) -> str:
    """Read a regular file of at most `largest` bytes as UTF-8.

    Raises:
        OSError: it cannot be read, or has more than `largest` bytes.
        UnicodeDecodeError: it is not valid UTF-8.
    """
    size = size_of(path)
    if size > largest:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, the limit is {largest:,}", str(path))
    return path.read_text(encoding="utf-8")


_LARGEST = 16 * 1024 * 1024  # bytes of a JSON file that is read


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file; an empty one if the file is missing, too large or damaged."""
    try:
        content = json.loads(read_text(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def hold_lock(path: Path, *, busy: str, unwritable: Callable[[OSError], ChainruleError]) -> Iterator[None]:
    """Hold the lock file `path` during a block. Its folder is created if missing, but not the folder's parents.

    The operating system releases the lock when the process dies.

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


def cache_folder(purpose: str) -> Path:
    """`<cache>/<purpose>`, where <cache> is CHAINRULE_CACHE_DIR or the user's cache folder. It may not exist.

    Raises:
        ConfigError: CHAINRULE_CACHE_DIR starts with `~` and an unknown user name.
    """
    if environment := os.environ.get("CHAINRULE_CACHE_DIR"):
        try:
            return Path(environment).expanduser() / purpose
        except RuntimeError as error:
            raise ConfigError(
                f"CHAINRULE_CACHE_DIR {environment} is in no known home folder: there is no such user. "
                "Set it to a path without `~`."
            ) from error
    import platformdirs

    return Path(platformdirs.user_cache_dir("chainrule")) / purpose
