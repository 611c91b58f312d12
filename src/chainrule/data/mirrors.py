"""Downloading one file from a web server that may be down, silent or slow."""

from __future__ import annotations

import queue
import threading
import time

from chainrule.core.errors import DataError

__all__ = ["UnreachableError", "download"]

_CHUNK = 8192


class UnreachableError(DataError):
    """A server did not answer, or stopped answering: its other files are not worth a request."""


def download(url: str, *, limit: int, patience: float = 5.0) -> bytes:
    """The bytes at an address.

    Args:
        url: the file's address.
        limit: the maximum number of bytes; a longer answer is refused.
        patience: seconds to wait for each 8 KiB (or the end of the file).

    Raises:
        UnreachableError: the server does not answer, or too slowly.
        DataError: the server answers, but not with such a file.
    """
    # A socket's timeout covers one connection attempt and one read, but neither the look-up of the host's name, nor a
    # host with eight addresses that are all down, nor a server that sends a byte a second. So a thread downloads while
    # this one watches the rate.
    chunks: queue.SimpleQueue[bytes | DataError] = queue.SimpleQueue()
    abandoned = threading.Event()
    threading.Thread(target=_fetch, args=(url, patience, chunks, abandoned), daemon=True).start()
    content = bytearray()
    expected, deadline = _CHUNK, time.monotonic() + patience
    try:
        while chunk := chunks.get(timeout=max(0, deadline - time.monotonic())):
            if isinstance(chunk, DataError):
                raise chunk
            content += chunk
            if len(content) > limit:
                raise DataError(f"it sends more than the {limit:,} bytes that the file can have")
            if len(content) >= expected:
                expected, deadline = len(content) + _CHUNK, time.monotonic() + patience
    except queue.Empty:
        raise UnreachableError(f"no answer, or too slow, within {patience:g} s") from None
    finally:
        abandoned.set()
    return bytes(content)


def _fetch(url: str, patience: float, chunks: queue.SimpleQueue[bytes | DataError], abandoned: threading.Event) -> None:
    """Put the chunks of a file into a queue, then an empty one; or the error that ended the download."""
    import urllib.error  # here, because it takes as long to import as the rest of this package
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=patience) as response:
            while not abandoned.is_set() and (chunk := response.read1(_CHUNK)):
                chunks.put(chunk)
        chunks.put(b"")
    except urllib.error.HTTPError as error:
        error.close()
        chunks.put(DataError(f"HTTP status {error.code}"))
    except Exception as error:
        reason = getattr(error, "reason", error)
        chunks.put(UnreachableError(str(reason) or type(reason).__name__))
