"""Vector instructions, emitted through llvmlite into functions that Numba compiles."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core.cgutils import get_or_insert_function

__all__ = ["INTEGER", "SHORT", "Shape", "Vectors", "shape"]

INTEGER, SHORT = ir.IntType(64), ir.IntType(32)


class Shape:
    """The shape of a tile on this processor, for elements of `width` bytes.

    Attributes:
        lanes: elements of a vector register.
        height: rows of a tile.
        vectors: vectors of a tile's row.
        multiply_add: the name of LLVM's instruction for a b + c: rounded once where the processor can do that.
    """

    def __init__(self, width: int) -> None:
        try:
            features = binding.get_host_cpu_features()
        except RuntimeError:  # LLVM does not know every processor
            features = binding.FeatureMap()
        arm = "neon" in features or "asimd" in features
        self.multiply_add = "fma" if arm or features.get("fma") else "fmuladd"
        register = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
        self.lanes = register // width
        # Height times vectors sums, a row of b and an element of a: of 32 registers, or of 16.
        self.height, self.vectors = (6, 4) if register == 64 or arm else (6, 2)


@lru_cache(maxsize=2)
def shape(dtype: str) -> Shape:
    """The shape of tiles for a dtype."""
    return Shape(np.dtype(dtype).itemsize)


class Vectors:
    """Emits instructions on vectors of one kind into a function that Numba compiles."""

    def __init__(self, builder: Any, dtype: str) -> None:
        self.builder, self.lanes, self._width = builder, shape(dtype).lanes, np.dtype(dtype).itemsize
        self._multiply_add = shape(dtype).multiply_add
        self.element = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.kind = ir.VectorType(self.element, self.lanes)
        self._indices = ir.VectorType(SHORT, self.lanes)
        self._flags = ir.VectorType(ir.IntType(1), self.lanes)
        self.zero = ir.Constant(self.kind, [0.0] * self.lanes)
        self._suffix = f"v{self.lanes}f{8 * self._width}"

    def broadcast(self, value: Any, kind: Any | None = None) -> Any:
        """A vector with the value in every lane."""
        nothing = ir.Constant(kind or self.kind, ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.Constant(SHORT, 0))
        return self.builder.shuffle_vector(one, nothing, ir.Constant(self._indices, [0] * self.lanes))

    def first(self, count: Any) -> Any:
        """A mask with the first `count` lanes set."""
        lanes = ir.Constant(self._indices, list(range(self.lanes)))
        count = self.broadcast(self.builder.trunc(count, SHORT), self._indices)
        return self.builder.icmp_signed("<", lanes, count)

    def mask_if(self, mask: Any, condition: Any) -> Any:
        """The mask if the condition holds, else no lane."""
        return self.builder.select(condition, mask, ir.Constant(self._flags, [0] * self.lanes))

    def at(self, address: Any, vectors: int = 0) -> Any:
        """A pointer to the vector `vectors` vectors after an address."""
        return self.builder.inttoptr(self.offset(address, vectors * self.lanes * self._width), self.kind.as_pointer())

    def offset(self, address: Any, distance: int) -> Any:
        """An address `distance` bytes after another."""
        return self.builder.add(address, ir.Constant(INTEGER, distance))

    def row(self, address: Any, step: Any, number: int) -> Any:
        """The address of a row."""
        return self.builder.add(address, self.builder.mul(step, ir.Constant(INTEGER, number)))

    def load(self, pointer: Any, mask: Any | None = None) -> Any:
        """The vector at a pointer; lanes outside of the mask are not read and become 0."""
        if mask is None:
            value = self.builder.load(pointer)
            value.align = self._width
            return value
        arguments = [pointer, ir.Constant(SHORT, self._width), mask, self.zero]
        return self._call(f"llvm.masked.load.{self._suffix}.p0", self.kind, arguments)

    def store(self, value: Any, pointer: Any, mask: Any | None = None) -> None:
        """Write a vector; lanes outside of the mask are left alone."""
        if mask is None:
            self.builder.store(value, pointer).align = self._width
            return
        arguments = [value, pointer, ir.Constant(SHORT, self._width), mask]
        self._call(f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), arguments)

    def load_index(self, indices: Any, number: Any) -> Any:
        """An element of a list of int32, as int64."""
        address = self.builder.add(indices, self.builder.mul(number, ir.Constant(INTEGER, 4)))
        return self.builder.zext(self.builder.load(self.builder.inttoptr(address, SHORT.as_pointer())), INTEGER)

    def is_nonzero(self, value: Any) -> Any:
        """A mask of the lanes that are nonzero."""
        whole = ir.VectorType(ir.IntType(8 * self._width), self.lanes)
        return self.builder.icmp_unsigned("!=", self.builder.bitcast(value, whole), ir.Constant(whole, None))

    @property
    def none(self) -> Any:
        """A mask without any lane."""
        return ir.Constant(self._flags, [0] * self.lanes)

    def count_from(self, number: Any) -> Any:
        """The numbers from this one on, of 32 bits."""
        lanes = ir.Constant(self._indices, list(range(self.lanes)))
        return self.builder.add(lanes, self.broadcast(self.builder.trunc(number, SHORT), self._indices))

    def append_indices(self, indices: Any, count: Any, values: Any, mask: Any) -> None:
        """Write the values of the mask's lanes after the first `count` of a list."""
        address = self.builder.add(indices, self.builder.mul(count, ir.Constant(INTEGER, 4)))
        pointer = self.builder.inttoptr(address, SHORT.as_pointer())
        self._call(f"llvm.masked.compressstore.v{self.lanes}i32", ir.VoidType(), [values, pointer, mask])

    def count_lanes(self, mask: Any) -> Any:
        """The number of lanes in a mask."""
        bits = ir.IntType(self.lanes)
        count = self._call(f"llvm.ctpop.i{self.lanes}", bits, [self.builder.bitcast(mask, bits)])
        return self.builder.zext(count, INTEGER)

    def any_lane(self, mask: Any) -> Any:
        """1 if any lane is in the mask, else 0."""
        bits = ir.IntType(self.lanes)
        there = self.builder.icmp_unsigned("!=", self.builder.bitcast(mask, bits), ir.Constant(bits, 0))
        return self.builder.zext(there, INTEGER)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c."""
        return self._call(f"llvm.{self._multiply_add}.{self._suffix}", self.kind, [a, b, c])

    def interleave(self, one: Any, other: Any) -> tuple[Any, Any]:
        """The lanes of two vectors in turn, as two vectors."""
        order = [lane // 2 + lane % 2 * self.lanes for lane in range(2 * self.lanes)]
        halves = order[: self.lanes], order[self.lanes :]
        low, high = (self.builder.shuffle_vector(one, other, ir.Constant(self._indices, half)) for half in halves)
        return low, high

    def _call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(get_or_insert_function(self.builder.module, kind, name), arguments)
