"""A dataset: training, validation and test samples, ready for a network.

Own arrays become one by `Dataset.from_arrays`. A registered dataset has a loader, which returns what a source holds,
neither split nor scaled (`RawDataset`); `load_dataset` validates it, holds out a validation set and scales the values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ChainruleError, ConfigError, DataError
from chainrule.core.registry import Registry
from chainrule.core.seeding import generator
from chainrule.core.validation import (
    check_class_names,
    check_class_targets,
    check_dtype,
    check_features,
    check_fraction,
    check_image_shape,
    check_labels,
    check_same_length,
    check_scale,
    check_targets,
    check_weights,
)
from chainrule.data.splits import stratified_split

__all__ = ["DATASETS", "Dataset", "RawDataset", "load_dataset", "load_raw_dataset"]

_BLOCK_ROWS = 4096


# Arrays have no single truth value, so the == that dataclasses write would raise: both classes compare by identity.
@dataclass(frozen=True, eq=False)
class RawDataset:
    """What a dataset's loader returns: n training and m test samples with d features each, of k classes.

    Attributes:
        x_train: (n, d) integers or floating-point numbers.
        y_train: (n,) class numbers from 0 to k - 1.
        x_test: (m, d).
        y_test: (m,).
        classes: the names of the k classes, at least two and all different: a tuple, list or array of strings.
        image_shape: (height, width) with height * width = d where a sample is an image, or None.
        scale: what the features are divided by; 255 for images of bytes.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None = None
    scale: float = 1.0


Loader = Callable[[Path | None], RawDataset]

DATASETS: Registry[Loader] = Registry("dataset")


def _no_indices() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test samples, validated, with class numbers or with other numbers as targets.

    Features are finite C-contiguous arrays of one dtype, labels int64; arrays that are so already are not copied. The
    validation and the test set may be empty.

    Attributes:
        name: its name in run folders and reports; the registered one for a dataset that `load_dataset` returned.
        x_train: (n, d) float32 or float64, n >= 1.
        y_train: (n,) int64, from 0 to k - 1, or (n, k) probabilities of the classes. Without classes: (n, t) numbers,
            t targets for each sample.
        x_val: (v, d).
        y_val: (v,) int64.
        x_test: (m, d).
        y_test: (m,) int64.
        classes: the names of the k classes; empty where the targets are no class numbers.
        image_shape: (height, width) where a sample is an image, or None.
        train_indices: (n,) int64, the indices of x_train in the samples that were split; empty where unknown.
        val_indices: (v,) int64, those of x_val.
        sample_weight: (n,), how much each training sample counts; None for equal weights.

    Raises:
        ConfigError: the arrays have the wrong shape, lengths that differ, values that are not finite, or labels that
            are no class numbers.
    """

    name: str
    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_val: NDArray[Any]
    y_val: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None = None
    train_indices: NDArray[np.int64] = field(default_factory=_no_indices)
    val_indices: NDArray[np.int64] = field(default_factory=_no_indices)
    sample_weight: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        classes = check_class_names(self.classes) if len(self.classes) else ()
        columns = 1 if np.ndim(self.y_train) < 2 else np.shape(self.y_train)[1]
        dtype = "float64" if getattr(self.x_train, "dtype", None) == np.float64 else "float32"
        n_features = None
        values: dict[str, Any] = {"classes": classes}
        for part in ("train", "val", "test"):
            names = f"x_{part}", f"y_{part}"
            x = check_features(getattr(self, names[0]), n_features=n_features, dtype=dtype, name=names[0])
            y: NDArray[Any] = getattr(self, names[1])
            if classes:
                y = check_class_targets(y, n_classes=len(classes), dtype=dtype, name=names[1])
            else:
                y = check_targets(y, columns=columns, dtype=dtype, name=names[1])
            check_same_length(x, y, names=names)
            n_features = x.shape[1]
            values.update(zip(names, (x, y), strict=True))
        if len(values["y_train"]) == 0:
            raise ConfigError("The training set is empty: x_train and y_train must have at least one row.")
        check_weights(self.sample_weight, len(values["y_train"]), dtype)
        values["image_shape"] = check_image_shape(self.image_shape, values["x_train"].shape[1])
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        *,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        val_fraction: float = 0.0,
        test_data: tuple[ArrayLike, ArrayLike] | None = None,
        classes: Sequence[str] | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        image_shape: tuple[int, int] | None = None,
        seed: int = 0,
        dtype: str = "float32",
        name: str = "arrays",
    ) -> Dataset:
        """A dataset of arrays in memory. The features are not scaled.

        Args:
            x: (n, d) training features.
            y: (n,) their class numbers, 0 to k - 1, or (n, k) probabilities of the classes; or, with ``classes=()``,
                (n, t) or (n,) other numbers to predict.
            validation_data: (x_val, y_val), evaluated after every epoch. None: see `val_fraction`.
            val_fraction: without validation_data, the fraction of every class of x and y to hold out for validation.
            test_data: (x_test, y_test), or None.
            classes: the names of the k classes. None: "0", "1", ..., and then every class must occur in y. Empty: the
                targets are no class numbers, as in regression.
            sample_weight: (n,), how much each training sample counts, 0 or more.
            class_weight: the same by class number, or "balanced" for n / (k * samples of the class); multiplied with
                sample_weight.
            image_shape: (height, width) where a sample is an image, or None.
            seed: of the choice of the samples held out.
            dtype: ``float32`` or ``float64``. C-contiguous arrays of this dtype are used without copying them.
            name: what run folders and reports call the dataset.

        Raises:
            ConfigError: the arrays do not fit together, hold values that are not finite or labels that are no class
                numbers, or another argument is out of range.

        >>> data = Dataset.from_arrays([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.8, 0.1]], [0, 1, 0, 1], val_fraction=0.5)
        >>> data.x_train.shape, data.x_val.shape, data.x_test.shape, data.classes
        ((2, 2), (2, 2), (0, 2), ('0', '1'))
        """
        check_dtype(dtype)
        fraction = check_fraction(val_fraction)
        if validation_data is not None and fraction:
            raise ConfigError(f"Give validation_data or val_fraction, not both; val_fraction is {fraction}.")
        features = check_features(x, dtype=dtype)
        has_classes = classes is None or len(classes) > 0
        labels = check_class_targets(y, dtype=dtype) if has_classes else np.asarray(y)
        check_same_length(features, labels)
        weights = None if sample_weight is None else np.asarray(sample_weight)
        check_weights(weights, len(labels), dtype)
        names: tuple[str, ...] = ()
        if has_classes:
            names = _number_classes(labels) if classes is None else check_class_names(classes)
        no_data = features[:0], labels[:0]
        x_val, y_val = no_data if validation_data is None else _unpack_pair(validation_data, "validation_data")
        x_test, y_test = no_data if test_data is None else _unpack_pair(test_data, "test_data")
        train, val = np.arange(len(labels)), _no_indices()
        if fraction:
            # Other targets than classes are split at random, as one class.
            groups = np.zeros(len(labels), np.int64)
            if names:
                groups = check_labels(_find_classes(labels), n_classes=len(names))
            train, val = stratified_split(groups, fraction, generator(seed, "validation split"))
            x_val, y_val, features, labels = features[val], labels[val], features[train], labels[train]
            weights = None if weights is None else weights[train]
        data = cls(
            name, features, labels, x_val, y_val, x_test, y_test, names, image_shape,
            train_indices=train, val_indices=val, sample_weight=weights,
        )  # fmt: skip
        return data if class_weight is None else data.weigh_classes(class_weight)

    def weigh_classes(self, class_weight: Mapping[int, float] | str) -> Dataset:
        """The same dataset with the weights of its training samples multiplied by those of their classes.

        Args:
            class_weight: weights by class number, or "balanced" for n / (k * samples of the class).

        Raises:
            ConfigError: there are no classes, or no weight for one of them.
        """
        if not self.classes or self.y_train.ndim != 1:
            what = "probabilities of the classes" if self.classes else "other numbers"
            raise ConfigError(f"class_weight needs class numbers, and the targets of this dataset are {what}.")
        weights = _weigh_classes(class_weight, self.y_train)
        return replace(self, sample_weight=weights if self.sample_weight is None else weights * self.sample_weight)

    @property
    def train_labels(self) -> NDArray[np.int64]:
        """The class number of each training sample, (n,): the most probable one where there are probabilities."""
        return _find_classes(self.y_train)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the training and the validation set. It takes a fifth of a second for MNIST."""
        total = hashlib.sha256()
        weights = [] if self.sample_weight is None else [np.ascontiguousarray(self.sample_weight)]
        for array in (self.x_train, self.y_train, self.x_val, self.y_val, *weights):
            total.update(f"{array.dtype.str}{array.shape}".encode())
            total.update(array.view(np.uint8).data if array.size else b"")
        return total.hexdigest()


def load_dataset(
    name: str,
    *,
    seed: int = 0,
    val_fraction: float = 0.1,
    dtype: str = "float32",
    data_dir: str | Path | None = None,
    raw: RawDataset | None = None,
) -> Dataset:
    """Load a registered dataset, downloading it where needed.

    Args:
        name: ``fashion_mnist``, ``mnist``, ``digits`` or another name in `DATASETS`.
        seed: of the choice of validation samples.
        val_fraction: the fraction of every class of the training samples to hold out for validation, at least 0 and
            less than 1. With 0, x_val and y_val are empty.
        dtype: ``float32`` or ``float64``.
        data_dir: a folder that holds the dataset's files. None: search for them (see `chainrule.data.sources`).
        raw: what `load_raw_dataset` returned for this dataset, to split it again without reading its files again.

    Raises:
        UnknownNameError: no dataset is registered under the name.
        ConfigError: another argument is out of range.
        DataError: the data cannot be found, or are invalid.

    >>> data = load_dataset("digits", seed=0)
    >>> data.x_train.shape, data.x_val.shape, data.x_test.shape
    ((1294, 64), (144, 64), (359, 64))
    >>> data.x_train.dtype, float(data.x_train.min()), float(data.x_train.max())
    (dtype('float32'), 0.0, 1.0)
    """
    name = DATASETS.canonical(name)
    rng = generator(seed, "validation split")
    check_dtype(dtype)
    fraction = check_fraction(val_fraction)
    source = raw or load_raw_dataset(name, data_dir)
    train, val = stratified_split(source.y_train, fraction, rng)
    x_train, x_val = (_scale_rows(source.x_train, rows, source.scale, dtype) for rows in (train, val))
    x_test = _scale_rows(source.x_test, np.arange(len(source.y_test)), source.scale, dtype)
    y_train, y_val, y_test = source.y_train[train], source.y_train[val], source.y_test
    try:
        return Dataset(
            name, x_train, y_train, x_val, y_val, x_test, y_test, source.classes, source.image_shape, train, val
        )
    except ConfigError as error:  # the values are not finite as dtype
        raise DataError(f"Dataset {name!r}: {error}") from error


def load_raw_dataset(name: str, data_dir: str | Path | None = None) -> RawDataset:
    """What a registered dataset's source holds, validated, neither split nor scaled. Raises like `load_dataset`."""
    name = DATASETS.canonical(name)
    try:
        source = DATASETS[name](None if data_dir is None else Path(data_dir))
    except (ChainruleError, MemoryError):
        raise
    # A loader is the user's code. With SystemExit, it would end the program without a message.
    except (Exception, SystemExit) as error:
        raise DataError(f"The loader of dataset {name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(source, RawDataset):
        raise DataError(f"The loader of dataset {name!r} must return a RawDataset, got {type(source).__name__}.")
    try:
        return _validate(source)
    except ConfigError as error:
        raise DataError(f"Dataset {name!r}: {error}") from error


def _validate(source: RawDataset) -> RawDataset:
    """Check what a loader returned, as far as splitting and scaling need it; `Dataset` checks the rest."""
    classes = check_class_names(source.classes)
    labels: dict[str, Any] = {}
    for part in ("train", "test"):
        names = f"x_{part}", f"y_{part}"
        x, y = (getattr(source, name) for name in names)
        if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] == 0 or x.dtype.kind not in "biuf":
            got = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
            raise ConfigError(f"{names[0]} must be a NumPy array of numbers of shape (n, d), d >= 1; got {got}.")
        labels[names[1]] = check_labels(y, n_classes=len(classes), name=names[1])
        check_same_length(x, labels[names[1]], names=names)
        if len(x) == 0:
            raise ConfigError(f"{names[0]} must have at least one row, got 0.")
    return replace(source, **labels, classes=classes, scale=check_scale(source.scale))


def _scale_rows(x: NDArray[Any], rows: NDArray[np.int64], scale: float, dtype: str) -> NDArray[Any]:
    """Rows of `x`, (len(rows), d), converted to `dtype` and divided by `scale` in that precision.

    Works in blocks: the built-in image datasets have 47 MB of bytes and 190 MB as float32, too much for whole
    intermediate copies.
    """
    scaled = np.empty((len(rows), x.shape[1]), dtype=dtype)
    # A value too large for float32, or a scale too small for it, is reported by `Dataset`.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = scaled[start : start + _BLOCK_ROWS]
            block[...] = x[rows[start : start + _BLOCK_ROWS]]
            block /= scale
    return scaled


def _unpack_pair(pair: Any, name: str) -> tuple[Any, Any]:
    """(x, y) of an argument that must be such a pair."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ConfigError(f"{name} must be a pair (x, y), got {type(pair).__name__}.")
    return pair[0], pair[1]


def _weigh_classes(class_weight: Mapping[int, float] | str, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weight of each sample's class."""
    if isinstance(class_weight, Mapping):
        present = np.unique(labels).tolist()
        if missing := [label for label in present if label not in class_weight]:
            raise ConfigError(f"class_weight must have a weight for every class in y; there is none for {missing[0]}.")
        weights = [class_weight[label] for label in present]
        if bad := [weight for weight in weights if not isinstance(weight, int | float) or not 0 <= weight < np.inf]:
            raise ConfigError(f"class_weight must hold finite numbers of 0 or more, got {bad[0]!r:.100}.")
        return np.array(weights, np.float64)[np.searchsorted(present, labels)]
    if class_weight != "balanced":
        raise ConfigError(f'class_weight must be "balanced", or weights by class number, got {class_weight!r:.100}.')
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    balanced: NDArray[np.float64] = (len(labels) / (len(counts) * counts))[inverse]
    return balanced


def _find_classes(targets: NDArray[Any]) -> NDArray[np.int64]:
    """The class numbers, (n,), of class numbers or of probabilities."""
    return targets if targets.ndim == 1 else targets.argmax(axis=1)


def _number_classes(labels: NDArray[Any]) -> tuple[str, ...]:
    """The names "0" to "k - 1" for labels in which each of these classes occurs, or for k columns of probabilities."""
    if labels.ndim == 2:
        return tuple(map(str, range(labels.shape[1])))
    present = np.unique(labels)
    if len(present) < 2 or present[-1] != len(present) - 1:
        shown = ", ".join(map(str, present[:10].tolist())) + (", ..." if len(present) > 10 else "")
        raise ConfigError(
            f"y must hold every class number from 0 to k - 1, k >= 2, got {shown or 'none'}. Name all classes with "
            "classes=, or number them by np.unique(y, return_inverse=True)[1]."
        )
    return tuple(map(str, range(len(present))))
