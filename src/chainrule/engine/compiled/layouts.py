"""How the threads share the work of a step: by samples or by neurons. No number depends on it.

By samples, each thread goes forward and backward with its part of the batch; then each computes the gradients of its
part of the weights over the whole batch and updates them. They meet twice a step. But each reads all weights, most of
which others have just changed, so they travel from core to core.

By neurons, each thread keeps the same neurons of every layer: their part of z, a and delta, and the weights that lead
out of them. Weights never travel; sums do, and the threads meet twice a layer. That is better for small batches, as
long as each layer's product has a block for every thread.
"""

from __future__ import annotations

import itertools

from chainrule.engine.compiled import driver as do
from chainrule.engine.compiled.products import blocks
from chainrule.engine.compiled.table import Learning, Space, Thread
from chainrule.nn.parameters import Array, aligned_zeros

__all__ = ["by_neurons", "by_samples", "keeps_neurons"]

# Samples up to which the sums that travel are fewer than the weights that would.
_FEW_ROWS = 64


def keeps_neurons(space: Space) -> bool:
    """Whether to share the work by neurons."""
    layers = space.parameters.layers()
    enough = all(len(blocks(len(weights))) >= space.threads for weights, _ in layers)
    return space.threads > 1 and space.rows <= _FEW_ROWS and enough


def by_samples(space: Space, learning: Learning | None) -> list[Thread]:
    """The threads of a step, or without `learning` of an evaluation, that share the samples."""
    rows, sizes, dtype = space.rows, space.parameters.sizes, space.parameters.flat.dtype
    # All but the output layer's: the inputs and the hidden layers' a.
    inputs = [aligned_zeros((rows, size), dtype) for size in sizes[:-1]]
    threads = [Thread(space, number) for number in range(space.threads)]
    transposes: dict[int, Array] = {}
    if learning:
        above = enumerate(space.parameters.layers()[1:], start=1)
        transposes = {layer: learning.transpose(weights) for layer, (weights, _) in above}
    for thread in threads:
        mine = thread.mine
        thread.fetch(inputs[0][mine], mine, slice(0, sizes[0]))
        zs = []
        for layer, (weights, biases) in enumerate(thread.layers):
            last = layer == len(thread.layers) - 1
            z = space.logits[mine] if last else thread.array(mine.stop - mine.start, biases.size)
            thread.table.product(inputs[layer][mine], weights, biases, z, zeros=layer == 0 and space.zeros)
            if not last:
                thread.activate(z, inputs[layer + 1][mine])
                zs.append(z)
        if learning is None:
            thread.store()
            continue
        thread.loss()
        for layer in reversed(range(1, len(thread.layers))):
            delta, below = space.delta[layer][mine], space.delta[layer - 1][mine]
            thread.backward(delta, transposes[layer], below, zs[layer - 1], inputs[layer][mine])
        thread.arrive()
        thread.wait()
        thread.finish()
        for layer, (weights, _) in enumerate(thread.layers):
            own = thread.share(len(weights))
            transpose = transposes[layer][:, own] if layer else None
            thread.learn(learning, layer, inputs[layer][:, own], own, transpose)
        thread.arrive()
        thread.wait()
        thread.prefetch(mine, slice(0, sizes[0]))
    return threads


def by_neurons(space: Space, learning: Learning) -> list[Thread]:
    """The threads of a step that share the neurons of each layer."""
    rows, sizes, dtype = space.rows, space.parameters.sizes, space.parameters.flat.dtype
    # The blocks of two layers in turn: a thread that is a layer ahead does not overwrite what another still adds up.
    largest = max(len(blocks(fan_in)) * rows * fan_out for fan_in, fan_out in itertools.pairwise(sizes))
    sums = [aligned_zeros(largest, dtype) for _ in range(2)]
    threads = [Thread(space, number) for number in range(space.threads)]
    for thread in threads:
        kept = [_kept(thread, size) for size in sizes[:-1]]
        inputs = [thread.array(rows, neurons.stop - neurons.start) for neurons in kept]
        zs = [thread.array(*a.shape) for a in inputs[1:]]
        thread.fetch(inputs[0], slice(0, rows), kept[0])
        for layer, a in enumerate(inputs):
            place = _multiply(thread, layer, a, kept[layer], sums[layer % 2])
            if layer < len(inputs) - 1:
                _add_up(thread, layer, place[:, :, kept[layer + 1]], kept[layer + 1], zs[layer])
                thread.activate(zs[layer], inputs[layer + 1])
            else:
                _add_up(thread, layer, place[:, thread.mine], slice(0, sizes[-1]), space.logits[thread.mine])
        thread.loss()
        thread.arrive()
        thread.wait()
        thread.finish()
        for layer in reversed(range(len(inputs))):
            transpose = None
            if layer:
                transpose = learning.transpose(thread.layers[layer][0][kept[layer]])
                below = space.delta[layer - 1][:, kept[layer]]
                thread.backward(space.delta[layer], transpose, below, zs[layer - 1], inputs[layer])
                thread.arrive()
            # The others can go on meanwhile: nobody else reads the weights that this thread keeps.
            thread.learn(learning, layer, inputs[layer], kept[layer], transpose)
            if layer:
                thread.wait()
        thread.prefetch(slice(0, rows), kept[0])
    return threads


def _kept(thread: Thread, size: int) -> slice:
    """The neurons of a layer of this size that a thread keeps: whole blocks of the product with the next weights."""
    parts = blocks(size)
    own = parts[thread.share(len(parts))]
    return slice(own[0].start, own[-1].stop)


def _multiply(thread: Thread, layer: int, a: Array, kept: slice, memory: Array) -> Array:
    """The products of the inputs that a thread keeps with their weights, a block each.

    Args:
        thread: which.
        layer: which.
        a: the inputs that it keeps, (rows, c).
        kept: their places among all.
        memory: for the blocks of all threads.

    Returns:
        The blocks of all threads, (blocks, rows, h).
    """
    (weights, biases), rows = thread.layers[layer], thread.space.rows
    parts = blocks(len(weights))
    products = memory[: len(parts) * rows * biases.size].reshape(len(parts), rows, biases.size)
    for part, out in zip(parts, products, strict=True):
        if kept.start <= part.start < kept.stop:
            here = slice(part.start - kept.start, part.stop - kept.start)
            zeros = layer == 0 and thread.space.zeros
            thread.table.product(a[:, here], weights[part], thread.space.nothing, out, zeros=zeros)
    thread.arrive()
    thread.wait()
    return products


def _add_up(thread: Thread, layer: int, products: Array, columns: slice, z: Array) -> None:
    """z of some samples and columns, from their products (blocks, n, c)."""
    between, step, _ = (stride // products.itemsize for stride in products.strides)
    biases = thread.layers[layer][1][columns]
    thread.table.add(do.BLOCKS, products, between, step, biases, z, *products.shape)
