"""Batch normalization in machine code, as a part of the step functions; nn/normalization.py has the formulas.

Whoever owns some columns of a layer computes their means over the whole batch, row after row, so that the sums have the
same bits for any number of threads. Each thread then normalizes its part of z.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from chainrule.engine.compiled.intrinsics import pointer
from chainrule.nn.normalization import EPSILON, MOMENTUM

__all__ = ["measure", "normalize", "normalize_backward", "sum_slopes"]

# Bound to the precision of the network when the step functions are compiled.
real: Any = np.float64
width = 8


def measure(layer, rows):
    """Mean and 1 / sqrt(variance + epsilon) of this thread's columns of z, and their running means."""
    columns, first = layer.last_column - layer.first_column, layer.first_column * width
    mean, inverse = (
        carray(pointer(layer.mean + first, real), columns),
        carray(pointer(layer.inverse + first, real), columns),
    )
    for column in range(columns):
        mean[column] = real(0)
        inverse[column] = real(0)
    for row in range(rows):
        z = carray(pointer(layer.batch_z + row * layer.z_stride, real), columns)
        for column in range(columns):
            mean[column] += z[column]
    for column in range(columns):
        mean[column] /= real(rows)
    for row in range(rows):
        z = carray(pointer(layer.batch_z + row * layer.z_stride, real), columns)
        for column in range(columns):
            centered = z[column] - mean[column]
            inverse[column] += centered * centered
    running_mean = carray(pointer(layer.running_mean + first, real), columns)
    running_variance = carray(pointer(layer.running_variance + first, real), columns)
    for column in range(columns):
        variance = inverse[column] / real(rows)
        running_mean[column] += real(MOMENTUM) * (mean[column] - running_mean[column])
        running_variance[column] += real(MOMENTUM) * (variance - running_variance[column])
        inverse[column] = real(1) / np.sqrt(variance + real(EPSILON))


def normalize(layer, rows, columns, first_column):
    """zhat = (z - mean) / sqrt(variance + epsilon) and z <- scale * zhat + bias, for a thread's part of z."""
    first = first_column * width
    mean, inverse = (
        carray(pointer(layer.mean + first, real), columns),
        carray(pointer(layer.inverse + first, real), columns),
    )
    scales, biases = (
        carray(pointer(layer.scales + first, real), columns),
        carray(pointer(layer.biases + first, real), columns),
    )
    for row in range(rows):
        z = carray(pointer(layer.z + row * columns * width, real), columns)
        zhat = carray(pointer(layer.zhat + row * columns * width, real), columns)
        for column in range(columns):
            zhat[column] = (z[column] - mean[column]) * inverse[column]
            z[column] = scales[column] * zhat[column] + biases[column]


def sum_slopes(layer, rows):
    """dL/dbias and dL/dscale of this thread's columns, from dL/dy of the whole batch."""
    columns, first = layer.last_column - layer.first_column, layer.first_column * width
    biases_slope = carray(pointer(layer.biases_slope + first, real), columns)
    scales_slope = carray(pointer(layer.scales_slope + first, real), columns)
    for column in range(columns):
        biases_slope[column] = real(0)
        scales_slope[column] = real(0)
    for row in range(rows):
        delta = carray(pointer(layer.batch_delta + row * layer.delta_stride + first, real), columns)
        zhat = carray(pointer(layer.batch_zhat + row * layer.z_stride, real), columns)
        for column in range(columns):
            biases_slope[column] += delta[column]
            scales_slope[column] += delta[column] * zhat[column]


def normalize_backward(layer, delta_, rows, columns, first_column, batch):
    """dL/dz from dL/dy, in place, for a thread's part of delta, which begins at the address `delta_`."""
    first = first_column * width
    biases_slope = carray(pointer(layer.biases_slope + first, real), columns)
    scales_slope = carray(pointer(layer.scales_slope + first, real), columns)
    scales, inverse = (
        carray(pointer(layer.scales + first, real), columns),
        carray(pointer(layer.inverse + first, real), columns),
    )
    share = real(1) / real(batch)
    for row in range(rows):
        delta = carray(pointer(delta_ + row * layer.delta_stride, real), columns)
        zhat = carray(pointer(layer.zhat + row * columns * width, real), columns)
        for column in range(columns):
            centered = delta[column] - biases_slope[column] * share - zhat[column] * (scales_slope[column] * share)
            delta[column] = centered * (scales[column] * inverse[column])
