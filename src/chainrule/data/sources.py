"""The search for a dataset's files: the user's folder, the cache, the system's copy, web mirrors, in this order.

Each source is searched only for the files that those before it lack. Every file is verified before it is used or cached
(see `chainrule.data.specs`), so a source can be slow or broken, but it cannot change the data.

What the user names takes precedence over all: a folder given as ``data_dir`` must hold the files, and one that
``CHAINRULE_DATA_DIR`` names must exist. A wrong file there is an error; no other source replaces it silently.

Two more environment variables: ``CHAINRULE_CACHE_DIR`` names another cache folder, and ``CHAINRULE_MIRROR`` a base
address with ``<dataset>/<file>.gz`` below it, used instead of the public mirrors.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from chainrule.core.errors import DataError
from chainrule.core.files import cache_folder as chainrule_cache
from chainrule.core.files import size_of, write_bytes
from chainrule.data.mirrors import UnreachableError, download
from chainrule.data.specs import DatasetSpec, FileSpec, verify

__all__ = ["NoSourceError", "cache_folder", "find_files"]

_log = logging.getLogger("chainrule.data")


class NoSourceError(DataError):
    """No source has all files of a dataset."""


def find_files(spec: DatasetSpec, data_dir: Path | None = None) -> dict[str, bytes]:
    """The verified, unpacked bytes of a dataset's files by name, from the first sources that have them.

    Downloaded files are cached.

    Args:
        spec: the dataset.
        data_dir: a folder that holds the files, or one folder per dataset. If given, nothing else is searched.

    Raises:
        DataError: a file in the user's folder is missing or wrong.
        NoSourceError: no source has a file; the message lists what was tried.
    """
    if data_dir is not None:
        found = _read_user_folder(spec, data_dir, "data_dir")
        if not found:
            names = ", ".join(file.name for file in spec.files)
            raise DataError(
                f"data_dir {data_dir} has no files of {spec.name}: expected {names} (.gz or not).\n"
                f"{spec.how_to_get('data_dir')}"
            )
        return found
    tried = []
    if environment := os.environ.get("CHAINRULE_DATA_DIR"):
        if found := _read_user_folder(spec, Path(environment), "CHAINRULE_DATA_DIR"):
            return found
        tried.append(f"CHAINRULE_DATA_DIR {environment}: no files of {spec.name}")
    else:
        tried.append("CHAINRULE_DATA_DIR: not set")

    found = {}
    _read_folder(spec, cache_folder(spec), found, tried, is_cache=True)
    if spec.system_folder is not None:
        _read_folder(spec, spec.system_folder, found, tried)
    _download_files(spec, found, tried)
    if missing := ", ".join(file.name for file in _missing_files(spec, found)):
        reasons = "\n".join(f"  - {reason}" for reason in tried)
        raise NoSourceError(
            f"No source has {missing} of the dataset {spec.name}. Tried:\n{reasons}\n{spec.how_to_get()}"
        )
    return found


def cache_folder(spec: DatasetSpec) -> Path:
    """The folder of a dataset's downloaded files, unpacked."""
    return chainrule_cache("datasets") / spec.name


def _missing_files(spec: DatasetSpec, found: dict[str, bytes]) -> list[FileSpec]:
    return [file for file in spec.files if file.name not in found]


def _read_user_folder(spec: DatasetSpec, folder: Path, setting: str) -> dict[str, bytes]:
    """All files of the dataset in a folder that the user named, or none."""
    with suppress(RuntimeError):  # there is no such user: then it is no folder either
        folder = folder.expanduser()
    try:
        if not folder.is_dir():
            raise DataError(f"{setting} {folder} is not a folder. Name one that exists.")
        for path in (*(folder / name for name in spec.folders), folder):
            contents = {file.name: _read_file(path, file) for file in spec.files}
            found = {name: content for name, content in contents.items() if content is not None}
            if found and len(found) < len(contents):
                missing = ", ".join(file.name for file in _missing_files(spec, found))
                raise DataError(f"{setting}: {path} lacks files of {spec.name}: {missing} (.gz or not).")
            if found:
                return found
    except OSError as error:
        raise DataError(f"{setting} {folder} cannot be read: {error.strerror}.") from error
    except DataError as error:
        raise DataError(f"{error}\n{spec.how_to_get(setting)}") from error
    return {}


def _read_folder(
    spec: DatasetSpec, folder: Path, found: dict[str, bytes], tried: list[str], *, is_cache: bool = False
) -> None:
    """Add the files in a folder to those found. A damaged file in the cache is removed, to be downloaded again."""
    absent = []
    for file in _missing_files(spec, found):
        try:
            content = _read_file(folder, file)
        except DataError as error:
            tried.append(str(error))
            if is_cache:
                _log.warning("%s It is removed from the cache.", error)
                with suppress(OSError):
                    (folder / file.name).unlink()
        else:
            if content is None:
                absent.append(file.name)
            else:
                found[file.name] = content
    if absent:
        names = "none of the files" if len(absent) == len(spec.files) else f"no {', '.join(absent)}"
        tried.append(f"{'cache ' if is_cache else ''}{folder}: {names}")


def _download_files(spec: DatasetSpec, found: dict[str, bytes], tried: list[str]) -> None:
    """Add files from web servers to those found, and cache them. An unreachable server gets no further request."""
    mirror = os.environ.get("CHAINRULE_MIRROR")
    bases = [f"{mirror.rstrip('/')}/{spec.name}/"] if mirror else list(spec.mirrors)
    for file in _missing_files(spec, found):
        for base in list(bases):
            url = f"{base}{file.name}.gz"
            _log.info("Downloading %s", url)
            try:
                content = verify(download(url, limit=file.max_size), file, origin=url)
            except DataError as error:
                tried.append(str(error) if url in str(error) else f"{url}: {error}")
                _log.info("The download failed.")
                if isinstance(error, UnreachableError):
                    bases.remove(base)
            else:
                found[file.name] = content
                _write_to_cache(cache_folder(spec) / file.name, content)
                break
        else:
            return  # all files are required: without this one, the others are of no use


def _write_to_cache(path: Path, content: bytes) -> None:
    """Cache a verified file. A failure costs only the next download."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        _log.warning("%s is not cached: cannot write to %s (%s).", path.name, path.parent, error.strerror)


def _read_file(folder: Path, file: FileSpec) -> bytes | None:
    """The verified, unpacked bytes of a file under any of its spellings, or None where the folder has no such file.

    Raises:
        DataError: it exists, but cannot be read or is not the right one.
    """
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
