"""Means of repeated runs with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

__all__ = ["Estimate", "estimate_accuracy", "estimate_mean"]


@dataclass(frozen=True)
class Estimate:
    """The mean of n independent values with its uncertainty.

    Attributes:
        mean: the sample mean.
        std: the sample standard deviation; 0 for a single value.
        low: lower end of the 95 % confidence interval; the mean itself for a single value without sampling error.
        high: upper end of the interval.
        values: the values.
    """

    mean: float
    std: float
    low: float
    high: float
    values: tuple[float, ...]


def estimate_mean(values: Sequence[float], sampling_variance: float = 0.0) -> Estimate:
    """Estimate the mean of n >= 1 values with a 95 % confidence interval.

    The half width is the root of the sum of two squares: that of Student's t interval over the values (the seeds), and
    that of the normal interval for an error that all values share, such as the choice of the test images.

    Args:
        values: one value per seed.
        sampling_variance: variance of the shared error; 0 for none.

    >>> round(estimate_mean([1.0, 2.0, 3.0]).high, 3)
    4.484
    """
    n, mean = len(values), float(np.mean(values))
    std = float(np.std(values, ddof=1)) if n > 1 else 0.0
    half = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n) if n > 1 else 0.0
    half = math.hypot(half, float(norm.ppf(0.975)) * math.sqrt(sampling_variance))
    return Estimate(mean, std, mean - half, mean + half, tuple(float(value) for value in values))


def estimate_accuracy(accuracies: Sequence[float], images: int) -> Estimate:
    """Estimate the accuracy on new images: the interval covers the choice of the seeds and that of the test images."""
    mean = sum(accuracies) / len(accuracies)
    return estimate_mean(accuracies, mean * (1 - mean) / images)
