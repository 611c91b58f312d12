"""Validation of features, labels and what describes them.

Each function returns its argument in the form that networks are trained on, or raises a ConfigError that says what is
expected and what was got. A `Dataset` calls them when it is made, so its arrays need no further check.
"""

from __future__ import annotations

import math
import operator
import sys
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ConfigError

__all__ = [
    "check_class_names",
    "check_class_targets",
    "check_dtype",
    "check_features",
    "check_fraction",
    "check_image_shape",
    "check_labels",
    "check_same_length",
    "check_scale",
    "check_targets",
    "check_weights",
]

_BLOCK_ROWS = 4096
_CLASS_NAMES_HINT = " np.unique(y, return_inverse=True)[1] turns class names into numbers."
# Probabilities of float32 that were made by softmax are off by much less.
_SUM_TOLERANCE = 1e-4


def check_features(
    x: ArrayLike, *, n_features: int | None = None, dtype: str = "float32", name: str = "x", finite: bool = True
) -> NDArray[Any]:
    """Features as a C-contiguous (n, d) array of numbers; `x` itself where it is one already.

    Args:
        x: (n, d) numbers: an array, or anything that `numpy.asarray` makes one of, such as lists or a data frame.
        n_features: the expected d; None accepts any d of at least 1.
        dtype: ``float32`` or ``float64``.
        name: the argument's name in an error.
        finite: whether infinite values and NaN are refused.

    Raises:
        ConfigError: another shape, values that are no numbers, or one that is not finite as `dtype`.
    """
    array = _as_numbers(x, name)
    if array.ndim != 2 or array.shape[1] == 0 or n_features not in (None, array.shape[1]):
        hint = " A single sample x is x[np.newaxis]." if array.ndim == 1 and len(array) == n_features else ""
        raise ConfigError(
            f"{name} must have the shape (n, {n_features or 'd'}): a row per sample, a column per feature. "
            f"Got {array.shape}.{hint}"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        features = np.ascontiguousarray(array, dtype=dtype)
        # Reads the values once and writes nothing; finite values whose squares are too large take the longer way.
        is_finite = not finite or math.isfinite(np.dot(features.ravel(), features.ravel()))
    for start in range(0, 0 if is_finite else len(features), _BLOCK_ROWS):  # no array of booleans as long as the data
        bad = ~np.isfinite(features[start : start + _BLOCK_ROWS])
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ConfigError(
                f"{name} must hold values that are finite as {dtype}, got {array[start + row, column]} in row "
                f"{start + row}, column {column}. Remove or replace such values."
            )
    return features


def check_labels(y: ArrayLike, *, n_classes: int | None = None, name: str = "y") -> NDArray[np.int64]:
    """Labels as a contiguous (n,) int64 array; `y` itself where it is one already.

    Args:
        y: (n,) class numbers from 0 to k - 1; floating-point numbers and booleans with such values are accepted.
        n_classes: k; None accepts any k.
        name: the argument's name in an error.

    Raises:
        ConfigError: another shape, or a value that is no class number.
    """
    array = _as_numbers(y, name, hint=_CLASS_NAMES_HINT)
    if array.ndim != 1:
        hint = f" {name}.argmax(axis=1) converts one-hot rows." if array.ndim == 2 and array.shape[1] > 1 else ""
        hint = hint or f" np.ravel({name}) converts a column." * (array.ndim == 2)
        raise ConfigError(f"{name} must have the shape (n,): a class number per sample. Got {array.shape}.{hint}")
    with np.errstate(invalid="ignore"):
        labels = np.ascontiguousarray(array, dtype=np.int64)
    bad = (labels != array) | (labels < 0)
    if n_classes is not None:
        bad |= labels >= n_classes
    if bad.any():
        row = int(bad.argmax())
        allowed = "whole numbers of 0 or more" if n_classes is None else f"from 0 to {n_classes - 1}"
        raise ConfigError(f"{name} must hold class numbers, {allowed}. Got {array[row]} in row {row}.")
    return labels


def check_class_targets(
    y: ArrayLike, *, n_classes: int | None = None, dtype: str = "float32", name: str = "y"
) -> NDArray[Any]:
    """Class numbers as `check_labels` returns them, or probabilities of the classes as a contiguous (n, k) array.

    Args:
        y: (n,) class numbers, or (n, k) numbers of 0 or more whose rows sum to 1, up to rounding.
        n_classes: k; None accepts any k of at least 2 for probabilities.
        dtype: of the probabilities, float32 or float64.
        name: the argument's name in an error.

    Raises:
        ConfigError: another shape, no class number, a negative or infinite probability, or a row of another sum.
    """
    shape = _as_numbers(y, name, hint=_CLASS_NAMES_HINT).shape
    if len(shape) != 2 or shape[1] < 2:
        return check_labels(y, n_classes=n_classes, name=name)
    if n_classes not in (None, shape[1]):
        raise ConfigError(
            f"{name} must have the shape (n,), a class number per sample, or (n, {n_classes}), probabilities of the "
            f"classes. Got {shape}. {name}.argmax(axis=1) converts one-hot rows."
        )
    probabilities = check_targets(y, columns=shape[1], dtype=dtype, low=0.0, name=name)
    sums = probabilities.sum(axis=1, dtype=np.float64)
    wrong = np.abs(sums - 1) > _SUM_TOLERANCE
    if wrong.any():
        row = int(wrong.argmax())
        raise ConfigError(
            f"{name} has two dimensions, so its rows must hold the probabilities of the {shape[1]} classes, which sum "
            f"to 1. Row {row} sums to {sums[row]:.6g}."
        )
    return probabilities


def check_targets(
    y: ArrayLike, *, columns: int, dtype: str, low: float = -math.inf, high: float = math.inf, name: str = "y"
) -> NDArray[Any]:
    """Targets that are numbers, as a contiguous (n, k) array.

    Args:
        y: (n, k), or (n,) where k is 1.
        columns: k.
        dtype: float32 or float64.
        low: the smallest number allowed.
        high: the largest.
        name: the argument's name in an error.

    Raises:
        ConfigError: another shape, or a value that is not finite or out of range.
    """
    array = _as_numbers(y, name, hint="")
    if array.ndim == 1 and columns == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != columns:
        allowed = f"(n, {columns}): a number for each sample and output" + (", or (n,)" if columns == 1 else "")
        raise ConfigError(f"{name} must have the shape {allowed}. Got {np.shape(y)}.")
    with np.errstate(over="ignore"):
        targets = np.ascontiguousarray(array, dtype=dtype)
    bad = ~np.isfinite(targets) | (targets < low) | (targets > high)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        bounds = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        raise ConfigError(f"{name} must hold finite numbers{bounds}. Got {array[row, column]} in row {row}.")
    return targets


def check_weights(
    weights: ArrayLike | None, length: int, dtype: str, name: str = "sample_weight"
) -> NDArray[Any] | None:
    """Weights of samples as a contiguous (n,) array, scaled to a mean of 1; None for none.

    Raises:
        ConfigError: another shape, a number that is negative or not finite, or nothing but zeros.
    """
    if weights is None:
        return None
    array = _as_numbers(weights, name, hint="")
    if array.shape != (length,):
        raise ConfigError(f"{name} must have the shape ({length},): a weight per sample. Got {array.shape}.")
    array = array.astype(np.float64)
    bad = ~np.isfinite(array) | (array < 0)
    if bad.any():
        row = int(bad.argmax())
        raise ConfigError(f"{name} must hold finite numbers of 0 or more. Got {array[row]} in row {row}.")
    if length and not array.any():
        raise ConfigError(f"{name} must hold a number above 0, got only zeros.")
    if length:
        array /= array.max()  # so that the sum cannot overflow
        array /= array.mean()
    return np.ascontiguousarray(array, dtype=dtype)


def check_same_length(x: NDArray[Any], y: NDArray[Any], *, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise ConfigError unless there is a label for every sample."""
    if len(x) != len(y):
        raise ConfigError(f"{names[0]} and {names[1]} must have the same number of rows, got {len(x)} and {len(y)}.")


def check_class_names(classes: Any) -> tuple[str, ...]:
    """The names of at least two classes, all different and printable, as a tuple."""
    if not isinstance(classes, tuple | list | np.ndarray) or np.ndim(classes) != 1:
        raise ConfigError(f"classes must be a tuple of names, got {classes!r:.80}.")
    for label in classes:
        # Names are written to terminals, files and figures.
        if not isinstance(label, str) or not label or not label.isprintable():
            raise ConfigError(
                f"classes must hold printable names, got {label!r:.80}. tuple(map(str, classes)) turns numbers "
                "into names."
            )
    names = tuple(map(str, classes))  # the elements of an array are of NumPy's own type
    if len(names) < 2:
        raise ConfigError(f"classes must name at least two classes, got {names}.")
    repeated = [label for label, count in Counter(names).items() if count > 1]
    if repeated:
        raise ConfigError(f"classes must hold each name once, got {repeated[0]!r} twice.")
    return names


def check_image_shape(shape: Any, n_features: int) -> tuple[int, int] | None:
    """(height, width) as Python integers whose product is `n_features`, or None."""
    if shape is None:
        return None
    try:
        height, width = (operator.index(side) for side in shape)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1 or height * width != n_features:
        raise ConfigError(
            f"image_shape must be (height, width) with height * width = {n_features}, the number of features, or None. "
            f"Got {shape!r:.80}."
        )
    return height, width


def check_scale(scale: Any) -> float:
    """A positive, finite number as a Python float, which leaves the dtype of the arrays it divides alone."""
    is_number = isinstance(scale, int | float | np.integer | np.floating)
    if not is_number or not 0 < scale <= sys.float_info.max:  # not isfinite, which fails for a huge integer
        raise ConfigError(f"scale must be a positive number, got {scale!r:.80}.")
    return float(scale)


def check_dtype(dtype: Any) -> str:
    """``float32`` or ``float64``."""
    if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
        raise ConfigError(f"dtype must be one of float32, float64. Got {dtype!r} instead.")
    return dtype


def check_fraction(fraction: Any, *, name: str = "val_fraction") -> float:
    """A number of at least 0 and less than 1."""
    is_number = isinstance(fraction, int | float | np.number) and not isinstance(fraction, bool)
    if not is_number or not 0 <= fraction < 1:
        raise ConfigError(f"{name} must be a number of at least 0 and less than 1, got {fraction!r:.80}.")
    return float(fraction)


def _as_numbers(values: ArrayLike, name: str, *, hint: str = "") -> NDArray[Any]:
    """An array of real numbers."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"{name} must be an array of numbers with rows of equal length; {error}") from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name} must hold numbers, got an array of {array.dtype}.{hint}")
    return array
