"""A dataset: training, validation and test samples, ready for a network.

A loader, registered in `DATASETS`, returns what a source holds, as it is (`Samples`). `load_dataset` does what is the
same for all of them: check it, hold out a validation set, and scale the values.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ChainruleError, ConfigError, DataError
from chainrule.core.registry import Registry
from chainrule.core.seeding import generator

__all__ = ["DATASETS", "Dataset", "Samples", "load_dataset", "read_samples", "stratified_split"]

_ROWS_AT_ONCE = 4096


# Arrays have no single truth value, so the == that dataclasses write would raise: both classes compare by identity.
@dataclass(frozen=True, eq=False)
class Samples:
    """What a dataset's loader returns: n training and m test samples with d values each, of k classes.

    Attributes:
        x_train: (n, d), whole or floating-point numbers.
        y_train: (n,), the class of each sample: whole numbers from 0 to k - 1.
        x_test: (m, d).
        y_test: (m,).
        classes: the names of the k classes, at least two and each another; a list or an array of texts will do too.
        image_shape: (height, width) with height * width = d where a sample is an image, or None.
        scale: the value that stands for 1.0; 255 for images of bytes.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None = None
    scale: float = 1.0


Loader = Callable[[Path | None], Samples]

DATASETS: Registry[Loader] = Registry("dataset")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset of k classes, split and scaled.

    Attributes:
        name: what it is registered as.
        x_train: (n, d) float32 or float64, the source's values divided by its scale: from 0 to 1 in those built in.
        y_train: (n,) int64, from 0 to k - 1.
        x_val: (v, d). Held out of the source's training samples, with the same share of every class.
        y_val: (v,) int64.
        x_test: (m, d). The source's own test samples.
        y_test: (m,) int64.
        classes: the names of the k classes.
        image_shape: (height, width) where a sample is an image, or None.
        train_indices: (n,) int64, the positions of x_train in the source's training samples, in order.
        val_indices: (v,) int64, those of x_val.
    """

    name: str
    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_val: NDArray[Any]
    y_val: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None
    train_indices: NDArray[np.int64]
    val_indices: NDArray[np.int64]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the samples and labels that are trained on and looked at. It takes a fifth of a second."""
        total = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_val, self.y_val):
            total.update(f"{array.dtype.str}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
        return total.hexdigest()


def load_dataset(
    name: str,
    *,
    seed: int = 0,
    val_fraction: float = 0.1,
    dtype: str = "float32",
    data_dir: str | Path | None = None,
    samples: Samples | None = None,
) -> Dataset:
    """Load a registered dataset, downloading it where needed.

    Args:
        name: ``fashion_mnist``, ``mnist``, ``digits`` or what else `DATASETS` holds.
        seed: picks the validation samples; the same seed, the same samples.
        val_fraction: the share of the training samples to hold out, at least 0 and less than 1. With 0, x_val and y_val
            are empty.
        dtype: ``float32`` or ``float64``.
        data_dir: a folder that holds the dataset's files. None: search for them (see `chainrule.data.sources`).
        samples: what `read_samples` returned for this dataset, so that the next split need not read the files again.

    Raises:
        UnknownNameError: no dataset is registered under the name.
        ConfigError: another argument is out of range.
        DataError: the data cannot be found, or is not as it should be.

    >>> data = load_dataset("digits", seed=0)
    >>> data.x_train.shape, data.x_val.shape, data.x_test.shape
    ((1294, 64), (144, 64), (359, 64))
    >>> data.x_train.dtype, float(data.x_train.min()), float(data.x_train.max())
    (dtype('float32'), 0.0, 1.0)
    """
    name = DATASETS.canonical(name)
    rng = generator(seed, "validation split")
    if dtype not in ("float32", "float64"):
        raise ConfigError(f"dtype must be one of float32, float64. Got {dtype!r} instead.")
    number = isinstance(val_fraction, int | float | np.number) and not isinstance(val_fraction, bool)
    if not number or not 0 <= val_fraction < 1:
        raise ConfigError(f"val_fraction must be a number of at least 0 and less than 1, got {val_fraction!r}.")
    source = samples or read_samples(name, data_dir)

    y_train = source.y_train.astype(np.int64)
    train, val = stratified_split(y_train, val_fraction, rng)
    return Dataset(
        name=name,
        x_train=_scaled(name, source.x_train, train, source.scale, dtype),
        y_train=y_train[train],
        x_val=_scaled(name, source.x_train, val, source.scale, dtype),
        y_val=y_train[val],
        x_test=_scaled(name, source.x_test, np.arange(len(source.y_test)), source.scale, dtype),
        y_test=source.y_test.astype(np.int64),
        classes=source.classes,
        image_shape=source.image_shape,
        train_indices=train,
        val_indices=val,
    )


def read_samples(name: str, data_dir: str | Path | None = None) -> Samples:
    """What a registered dataset's source holds, checked, and neither split nor scaled. Raises like `load_dataset`."""
    name = DATASETS.canonical(name)
    return _checked(name, _loaded(name, None if data_dir is None else Path(data_dir)))


def stratified_split(
    labels: NDArray[Any], fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out the same share of every class. (Ten lines here, because importing scikit-learn takes a second.)

    The number held out is ``round(fraction * n)``. Each class gives its share rounded down, and those that lose most
    by it give one more until the number is right. Every class keeps at least one sample.

    Args:
        labels: (n,) whole numbers from 0.
        fraction: the share to hold out, at least 0 and less than 1.
        rng: chooses the samples.

    Returns:
        The positions kept, (n - v,), and the positions held out, (v,), each in order.

    Raises:
        ConfigError: the fraction is so small, or the classes are, that no sample at all can be held out.

    >>> kept, held_out = stratified_split(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, np.random.default_rng(0))
    >>> len(kept), len(held_out)
    (6, 2)
    """
    n = len(labels)
    counts = np.bincount(labels)
    spare = np.maximum(counts - 1, 0)
    total = min(round(fraction * n), int(spare.sum()))
    if fraction > 0 and total == 0:
        raise ConfigError(
            f"A share of {fraction} of {n} samples in {np.count_nonzero(counts)} classes leaves none to hold out, "
            f"since every class keeps one: take a larger share, or 0 to hold out none on purpose."
        )
    shares = fraction * counts
    give = np.minimum(np.floor(shares).astype(np.int64), spare)
    while give.sum() < total:
        give[np.argmax(np.where(give < spare, shares - give, -np.inf))] += 1
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(counts))]
    held_out = np.zeros(n, dtype=bool)
    for positions, number in zip(members, give, strict=True):
        held_out[positions[:number]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _scaled(name: str, x: NDArray[Any], rows: NDArray[np.int64], scale: float, dtype: str) -> NDArray[Any]:
    """Rows of `x`, (len(rows), d), as `dtype` and divided by `scale` in that precision.

    A part at a time: the real datasets have 47 MB of bytes, and 190 MB as float32, so whole copies on the way would
    count.

    Raises:
        DataError: a value is not finite.
    """
    scaled = np.empty((len(rows), x.shape[1]), dtype=dtype)
    # A value too large for float32, or a scale too small for it, is reported below, in words.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = scaled[start : start + _ROWS_AT_ONCE]
            part[...] = x[rows[start : start + _ROWS_AT_ONCE]]
            part /= scale
            if not np.isfinite(part).all():
                raise DataError(f"Dataset {name!r}: its samples have values that are not finite as {dtype}.")
    return scaled


def _loaded(name: str, data_dir: Path | None) -> Samples:
    """What the loader of a dataset returns.

    Raises:
        DataError: it fails, in whatever way, or returns something else than samples.
    """
    try:
        source = DATASETS[name](data_dir)
    except (ChainruleError, MemoryError):
        raise
    # A loader is code of the user's: it may even call sys.exit(), which would end the program without a word.
    except (Exception, SystemExit) as error:
        raise DataError(f"The loader of dataset {name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(source, Samples):
        raise DataError(f"The loader of dataset {name!r} must return Samples, got {type(source).__name__}.")
    return source


def _checked(name: str, source: Samples) -> Samples:
    """The samples with everything beside the arrays in its proper type.

    Raises:
        DataError: something is not as `Samples` says.
    """
    classes = _class_names(name, source.classes)
    _check_arrays(name, source, len(classes))
    image_shape = _image_shape(name, source.image_shape, source.x_train.shape[1])
    return replace(source, classes=classes, image_shape=image_shape, scale=_scale(name, source.scale))


def _class_names(name: str, given: Any) -> tuple[str, ...]:
    """The names of the classes, out of any sequence of texts."""
    if not isinstance(given, tuple | list | np.ndarray) or (isinstance(given, np.ndarray) and given.ndim != 1):
        raise DataError(f"Dataset {name!r}: its classes must be a tuple of names, got {_short(given)}.")
    for label in given:
        # What cannot be printed would reach terminals, files and figures.
        if not isinstance(label, str) or not label or not label.isprintable():
            raise DataError(
                f"Dataset {name!r}: each of its classes must be a name, which is a printable text, got "
                f"{_short(label)}. tuple(map(str, classes)) makes names of numbers."
            )
    classes = tuple(map(str, given))  # an array of texts holds NumPy's own
    if len(classes) < 2:
        raise DataError(f"Dataset {name!r}: expected the names of at least two classes, got {classes}.")
    twice = [label for label, count in Counter(classes).items() if count > 1]
    if twice:
        raise DataError(f"Dataset {name!r}: each of its classes must have a name of its own, got {twice[0]!r} twice.")
    return classes


def _image_shape(name: str, given: Any, values: int) -> tuple[int, int] | None:
    """The height and width of images of so many values, out of any pair of whole numbers."""
    if given is None:
        return None
    try:
        height, width = (operator.index(side) for side in given)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1 or height * width != values:
        raise DataError(
            f"Dataset {name!r}: its image shape {_short(given)} does not fit samples of {values} values; expected "
            f"(height, width) with height * width = {values}, or None."
        )
    return height, width


def _scale(name: str, given: Any) -> float:
    """The scale as Python's own float, which leaves the precision of the arrays alone."""
    try:
        scale = float(given) if isinstance(given, int | float | np.integer | np.floating) else 0.0
    except OverflowError:
        scale = math.inf
    if not 0 < scale < math.inf:
        raise DataError(f"Dataset {name!r}: its scale must be a number above 0, got {_short(given)}.")
    return scale


def _short(value: object) -> str:
    """A value as code, or the start of it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _check_arrays(name: str, source: Samples, k: int) -> None:
    """Raise DataError unless the arrays of a loader fit together and have labels of k classes."""
    for part, x, y in (("train", source.x_train, source.y_train), ("test", source.x_test, source.y_test)):
        if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
            raise DataError(
                f"Dataset {name!r}: expected x_{part} and y_{part} to be NumPy arrays, got {type(x).__name__} and "
                f"{type(y).__name__}."
            )
        if x.ndim != 2 or x.dtype.kind not in "biuf" or y.ndim != 1 or y.dtype.kind not in "iu":
            raise DataError(
                f"Dataset {name!r}: expected x_{part} of shape (n, d) with numbers and y_{part} of shape (n,) with "
                f"whole numbers, got {x.dtype} {x.shape} and {y.dtype} {y.shape}."
            )
        if len(x) != len(y) or len(y) == 0:
            raise DataError(
                f"Dataset {name!r}: expected as many samples as labels, and at least one, got {len(x)} in x_{part} and "
                f"{len(y)} in y_{part}."
            )
        if x.shape[1] == 0:
            raise DataError(f"Dataset {name!r}: expected at least one value in a sample, got x_{part} of {x.shape}.")
        if x.shape[1] != source.x_train.shape[1]:
            raise DataError(
                f"Dataset {name!r}: expected as many values in a test sample as in a training sample, got "
                f"{x.shape[1]} and {source.x_train.shape[1]}."
            )
        if y.min() < 0 or y.max() >= k:
            raise DataError(
                f"Dataset {name!r}: expected the labels in y_{part} from 0 to {k - 1} ({k} classes), got "
                f"{y.min()} to {y.max()}."
            )
