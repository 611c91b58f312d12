"""Matrix products for the shapes of small networks, in vector instructions.

A BLAS library first copies its operands into an order that suits it. For a batch of sixteen samples that takes as long
as the product. Here both operands are used where they lie: a tile of the result, a few rows high and a few vectors
wide, stays in registers while one loop runs over the inner dimension.

Each element of the result is a sum of blocks: the inner dimension is cut in two until no part is longer than DEPTH; a
block is summed in order, fused multiply-add by multiply-add, and the blocks are added up in order. None of this depends
on the tile, so a product that is cut into parts, for other threads say, gives the same numbers to the bit.

Where the left operand is known to hold many zeros, as images do, each tile first picks the places of the inner
dimension where any of its rows has something else, and its loop visits only those. What is left out is the addition of
a zero, so again no number changes, as long as the right operand is finite.

A tile is written in LLVM's vector types through llvmlite, because no loop that Numba is given keeps a tile in
registers. LLVM makes what the processor has of them.
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

# a, step from row to row, step from column to column (bytes); b, step from row to row (bytes); initial values, step
# from row to row (bytes); result, step from row to row (bytes); rows, inner length, columns; memory for the places
# picked, of the size `picks`, or 0 to visit all
PRODUCT = types.void(*[ADDRESS] * 9, *[types.int64] * 3, ADDRESS)
# matrix, step from row to row (bytes), transpose, step from row to row (bytes), rows, columns of the matrix
TRANSPOSE = types.void(*[ADDRESS] * 4, *[types.int64] * 2)

# Longest block of the inner dimension: a strip of b that is this high and a tile wide stays in a core's nearest cache
# while all tiles of the strip use it.
_DEPTH = 100


def split_blocks(inner: int) -> list[slice]:
    """The blocks into which a product cuts an inner dimension of this length."""
    count = 1
    while count * _DEPTH < inner:
        count *= 2
    return [slice(inner * block // count, inner * (block + 1) // count) for block in range(count)]


def index_buffer_size(rows: int, dtype: str) -> int:
    """How many 32-bit numbers the memory for the places holds that a product of so many rows picks."""
    return -(-rows // shape(dtype).height) * (_DEPTH + 1)


def _tile(dtype: str, height: int, vectors: int, *, picked: bool) -> Callable[..., None]:
    """An intrinsic that computes a tile: result = initial + a b.

    Its arguments are those of `PRODUCT` without the rows, and the places to visit; where it picks, `inner` is their
    number.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        typing_context: Any, a: Any, a_row: Any, a_column: Any, b: Any, b_row: Any, initial: Any, initial_row: Any,
        result: Any, result_row: Any, inner: Any, columns: Any, places: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_row, a_column, b, b_row, initial, initial_row, result, result_row, inner, columns, places = arguments
            v = Vectors(builder, dtype)
            # The last vector of a row may stick out of the matrix.
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
            place = v.place(places, step) if picked else step
            b_at, a_at = builder.add(b, builder.mul(place, b_row)), builder.mul(place, a_column)
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

        return types.void(*[types.int64] * 12), generate

    return tile  # type: ignore[no-any-return]


def _pick_along(dtype: str) -> Callable[..., int]:
    """An intrinsic that lists the places where any row of `a` is not 0; the rows are unbroken.

    Its arguments: a, step from row to row (bytes), rows, length, where the places go. It returns their number.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def pick_along(typing_context: Any, a: Any, a_row: Any, rows: Any, length: Any, places: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_row, rows, length, places = arguments
            v = Vectors(builder, dtype)
            last = v.offset(rows, -1)
            # A tile has at most `height` rows; where it has fewer, its last one is looked at again.
            numbers = [ir.Constant(INTEGER, row) for row in range(shape(dtype).height)]
            chosen = [builder.select(builder.icmp_signed("<", n, last), n, last) for n in numbers]
            starts = [builder.add(a, builder.mul(row, a_row)) for row in chosen]
            before, loop, end = builder.block, builder.append_basic_block("pick"), builder.append_basic_block("picked")
            builder.branch(loop)
            builder.position_at_end(loop)
            first, count = builder.phi(INTEGER), builder.phi(INTEGER)
            inside = v.first(builder.sub(length, first))
            distance = builder.mul(first, ir.Constant(INTEGER, np.dtype(dtype).itemsize))
            any_row = v.none
            for start in starts:
                any_row = builder.or_(any_row, v.filled(v.load(v.at(builder.add(start, distance)), inside)))
            v.append(places, count, v.count_from(first), any_row)
            following, total = v.offset(first, v.lanes), builder.add(count, v.number_of(any_row))
            for phi, value in ((first, following), (count, total)):
                phi.add_incoming(ir.Constant(INTEGER, 0), before)
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, length), loop, end)
            builder.position_at_end(end)
            return total

        return types.int64(*[types.int64] * 5), generate

    return pick_along  # type: ignore[no-any-return]


def _pick_across(dtype: str) -> Callable[..., int]:
    """The same where the columns are unbroken. Its arguments: a, step from column to column, rows, length, places."""

    @intrinsic  # type: ignore[untyped-decorator]
    def pick_across(typing_context: Any, a: Any, a_column: Any, rows: Any, length: Any, places: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, a_column, rows, length, places = arguments
            v = Vectors(builder, dtype)
            vectors = range(-(-shape(dtype).height // v.lanes))
            masks = [v.first(v.offset(rows, -vector * v.lanes)) for vector in vectors]
            before, loop, end = builder.block, builder.append_basic_block("pick"), builder.append_basic_block("picked")
            builder.branch(loop)
            builder.position_at_end(loop)
            place, count = builder.phi(INTEGER), builder.phi(INTEGER)
            column, any_row = builder.add(a, builder.mul(place, a_column)), v.none
            for vector, mask in zip(vectors, masks, strict=True):
                any_row = builder.or_(any_row, v.filled(v.load(v.at(column, vector), mask)))
            # Written in any case, and overwritten by the next one if it does not count: a branch would be slower.
            address = builder.add(places, builder.mul(count, ir.Constant(INTEGER, 4)))
            builder.store(builder.trunc(place, SHORT), builder.inttoptr(address, SHORT.as_pointer()))
            following, total = v.offset(place, 1), builder.add(count, v.any(any_row))
            for phi, value in ((place, following), (count, total)):
                phi.add_incoming(ir.Constant(INTEGER, 0), before)
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, length), loop, end)
            builder.position_at_end(end)
            return total

        return types.int64(*[types.int64] * 5), generate

    return pick_across  # type: ignore[no-any-return]


def _transposed_block(dtype: str) -> Callable[..., None]:
    """An intrinsic that transposes a block of at most as many rows and columns as a vector has lanes."""

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
                v.load(v.at(v.row(matrix, matrix_row, lane)), v.both(across, inside[lane])) for lane in range(v.lanes)
            ]
            # Interleaving rows 0 and n/2, 1 and n/2 + 1, ... as often as n can be halved transposes an n by n block.
            for _ in range(v.lanes.bit_length() - 1):
                half = v.lanes // 2
                lines = [line for i in range(half) for line in v.interleave(lines[i], lines[i + half])]
            for lane, line in enumerate(lines):
                there = builder.icmp_signed(">", columns, ir.Constant(INTEGER, lane))
                v.store(line, v.at(v.row(result, result_row, lane)), v.both(down, there))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return block  # type: ignore[no-any-return]


_PRODUCT = """
def product(a, a_row, a_column, b, b_row, initial, initial_row, result, result_row, rows, inner, columns, places):
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
        if places:
            a_ = a + first * a_column
            for number in range(tiles):
                down = high + (number < higher)
                list_ = carray(pointer(places + number * 4 * (DEPTH + 1), np.int32), DEPTH + 1)
                if a_column == WIDTH:
                    count = pick_along(a_, a_row, down, depth, places + number * 4 * (DEPTH + 1) + 4)
                else:
                    count = pick_across(a_, a_column, down, depth, places + number * 4 * (DEPTH + 1) + 4)
                if count == 0:
                    count, list_[1] = 1, 0
                list_[0] = count
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
                if places:
                    list_at = places + number * 4 * (DEPTH + 1)
                    count = np.int64(carray(pointer(list_at, np.int32), 1)[0])
PICKED
                else:
ALL
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


def _tiles(dtype: str, name: str, inner: str, places: str) -> str:
    """The choice among the tiles."""
    tile, lines = shape(dtype), []
    for across in range(tile.vectors, 0, -1):
        lines.append(f"{'if' if across == tile.vectors else 'elif'} across == {across}:")
        for down in range(tile.height, 0, -1):
            lines.append(f"    {'if' if down == tile.height else 'elif'} down == {down}:")
            lines.append(
                f"        {name}_{down}_{across}(a_, a_row, a_column, b_, b_row, initial_, initial_row, "
                f"result_, result_row, {inner}, width, {places})"
            )
    return "\n".join(" " * 20 + line for line in lines)


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
    sources = inspect.getsource(sys.modules[__name__]) + inspect.getsource(vectors)
    made_from = f"# {dtype} {constants}\n" + "".join(f"# {line}\n" for line in sources.splitlines())
    return compile_text(name, made_from + text, numba.cfunc, signature, {**namespace, **constants})


def compile_product(dtype: str) -> Any:
    """result = initial + a b, as a compiled function with the signature `PRODUCT`."""
    tile = shape(dtype)
    text = _PRODUCT.replace("PICKED", _tiles(dtype, "picked", "count", "list_at + 4"))
    text = text.replace("ALL", _tiles(dtype, "all", "depth", "0"))
    namespace = {
        f"{name}_{down}_{across}": _tile(dtype, down, across, picked=name == "picked")
        for name in ("all", "picked")
        for down in range(1, tile.height + 1)
        for across in range(1, tile.vectors + 1)
    }
    picks = {"pick_along": _pick_along(dtype), "pick_across": _pick_across(dtype)}
    return _compile("product", text, dtype, PRODUCT, {**namespace, **picks, "carray": carray, "pointer": pointer})


def compile_transpose(dtype: str) -> Any:
    """The transpose of a matrix, as a compiled function with the signature `TRANSPOSE`."""
    return _compile("transpose", _TRANSPOSE, dtype, TRANSPOSE, {"block": _transposed_block(dtype)})
