"""Downloading one file from a web server that may be down, silent or slow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from chainrule.core.errors import DataError

if TYPE_CHECKING:
    import requests

__all__ = ["UnreachableError", "download"]

_CHUNK = 8192


class UnreachableError(DataError):
    """A server did not answer, or stopped answering: there is no point in asking it for another file."""


class _Buffer:
    """A file-like object in memory that takes at most `limit` bytes, and none once nobody waits for them."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self.limit = limit
        self.abandoned = False

    def write(self, chunk: bytes) -> None:
        if self.abandoned:
            raise UnreachableError("nobody waits for this download any more")
        if len(self.content) + len(chunk) > self.limit:
            raise DataError(f"it sends more than the {self.limit:,} bytes that the file can have")
        self.content += chunk

    def flush(self) -> None:
        """Nothing to do in memory; the downloader asks for it."""


def download(url: str, *, limit: int, patience: float = 5.0) -> bytes:
    """The bytes at an address.

    Args:
        url: the file's address.
        limit: the most bytes to take.
        patience: seconds to wait for the next 8 KiB (or the end of the file).

    Raises:
        UnreachableError: nothing answers there, or nothing more arrives.
        DataError: the server answers, but not with such a file.
    """
    buffer = _Buffer(limit)
    failures: list[Exception] = []
    responses: list[requests.Response] = []

    def work() -> None:
        try:
            import pooch

            keep = {"response": lambda response, **_: responses.append(response)}
            pooch.HTTPDownloader(chunk_size=_CHUNK, timeout=patience, hooks=keep)(url, buffer, None)
        except Exception as error:  # handed to the waiting thread, which raises it
            failures.append(error)
        finally:
            for response in responses:  # pooch leaves the connection of a download that fails open
                response.close()

    # The time limits of the HTTP library hold for one connection attempt and one read. They cover neither a name server
    # that does not answer, nor a host with eight addresses that are all down, nor a server that sends a byte a second.
    # So the download gets a thread of its own, and this one watches what arrives.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        arrived = -_CHUNK
        while worker.is_alive() and len(buffer.content) - arrived >= _CHUNK:
            arrived = len(buffer.content)
            worker.join(patience)
        if worker.is_alive():
            raise UnreachableError(f"no answer, or too slow a one, within {patience:g} s")
    finally:
        buffer.abandoned = True
    if failures:
        raise _explained(failures[0]) from failures[0]
    return bytes(buffer.content)


def _explained(error: Exception) -> DataError:
    """The failure of a download in a few words; the HTTP library's own text fills several lines."""
    import requests

    if isinstance(error, DataError):
        return error
    if isinstance(error, requests.HTTPError):
        return DataError(f"it answers with HTTP status {error.response.status_code}")
    if isinstance(error, requests.Timeout):
        return UnreachableError("no answer in time")
    cause = getattr(error.args[0], "reason", error) if error.args else error
    # "HTTPConnection(host='...', port=80): Failed to resolve ...": the part after the object says it all.
    before, _, after = str(cause).partition("): ")
    return UnreachableError(after or before or type(error).__name__)
