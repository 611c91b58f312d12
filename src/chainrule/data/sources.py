"""The search for a dataset's files: the user's folder, the cache, the system's copy, web mirrors, in this order.

Each file comes from the first source that has it, and is verified before it is used or cached (see
`chainrule.data.specs`), so a source can be slow or broken, but it cannot change the data.

What the user names takes precedence over all: a folder given as ``data_dir`` must hold the files, and one that
``CHAINRULE_DATA_DIR`` names must exist. A wrong file there is an error; no other source replaces it silently.

Two more environment variables: ``CHAINRULE_CACHE_DIR`` names another cache folder, and ``CHAINRULE_MIRROR`` a base
address with ``<dataset>/<file>.gz`` below it, used instead of the public mirrors.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path

from chainrule.core.errors import DataError
from chainrule.core.files import cache_folder as chainrule_cache
from chainrule.core.files import size_of, write_bytes
from chainrule.data.specs import DatasetSpec, FileSpec, verify

__all__ = ["NoSourceError", "UnreachableError", "cache_folder", "download", "find_files"]

_log = logging.getLogger("chainrule.data")
_CHUNK = 8192


class NoSourceError(DataError):
    """No source has all files of a dataset."""


class UnreachableError(DataError):
    """A server did not answer, or stopped answering: its other files are not worth a request."""


def find_files(spec: DatasetSpec, data_dir: Path | None = None) -> dict[str, bytes]:
    """The verified, unpacked bytes of a dataset's files by name, from the first sources that have them.

    Downloaded files are cached.

    Args:
        spec: the dataset.
        data_dir: a folder that holds the files, or one folder per dataset. If given, nothing else is searched.

    Raises:
        DataError: a file in the user's folder is missing or wrong.
        NoSourceError: no source has one of the files; the message lists what was tried for it.
    """
    environment = os.environ.get("CHAINRULE_DATA_DIR")
    setting = "CHAINRULE_DATA_DIR" if data_dir is None else "data_dir"
    folder = data_dir if data_dir is not None else environment and Path(environment)
    tried = [f"{setting}: not set"]
    if folder:
        if found := _read_user_folder(spec, folder, setting):
            return found
        tried = [f"{setting} {folder}: no files of {spec.name}"]
        if data_dir is not None:
            names = ", ".join(file.name for file in spec.files)
            raise DataError(f"{tried[0]}; expected {names} (.gz or not).\n{spec.how_to_get(setting)}")

    unreachable: dict[str, str] = {}
    return {file.name: _find_file(spec, file, [*tried], unreachable) for file in spec.files}


def _find_file(spec: DatasetSpec, file: FileSpec, tried: list[str], unreachable: dict[str, str]) -> bytes:
    """A file from the cache, the system's folder or a web server; an unreachable server gets no further request."""
    cache = cache_folder(spec)
    for folder in [cache, spec.system_folder] if spec.system_folder else [cache]:
        try:
            if (content := _read_file(folder, file)) is not None:
                return content
            tried.append(f"{'cache ' if folder == cache else ''}{folder}: no {file.name}")
        except DataError as error:
            tried.append(str(error))
            if folder == cache:
                _log.warning("%s It is removed from the cache.", error)
                with suppress(OSError):
                    (folder / file.name).unlink()
    mirror = os.environ.get("CHAINRULE_MIRROR")
    for base in [f"{mirror.rstrip('/')}/{spec.name}/"] if mirror else spec.mirrors:
        if base in unreachable:
            tried.append(unreachable[base])
            continue
        url = f"{base}{file.name}.gz"
        _log.info("Downloading %s", url)
        try:
            content = verify(download(url, limit=file.max_size), file, origin=url)
        except DataError as error:
            tried.append(str(error) if url in str(error) else f"{url}: {error}")
            _log.info("The download failed.")
            if isinstance(error, UnreachableError):
                unreachable[base] = tried[-1]
            continue
        try:
            cache.mkdir(parents=True, exist_ok=True)
            write_bytes(cache / file.name, content)
        except OSError as error:  # it costs only the next download
            _log.warning("%s is not cached: cannot write to %s (%s).", file.name, cache, error.strerror)
        return content
    reasons = "\n".join(f"  - {reason}" for reason in tried)
    raise NoSourceError(f"No source has {file.name} of the dataset {spec.name}. Tried:\n{reasons}\n{spec.how_to_get()}")


def cache_folder(spec: DatasetSpec) -> Path:
    """The folder of a dataset's downloaded files, unpacked."""
    return chainrule_cache("datasets") / spec.name


def _read_user_folder(spec: DatasetSpec, folder: Path, setting: str) -> dict[str, bytes]:
    """All files of the dataset in a folder that the user named, or none."""
    with suppress(RuntimeError):  # there is no such user: then it is no folder either
        folder = folder.expanduser()
    try:
        if not folder.is_dir():
            raise DataError(f"{setting} {folder} is not a folder. Name one that exists.")
        for path in (*(folder / name for name in spec.folders), folder):
            found = {file.name: content for file in spec.files if (content := _read_file(path, file)) is not None}
            if found and (missing := ", ".join(file.name for file in spec.files if file.name not in found)):
                raise DataError(f"{setting}: {path} lacks files of {spec.name}: {missing} (.gz or not).")
            if found:
                return found
    except OSError as error:
        raise DataError(f"{setting} {folder} cannot be read: {error.strerror}.") from error
    except DataError as error:
        raise DataError(f"{error}\n{spec.how_to_get(setting)}") from error
    return {}


def _read_file(folder: Path, file: FileSpec) -> bytes | None:
    """The verified, unpacked bytes of a file under any of its spellings, or None where the folder has no such file."""
    for name in file.spellings:
        path = folder / name
        try:
            size_of(path)  # raises OSError for a pipe, which would block, or a device, which may never end
            with path.open("rb") as stream:
                content = stream.read(file.max_size)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        return verify(content, file, origin=str(path))
    return None


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
