"""A custom dataset: two interleaved half circles with noise, which no straight line separates."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.data import DATASETS, RawDataset


@DATASETS.register("two_moons")
def load_two_moons(data_dir: Path | None) -> RawDataset:
    """2,000 training and 500 test samples with 2 features, 2 classes, always the same ones."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 2500)
    angle = random.uniform(0, np.pi, 2500)
    # Class 0 is the upper half of a circle around (0, 0); class 1 the lower half of one around (1, 0.5).
    x = np.column_stack((y, 0.5 * y)) + np.column_stack((np.cos(angle), np.sin(angle))) * (1 - 2 * y[:, np.newaxis])
    x += random.normal(0, 0.15, x.shape)
    return RawDataset(x[:2000], y[:2000], x[2000:], y[2000:], classes=("upper", "lower"))
