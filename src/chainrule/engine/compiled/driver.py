"""The driver: runs training steps that are written down as a table of operations.

A step of a network is always the same sequence of matrix products and elementwise loops over the same arrays, so it is
laid out once as a table (program.py): a row holds the kind of an operation and the addresses and sizes that it needs.
The driver is compiled once; depth, widths, batch size and rules are all in the table and in the kernels.

Each thread has a table of its own for its part of the work. They meet at barriers: a thread arrives, may do something
else that nobody waits for, and waits for the others.
"""

from __future__ import annotations

import ctypes
import inspect
import platform
from functools import lru_cache, partial
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from chainrule.engine.compiled.compilation import compile_text
from chainrule.engine.compiled.kernels import ADDRESS, SIGNATURES, pointer
from chainrule.engine.compiled.products import PRODUCT as PRODUCT_SIGNATURE
from chainrule.engine.compiled.products import TRANSPOSE as TRANSPOSE_SIGNATURE
from chainrule.engine.compiled.products import compile_product, compile_transpose
from chainrule.engine.compiled.scalar_source import NotCompilableError

__all__ = [
    "ACTIVATE",
    "ARRIVE",
    "BLOCKS",
    "FINISH",
    "GATHER",
    "LABELS",
    "LINE",
    "LOSS",
    "PREFETCH",
    "PRODUCT",
    "SLOPE",
    "STORE",
    "TURN",
    "UPDATE",
    "WAIT",
    "driver",
]

# The kinds of operations, the first number of a row. What follows it:
GATHER = 0  # part of the batch (n, c), elements from row to row, position of the first sample in the step, n, the
# first column, c, elements of a sample
LABELS = 1  # labels (n,), position of the first sample in the step, n
PRODUCT = 2  # the 13 arguments of a product
BLOCKS = 3  # blocks of a product (b, n, c), elements from block to block, from row to row; initial values (c,); result
# (n, c), b, n, c
ACTIVATE = 4  # z, a, elements
SLOPE = 5  # the 6 arguments of `slope`
LOSS = 6  # logits, labels, delta, n, k, samples in the whole batch, where the right answers go, losses of the samples
FINISH = 7  # losses of all samples, right answers of all threads, threads, samples: the loss, and the step's scalars
UPDATE = 8  # weights, gradients, addresses of the slots, elements to skip, elements, 1 for weights and 0 for biases
TURN = 9  # the 6 arguments of a transpose
ARRIVE = 10  # counter, threads: tell the others that this thread has come so far
WAIT = 11  # counter: until all have arrived. The number behind the counter is 1 when one of them never will
STORE = 12  # logits (elements,), where those of all steps go, elements before these, elements of a step, elements
PREFETCH = 13  # position of a sample in the next step, samples, the first column, columns, elements of a sample

# Numbers of different threads stand a cache line of 8 apart, or each would wait for the other's.
LINE = 8

# In the compiled driver this is the precision of the network, float32 or float64.
real = np.float64
# Bytes of such a number.
width = 8

_X86 = platform.machine() in ("x86_64", "AMD64")

YIELD = types.int32()


class _Foreign(types.WrapperAddressProtocol):  # type: ignore[misc]
    """A C function that Numba can call, given by its address."""

    def __init__(self, address: int, signature: Any) -> None:
        self._address, self._signature = address, signature

    def __wrapper_address__(self) -> int:
        return self._address

    def signature(self) -> Any:
        """Its type."""
        return self._signature


@intrinsic  # type: ignore[untyped-decorator]
def arrive(typing_context: Any, counter: Any) -> Any:
    """Add 1 to a counter that other threads see; its value before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(ADDRESS), generate


@intrinsic  # type: ignore[untyped-decorator]
def arrived(typing_context: Any, counter: Any) -> Any:
    """The value of such a counter."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()), "acquire", 8)

    return types.int64(ADDRESS), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, address: Any) -> Any:
    """A hint that what lies there will be read soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To read, into the second nearest cache, data.
        hints = [ir.Constant(number, value) for value in (0, 2, 1)]
        builder.call(function, [builder.inttoptr(arguments[0], place), *hints])
        return context.get_dummy_value()

    return types.void(ADDRESS), generate


@intrinsic  # type: ignore[untyped-decorator]
def pause(typing_context: Any) -> Any:
    """A hint to the processor that this loop waits, where the processor has one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


def drive(  # type: ignore[no-untyped-def]
    table, x, labels, order, first, steps, batch, time, weight_decay, settings, memory, constants, losses,
    correct, give_way, product, transpose, activate, slope, loss, prepare, update,
):  # fmt: skip
    """Run one thread's operations for consecutive steps.

    Args:
        table: a row an operation, (operations, 14).
        x: address of all samples, (samples, d).
        labels: address of their classes.
        order: address of the samples' positions in the order of training.
        first: where in `order` the first step's samples begin.
        steps: how many.
        batch: samples a step.
        time: optimizer steps taken before.
        weight_decay: the L2 penalty.
        settings: address of the optimizer's settings.
        memory: address of this thread's scalars.
        constants: address of this thread's constants of `update`.
        losses: (steps,), the mean loss of each step; written.
        correct: (steps,), right answers of each step; written.
        give_way, product, transpose, activate, slope, loss, prepare, update: what it calls.

    Returns:
        Steps looked at: `steps`, or fewer if the last one's loss is not finite; that step was not taken. -1 if another
        thread failed.
    """
    order_ = carray(pointer(order, np.int64), first + steps * batch)
    labels_, goal = pointer(labels, np.int64), 0
    for step in range(steps):
        for row in range(table.shape[0]):
            op = table[row]
            kind = op[0]
            if kind == PRODUCT:
                product(op[1], op[2], op[3], op[4], op[5], op[6], op[7], op[8], op[9], op[10], op[11], op[12], op[13])
            elif kind == ACTIVATE:
                activate(op[1], op[2], op[3])
            elif kind == SLOPE:
                slope(op[1], op[2], op[3], op[4], op[5], op[6])
            elif kind == UPDATE:
                update(op[1], op[2], op[3], op[4], op[5], constants, weight_decay * op[6])
            elif kind == TURN:
                transpose(op[1], op[2], op[3], op[4], op[5], op[6])
            elif kind == GATHER:
                for i in range(op[4]):
                    sample = order_[first + step * batch + op[3] + i]
                    there = carray(pointer(x + (sample * op[7] + op[5]) * width, real), op[6])
                    here = carray(pointer(op[1] + i * op[2] * width, real), op[6])
                    for j in range(op[6]):
                        here[j] = there[j]
            elif kind == LABELS:
                classes = carray(pointer(op[1], np.int64), op[3])
                for i in range(op[3]):
                    sample = order_[first + step * batch + op[2] + i]
                    classes[i] = carray(labels_, sample + 1)[sample]
            elif kind == BLOCKS:
                initial = carray(pointer(op[4], real), op[8])
                for i in range(op[7]):
                    result = carray(pointer(op[5] + i * op[8] * width, real), op[8])
                    for j in range(op[8]):
                        result[j] = initial[j]
                    for block in range(op[6]):
                        part = carray(pointer(op[1] + (block * op[2] + i * op[3]) * width, real), op[8])
                        for j in range(op[8]):
                            result[j] += part[j]
            elif kind == LOSS:
                loss(op[1], op[2], op[3], op[4], op[5], op[6], op[7], op[8])
            elif kind == FINISH:
                values, hits = carray(pointer(op[1], np.float64), op[4]), carray(pointer(op[2], np.int64), op[3] * LINE)
                total, right = 0.0, 0
                for sample in range(op[4]):
                    total += values[sample]
                for thread in range(op[3]):
                    right += hits[thread * LINE]
                total /= op[4]
                losses[step] = total
                if not np.isfinite(total):
                    return step + 1
                correct[step] = right
                prepare(settings, memory, time + step + 1, total, constants)
            elif kind == STORE:
                source = carray(pointer(op[1], real), op[5])
                target = carray(pointer(op[2] + (step * op[4] + op[3]) * width, real), op[5])
                for i in range(op[5]):
                    target[i] = source[i]
            elif kind == PREFETCH:
                if step + 1 < steps:
                    for i in range(op[2]):
                        sample = order_[first + (step + 1) * batch + op[1] + i]
                        begin = x + (sample * op[5] + op[3]) * width
                        for line in range(begin, begin + op[4] * width, 64):
                            prefetch(line)
            elif kind == ARRIVE:
                goal = (arrive(op[1]) // op[2] + 1) * op[2]
            elif kind == WAIT:
                tries = 0
                while arrived(op[1]) < goal:
                    tries += 1
                    if tries < 4000:
                        pause()
                    else:
                        give_way()
                        if arrived(op[1] + 8) != 0:
                            return -1
    return steps


_OPERATIONS = {name: value for name, value in globals().items() if name.isupper() and type(value) is int}


def _address_of_yield() -> int:
    """The address of the C library's sched_yield.

    Raises:
        NotCompilableError: there is none, as on Windows.
    """
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (TypeError, OSError, AttributeError) as error:
        raise NotCompilableError(f"the system has no sched_yield ({error})") from error


@lru_cache(maxsize=2)
def driver(dtype: str) -> tuple[Any, tuple[Any, Any, Any]]:
    """The compiled `drive` for a dtype, and what it calls besides a network's kernels.

    Raises:
        NotCompilableError: Numba refuses it.
    """
    functions = [
        types.FunctionType(signature)
        for signature in (YIELD, PRODUCT_SIGNATURE, TRANSPOSE_SIGNATURE, *SIGNATURES.values())
    ]
    integers = [ADDRESS] * 3 + [types.int64] * 4
    signature = types.int64(
        types.int64[:, ::1],
        *integers,
        types.float64,
        *[ADDRESS] * 3,
        types.float64[::1],
        types.int64[::1],
        *functions,
    )
    namespace = {
        "carray": carray,
        "pointer": pointer,
        "arrive": arrive,
        "arrived": arrived,
        "pause": pause,
        "prefetch": prefetch,
        "real": np.dtype(dtype).type,
        "width": np.dtype(dtype).itemsize,
        **_OPERATIONS,
    }
    text = f"# {dtype} {sorted(_OPERATIONS.items())}\n{inspect.getsource(drive)}"
    compiled = compile_text("drive", text, partial(numba.njit, nogil=True), signature, namespace)
    give_way = _address_of_yield()
    return compiled, (_Foreign(give_way, YIELD), compile_product(dtype), compile_transpose(dtype))
