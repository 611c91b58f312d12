"""The driver: runs training steps that are written down as a table of operations.

A step of a network is always the same sequence of matrix products and elementwise loops over the same arrays, so it is
laid out once as a table (program.py): a row holds the kind of an operation and the addresses and sizes that it needs.
The driver is compiled once; depth, widths, batch size and rules are all in the table and in the kernels.

Each thread has a table of its own for its part of the work; they meet at barriers.
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

from chainrule.engine.compilation import compile_text
from chainrule.engine.kernels import ADDRESS, SIGNATURES, pointer

__all__ = [
    "ACTIVATE",
    "BARRIER",
    "BIAS",
    "FINISH",
    "GATHER",
    "LOSS",
    "PRODUCT",
    "SLOPE",
    "SUM",
    "UPDATE",
    "driver",
]

# The kinds of operations, the first number of a row. What follows it:
GATHER = 0  # batch (n, d), labels (n,), position of the first sample in the step, n, d
BIAS = 1  # biases (h,), z (n, h), n, h: every row of z becomes the biases
PRODUCT = 2  # the 13 arguments of BLAS's gemm
ACTIVATE = 3  # z, a, elements
SLOPE = 4  # delta, z, a, elements
LOSS = 5  # logits, labels, delta, n, k, samples in the whole batch, where the right answers go, where the sum goes
FINISH = 6  # sums of all threads, right answers of all threads, threads, samples: the loss, and the scalars of the step
SUM = 7  # delta (n, h), out (c,), n, h, c: sums of the first c columns
UPDATE = 8  # weights, gradients, addresses of the slots, elements to skip, elements, 1 for weights and 0 for biases
BARRIER = 9  # counter, threads

# In the compiled driver this is the precision of the network, float32 or float64.
real = np.float64

_X86 = platform.machine() in ("x86_64", "AMD64")

GEMM = types.void(*[ADDRESS] * 13)
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


def _product_address(dtype: str) -> int:
    """The address of BLAS's matrix product for a dtype, in the BLAS that comes with SciPy."""
    import scipy.linalg.cython_blas as blas

    capsule = blas.__pyx_capi__["sgemm" if dtype == "float32" else "dgemm"]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return int(api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule)))


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
    correct, gemm, give_way, activate, slope, loss, prepare, update,
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
        gemm, give_way, activate, slope, loss, prepare, update: what it calls.

    Returns:
        Steps looked at: `steps`, or fewer if the last one's loss is not finite; that step was not taken.
    """
    order_ = carray(pointer(order, np.int64), first + steps * batch)
    labels_ = pointer(labels, np.int64)
    for step in range(steps):
        for row in range(table.shape[0]):
            op = table[row]
            kind = op[0]
            if kind == PRODUCT:
                gemm(op[1], op[2], op[3], op[4], op[5], op[6], op[7], op[8], op[9], op[10], op[11], op[12], op[13])
            elif kind == ACTIVATE:
                activate(op[1], op[2], op[3])
            elif kind == SLOPE:
                slope(op[1], op[2], op[3], op[4])
            elif kind == UPDATE:
                update(op[1], op[2], op[3], op[4], op[5], constants, weight_decay * op[6])
            elif kind == BIAS:
                biases, z = carray(pointer(op[1], real), op[4]), carray(pointer(op[2], real), (op[3], op[4]))
                for i in range(op[3]):
                    for j in range(op[4]):
                        z[i, j] = biases[j]
            elif kind == SUM:
                delta, total = carray(pointer(op[1], real), op[3] * op[4]), carray(pointer(op[2], real), op[5])
                for j in range(op[5]):
                    total[j] = delta[j]
                for i in range(1, op[3]):
                    for j in range(op[5]):
                        total[j] += delta[i * op[4] + j]
            elif kind == GATHER:
                rows, classes = carray(pointer(op[1], real), (op[4], op[5])), carray(pointer(op[2], np.int64), op[4])
                for i in range(op[4]):
                    sample = order_[first + step * batch + op[3] + i]
                    classes[i] = carray(labels_, sample + 1)[sample]
                    values = carray(pointer(x + sample * op[5] * rows.itemsize, real), op[5])
                    for j in range(op[5]):
                        rows[i, j] = values[j]
            elif kind == LOSS:
                carray(pointer(op[8], np.float64), 1)[0] = loss(op[1], op[2], op[3], op[4], op[5], op[6], op[7])
            elif kind == FINISH:
                sums, hits = carray(pointer(op[1], np.float64), op[3] * 8), carray(pointer(op[2], np.int64), op[3] * 8)
                total, right = 0.0, 0
                for thread in range(op[3]):
                    total += sums[thread * 8]
                    right += hits[thread * 8]
                total /= op[4]
                losses[step] = total
                if not np.isfinite(total):
                    return step + 1
                correct[step] = right
                prepare(settings, memory, time + step + 1, total, constants)
            elif kind == BARRIER:
                goal = (arrive(op[1]) // op[2] + 1) * op[2]
                tries = 0
                while arrived(op[1]) < goal:
                    tries += 1
                    if tries < 4000:
                        pause()
                    else:
                        give_way()
    return steps


_OPERATIONS = {name: value for name, value in globals().items() if name.isupper() and type(value) is int}


@lru_cache(maxsize=2)
def driver(dtype: str) -> tuple[Any, tuple[Any, Any]]:
    """The compiled `drive` for a dtype, and what it calls besides the kernels.

    Raises:
        NotCompilableError: Numba refuses it.
    """
    functions = [types.FunctionType(signature) for signature in (GEMM, YIELD, *SIGNATURES.values())]
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
        "real": np.dtype(dtype).type,
        **_OPERATIONS,
    }
    text = f"# {dtype} {sorted(_OPERATIONS.items())}\n{inspect.getsource(drive)}"
    compiled = compile_text("drive", text, partial(numba.njit, nogil=True), signature, namespace)
    give_way = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    return compiled, (_Foreign(_product_address(dtype), GEMM), _Foreign(give_way, YIELD))
