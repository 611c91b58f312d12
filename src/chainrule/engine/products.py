"""Matrix products for the shapes of small networks, in vector instructions.

A BLAS library first copies its operands into an order that suits it. For a batch of sixteen samples that takes as long
as the product. Here both operands are used where they lie: a tile of the result, a few rows high and a few vectors
wide, stays in registers while one loop runs over the inner dimension.

Each element of the result is a sum of blocks: the inner dimension is cut in two until no part is longer than DEPTH; a
block is summed in order, fused multiply-add by multiply-add, and the blocks are added up in order. None of this depends
on the tile, so a product that is cut into parts, for other threads say, gives the same numbers to the bit.

A tile is written in LLVM's vector types through llvmlite, because no loop that Numba is given keeps a tile in
registers. LLVM makes what the processor has of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from chainrule.engine.compilation import compile_text

__all__ = ["ADDRESS", "PRODUCT", "TRANSPOSE", "Shape", "blocks", "compile_product", "compile_transpose", "shape"]

ADDRESS = types.intp

# a, step from row to row, step from column to column (bytes); b, step from row to row (bytes); initial values, step
# from row to row (bytes); result, step from row to row (bytes); rows, inner length, columns
PRODUCT = types.void(*[ADDRESS] * 9, *[types.int64] * 3)
# matrix, step from row to row (bytes), transpose, step from row to row (bytes), rows, columns of the matrix
TRANSPOSE = types.void(*[ADDRESS] * 4, *[types.int64] * 2)

# Longest block of the inner dimension: a strip of b that is this high and a tile wide stays in a core's nearest cache
# while all tiles of the strip use it.
_DEPTH = 100

_INTEGER, _SHORT = ir.IntType(64), ir.IntType(32)


class Shape:
    """What a tile looks like on this processor, for elements of so many bytes.

    Attributes:
        lanes: elements of a vector register.
        height: rows of a tile.
        vectors: vectors of a tile's row.
    """

    def __init__(self, width: int) -> None:
        features = binding.get_host_cpu_features()
        arm = "neon" in features or "asimd" in features
        register = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
        self.lanes = register // width
        # Height times vectors sums, a row of b and an element of a: of 32 registers, or of 16.
        self.height, self.vectors = (6, 4) if register == 64 or arm else (6, 2)


def blocks(inner: int) -> list[slice]:
    """The blocks into which a product cuts an inner dimension of this length."""
    count = 1
    while count * _DEPTH < inner:
        count *= 2
    return [slice(inner * block // count, inner * (block + 1) // count) for block in range(count)]


@lru_cache(maxsize=2)
def shape(dtype: str) -> Shape:
    """The shape of tiles for a dtype."""
    return Shape(np.dtype(dtype).itemsize)


class _Vectors:
    """Emits instructions on vectors of one kind into a function that Numba compiles."""

    def __init__(self, builder: Any, dtype: str) -> None:
        self.builder, self.lanes, self._width = builder, shape(dtype).lanes, np.dtype(dtype).itemsize
        self.element = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.kind = ir.VectorType(self.element, self.lanes)
        self._places = ir.VectorType(_SHORT, self.lanes)
        self._flags = ir.VectorType(ir.IntType(1), self.lanes)
        self.zero = ir.Constant(self.kind, [0.0] * self.lanes)
        self._suffix = f"v{self.lanes}f{8 * self._width}"

    def spread(self, value: Any, kind: Any | None = None) -> Any:
        """A vector with the value in every lane."""
        nothing = ir.Constant(kind or self.kind, ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.Constant(_SHORT, 0))
        return self.builder.shuffle_vector(one, nothing, ir.Constant(self._places, [0] * self.lanes))

    def first(self, count: Any) -> Any:
        """A mask with the first `count` lanes set."""
        lanes = ir.Constant(self._places, list(range(self.lanes)))
        count = self.spread(self.builder.trunc(count, _SHORT), self._places)
        return self.builder.icmp_signed("<", lanes, count)

    def both(self, mask: Any, condition: Any) -> Any:
        """The mask, or no lane at all."""
        return self.builder.select(condition, mask, ir.Constant(self._flags, [0] * self.lanes))

    def at(self, address: Any, vectors: int = 0) -> Any:
        """A pointer to the vector that lies so many vectors behind an address."""
        return self.builder.inttoptr(self.offset(address, vectors * self.lanes * self._width), self.kind.as_pointer())

    def offset(self, address: Any, distance: int) -> Any:
        """An address so many bytes on."""
        return self.builder.add(address, ir.Constant(_INTEGER, distance))

    def row(self, address: Any, step: Any, number: int) -> Any:
        """The address of a row."""
        return self.builder.add(address, self.builder.mul(step, ir.Constant(_INTEGER, number)))

    def load(self, pointer: Any, mask: Any | None = None) -> Any:
        """The vector at a pointer; lanes outside of the mask are not read and become 0."""
        if mask is None:
            value = self.builder.load(pointer)
            value.align = self._width
            return value
        arguments = [pointer, ir.Constant(_SHORT, self._width), mask, self.zero]
        return self._call(f"llvm.masked.load.{self._suffix}.p0", self.kind, arguments)

    def store(self, value: Any, pointer: Any, mask: Any | None = None) -> None:
        """Write a vector; lanes outside of the mask are left alone."""
        if mask is None:
            self.builder.store(value, pointer).align = self._width
            return
        arguments = [value, pointer, ir.Constant(_SHORT, self._width), mask]
        self._call(f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), arguments)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once."""
        return self._call(f"llvm.fma.{self._suffix}", self.kind, [a, b, c])

    def interleave(self, one: Any, other: Any) -> tuple[Any, Any]:
        """The lanes of two vectors in turn, as two vectors."""
        order = [lane // 2 + lane % 2 * self.lanes for lane in range(2 * self.lanes)]
        halves = order[: self.lanes], order[self.lanes :]
        low, high = (self.builder.shuffle_vector(one, other, ir.Constant(self._places, half)) for half in halves)
        return low, high

    def _call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(get_or_insert_function(self.builder.module, kind, name), arguments)


def _tile(dtype: str, height: int, vectors: int) -> Callable[..., None]:
    """An intrinsic that computes a tile: result = initial + a b.

    Its arguments are those of `PRODUCT` without the rows.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        typing_context: Any, a: Any, a_row: Any, a_column: Any, b: Any, b_row: Any, initial: Any, initial_row: Any,
        result: Any, result_row: Any, inner: Any, columns: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_row, a_column, b, b_row, initial, initial_row, result, result_row, inner, columns = arguments
            v = _Vectors(builder, dtype)
            # The last vector of a row may stick out of the matrix.
            last = v.first(v.offset(columns, -(vectors - 1) * v.lanes))
            masks = [None] * (vectors - 1) + [last]
            tile = [(row, vector) for row in range(height) for vector in range(vectors)]
            a_rows = [v.row(a, a_row, row) for row in range(height)]

            before, loop, end = builder.block, builder.append_basic_block("inner"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            step = builder.phi(_INTEGER)
            step.add_incoming(ir.Constant(_INTEGER, 0), before)
            sums = [builder.phi(v.kind) for _ in tile]
            b_at, a_at = builder.add(b, builder.mul(step, b_row)), builder.mul(step, a_column)
            row_of_b = [v.load(v.at(b_at, i), masks[i]) for i in range(vectors)]
            pointers = [builder.inttoptr(builder.add(row, a_at), v.element.as_pointer()) for row in a_rows]
            column_of_a = [v.spread(builder.load(pointer)) for pointer in pointers]
            after = [v.multiply_add(column_of_a[r], row_of_b[i], sums[n]) for n, (r, i) in enumerate(tile)]
            for total, then in zip(sums, after, strict=True):
                total.add_incoming(v.zero, before)
                total.add_incoming(then, loop)
            following = v.offset(step, 1)
            step.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, inner), loop, end)

            builder.position_at_end(end)
            for value, (r, i) in zip(after, tile, strict=True):
                begin = v.load(v.at(v.row(initial, initial_row, r), i), masks[i])
                v.store(builder.fadd(begin, value), v.at(v.row(result, result_row, r), i), masks[i])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11), generate

    return tile  # type: ignore[no-any-return]


def _transposed_block(dtype: str) -> Callable[..., None]:
    """An intrinsic that transposes a block of at most as many rows and columns as a vector has lanes."""

    @intrinsic  # type: ignore[untyped-decorator]
    def block(
        typing_context: Any, matrix: Any, matrix_row: Any, result: Any, result_row: Any, rows: Any, columns: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            matrix, matrix_row, result, result_row, rows, columns = arguments
            v = _Vectors(builder, dtype)
            inside = [builder.icmp_signed(">", rows, ir.Constant(_INTEGER, lane)) for lane in range(v.lanes)]
            across, down = v.first(columns), v.first(rows)
            lines = [
                v.load(v.at(v.row(matrix, matrix_row, lane)), v.both(across, inside[lane])) for lane in range(v.lanes)
            ]
            # Interleaving rows 0 and n/2, 1 and n/2 + 1, ... as often as n can be halved transposes an n by n block.
            for _ in range(v.lanes.bit_length() - 1):
                half = v.lanes // 2
                lines = [line for i in range(half) for line in v.interleave(lines[i], lines[i + half])]
            for lane, line in enumerate(lines):
                there = builder.icmp_signed(">", columns, ir.Constant(_INTEGER, lane))
                v.store(line, v.at(v.row(result, result_row, lane)), v.both(down, there))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return block  # type: ignore[no-any-return]


_PRODUCT = """
def product(a, a_row, a_column, b, b_row, initial, initial_row, result, result_row, rows, inner, columns):
    tiles, vectors = -(-rows // HEIGHT), -(-columns // LANES)
    strips = -(-vectors // VECTORS)
    high, higher = rows // tiles, rows % tiles
    wide, wider = vectors // strips, vectors % strips
    blocks = 1
    while blocks * DEPTH < inner:
        blocks *= 2
    for block in range(blocks):
        first = inner * block // blocks
        depth = inner * (block + 1) // blocks - first
        left = 0
        for strip in range(strips):
            across = wide + (strip < wider)
            width = min(across * LANES, columns - left)
            a_ = a + first * a_column
            b_ = b + first * b_row + left * WIDTH
            initial_, result_ = initial + left * WIDTH, result + left * WIDTH
            left += width
            for number in range(tiles):
                down = high + (number < higher)
TILES
                a_ += down * a_row
                initial_ += down * initial_row
                result_ += down * result_row
        initial, initial_row = result, result_row
"""

_TRANSPOSE = """
def transpose(matrix, matrix_row, result, result_row, rows, columns):
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            block(
                matrix + row * matrix_row + column * WIDTH, matrix_row,
                result + column * result_row + row * WIDTH, result_row,
                min(LANES, rows - row), min(LANES, columns - column),
            )
"""


def _product_text(dtype: str) -> str:
    """The loops around the tiles. Rows and columns are shared out evenly, so that no tile is left with a sliver."""
    tile, lines = shape(dtype), []
    for across in range(tile.vectors, 0, -1):
        lines.append(f"{'if' if across == tile.vectors else 'elif'} across == {across}:")
        for down in range(tile.height, 0, -1):
            lines.append(f"    {'if' if down == tile.height else 'elif'} down == {down}:")
            lines.append(
                f"        tile_{down}_{across}"
                "(a_, a_row, a_column, b_, b_row, initial_, initial_row, result_, result_row, depth, width)"
            )
    return _PRODUCT.replace("TILES", "\n".join(" " * 16 + line for line in lines))


def _compile(name: str, text: str, dtype: str, signature: Any, namespace: dict[str, Any]) -> Any:
    """Compile one of the functions above. The text names all that it is made from, so that it is made anew if one
    changes."""
    tile = shape(dtype)
    constants = {
        "LANES": tile.lanes,
        "HEIGHT": tile.height,
        "VECTORS": tile.vectors,
        "WIDTH": np.dtype(dtype).itemsize,
        "DEPTH": _DEPTH,
    }
    made_from = f"# {dtype} {constants}\n" + "".join(
        f"# {line}\n" for line in inspect.getsource(sys.modules[__name__]).splitlines()
    )
    return compile_text(name, made_from + text, numba.cfunc, signature, {**namespace, **constants})


def compile_product(dtype: str) -> Any:
    """result = initial + a b, as a compiled function with the signature `PRODUCT`."""
    tile = shape(dtype)
    namespace = {
        f"tile_{high}_{wide}": _tile(dtype, high, wide)
        for high in range(1, tile.height + 1)
        for wide in range(1, tile.vectors + 1)
    }
    return _compile("product", _product_text(dtype), dtype, PRODUCT, namespace)


def compile_transpose(dtype: str) -> Any:
    """The transpose of a matrix, as a compiled function with the signature `TRANSPOSE`."""
    return _compile("transpose", _TRANSPOSE, dtype, TRANSPOSE, {"block": _transposed_block(dtype)})
