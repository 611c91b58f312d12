"""Dropout: in each training step a unit is left out with some probability, and the others make up for it.

A unit that stays is divided by the probability of staying, so nothing changes when the network predicts. Reference:
Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014).

Whether a unit stays is a function of the seed, the step, the layer, the sample's position in the batch and the unit,
and of nothing else (a counter-based random number generator): a resumed run leaves out the same units, and so does any
number of threads. The two functions that mix the bits are written for NumPy arrays of unsigned integers; the compiled
engine compiles the same source for single numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.nn.parameters import Array

__all__ = ["count_dropped", "derive_key", "drop", "mix_bits", "mix_row"]


def mix_row(key: Any, layer: Any, row: Any) -> Any:
    """64 random bits for one row of one layer's units: SplitMix64 of the three numbers.

    Reference: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014).

    Args:
        key: 64 bits that differ from step to step, uint64.
        layer: number of the layer, 0 for the inputs, uint64.
        row: position of the sample in the batch, uint64.
    """
    bits = key + layer * np.uint64(0x9E3779B97F4A7C15) + row * np.uint64(0xD1B54A32D192ED03)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def mix_bits(row_bits: Any, column: Any) -> Any:
    """32 random bits for one unit, from the lower half of its row's bits: a 32-bit finalizer, which vectorizes well.

    The multipliers are those of Wellons, "Prospecting for Hash Functions" (2018).

    Args:
        row_bits: of `mix_row`, uint32.
        column: number of the unit in its layer, uint32.
    """
    bits = np.uint32(row_bits ^ np.uint32(column * np.uint32(0x9E3779B1)))
    bits = np.uint32((bits ^ (bits >> np.uint32(16))) * np.uint32(0x7FEB352D))
    bits = np.uint32((bits ^ (bits >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.uint32(bits ^ (bits >> np.uint32(16)))


def derive_key(seed: int, step: int) -> int:
    """The key of one training step: 64 bits from a seed of 64 bits and the number of steps taken before."""
    return int(mix_row(np.array([seed], np.uint64), np.uint64(0), np.array([step], np.uint64))[0])


def count_dropped(rate: float) -> int:
    """Of the 2**32 values that `mix_bits` can have, how many mean that a unit is left out."""
    return min(round(rate * 2**32), 2**32 - 1)


def drop(values: Array, rate: float, key: int, layer: int) -> Array:
    """Leave out units, and divide the others by the probability of staying.

    Args:
        values: (n, units): a layer's activations, or the derivatives of the loss with respect to them.
        rate: probability that a unit is left out; 0 returns `values` itself.
        key: of the step.
        layer: number of the layer.

    Returns:
        A new array of the same shape and dtype.
    """
    dropped = count_dropped(rate)
    if not dropped:
        return values
    rows, columns = (np.arange(size, dtype=np.uint64) for size in values.shape)
    row_bits = mix_row(np.uint64(key), np.array([layer], np.uint64), rows)
    stays: NDArray[np.bool_] = mix_bits(row_bits.astype(np.uint32)[:, None], columns.astype(np.uint32)) >= dropped
    scaled: Array = values * values.dtype.type(2**32 / (2**32 - dropped))
    return np.where(stays, scaled, values.dtype.type(0))
