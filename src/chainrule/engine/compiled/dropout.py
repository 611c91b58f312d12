"""Dropout in machine code, as a part of the step functions: the same bits as nn/dropout.py, one unit after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from chainrule.engine.compiled.intrinsics import pointer
from chainrule.nn.dropout import mix_bits, mix_row

__all__ = ["drop"]

# Bound to the precision of the network when the step functions are compiled.
real: Any = np.float64


def drop(values, stride, rows, columns, first_row, first_column, dropped, key, layer):
    """Leave out units of some rows and columns of a layer, in place, and divide the others by what stays on average.

    Args:
        values: address of the first of them; rows are `stride` bytes apart.
        first_row: position of the first sample in the batch.
        first_column: number of the first unit in its layer.
        dropped: of 2**32 values of the random bits, how many leave a unit out.
        key: of the step.
        layer: number of the layer.
    """
    scale, limit = real(2.0**32 / (2.0**32 - dropped)), np.uint32(dropped)
    for row in range(rows):
        units = carray(pointer(values + row * stride, real), columns)
        bits = np.uint32(mix_row(key, np.uint64(layer), np.uint64(first_row + row)))
        for column in range(columns):
            stays = mix_bits(bits, np.uint32(first_column + column)) >= limit
            units[column] = units[column] * scale if stays else real(0)
