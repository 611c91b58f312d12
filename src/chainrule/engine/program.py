"""A network's training step laid out as tables of operations, one table a thread.

A step has two parts. First each thread takes its share of the batch's samples and goes forward and backward with them;
no thread needs another's results. Then each takes its share of the parameters, computes their gradients over the whole
batch and updates them. Two barriers keep the parts apart.

Matrix products are cut into pieces that BLAS multiplies without rearranging its operands first, which for small batches
would take longer than the product itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.arrays import Array, ParameterDict, aligned_zeros
from chainrule.engine import driver as do

__all__ = ["Program", "evaluation_program", "training_program"]

# Multiplications in a product up to which OpenBLAS has kernels that use the operands where they lie.
_SMALL_PRODUCT = 1_000_000
# Inner length of a piece: longer ones gained nothing, shorter ones lost.
_INNER = 200
# Numbers of different threads stand a cache line apart, or each would wait for the other's.
_LINE = 8


@dataclass
class Program:
    """Tables for the driver, and the arrays that they point into.

    Attributes:
        tables: for each thread its operations, (operations, 14) int64.
        rows: samples that a step takes.
        logits: the output layer's z, (rows, k).
        arrays: everything that must stay in memory as long as the program does.
    """

    tables: list[NDArray[np.int64]]
    rows: int
    logits: Array
    arrays: list[Any] = field(repr=False)


class _Builder:
    """Collects the operations of one thread, and the numbers that BLAS wants to have addresses of."""

    def __init__(self, dtype: np.dtype[Any], arrays: list[Any]) -> None:
        self._operations: list[list[int]] = []
        self._whole: NDArray[np.int32] = np.zeros(4096, np.int32)
        self._places: dict[int, int] = {}
        self._factors = np.array([0, 1], dtype)
        self._letters = np.frombuffer(b"NT", np.uint8).copy()
        self._width = dtype.itemsize
        arrays += [self._whole, self._factors, self._letters]

    def add(self, kind: int, *values: int) -> None:
        """One operation."""
        self._operations.append([kind, *values, *[0] * (13 - len(values))])

    def table(self) -> NDArray[np.int64]:
        """All of them."""
        return np.array(self._operations, np.int64).reshape(-1, 14)

    def _number(self, value: int) -> int:
        """The address of a whole number."""
        if value not in self._places:
            self._places[value] = len(self._places)
            self._whole[self._places[value]] = value
        return int(self._whole.ctypes.data) + 4 * self._places[value]

    def product(self, a: _Matrix, b: _Matrix, out: _Matrix, *, accumulate: bool) -> None:
        """out (+)= a @ b. To BLAS, which goes by columns, these are the transposes: out' = b' @ a'."""
        letters, factors = int(self._letters.ctypes.data), int(self._factors.ctypes.data)
        self.add(
            do.PRODUCT,
            letters + b.transposed,
            letters + a.transposed,
            self._number(out.columns),
            self._number(out.rows),
            self._number(a.columns),
            factors + self._width,
            b.address,
            self._number(b.stride),
            a.address,
            self._number(a.stride),
            factors + self._width * accumulate,
            out.address,
            self._number(out.stride),
        )


@dataclass(frozen=True)
class _Matrix:
    """A part of a row-major array, seen as it is or transposed."""

    address: int
    rows: int
    columns: int
    stride: int
    width: int
    transposed: bool = False

    @classmethod
    def of(cls, array: Array) -> _Matrix:
        """A whole array."""
        rows, columns = array.shape
        return cls(array.ctypes.data, rows, columns, columns, array.itemsize)

    def part(self, rows: slice = slice(None), columns: slice = slice(None)) -> _Matrix:
        """Some rows and columns, as seen."""
        r, c = range(self.rows)[rows], range(self.columns)[columns]
        down, right = (1, self.stride) if self.transposed else (self.stride, 1)
        return _Matrix(
            self.address + self.width * (r.start * down + c.start * right), len(r), len(c), self.stride, self.width,
            self.transposed,
        )  # fmt: skip

    @property
    def T(self) -> _Matrix:  # noqa: N802
        """The transpose."""
        return _Matrix(self.address, self.columns, self.rows, self.stride, self.width, not self.transposed)


def _cuts(length: int, parts: int) -> list[slice]:
    """`length` cut into `parts` nearly equal pieces; empty ones are left out."""
    edges = [length * part // parts for part in range(parts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _share(length: int, thread: int, threads: int) -> slice:
    """The part of `length` that a thread has to do."""
    return slice(length * thread // threads, length * (thread + 1) // threads)


class _Space:
    """The arrays of a step for n samples."""

    def __init__(self, parameters: ParameterDict, rows: int) -> None:
        dtype, sizes = parameters.flat.dtype, parameters.sizes
        self.x = aligned_zeros((rows, sizes[0]), dtype)
        self.labels = np.zeros(rows, np.int64)
        self.z = [aligned_zeros((rows, size), dtype) for size in sizes[1:]]
        self.a = [self.x, *(aligned_zeros((rows, size), dtype) for size in sizes[1:-1])]
        self.delta = [aligned_zeros((rows, size), dtype) for size in sizes[1:]]


def _forward(builder: _Builder, parameters: ParameterDict, space: _Space, mine: slice) -> None:
    """z and a of all layers for some of the samples."""
    count = mine.stop - mine.start
    builder.add(
        do.GATHER, space.x[mine].ctypes.data, space.labels[mine].ctypes.data, mine.start, count, space.x.shape[1]
    )
    layers = parameters.layers()
    for layer, (weights, biases) in enumerate(layers):
        a, z = space.a[layer][mine], space.z[layer][mine]
        builder.add(do.BIAS, biases.ctypes.data, z.ctypes.data, count, biases.size)
        pieces = _inner_pieces(count, weights.shape[1], weights.shape[0])
        for inner in _cuts(weights.shape[0], pieces):
            builder.product(
                _Matrix.of(a).part(columns=inner), _Matrix.of(weights).part(inner), _Matrix.of(z), accumulate=True
            )
        if layer < len(layers) - 1:
            builder.add(do.ACTIVATE, z.ctypes.data, space.a[layer + 1][mine].ctypes.data, z.size)


def _inner_pieces(rows: int, columns: int, inner: int) -> int:
    """Into how many pieces to cut the inner dimension of a product."""
    if rows * columns * inner <= _SMALL_PRODUCT or rows * columns * _INNER > _SMALL_PRODUCT:
        return 1
    return -(-inner // _INNER)


def training_program(
    parameters: ParameterDict, gradients: ParameterDict, slots: Sequence[Array], constants: Sequence[Array], rows: int,
    threads: int,
) -> Program:  # fmt: skip
    """The program of a training step.

    Args:
        parameters: read and updated.
        gradients: written.
        slots: the optimizer's arrays, flat.
        constants: for each thread the place of `update`'s constants.
        rows: samples a step.
        threads: how many tables to make; not more than rows.
    """
    space, dtype = _Space(parameters, rows), parameters.flat.dtype
    addresses = np.array([slot.ctypes.data for slot in slots] or [0], np.int64)
    sums, hits = np.zeros(threads * _LINE), np.zeros(threads * _LINE, np.int64)
    meeting = np.zeros(_LINE, np.int64)
    arrays: list[Any] = [space, gradients, slots, addresses, sums, hits, meeting, parameters, constants]
    tables = []
    for thread in range(threads):
        builder, mine = _Builder(dtype, arrays), _share(rows, thread, threads)
        _forward(builder, parameters, space, mine)
        builder.add(
            do.LOSS, space.z[-1][mine].ctypes.data, space.labels[mine].ctypes.data, space.delta[-1][mine].ctypes.data,
            mine.stop - mine.start, space.z[-1].shape[1], rows, hits[thread * _LINE :].ctypes.data,
            sums[thread * _LINE :].ctypes.data,
        )  # fmt: skip
        for layer in reversed(range(1, len(space.z))):
            weights = parameters.layers()[layer][0]
            below, delta = space.delta[layer - 1][mine], space.delta[layer][mine]
            builder.product(_Matrix.of(delta), _Matrix.of(weights).T, _Matrix.of(below), accumulate=False)
            z, a = space.z[layer - 1][mine], space.a[layer][mine]
            builder.add(do.SLOPE, below.ctypes.data, z.ctypes.data, a.ctypes.data, below.size)
        _meet(builder, meeting, threads)
        builder.add(do.FINISH, sums.ctypes.data, hits.ctypes.data, threads, rows)
        _gradients(builder, gradients, space, thread, threads)
        _updates(builder, parameters, gradients, addresses, thread, threads)
        _meet(builder, meeting, threads)
        tables.append(builder.table())
    return Program(tables, rows, space.z[-1], arrays)


def _meet(builder: _Builder, meeting: NDArray[np.int64], threads: int) -> None:
    """Wait for the other threads, if there are any."""
    if threads > 1:
        builder.add(do.BARRIER, meeting.ctypes.data, threads)


def _gradients(builder: _Builder, gradients: ParameterDict, space: _Space, thread: int, threads: int) -> None:
    """This thread's share of the gradients: some rows of each layer's weights, some of its biases."""
    for layer, (weights, biases) in enumerate(gradients.layers()):
        a, delta = _Matrix.of(space.a[layer]), _Matrix.of(space.delta[layer])
        mine = _share(weights.shape[0], thread, threads)
        size = (mine.stop - mine.start) * weights.shape[1] * delta.rows
        pieces = -(-size // _SMALL_PRODUCT) if size and delta.rows <= 64 else 1
        for rows in _cuts(mine.stop - mine.start, pieces):
            piece = slice(mine.start + rows.start, mine.start + rows.stop)
            builder.product(a.part(columns=piece).T, delta, _Matrix.of(weights).part(piece), accumulate=False)
        own = _share(biases.size, thread, threads)
        if own.stop > own.start:
            part = delta.part(columns=own)
            builder.add(do.SUM, part.address, biases[own].ctypes.data, delta.rows, delta.stride, own.stop - own.start)


def _updates(
    builder: _Builder,
    parameters: ParameterDict,
    gradients: ParameterDict,
    slots: NDArray[np.int64],
    thread: int,
    threads: int,
) -> None:
    """The update of this thread's share of the parameters."""
    if threads == 1:
        flat = [
            (parameters.flat_weights, gradients.flat_weights, 1),
            (parameters.flat_biases, gradients.flat_biases, 0),
        ]
    else:
        flat = []
        for values, slopes in zip(parameters.values(), gradients.values(), strict=True):
            own = _share(len(values), thread, threads)
            flat.append((values[own], slopes[own], values.ndim - 1))
    for array, slope, decays in flat:
        if array.size:
            skip = (array.ctypes.data - parameters.flat.ctypes.data) // array.itemsize
            builder.add(do.UPDATE, array.ctypes.data, slope.ctypes.data, slots.ctypes.data, skip, array.size, decays)


def evaluation_program(parameters: ParameterDict, rows: int, threads: int) -> Program:
    """The program that computes the logits of so many samples."""
    space, arrays, tables = _Space(parameters, rows), [parameters], []
    for thread in range(threads):
        builder = _Builder(parameters.flat.dtype, arrays)
        _forward(builder, parameters, space, _share(rows, thread, threads))
        tables.append(builder.table())
    return Program(tables, rows, space.z[-1], [space, *arrays])
