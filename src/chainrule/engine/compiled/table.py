"""What a thread does in a step, written down as operations for the driver; layouts.py says how they share the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chainrule.engine.compiled import driver as do
from chainrule.engine.compiled.products import picks
from chainrule.nn.parameters import Array, ParameterDict, aligned_zeros

__all__ = ["Learning", "Space", "Table", "Thread", "spaced_zeros"]

# Weights whose gradient is computed before they are updated: they, it and the slots fit into a core's nearest cache.
_PIECE = 8192
# Larger pieces where the deltas of a batch do not fit into the second cache, and come from far for every piece.
_LARGE_PIECE = 32768
# Bytes of a matrix that is large in this sense; rows of it that are not.
_LARGE, _ROWS = 2**19, 128
# Rows of weights in a piece are a multiple of this, so that whole blocks are turned for the transpose.
_BLOCK = 16
_CACHE_LINE = 64


class Table:
    """Collects the operations of one thread, and keeps the arrays that they point into."""

    def __init__(self) -> None:
        self._operations: list[list[int]] = []
        self._arrays: list[Any] = []

    def add(self, kind: int, *values: Array | NDArray[np.int64] | NDArray[np.int32] | int) -> None:
        """One operation. An array stands for its address."""
        numbers = []
        for value in values:
            if not isinstance(value, int):
                self._arrays.append(value)
                value = value.ctypes.data
            numbers.append(value)
        self._operations.append([kind, *numbers, *[0] * (13 - len(numbers))])

    def product(self, a: Array, b: Array, start: Array, out: Array, *, zeros: bool = False) -> None:
        """out = start + a b.

        Args:
            a: (n, c), of which the rows or the columns are unbroken.
            b: (c, h), with unbroken rows.
            start: (h,), the same for all rows.
            out: (n, h), with unbroken rows.
            zeros: whether `a` is known to hold so many zeros that it pays to look for them.
        """
        if out.nbytes > _LARGE and len(a) > _ROWS:
            # Each part of the result stays in the core's second cache while its blocks are added up.
            for first in range(0, len(a), _ROWS):
                part = slice(first, first + _ROWS)
                self.product(a[part], b, start, out[part], zeros=zeros)
            return
        places = np.zeros(picks(len(a), str(a.dtype)), np.int32) if zeros else 0
        self.add(
            do.PRODUCT, a, *a.strides, b, b.strides[0], start, 0, out, out.strides[0], *a.shape, b.shape[1], places
        )  # fmt: skip

    def spread(self, after: int, operations: Sequence[Sequence[int]]) -> None:
        """Insert operations, spread evenly over the places behind those of a kind."""
        places = [place for place, operation in enumerate(self._operations, start=1) if operation[0] == after]
        if not places:
            return
        for number, operation in reversed(list(enumerate(operations))):
            place = places[number * len(places) // len(operations)]
            self._operations.insert(place, [*operation, *[0] * (14 - len(operation))])

    def finished(self) -> NDArray[np.int64]:
        """All of them, (operations, 14)."""
        return np.array(self._operations, np.int64).reshape(-1, 14)


def spaced_zeros(rows: int, columns: int, dtype: DTypeLike) -> Array:
    """Zeros whose rows do not begin a multiple of 1 KiB apart, of which a cache could hold only a few at a time."""
    line = _CACHE_LINE // np.dtype(dtype).itemsize
    gap = line if columns * np.dtype(dtype).itemsize % 1024 == 0 else 0
    return aligned_zeros((rows, columns + gap), dtype)[:, :columns]


class Space:
    """What the threads share in a step for so many samples.

    Attributes:
        zeros: whether the samples hold many zeros.
        logits: the output layer's z, (rows, k).
        delta: the loss's derivative with respect to each layer's z, (rows, h).
        nothing: a row of zeros as wide as any layer.
    """

    def __init__(self, parameters: ParameterDict, rows: int, threads: int, *, zeros: bool) -> None:
        dtype, sizes = parameters.flat.dtype, parameters.sizes
        self.parameters, self.rows, self.threads, self.zeros = parameters, rows, threads, zeros
        self.logits = aligned_zeros((rows, sizes[-1]), dtype)
        hidden = [spaced_zeros(rows, size, dtype) for size in sizes[1:-1]]
        self.delta = [*hidden, aligned_zeros((rows, sizes[-1]), dtype)]
        self.losses, self.hits = np.zeros(rows), np.zeros(threads * do.LINE, np.int64)
        self.meeting = np.zeros(do.LINE, np.int64)
        self.ones, self.nothing = np.ones((1, rows), dtype), aligned_zeros(max(sizes), dtype)


class Learning:
    """What belongs to a training step, and to no evaluation.

    Attributes:
        transposes: pairs of weights, or some of their rows, and an array for their transpose. It must be right when
            steps begin; they keep it up.
    """

    def __init__(self, parameters: ParameterDict, slots: Sequence[Array]) -> None:
        self.flat, self.slots = parameters.flat, slots
        self.addresses = np.array([slot.ctypes.data for slot in slots] or [0], np.int64)
        self.transposes: list[tuple[Array, Array]] = []

    def transpose(self, weights: Array) -> Array:
        """An array for the transpose of some weights, (h, n) for (n, h)."""
        transpose = spaced_zeros(weights.shape[1], weights.shape[0], weights.dtype)
        self.transposes.append((weights, transpose))
        return transpose


class Thread:
    """Writes down what one of the threads does; layouts.py says in which order.

    Args:
        space: what the threads share.
        me: its number.

    Attributes:
        table: what was written down.
        mine: the samples of the batch whose loss is this thread's to compute.
    """

    def __init__(self, space: Space, me: int) -> None:
        self.space, self.table, self._me = space, Table(), me
        self.layers, self._dtype = space.parameters.layers(), space.parameters.flat.dtype
        self.mine = self.share(space.rows)
        self._labels = np.zeros(self.mine.stop - self.mine.start, np.int64)
        self._piece = _LARGE_PIECE if max(delta.nbytes for delta in space.delta) > _LARGE else _PIECE
        self._gradient = aligned_zeros(max(self._piece, _BLOCK * max(space.parameters.sizes)), self._dtype)

    def share(self, length: int) -> slice:
        """The part of `length` that this thread does."""
        return slice(length * self._me // self.space.threads, length * (self._me + 1) // self.space.threads)

    def array(self, rows: int, columns: int) -> Array:
        """An array of this thread's own."""
        return aligned_zeros((rows, columns), self._dtype)

    def arrive(self) -> None:
        """Tell the other threads that this one has come so far."""
        if self.space.threads > 1:
            self.table.add(do.ARRIVE, self.space.meeting, self.space.threads)

    def wait(self) -> None:
        """Wait until they have come so far, too."""
        if self.space.threads > 1:
            self.table.add(do.WAIT, self.space.meeting)

    def fetch(self, x: Array, samples: slice, columns: slice) -> None:
        """Some columns of some samples."""
        d = len(self.layers[0][0])
        self.table.add(do.GATHER, x, x.strides[0] // x.itemsize, samples.start, len(x), columns.start, x.shape[1], d)

    def prefetch(self, samples: slice, columns: slice) -> None:
        """Bring what the next step will fetch nearer, spread over the updates, which compute more than they read."""
        d, width = len(self.layers[0][0]), columns.stop - columns.start
        operations = [
            (do.PREFETCH, sample, 1, columns.start, width, d) for sample in range(samples.start, samples.stop)
        ]
        self.table.spread(do.UPDATE, operations)

    def activate(self, z: Array, a: Array) -> None:
        """a = f(z), both in unbroken memory."""
        self.table.add(do.ACTIVATE, z, a, z.size)

    def backward(self, delta: Array, transpose: Array, below: Array, z: Array, a: Array) -> None:
        """delta of the layer below, or some of its columns: below = (delta transpose) f'(z, a)."""
        self.table.product(delta, transpose, self.space.nothing, below)
        self.table.add(do.SLOPE, below, below.strides[0] // below.itemsize, z, a, *z.shape)

    def store(self) -> None:
        """Put the logits where the program is told to."""
        z = self.space.logits[self.mine]
        k = z.shape[1]
        self.table.add(do.STORE, z, 0, self.mine.start * k, self.space.rows * k, z.size)

    def loss(self) -> None:
        """The loss of this thread's samples, and delta of the last layer."""
        space = self.space
        self.table.add(do.LABELS, self._labels, self.mine.start, len(self._labels))
        z, delta, hits = space.logits[self.mine], space.delta[-1][self.mine], space.hits[self._me * do.LINE :]
        self.table.add(do.LOSS, z, self._labels, delta, *z.shape, space.rows, hits, space.losses[self.mine])

    def finish(self) -> None:
        """The mean loss, once all threads have computed theirs, and the scalars of the step."""
        self.table.add(do.FINISH, self.space.losses, self.space.hits, self.space.threads, self.space.rows)

    def learn(self, learning: Learning, layer: int, a: Array, rows: slice, transpose: Array | None) -> None:
        """The gradient and the update of some rows of a layer's weights, a piece at a time, and of some of its biases.

        Args:
            learning: what updates need.
            layer: which.
            a: the columns of the layer's inputs that belong to these rows, for the whole batch.
            rows: which.
            transpose: the columns of the transpose that belong to these rows, (h, rows); None where nobody needs it.
        """
        (weights, biases), delta, nothing = self.layers[layer], self.space.delta[layer], self.space.nothing
        step = max(1, self._piece // biases.size // _BLOCK) * _BLOCK
        for start in range(rows.start, rows.stop, step):
            piece = slice(start, min(start + step, rows.stop))
            part, here = weights[piece], slice(piece.start - rows.start, piece.stop - rows.start)
            slopes = self._gradient[: part.size].reshape(part.shape)
            self.table.product(a[:, here].T, delta, nothing, slopes, zeros=layer == 0 and self.space.zeros)
            self._update(learning, part, 1)
            if transpose is not None:
                turned = transpose[:, here]
                self.table.add(do.TURN, part, part.strides[0], turned, turned.strides[0], *part.shape)
        own = self.share(biases.size)
        if own.stop > own.start:
            sums = self._gradient[: own.stop - own.start].reshape(1, -1)
            self.table.product(self.space.ones, delta[:, own], nothing, sums)
            self._update(learning, biases[own], 0)

    def _update(self, learning: Learning, values: Array, decays: int) -> None:
        """The update of an unbroken run of parameters, with the gradient just computed."""
        skip = (values.ctypes.data - learning.flat.ctypes.data) // values.itemsize
        self.table.add(do.UPDATE, values, self._gradient, learning.addresses, skip, values.size, decays)
