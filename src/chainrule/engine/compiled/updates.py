"""The gradients of a layer and the update of its parameters, as a part of the step functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from chainrule.engine.compiled.intrinsics import pointer
from chainrule.engine.compiled.samples import prefetch_samples

__all__ = ["FUSED", "GRADIENTS", "UPDATES", "copy", "shrink_gradients", "square_rows", "update_layer"]

# Whether a layer's gradients and updates are computed block by block, or all gradients first and the updates then.
FUSED, GRADIENTS, UPDATES = 0, 1, 2

# Bound to the precision of the network, and its size in bytes, when the step functions are compiled.
real: Any = np.float64
width = 8


def copy(source, target, elements):
    """Copy numbers from one address to another."""
    source_, target_ = carray(pointer(source, real), elements), carray(pointer(target, real), elements)
    for element in range(elements):
        target_[element] = source_[element]


def square_rows(gradient, squares, rows, columns):
    """The sum of squares of each row of a gradient, in eight parts, because one sum would wait for each addition."""
    squares_ = carray(pointer(squares, np.float64), rows)
    whole = columns // 8 * 8
    for row in range(rows):
        values = carray(pointer(gradient + row * columns * width, real), columns)
        a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for column in range(0, whole, 8):
            a += np.float64(values[column]) ** 2
            b += np.float64(values[column + 1]) ** 2
            c += np.float64(values[column + 2]) ** 2
            d += np.float64(values[column + 3]) ** 2
            e += np.float64(values[column + 4]) ** 2
            f += np.float64(values[column + 5]) ** 2
            g += np.float64(values[column + 6]) ** 2
            h += np.float64(values[column + 7]) ** 2
        for column in range(whole, columns):
            a += np.float64(values[column]) ** 2
        squares_[row] = ((a + b) + (c + d)) + ((e + f) + (g + h))


def shrink_gradients(thread, clip_norm, constants):
    """Write the factor that brings the norm of all gradients down to `clip_norm`; every thread computes the same."""
    squares = carray(pointer(thread.squares, np.float64), thread.rows_of_weights)
    total = 0.0
    for row in range(thread.rows_of_weights):
        total += squares[row]
    others = carray(pointer(thread.others, real), thread.other_parameters)
    for number in range(thread.other_parameters):
        total += np.float64(others[number]) * np.float64(others[number])
    norm = np.sqrt(total)
    carray(pointer(constants, real), thread.shrink + 1)[thread.shrink] = min(1.0, clip_norm / norm) if norm > 0 else 1.0


def update_layer(layer, number, last, thread, stage, x, order, following, done, constants, decay, rates, product,
                 transpose, update):  # fmt: skip
    """The gradients of this thread's weights and biases of a layer, a block of rows at a time, and their update.

    A block's gradient is used while it is still in the cache, and the whole gradient is never stored, unless its norm
    is needed first: then one stage computes all gradients, and another updates. The transpose that the backward pass
    reads is kept up to date. Returns how many updates were made in the step so far.
    """
    row_size = layer.fan_out * width
    indices = thread.indices if number == 0 else 0
    factor = rates[1] if number == last else rates[0] if number == 0 else 1.0
    for row in range(layer.first_row, layer.last_row, layer.block_rows):
        rows, column = min(layer.block_rows, layer.last_row - row), (row - layer.first_row) * width
        gradient = thread.gradient
        if stage != FUSED:
            gradient = thread.gradients + (layer.offset + row * layer.fan_out) * width
        if stage != UPDATES:
            # dL/dW = inputs.T delta: the columns of the inputs are the rows of their transpose.
            product(
                layer.gradient_inputs + column, width, layer.gradient_inputs_stride, layer.batch_delta,
                layer.delta_stride, thread.zeros, 0, gradient, row_size, rows, thread.rows, layer.fan_out, indices,
            )  # fmt: skip
        if stage == GRADIENTS:
            square_rows(gradient, thread.squares + (layer.first_square + row) * 8, rows, layer.fan_out)
            continue
        weights = layer.weights + row * row_size
        offset = layer.offset + row * layer.fan_out
        update(weights, gradient, thread.slots, offset, rows * layer.fan_out, constants, decay, factor)
        if layer.transposed:
            target = layer.transposed + (row - layer.transposed_first) * width
            transpose(weights, row_size, target, layer.transposed_stride, rows, layer.fan_out)
        if following >= 0:
            prefetch_samples(x, order, following, thread, done)
        done += 1
    biases, first = layer.last_bias - layer.first_bias, layer.first_bias * width
    if biases > 0:
        gradient, scales_gradient = layer.biases_slope + first, layer.scales_slope + first
        if not layer.scales:
            gradient = thread.gradient
            if stage != FUSED:
                gradient = thread.gradients + (layer.bias_offset + layer.first_bias) * width
            if stage != UPDATES:
                # dL/db = the sum of delta over the batch: a product with a row of ones.
                product(
                    thread.ones, thread.rows * width, width, layer.batch_delta + first, layer.delta_stride,
                    thread.zeros, 0, gradient, biases * width, 1, thread.rows, biases, 0,
                )  # fmt: skip
        elif stage == GRADIENTS:
            copy(gradient, thread.gradients + (layer.bias_offset + layer.first_bias) * width, biases)
            copy(scales_gradient, thread.gradients + (layer.scale_offset + layer.first_bias) * width, biases)
        if stage != GRADIENTS:
            offset = layer.bias_offset + layer.first_bias
            update(layer.biases + first, gradient, thread.slots, offset, biases, constants, 0.0, rates[2])
            if layer.scales:
                offset = layer.scale_offset + layer.first_bias
                update(layer.scales + first, scales_gradient, thread.slots, offset, biases, constants, 0.0, rates[2])
            if following >= 0:
                prefetch_samples(x, order, following, thread, done)
            done += 1
    return done
