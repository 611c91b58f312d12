"""Numerical gradients, the judge of every derivative here. Its own test is test_gradcheck.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.nn.parameters import Array

# The error of a central difference is about step**2 from its formula and 1e-16/step from rounding.
STEP = 1e-5


def numerical_gradient(function: Callable[[], float], at: Array) -> Array:
    """d function / d at, element by element, where `function` reads the array `at` (float64), which is put back."""
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        kept = at[index]
        at[index] = kept + STEP
        above = function()
        at[index] = kept - STEP
        below = function()
        at[index] = kept
        gradient[index] = (above - below) / (2 * STEP)
    return gradient


def relative_error(got: Array, expected: Array) -> float:
    """The largest difference as a share of the largest element (1e-12 stands in where all are 0)."""
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-12))
