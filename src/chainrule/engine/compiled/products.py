"""Matrix products for the shapes of small networks, in vector instructions.

A BLAS library first packs its operands into an order that suits it. For a batch of sixteen samples that takes as long
as the product. Here both operands are read in place, without packing: a tile of the result, a few rows high and a few
vectors wide, stays in registers while one loop runs over the inner dimension.

Each element of the result is a sum of blocks: the inner dimension is halved until no block is longer than DEPTH; a
block is summed in order, fused multiply-add by multiply-add, and the blocks are added up in order. None of this depends
on the tile, so a product that is computed in parts, by several threads say, gives the same bits.

If the left operand is known to hold many zeros, as images do, each tile first lists the indices of the inner dimension
at which any of its rows is nonzero, and its loop visits only those. What is left out is the addition of a zero, so
again no bit changes, as long as the right operand is finite.

A tile is written in LLVM's vector types through llvmlite, because Numba keeps no tile of a loop in registers. LLVM maps
them to the instructions that the processor has.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from chainrule.engine.compiled import vectors
from chainrule.engine.compiled.compilation import compile_text
from chainrule.engine.compiled.intrinsics import ADDRESS, pointer
from chainrule.engine.compiled.vectors import INTEGER, SHORT, Vectors, shape

__all__ = ["PRODUCT", "TRANSPOSE", "compile_product", "compile_transpose", "index_buffer_size", "split_blocks"]

# a, its row stride, its column stride; b, its row stride; initial values, their row stride; result, its row stride;
# rows, inner length, columns; buffer for nonzero indices, of `index_buffer_size`, or 0 to visit all. Strides in bytes.
PRODUCT = types.void(*[ADDRESS] * 9, *[types.int64] * 3, ADDRESS)
# matrix, its row stride, transpose, its row stride, rows, columns of the matrix. Strides in bytes.
TRANSPOSE = types.void(*[ADDRESS] * 4, *[types.int64] * 2)

# Longest block of the inner dimension: a strip of b that is this high and a tile wide stays in the first-level cache
# while all tiles of the strip use it.
_DEPTH = 100

# Placeholders for what is bound when `product` and `transpose` are compiled: the shape of tiles, and the tiles.
LANES = HEIGHT = VECTORS = WIDTH = DEPTH = 0
nonzero_rows: Any
nonzero_columns: Any
nonzero_rows = nonzero_columns = lambda *arguments: NotImplemented
dense_tile = sparse_tile = transpose_block = nonzero_rows


def split_blocks(inner: int) -> list[slice]:
    """Split an inner dimension of this length into the blocks that a product sums."""
    count = 1
    while count * _DEPTH < inner:
        count *= 2
    return [slice(inner * block // count, inner * (block + 1) // count) for block in range(count)]


def index_buffer_size(rows: int, dtype: str) -> int:
    """Number of int32 that a product of this many rows needs for its nonzero indices."""
    return -(-rows // shape(dtype).height) * (_DEPTH + 1)


def _build_tile(dtype: str, height: int, vectors: int, *, sparse: bool) -> Callable[..., None]:
    """Build an intrinsic that computes a tile: result = initial + a b.

    Its arguments are those of `PRODUCT` without the rows, and the indices to visit; if it is sparse, `inner` is their
    number.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        typing_context: Any, a: Any, a_row: Any, a_column: Any, b: Any, b_row: Any, initial: Any, initial_row: Any,
        result: Any, result_row: Any, inner: Any, columns: Any, indices: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_row, a_column, b, b_row, initial, initial_row, result, result_row, inner, columns, indices = arguments
            v = Vectors(builder, dtype)
            # The last vector of a row may reach beyond the matrix.
            last = v.first(v.offset(columns, -(vectors - 1) * v.lanes))
            masks = [None] * (vectors - 1) + [last]
            tile = [(row, vector) for row in range(height) for vector in range(vectors)]
            a_rows = [v.row(a, a_row, row) for row in range(height)]

            before, loop, end = builder.block, builder.append_basic_block("inner"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            step = builder.phi(INTEGER)
            step.add_incoming(ir.Constant(INTEGER, 0), before)
            sums = [builder.phi(v.kind) for _ in tile]
            index = v.load_index(indices, step) if sparse else step
            b_at, a_at = builder.add(b, builder.mul(index, b_row)), builder.mul(index, a_column)
            row_of_b = [v.load(v.at(b_at, i), masks[i]) for i in range(vectors)]
            pointers = [builder.inttoptr(builder.add(row, a_at), v.element.as_pointer()) for row in a_rows]
            column_of_a = [v.broadcast(builder.load(pointer)) for pointer in pointers]
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

        return types.void(*[types.int64] * 12), generate

    return tile  # type: ignore[no-any-return]


def _build_nonzero_columns(dtype: str) -> Callable[..., int]:
    """Build an intrinsic that lists the columns of `a` in which any row is nonzero, for a row-contiguous `a`.

    Its arguments: a, its row stride (bytes), rows, columns, address of the indices. It returns their number.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def row_major(typing_context: Any, a: Any, a_row: Any, rows: Any, length: Any, indices: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_row, rows, length, indices = arguments
            v = Vectors(builder, dtype)
            last = v.offset(rows, -1)
            # A tile has at most `height` rows; if it has fewer, its last one is inspected again.
            numbers = [ir.Constant(INTEGER, row) for row in range(shape(dtype).height)]
            chosen = [builder.select(builder.icmp_signed("<", n, last), n, last) for n in numbers]
            starts = [builder.add(a, builder.mul(row, a_row)) for row in chosen]
            before, loop, end = builder.block, builder.append_basic_block("scan"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            first, count = builder.phi(INTEGER), builder.phi(INTEGER)
            inside = v.first(builder.sub(length, first))
            distance = builder.mul(first, ir.Constant(INTEGER, np.dtype(dtype).itemsize))
            any_row = v.none
            for start in starts:
                any_row = builder.or_(any_row, v.is_nonzero(v.load(v.at(builder.add(start, distance)), inside)))
            v.append_indices(indices, count, v.count_from(first), any_row)
            following, total = v.offset(first, v.lanes), builder.add(count, v.count_lanes(any_row))
            for phi, value in ((first, following), (count, total)):
                phi.add_incoming(ir.Constant(INTEGER, 0), before)
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, length), loop, end)
            builder.position_at_end(end)
            return total

        return types.int64(*[types.int64] * 5), generate

    return row_major  # type: ignore[no-any-return]


def _build_nonzero_rows(dtype: str) -> Callable[..., int]:
    """Build the same intrinsic for a column-contiguous `a`; it takes the column stride instead of the row stride."""

    @intrinsic  # type: ignore[untyped-decorator]
    def column_major(typing_context: Any, a: Any, a_column: Any, rows: Any, length: Any, indices: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_column, rows, length, indices = arguments
            v = Vectors(builder, dtype)
            vectors = range(-(-shape(dtype).height // v.lanes))
            masks = [v.first(v.offset(rows, -vector * v.lanes)) for vector in vectors]
            before, loop, end = builder.block, builder.append_basic_block("scan"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            index, count = builder.phi(INTEGER), builder.phi(INTEGER)
            column, any_row = builder.add(a, builder.mul(index, a_column)), v.none
            for vector, mask in zip(vectors, masks, strict=True):
                any_row = builder.or_(any_row, v.is_nonzero(v.load(v.at(column, vector), mask)))
            # Written in any case, and overwritten by the next one if it is not needed: a branch would be slower.
            address = builder.add(indices, builder.mul(count, ir.Constant(INTEGER, 4)))
            builder.store(builder.trunc(index, SHORT), builder.inttoptr(address, SHORT.as_pointer()))
            following, total = v.offset(index, 1), builder.add(count, v.any_lane(any_row))
            for phi, value in ((index, following), (count, total)):
                phi.add_incoming(ir.Constant(INTEGER, 0), before)
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, length), loop, end)
            builder.position_at_end(end)
            return total

        return types.int64(*[types.int64] * 5), generate

    return column_major  # type: ignore[no-any-return]


def _build_transpose_block(dtype: str) -> Callable[..., None]:
    """Build an intrinsic that transposes a block of at most as many rows and columns as a vector has lanes."""

    @intrinsic  # type: ignore[untyped-decorator]
    def block(
        typing_context: Any, matrix: Any, matrix_row: Any, result: Any, result_row: Any, rows: Any, columns: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            matrix, matrix_row, result, result_row, rows, columns = arguments
            v = Vectors(builder, dtype)
            inside = [builder.icmp_signed(">", rows, ir.Constant(INTEGER, lane)) for lane in range(v.lanes)]
            across, down = v.first(columns), v.first(rows)
            lines = [
                v.load(v.at(v.row(matrix, matrix_row, lane)), v.mask_if(across, inside[lane]))
                for lane in range(v.lanes)
            ]
            # Interleaving rows 0 and n/2, 1 and n/2 + 1, ... as often as n can be halved transposes an n by n block.
            for _ in range(v.lanes.bit_length() - 1):
                half = v.lanes // 2
                lines = [line for i in range(half) for line in v.interleave(lines[i], lines[i + half])]
            for lane, line in enumerate(lines):
                there = builder.icmp_signed(">", columns, ir.Constant(INTEGER, lane))
                v.store(line, v.at(v.row(result, result_row, lane)), v.mask_if(down, there))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return block  # type: ignore[no-any-return]


def product(a, a_row, a_column, b, b_row, initial, initial_row, result, result_row, rows, inner, columns, indices):
    """result = initial + a b, in strips of columns as wide as a tile, block by block of the inner dimension.

    The first block adds to `initial`, the others to the result. Rows and vectors are spread evenly over the tiles.
    """
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
        if indices:
            # For each tile of rows: the number of nonzero indices, then these.
            a_ = a + first * a_column
            for number in range(tiles):
                down = high + (number < higher)
                start = indices + number * 4 * (DEPTH + 1)
                listed = carray(pointer(start, np.int32), DEPTH + 1)
                if a_column == WIDTH:
                    count = nonzero_columns(a_, a_row, down, depth, start + 4)
                else:
                    count = nonzero_rows(a_, a_column, down, depth, start + 4)
                if count == 0:
                    # A tile visits one index at least, to write its result.
                    count, listed[1] = 1, 0
                listed[0] = count
                a_ += down * a_row
        for strip in range(strips):
            across = wide + (strip < wider)
            width = min(across * LANES, columns - left)
            a_ = a + first * a_column
            b_ = b + first * b_row + left * WIDTH
            initial_, result_ = initial + left * WIDTH, result + left * WIDTH
            left += width
            for number in range(tiles):
                down = high + (number < higher)
                if indices:
                    start = indices + number * 4 * (DEPTH + 1)
                    count = np.int64(carray(pointer(start, np.int32), 1)[0])
                    sparse_tile(
                        down, across, a_, a_row, a_column, b_, b_row, initial_, initial_row, result_, result_row,
                        count, width, start + 4,
                    )  # fmt: skip
                else:
                    dense_tile(
                        down, across, a_, a_row, a_column, b_, b_row, initial_, initial_row, result_, result_row,
                        depth, width, 0,
                    )  # fmt: skip
                a_ += down * a_row
                initial_ += down * initial_row
                result_ += down * result_row
        initial, initial_row = result, result_row


def transpose(matrix, matrix_row, result, result_row, rows, columns):
    """The transpose of a matrix, a block of as many rows and columns as a vector has lanes at a time."""
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            transpose_block(
                matrix + row * matrix_row + column * WIDTH, matrix_row, result + column * result_row + row * WIDTH,
                result_row, min(LANES, rows - row), min(LANES, columns - column),
            )  # fmt: skip


def _write_dispatch(dtype: str, kind: str) -> str:
    """Source of `dense_tile` or `sparse_tile`, which calls the tile of the given height and width.

    It is inlined, because a call for each tile would cost as much as a small tile.
    """
    tile = shape(dtype)
    arguments = "a, a_row, a_column, b, b_row, initial, initial_row, result, result_row, inner, columns, indices"
    lines = ['@njit(error_model="numpy", inline="always")', f"def {kind}_tile(down, across, {arguments}):"]
    for across in range(tile.vectors, 0, -1):
        lines.append(f"    {'if' if across == tile.vectors else 'elif'} across == {across}:")
        for down in range(tile.height, 0, -1):
            lines.append(f"        {'if' if down == tile.height else 'elif'} down == {down}:")
            lines.append(f"            {kind}_{down}_{across}({arguments})")
    return "\n".join(lines) + "\n"


def _compile(function: Callable[..., None], text: str, dtype: str, signature: Any, namespace: dict[str, Any]) -> Any:
    """Compile `product` or `transpose`. The text names all that it is made from, so that a change compiles it anew."""
    tile = shape(dtype)
    constants = {
        "LANES": tile.lanes,
        "HEIGHT": tile.height,
        "VECTORS": tile.vectors,
        "WIDTH": np.dtype(dtype).itemsize,
        "DEPTH": _DEPTH,
    }
    sources = inspect.getsource(sys.modules[__name__]) + inspect.getsource(vectors)
    made_from = f"# {dtype} {constants}\n" + "".join(f"# {line}\n" for line in sources.splitlines())
    text = f"{made_from}{text}\n{inspect.getsource(function)}"
    return compile_text(function.__name__, text, numba.cfunc, signature, {**namespace, **constants})


def compile_product(dtype: str) -> Any:
    """result = initial + a b, as a compiled function with the signature `PRODUCT`."""
    tile = shape(dtype)
    namespace: dict[str, Any] = {
        f"{kind}_{down}_{across}": _build_tile(dtype, down, across, sparse=kind == "sparse")
        for kind in ("dense", "sparse")
        for down in range(1, tile.height + 1)
        for across in range(1, tile.vectors + 1)
    }
    namespace |= {"nonzero_columns": _build_nonzero_columns(dtype), "nonzero_rows": _build_nonzero_rows(dtype)}
    namespace |= {"carray": carray, "pointer": pointer}
    text = _write_dispatch(dtype, "dense") + _write_dispatch(dtype, "sparse")
    return _compile(product, text, dtype, PRODUCT, namespace)


def compile_transpose(dtype: str) -> Any:
    """The transpose of a matrix, as a compiled function with the signature `TRANSPOSE`."""
    return _compile(transpose, "", dtype, TRANSPOSE, {"transpose_block": _build_transpose_block(dtype)})
