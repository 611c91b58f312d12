"""A training step as code over layer records; compiled once for all depths, widths and batch sizes.

Each thread runs one of these functions for many consecutive steps, without Python in between:

    train_data_parallel     the threads share the samples of a batch
    train_tensor_parallel   the threads share the neurons of each layer
    evaluate                the forward pass alone

They read like nn/network.py: a loop over the layers forward, the loss, a loop over the layers backward, and the update
of each layer. What they work on is described by the records of records.py: one `THREAD` record, and one `LAYER` record
for each layer, as that thread sees it. docs/engine.md has a drawing.

The functions are compiled from their source by step_compiler.py, with `real` and `width` bound to the precision of the
network. Two terms that all of them use: an *address* is an integer that points to an array's first element, and a
*stride* is the distance in bytes between two rows of an array.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from chainrule.engine.compiled.augmentation import augment, blend_nodes, shift_image, warp_image
from chainrule.engine.compiled.barrier import arrive, wait
from chainrule.engine.compiled.dropout import drop
from chainrule.engine.compiled.intrinsics import pointer
from chainrule.engine.compiled.normalization import measure, normalize, normalize_backward, sum_slopes
from chainrule.engine.compiled.samples import gather, gather_augmented, gather_targets, mix, prefetch_samples
from chainrule.engine.compiled.updates import (
    FUSED,
    GRADIENTS,
    UPDATES,
    copy,
    shrink_gradients,
    square_rows,
    update_layer,
)
from chainrule.nn.augmentation import draw, draw_node, draw_partner, draw_share, interpolate, rotate, smooth
from chainrule.nn.dropout import mix_bits, mix_row

__all__ = [
    "FUNCTIONS",
    "FUSED",
    "GRADIENTS",
    "LARGE",
    "ROW_BLOCK",
    "UPDATES",
    "evaluate",
    "train_data_parallel",
    "train_tensor_parallel",
]

# A result of more bytes than this is computed in blocks of rows, each of which stays in the second-level cache.
LARGE, ROW_BLOCK = 2**19, 128

# In the compiled functions, the precision of the network and its size in bytes.
real = np.float64
width = 8


def multiply(product, a, a_stride, b, b_stride, initial, out, out_stride, rows, inner, columns, indices):
    """out = initial + a b, for a (rows, inner), b (inner, columns) and initial (columns,), all row-contiguous."""
    block = ROW_BLOCK if rows > ROW_BLOCK and rows * columns * width > LARGE else max(rows, 1)
    for row in range(0, rows, block):
        product(
            a + row * a_stride, a_stride, width, b, b_stride, initial, 0, out + row * out_stride, out_stride,
            min(block, rows - row), inner, columns, indices,
        )  # fmt: skip


def multiply_inputs(layer, thread, number, rows, product):
    """z = inputs W + b of this thread's samples (data parallel); without b where normalization comes next."""
    multiply(
        product, layer.inputs, layer.inputs_stride, layer.weights, layer.fan_out * width,
        thread.zeros if layer.scales else layer.biases, layer.z, layer.fan_out * width, rows, layer.fan_in,
        layer.fan_out, thread.indices if number == 0 else 0,
    )  # fmt: skip


def drop_inputs(thread, number, rows, columns, first_row, first_column, values, stride, key):
    """Dropout of what goes into a layer, or of the derivatives of the loss with respect to it."""
    dropped = thread.dropped if number else thread.inputs_dropped
    if dropped:
        drop(values, stride, rows, columns, first_row, first_column, dropped, key, number)


def backward(layer, below, number, rows, columns, first_row, first_column, below_delta, thread, key, product,
             activation_backward):  # fmt: skip
    """dL/dy of the layer below = (delta W.T) * f'(y): all of its columns, or this thread's."""
    multiply(
        product, layer.delta, layer.delta_stride, layer.transposed, layer.transposed_stride, thread.zeros,
        below_delta, below.delta_stride, rows, layer.fan_out, columns, 0,
    )  # fmt: skip
    drop_inputs(thread, number, rows, columns, first_row, first_column, below_delta, below.delta_stride, key)
    stays = 1.0 - thread.dropped / 2.0**32
    activation_backward(below_delta, below.delta_stride // width, below.z, layer.inputs, rows, columns, stays)


def normalize_together(layer, rows, thread, sched_yield):
    """Normalize this thread's samples (data parallel). Returns False if another thread failed.

    The means need the z of the whole batch, and every thread needs the means.
    """
    if not wait(thread, arrive(thread), sched_yield):
        return False
    measure(layer, thread.rows)
    if not wait(thread, arrive(thread), sched_yield):
        return False
    normalize(layer, rows, layer.fan_out, 0)
    return True


def normalize_together_backward(layer, rows, thread, sched_yield):
    """The same for the derivatives: dL/dz of this thread's samples from dL/dy."""
    if not wait(thread, arrive(thread), sched_yield):
        return False
    sum_slopes(layer, thread.rows)
    if not wait(thread, arrive(thread), sched_yield):
        return False
    normalize_backward(layer, layer.delta, rows, layer.fan_out, 0, thread.rows)
    return True


def multiply_partially(layer, thread, indices, product):
    """This thread's blocks of the product inputs W, each on its own (tensor parallel)."""
    start = layer.fan_in * layer.first_block // layer.blocks
    for block in range(layer.first_block, layer.last_block):
        first, last = layer.fan_in * block // layer.blocks, layer.fan_in * (block + 1) // layer.blocks
        multiply(
            product, layer.inputs + (first - start) * width, layer.inputs_stride,
            layer.weights + first * layer.fan_out * width, layer.fan_out * width, thread.zeros,
            layer.partials + block * thread.rows * layer.fan_out * width, layer.fan_out * width,
            thread.rows, last - first, layer.fan_out, indices,
        )  # fmt: skip


def sum_partials(layer, thread, first_row, last_row, first_column, last_column):
    """z = b + the sum of the blocks, in order, for some rows and columns; written contiguously."""
    columns = last_column - first_column
    initial = thread.zeros if layer.scales else layer.biases + first_column * width
    biases = carray(pointer(initial, real), columns)
    for row in range(first_row, last_row):
        z = carray(pointer(layer.z + (row - first_row) * columns * width, real), columns)
        for column in range(columns):
            z[column] = biases[column]
        for block in range(layer.blocks):
            start = (block * thread.rows + row) * layer.fan_out + first_column
            partial = carray(pointer(layer.partials + start * width, real), columns)
            for column in range(columns):
                z[column] += partial[column]


def reduce_loss(thread, step, losses, scores):
    """The mean loss of the step's samples and the sum of their scores, added up in order."""
    sample_losses = carray(pointer(thread.losses, np.float64), thread.rows)
    sample_scores = carray(pointer(thread.scores, np.float64), thread.rows)
    total, score = 0.0, 0.0
    for sample in range(thread.rows):
        total += sample_losses[sample]
        score += sample_scores[sample]
    losses[step], scores[step] = total / thread.rows, score
    return losses[step]


def train_data_parallel(
    threads, layers, x, targets, order_, first, steps, t, decay, rates, hyperparameters, scalars, constants, losses,
    scores, sched_yield, product, transpose, activate, activation_backward, loss, step_scalars, update,
):  # fmt: skip
    """Take steps in which each thread computes the forward and backward pass of its samples.

    Then each computes the gradients of its rows of the weights over the whole batch, and updates them. The threads meet
    twice a step, and more often if layers are normalized or the norm of the gradients is clipped.

    Args:
        threads: this thread's record, (1,) THREAD.
        layers: its records of the layers, (depth,) LAYER.
        x: address of all samples, (samples, features), contiguous.
        targets: address of their targets.
        order_: address of the samples' indices in the order of training, int64.
        first: where in the order the first step's samples start.
        steps: how many to take.
        t: optimizer steps taken before.
        decay: the weight decay, or 0.
        rates: factors of the learning rate for the weights of the first layer, of the last, and for biases and scales;
            and the norm to which all gradients are scaled down.
        hyperparameters: address of those of the optimizer, float64.
        scalars: address of this thread's copy of the optimizer's scalars, float64.
        constants: address of this thread's copy of the constants of `update`.
        losses: (steps,), the mean loss of each step; written.
        scores: (steps,), the sum of the samples' scores of each step; written.
        sched_yield, product, transpose, activate, ...: the functions that it calls.

    Returns:
        The number of steps run: `steps`, or fewer if the last one's loss is not finite, in which case that step
        was not taken; -1 if another thread failed.
    """
    thread, last = threads[0], len(layers) - 1
    order = carray(pointer(order_, np.int64), first + steps * thread.rows)
    rows = thread.last_sample - thread.first_sample
    for step in range(steps):
        position = first + step * thread.rows
        following = position + thread.rows if step + 1 < steps else -1
        key = mix_row(np.uint64(thread.seed), np.uint64(0), np.uint64(t + step))
        gather(x, order, position, thread, layers[0], key)
        for number in range(last + 1):
            layer = layers[number]
            drop_inputs(
                thread, number, rows, layer.fan_in, thread.first_sample, 0, layer.inputs, layer.inputs_stride,
                key,
            )  # fmt: skip
            multiply_inputs(layer, thread, number, rows, product)
            if layer.scales and not normalize_together(layer, rows, thread, sched_yield):
                return -1
            if number < last:
                activate(layer.z, layers[number + 1].inputs, rows * layer.fan_out)
        gather_targets(targets, order, position, thread, key)
        loss(
            layers[last].z, thread.targets, layers[last].delta, rows, layers[last].fan_out, thread.rows,
            thread.losses + thread.first_sample * 8, thread.scores + thread.first_sample * 8, thread.loss_constants,
            thread.weights if thread.all_weights else 0,
        )  # fmt: skip
        for number in range(last, 0, -1):
            layer, below = layers[number], layers[number - 1]
            backward(
                layer, below, number, rows, layer.fan_in, thread.first_sample, 0, below.delta, thread, key, product,
                activation_backward,
            )  # fmt: skip
            if below.scales and not normalize_together_backward(below, rows, thread, sched_yield):
                return -1
        # The gradients need the inputs and deltas of the whole batch.
        if not wait(thread, arrive(thread), sched_yield):
            return -1
        mean = reduce_loss(thread, step, losses, scores)
        if not np.isfinite(mean):
            return step + 1
        step_scalars(hyperparameters, scalars, t + step + 1, mean, constants)
        done, stage = 0, FUSED
        if thread.gradients:
            for number in range(last + 1):
                update_layer(
                    layers[number], number, last, thread, GRADIENTS, x, order, following, 0, constants, decay, rates,
                    product, transpose, update,
                )  # fmt: skip
            if not wait(thread, arrive(thread), sched_yield):
                return -1
            shrink_gradients(thread, rates[3], constants)
            stage = UPDATES
        for number in range(last + 1):
            done = update_layer(
                layers[number], number, last, thread, stage, x, order, following, done, constants, decay, rates,
                product, transpose, update,
            )  # fmt: skip
        # The next forward pass needs the weights of all threads.
        if not wait(thread, arrive(thread), sched_yield):
            return -1
    return steps


def train_tensor_parallel(
    threads, layers, x, targets, order_, first, steps, t, decay, rates, hyperparameters, scalars, constants, losses,
    scores, sched_yield, product, transpose, activate, activation_backward, loss, step_scalars, update,
):  # fmt: skip
    """Take steps in which each thread keeps the same neurons of every layer, and the weights that lead out of them.

    Weights never travel between cores, partial sums of z do, and the threads meet twice a layer: better for small
    batches. Arguments and result as in `train_data_parallel`.
    """
    thread, last = threads[0], len(layers) - 1
    order = carray(pointer(order_, np.int64), first + steps * thread.rows)
    for step in range(steps):
        position = first + step * thread.rows
        following = position + thread.rows if step + 1 < steps else -1
        key = mix_row(np.uint64(thread.seed), np.uint64(0), np.uint64(t + step))
        gather(x, order, position, thread, layers[0], key)
        for number in range(last + 1):
            layer = layers[number]
            drop_inputs(
                thread, number, thread.rows, layer.last_row - layer.first_row, 0, layer.first_row, layer.inputs,
                layer.inputs_stride, key,
            )  # fmt: skip
            multiply_partially(layer, thread, thread.indices if number == 0 else 0, product)
            if not wait(thread, arrive(thread), sched_yield):
                return -1
            if number < last:
                above = layers[number + 1]
                sum_partials(layer, thread, 0, thread.rows, above.first_row, above.last_row)
                if layer.scales:
                    measure(layer, thread.rows)
                    normalize(layer, thread.rows, above.last_row - above.first_row, above.first_row)
                activate(layer.z, above.inputs, thread.rows * (above.last_row - above.first_row))
            else:
                sum_partials(layer, thread, thread.first_sample, thread.last_sample, 0, layer.fan_out)
        gather_targets(targets, order, position, thread, key)
        loss(
            layers[last].z, thread.targets, layers[last].delta + thread.first_sample * layers[last].delta_stride,
            thread.last_sample - thread.first_sample, layers[last].fan_out, thread.rows,
            thread.losses + thread.first_sample * 8, thread.scores + thread.first_sample * 8, thread.loss_constants,
            thread.weights if thread.all_weights else 0,
        )  # fmt: skip
        if not wait(thread, arrive(thread), sched_yield):
            return -1
        mean = reduce_loss(thread, step, losses, scores)
        if not np.isfinite(mean):
            return step + 1
        step_scalars(hyperparameters, scalars, t + step + 1, mean, constants)
        done, goal = 0, 0
        stage = GRADIENTS if thread.gradients else FUSED
        for number in range(last, -1, -1):
            layer = layers[number]
            if number > 0:
                below = layers[number - 1]
                own_delta = below.delta + layer.first_row * width
                columns = layer.last_row - layer.first_row
                backward(
                    layer, below, number, thread.rows, columns, 0, layer.first_row, own_delta, thread, key, product,
                    activation_backward,
                )  # fmt: skip
                if below.scales:
                    sum_slopes(below, thread.rows)
                    normalize_backward(below, own_delta, thread.rows, columns, layer.first_row, thread.rows)
                goal = arrive(thread)
            # Between arriving and waiting, because no other thread reads the weights that this one keeps.
            done = update_layer(
                layer, number, last, thread, stage, x, order, following, done, constants, decay, rates, product,
                transpose, update,
            )  # fmt: skip
            if number > 0 and not wait(thread, goal, sched_yield):
                return -1
        if thread.gradients:
            if not wait(thread, arrive(thread), sched_yield):
                return -1
            shrink_gradients(thread, rates[3], constants)
            for number in range(last + 1):
                done = update_layer(
                    layers[number], number, last, thread, UPDATES, x, order, following, done, constants, decay, rates,
                    product, transpose, update,
                )  # fmt: skip
    return steps


def evaluate(threads, layers, x, order_, first, steps, logits, product, activate):
    """Compute the logits of consecutive batches: the forward pass, and their copy to where they go.

    Args:
        logits: address of the output, (samples, k), contiguous: row i belongs to the sample at `order[first + i]`.
        threads, layers, x, order_, first, steps, product, activate: as in `train_data_parallel`.

    Returns:
        `steps`.
    """
    thread, output = threads[0], layers[len(layers) - 1]
    order = carray(pointer(order_, np.int64), first + steps * thread.rows)
    rows = thread.last_sample - thread.first_sample
    size = rows * output.fan_out
    for step in range(steps):
        gather(x, order, first + step * thread.rows, thread, layers[0], np.uint64(0))
        for number in range(len(layers)):
            layer = layers[number]
            multiply_inputs(layer, thread, number, rows, product)
            if number < len(layers) - 1:
                activate(layer.z, layers[number + 1].inputs, rows * layer.fan_out)
        start = (step * thread.rows + thread.first_sample) * output.fan_out
        source = carray(pointer(output.z, real), size)
        target = carray(pointer(logits + start * width, real), size)
        for element in range(size):
            target[element] = source[element]
    return steps


# What the three call, callees first.
FUNCTIONS = (
    *(mix_row, mix_bits, draw, draw_node, smooth, rotate, interpolate, blend_nodes, shift_image),
    *(warp_image, augment, draw_partner, draw_share, mix, gather_augmented),
    *(gather, gather_targets, prefetch_samples, arrive, wait, multiply, drop, multiply_inputs),
    *(drop_inputs, backward, multiply_partially, sum_partials, measure, normalize, sum_slopes, normalize_backward),
    *(normalize_together, normalize_together_backward, reduce_loss, copy, square_rows, shrink_gradients, update_layer),
)
