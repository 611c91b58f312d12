"""Means of repeated runs with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

__all__ = ["Estimate", "estimate_mean"]


@dataclass(frozen=True)
class Estimate:
    """The mean of n independent values with its uncertainty.

    Attributes:
        mean: the sample mean.
        std: the sample standard deviation; 0 for a single value.
        low: lower end of the 95 % confidence interval (Student's t); the mean itself for a single value.
        high: upper end of the interval.
        values: the values.
    """

    mean: float
    std: float
    low: float
    high: float
    values: tuple[float, ...]


def estimate_mean(values: Sequence[float]) -> Estimate:
    """Estimate the mean of n >= 1 values with a 95 % confidence interval, by Student's t distribution.

    >>> round(estimate_mean([1.0, 2.0, 3.0]).high, 3)
    4.484
    """
    n, mean = len(values), float(np.mean(values))
    std = float(np.std(values, ddof=1)) if n > 1 else 0.0
    half = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n) if n > 1 else 0.0
    return Estimate(mean, std, mean - half, mean + half, tuple(float(value) for value in values))
