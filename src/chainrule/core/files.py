"""Writing a file so that it is the old one or the new one, whole, never half of either; reading what may be no file."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "exists",
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
    """Give a temporary name beside `path`; when the block ends well, move what was written there into place.

    The bytes are flushed to disk before the move, so a crash or a power cut leaves the old file or the new one. When
    the block raises, or the disk is full, the temporary file is removed and `path` stays as it was.

    Args:
        path: the file to write. Its folder must exist.

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
        # mkstemp makes files that only their owner can read; a result should follow the user's umask.
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
    """Ask the disk to remember a move; some file systems cannot, which costs only the guarantee."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by `content`, as UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by `content` as indented JSON. A number that is not finite is an error: JSON has no NaN."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False too where that cannot be told, as for a name that is too long."""
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def size_of(path: Path) -> int:
    """The bytes in a regular file. Ask before it is opened: a pipe makes its reader wait, and a device may never end.

    Raises:
        OSError: it is not there, or no regular file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return status.st_size


def read_text(path: Path, largest: int) -> str:
    """The text of a regular file of UTF-8.

    Raises:
        OSError: it cannot be read, or has more than `largest` bytes.
        UnicodeDecodeError: it is no text.
    """
    size = size_of(path)
    if size > largest:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {largest:,} are taken", str(path))
    return path.read_text(encoding="utf-8")


_LARGEST = 16 * 1024 * 1024  # bytes of a JSON file that is read


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where the file is missing, too large or damaged."""
    try:
        content = json.loads(read_text(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
