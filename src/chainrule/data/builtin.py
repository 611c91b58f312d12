"""The datasets that come with chainrule: Fashion-MNIST, MNIST and scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.core.errors import DataError
from chainrule.data.dataset import DATASETS, Samples, stratified_split

__all__ = ["load_digits", "load_fashion_mnist", "load_idx_dataset", "load_mnist"]

_DIGITS = tuple("0123456789")
_GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@DATASETS.register("fashion_mnist")
def load_fashion_mnist(data_dir: Path | None) -> Samples:
    """Fashion-MNIST (arXiv 1708.07747): 60,000 + 10,000 grey images of 28 x 28 pixels, ten kinds of clothing."""
    return load_idx_dataset("fashion_mnist", _GARMENTS, data_dir)


@DATASETS.register("mnist")
def load_mnist(data_dir: Path | None) -> Samples:
    """MNIST: 60,000 + 10,000 grey images of 28 x 28 pixels, handwritten digits."""
    return load_idx_dataset("mnist", _DIGITS, data_dir)


@DATASETS.register("digits")
def load_digits(_: Path | None) -> Samples:
    """scikit-learn's digits: 1,797 images of 8 x 8 pixels with values from 0 to 16. It needs no download.

    The source has no test set of its own. A fifth of every class (359 samples) is set apart as one, always the same,
    whatever the seed of the run.
    """
    from sklearn.datasets import load_digits as read_digits

    x, y = read_digits(return_X_y=True)
    train, test = stratified_split(y, 0.2, np.random.default_rng(0))
    return Samples(x[train], y[train], x[test], y[test], _DIGITS, image_shape=(8, 8), scale=16.0)


def load_idx_dataset(name: str, classes: tuple[str, ...], data_dir: Path | None) -> Samples:
    """A dataset of four IDX files, wherever they are found.

    Args:
        name: a key of `chainrule.data.specs.SPECS`.
        classes: the names of its classes.
        data_dir: a folder that holds the files, or None to search for them.

    Raises:
        DataError: the files cannot be found or are not the right ones.
    """
    # Only here, so that the import of chainrule stays light.
    from chainrule.data.idx import read_idx
    from chainrule.data.sources import find_files
    from chainrule.data.specs import SPECS

    spec = SPECS[name]
    contents = find_files(spec, data_dir)
    arrays = [read_idx(contents[file], name=file.name) for file in spec.files]
    x_train, y_train, x_test, y_test = arrays
    if x_train.ndim != 3 or x_test.ndim != 3:
        raise DataError(f"{name}: expected images of shape (n, height, width), got {x_train.shape} and {x_test.shape}.")
    _, height, width = x_train.shape
    return Samples(
        x_train.reshape(len(x_train), -1),
        y_train,
        x_test.reshape(len(x_test), -1),
        y_test,
        classes,
        image_shape=(height, width),
        scale=255.0,
    )
