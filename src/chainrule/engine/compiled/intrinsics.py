"""Single instructions that Numba has no name for: pointers from addresses, atomic counters, prefetches, C functions."""

from __future__ import annotations

import ctypes
import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from chainrule.engine.base import NotCompilableError

__all__ = [
    "ADDRESS",
    "YIELD",
    "ForeignFunction",
    "atomic_add",
    "atomic_load",
    "load_yield",
    "pause",
    "pointer",
    "prefetch",
]

ADDRESS = types.intp
YIELD = types.int32()

_X86 = platform.machine() in ("x86_64", "AMD64")
_INT64 = ir.IntType(64)


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any, dtype: Any) -> Any:
    """Turn an address into a pointer to elements of a dtype, from which `carray` makes an array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(dtype.dtype)(ADDRESS, dtype), generate


@intrinsic  # type: ignore[untyped-decorator]
def atomic_add(typing_context: Any, counter: Any) -> Any:
    """Add 1 to the shared int64 counter at an address, and return its value before (acquire-release order)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.inttoptr(arguments[0], _INT64.as_pointer())
        return builder.atomic_rmw("add", word, ir.Constant(_INT64, 1), "acq_rel")

    return types.int64(ADDRESS), generate


@intrinsic  # type: ignore[untyped-decorator]
def atomic_load(typing_context: Any, counter: Any) -> Any:
    """Read the shared int64 counter at an address (acquire order)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(arguments[0], _INT64.as_pointer()), "acquire", 8)

    return types.int64(ADDRESS), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, address: Any) -> Any:
    """Hint that the cache line at an address will be read soon: into the second-level cache."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # A read (0), into the second-level cache (2), of data (1).
        hints = [ir.Constant(number, value) for value in (0, 2, 1)]
        builder.call(function, [builder.inttoptr(arguments[0], byte), *hints])
        return context.get_dummy_value()

    return types.void(ADDRESS), generate


@intrinsic  # type: ignore[untyped-decorator]
def pause(typing_context: Any) -> Any:
    """Hint to the processor that this is a spin-wait loop, on processors that have such an instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


class ForeignFunction(types.WrapperAddressProtocol):  # type: ignore[misc]
    """A C function that Numba can call, given by its address."""

    def __init__(self, address: int, signature: Any) -> None:
        self._address, self._signature = address, signature

    def __wrapper_address__(self) -> int:
        return self._address

    def signature(self) -> Any:
        """Its type."""
        return self._signature


def load_yield() -> ForeignFunction:
    """Find the C library's sched_yield.

    Raises:
        NotCompilableError: there is none, as on Windows.
    """
    try:
        address = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (TypeError, OSError, AttributeError) as error:
        raise NotCompilableError(f"the system has no sched_yield ({error})") from error
    return ForeignFunction(address, YIELD)
