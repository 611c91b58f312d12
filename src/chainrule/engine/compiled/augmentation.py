"""Augmentation in machine code, as a part of the step functions: nn/augmentation.py, one pixel after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from chainrule.engine.compiled.intrinsics import pointer
from chainrule.nn.augmentation import NODES, draw, draw_node, interpolate, rotate, smooth

__all__ = ["augment", "blend_nodes", "shift_image", "warp_image"]

# Bound to the precision of the network, and its size in bytes, when the step functions are compiled.
real: Any = np.float64
width = 8


def blend_nodes(bits, axis, row, column, down):
    """The noise between two nodes of the lattice, one above the other."""
    upper = draw_node(bits, axis, row, column)
    return upper + (draw_node(bits, axis, row + 1, column) - upper) * down


def shift_image(image, height, columns, pixels, first, last, shift_y, shift_x, is_mirrored):
    """Copy the pixels [first, last) of a shifted image: their values are at whole positions."""
    for i in range(first // columns, (last + columns - 1) // columns):
        row = i + shift_y
        for j in range(max(first - i * columns, 0), min(last - i * columns, columns)):
            column = (columns - 1 - j if is_mirrored else j) + shift_x
            inside = 0 <= row < height and 0 <= column < columns
            pixels[i * columns + j - first] = image[row * columns + column] if inside else real(0)


def warp_image(image, height, columns, pixels, first, last, values, scratch, bits, shift_y, shift_x, mirror):
    """Copy the pixels [first, last) of an image that is rotated, resized and displaced by noise.

    Positions are computed row by row before they are read, so that the loop that computes them is vectorized.

    Args:
        values: the settings of `Augmenter`.
        scratch: address of zeros: for the image with a border of one pixel on the left and above and two on the right
            and below, which stay 0, and then for five numbers of each pixel of a row, the last two of which
            stay 0 without noise.
    """
    stride = np.int32(columns + 3)
    padded = carray(pointer(scratch, real), (height + 3) * (columns + 3))
    rest = scratch + (height + 3) * (columns + 3) * width
    corners = carray(pointer(rest, np.int32), columns)
    downs = carray(pointer(rest + columns * width, real), columns)
    rights = carray(pointer(rest + 2 * columns * width, real), columns)
    noise_y = carray(pointer(rest + 3 * columns * width, real), columns)
    noise_x = carray(pointer(rest + 4 * columns * width, real), columns)
    for i in range(height):
        for j in range(columns):
            padded[(i + 1) * stride + j + 1] = image[i * columns + j]
    angle = values[4] * (np.pi / 180.0) * (2.0 * draw(bits, 3) - 1.0)
    cosine, sine, elastic = np.cos(angle), np.sin(angle), values[6]
    zoom_y, zoom_x = 1.0 + values[5] * (2.0 * draw(bits, 4) - 1.0), 1.0 + values[5] * (2.0 * draw(bits, 5) - 1.0)
    middle_y, middle_x = (height - 1) / 2.0, (columns - 1) / 2.0
    last_y, last_x = height + 1.0, columns + 1.0
    slope_y, slope_x = rotate(0.0, mirror, cosine, sine, zoom_y, zoom_x)
    step_y, step_x = (NODES - 1) / max(height - 1, 1), (NODES - 1) / max(columns - 1, 1)
    left_y, left_x, change_y, change_x = 0.0, 0.0, 0.0, 0.0
    for i in range(first // columns, (last + columns - 1) // columns):
        lattice_row = min(int(i * step_y), NODES - 2)
        down = smooth(i * step_y - lattice_row)
        start_y, start_x = rotate(i - middle_y, -middle_x * mirror, cosine, sine, zoom_y, zoom_x)
        # In the image with its border, where all positions are one larger, and none is negative.
        start_y, start_x = start_y + middle_y + shift_y + 1.0, start_x + middle_x + shift_x + 1.0
        first_j, last_j = max(first - i * columns, 0), min(last - i * columns, columns)
        if elastic != 0:
            cell = -1
            for j in range(first_j, last_j):
                if cell != min(int(j * step_x), NODES - 2):
                    cell = min(int(j * step_x), NODES - 2)
                    left_y = elastic * blend_nodes(bits, 0, lattice_row, cell, down)
                    left_x = elastic * blend_nodes(bits, 1, lattice_row, cell, down)
                    change_y = elastic * blend_nodes(bits, 0, lattice_row, cell + 1, down) - left_y
                    change_x = elastic * blend_nodes(bits, 1, lattice_row, cell + 1, down) - left_x
                right = smooth(j * step_x - cell)
                noise_y[j], noise_x[j] = real(left_y + change_y * right), real(left_x + change_x * right)
        for j in range(first_j, last_j):
            y, x = start_y + slope_y * j + noise_y[j], start_x + slope_x * j + noise_x[j]
            # Farther outside, all four pixels are 0.
            y, x = min(max(y, 0.0), last_y), min(max(x, 0.0), last_x)
            row, column = np.int32(y), np.int32(x)
            corners[j], downs[j], rights[j] = row * stride + column, real(y - row), real(x - column)
        for j in range(first_j, last_j):
            corner = corners[j]
            pixels[i * columns + j - first] = interpolate(
                padded[corner], padded[corner + 1], padded[corner + stride], padded[corner + stride + 1],
                downs[j], rights[j],
            )  # fmt: skip


def augment(source, target, first, last, settings, scratch, bits):
    """Copy the pixels [first, last) of an image, changed by the random numbers that `bits` stand for.

    Args:
        source: address of the whole image.
        target: address of the pixel number `first` of the result.
        settings: address of those of `Augmenter`.
        scratch: address of zeros, as `warp_image` needs them.
        bits: of the sample's row, uint32.
    """
    values = carray(pointer(settings, np.float64), 9)
    height, columns, shift, cutout = int(values[0]), int(values[1]), values[2], int(values[7])
    image = carray(pointer(source, real), height * columns)
    pixels = carray(pointer(target, real), last - first)
    shift_y = int(draw(bits, 0) * (2.0 * shift + 1.0)) - int(shift)
    shift_x = int(draw(bits, 1) * (2.0 * shift + 1.0)) - int(shift)
    is_mirrored = values[3] != 0 and draw(bits, 2) < 0.5
    if values[4] != 0 or values[5] != 0 or values[6] != 0:
        mirror = -1.0 if is_mirrored else 1.0
        warp_image(image, height, columns, pixels, first, last, values, scratch, bits, shift_y, shift_x, mirror)
    else:
        shift_image(image, height, columns, pixels, first, last, shift_y, shift_x, is_mirrored)
    top = int(draw(bits, 6) * height) - cutout // 2
    left = int(draw(bits, 7) * columns) - cutout // 2
    for i in range(max(top, 0), min(top + cutout, height)):
        for j in range(max(left, 0), min(left + cutout, columns)):
            if first <= i * columns + j < last:
                pixels[i * columns + j - first] = real(0)
