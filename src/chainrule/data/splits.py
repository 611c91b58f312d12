"""Splitting samples into those to train on and those to hold out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ConfigError

__all__ = ["stratified_split"]


def stratified_split(
    labels: NDArray[Any], fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out the same fraction of every class. (Written here because importing scikit-learn takes a second.)

    ``round(fraction * n)`` samples are held out. Each class contributes its share rounded down; the classes with the
    largest remainders contribute one more until the total is reached. Every class keeps at least one sample.

    Args:
        labels: (n,) class numbers from 0.
        fraction: the fraction to hold out, at least 0 and less than 1.
        rng: chooses the samples.

    Returns:
        The indices kept, (n - v,), and the indices held out, (v,), both in ascending order.

    Raises:
        ConfigError: the fraction or the classes are so small that no sample can be held out.

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
            f"A fraction of {fraction} of {n} samples in {np.count_nonzero(counts)} classes leaves none to hold out, "
            f"because every class keeps one. Use a larger fraction, or 0 to hold out none."
        )
    shares = fraction * counts
    quotas = np.minimum(np.floor(shares).astype(np.int64), spare)
    while quotas.sum() < total:
        quotas[np.argmax(np.where(quotas < spare, shares - quotas, -np.inf))] += 1
    members = [rng.permutation(np.flatnonzero(labels == label)) for label in range(len(counts))]
    held_out = np.zeros(n, dtype=bool)
    for indices, quota in zip(members, quotas, strict=True):
        held_out[indices[:quota]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
