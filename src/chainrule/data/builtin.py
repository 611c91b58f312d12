"""The datasets that come with chainrule: Fashion-MNIST, MNIST and scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.core.extras import needs_extra
from chainrule.data.dataset import DATASETS, RawDataset
from chainrule.data.idx import read_idx
from chainrule.data.sources import find_files
from chainrule.data.specs import SPECS
from chainrule.data.splits import stratified_split

__all__ = ["load_digits", "load_fashion_mnist", "load_mnist"]

_DIGITS = tuple("0123456789")
_GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@DATASETS.register("fashion_mnist")
def load_fashion_mnist(data_dir: Path | None) -> RawDataset:
    """Fashion-MNIST (arXiv 1708.07747): 60,000 + 10,000 gray images of 28 x 28 pixels, ten kinds of clothing."""
    return _load_idx_dataset("fashion_mnist", _GARMENTS, data_dir)


@DATASETS.register("mnist")
def load_mnist(data_dir: Path | None) -> RawDataset:
    """MNIST: 60,000 + 10,000 gray images of 28 x 28 pixels, handwritten digits."""
    return _load_idx_dataset("mnist", _DIGITS, data_dir)


@DATASETS.register("digits")
def load_digits(_: Path | None) -> RawDataset:
    """scikit-learn's digits: 1,797 images of 8 x 8 pixels with values from 0 to 16. They need no download.

    The source has no test set. A fifth of every class (359 samples) serves as one, the same for every seed.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    with needs_extra("The digits", "train"):
        from sklearn.datasets import load_digits as load_bunch

    x, y = load_bunch(return_X_y=True)
    train, test = stratified_split(y, 0.2, np.random.default_rng(0))
    return RawDataset(x[train], y[train], x[test], y[test], _DIGITS, image_shape=(8, 8), scale=16.0)


def _load_idx_dataset(name: str, classes: tuple[str, ...], data_dir: Path | None) -> RawDataset:
    """Load a dataset of four IDX files, whose `chainrule.data.specs.SPECS` has the key `name`."""
    spec = SPECS[name]
    contents = find_files(spec, data_dir)
    x_train, y_train, x_test, y_test = (read_idx(contents[file.name], name=file.name) for file in spec.files)
    _, height, width = x_train.shape
    flat = [images.reshape(len(images), -1) for images in (x_train, x_test)]
    return RawDataset(flat[0], y_train, flat[1], y_test, classes, image_shape=(height, width), scale=255.0)
