"""Numerical gradients, the judge of every derivative here. Its own test is test_gradcheck.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.nn.parameters import Array

# The error of the five-point formula is about step**4 from the formula and 1e-16/step from rounding. A larger step
# would cross the kinks of ReLU.
STEP = 2e-5


def numerical_gradient(function: Callable[[], float], at: Array, step: float = STEP) -> Array:
    """d function / d at, element by element, where `function` reads the array `at` (float64), which is put back."""
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        kept, values = at[index], []
        for steps in (2, 1, -1, -2):
            at[index] = kept + steps * step
            values.append(function())
        at[index] = kept
        far_above, above, below, far_below = values
        gradient[index] = (8 * (above - below) - (far_above - far_below)) / (12 * step)
    return gradient


def relative_error(got: Array, expected: Array) -> float:
    """The largest difference as a share of the largest element (1e-12 stands in where all are 0)."""
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-12))
