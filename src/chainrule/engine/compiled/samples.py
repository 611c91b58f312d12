"""How a step gets its samples, as a part of the step functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from chainrule.engine.compiled.augmentation import augment
from chainrule.engine.compiled.intrinsics import pointer, prefetch
from chainrule.nn.augmentation import LAYER_NUMBER, draw_partner, draw_share
from chainrule.nn.dropout import mix_row

__all__ = ["gather", "gather_augmented", "gather_targets", "mix", "prefetch_samples"]

# Bound to the precision of the network, and its size in bytes, when the step functions are compiled.
real: Any = np.float64
width = 8


def gather(x, order, position, thread, first, key):
    """Copy this thread's samples, or its columns of all samples, into the inputs of the first layer."""
    columns = thread.last_column - thread.first_column
    for row in range(thread.last_gathered - thread.first_gathered):
        sample = order[position + thread.first_gathered + row]
        if thread.augmentation:
            own = first.inputs + row * first.inputs_stride
            gather_augmented(x, order, position, thread, thread.first_gathered + row, own, key)
            continue
        source = carray(pointer(x + (sample * thread.features + thread.first_column) * width, real), columns)
        target = carray(pointer(first.inputs + row * first.inputs_stride, real), columns)
        for column in range(columns):
            target[column] = source[column]


def gather_augmented(x, order, position, thread, row, target, key):
    """Copy this thread's columns of the sample number `row` of the batch, changed at random."""
    bits = np.uint32(mix_row(key, np.uint64(LAYER_NUMBER), np.uint64(row)))
    columns, size = thread.last_column - thread.first_column, thread.features * width
    scratch = thread.scratch + size
    augment(
        x + order[position + row] * size, target, thread.first_column, thread.last_column, thread.augmentation,
        scratch, bits,
    )  # fmt: skip
    mixup = carray(pointer(thread.augmentation, np.float64), 9)[8]
    if mixup > 0:
        partner = draw_partner(bits, row, thread.rows)
        partner_bits = np.uint32(mix_row(key, np.uint64(LAYER_NUMBER), np.uint64(partner)))
        augment(
            x + order[position + partner] * size, thread.scratch, thread.first_column, thread.last_column,
            thread.augmentation, scratch, partner_bits,
        )  # fmt: skip
        mix(target, thread.scratch, columns, real(draw_share(bits, mixup)))


def mix(values, others, n, share):
    """values <- share * values + (1 - share) * others, for n numbers each."""
    values_, others_ = carray(pointer(values, real), n), carray(pointer(others, real), n)
    for i in range(n):
        values_[i] = share * values_[i] + (real(1) - share) * others_[i]


def gather_targets(targets, order, position, thread, key):
    """Copy the targets and the weights of the samples whose loss this thread computes."""
    words = thread.target_words
    mixup = carray(pointer(thread.augmentation, np.float64), 9)[8] if thread.augmentation else 0.0
    for row in range(thread.last_sample - thread.first_sample):
        sample = order[position + thread.first_sample + row]
        source = carray(pointer(targets + sample * words * 4, np.int32), words)
        target = carray(pointer(thread.targets + row * words * 4, np.int32), words)
        for word in range(words):
            target[word] = source[word]
        if mixup > 0:
            bits = np.uint32(mix_row(key, np.uint64(LAYER_NUMBER), np.uint64(thread.first_sample + row)))
            partner = order[position + draw_partner(bits, thread.first_sample + row, thread.rows)]
            mix(
                thread.targets + row * words * 4, targets + partner * words * 4, words * 4 // width,
                real(draw_share(bits, mixup)),
            )  # fmt: skip
        if thread.all_weights:
            weight = carray(pointer(thread.all_weights + sample * width, real), 1)[0]
            carray(pointer(thread.weights + row * width, real), 1)[0] = weight


def prefetch_samples(x, order, position, thread, update):
    """Prefetch some of the samples that the next step will gather, after update number `update` of this step.

    Updates compute more than they read, so the reads are spread evenly over them.
    """
    rows = thread.last_gathered - thread.first_gathered
    first = (update * rows + thread.updates - 1) // thread.updates
    last = ((update + 1) * rows + thread.updates - 1) // thread.updates
    for row in range(first, last):
        sample = order[position + thread.first_gathered + row]
        start = x + (sample * thread.features + thread.first_column) * width
        for line in range(start, start + (thread.last_column - thread.first_column) * width, 64):
            prefetch(line)
