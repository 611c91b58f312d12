"""Compilation of the step functions, once for all networks of a precision."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numba
import numpy as np
from numba import carray, types

from chainrule.engine.compiled.barrier import SPINS
from chainrule.engine.compiled.compilation import compile_text
from chainrule.engine.compiled.intrinsics import ADDRESS, YIELD, atomic_add, atomic_load, pause, pointer, prefetch
from chainrule.engine.compiled.kernels import SIGNATURES
from chainrule.engine.compiled.products import PRODUCT, TRANSPOSE
from chainrule.engine.compiled.records import LAYER, THREAD
from chainrule.engine.compiled.step import FUNCTIONS, LARGE, ROW_BLOCK, evaluate
from chainrule.engine.compiled.updates import FUSED, GRADIENTS, UPDATES
from chainrule.nn.augmentation import LAYER_NUMBER, NODES
from chainrule.nn.normalization import EPSILON, MOMENTUM

__all__ = ["compile_steps"]

_RECORDS = (numba.from_dtype(THREAD)[::1], numba.from_dtype(LAYER)[::1])
_KERNELS = {name: types.FunctionType(signature) for name, signature in SIGNATURES.items()}
_PRODUCT, _TRANSPOSE = types.FunctionType(PRODUCT), types.FunctionType(TRANSPOSE)
_TRAIN = types.int64(
    *_RECORDS, *[ADDRESS] * 3, *[types.int64] * 3, types.float64, types.float64[::1], *[ADDRESS] * 3,
    *[types.float64[::1]] * 2, types.FunctionType(YIELD), _PRODUCT, _TRANSPOSE, *_KERNELS.values(),
)  # fmt: skip
_EVALUATE = types.int64(*_RECORDS, *[ADDRESS] * 2, *[types.int64] * 2, ADDRESS, _PRODUCT, _KERNELS["activate"])


@lru_cache(maxsize=6)
def compile_steps(function: Callable[..., int], dtype: str) -> Any:
    """Compile `train_data_parallel`, `train_tensor_parallel` or `evaluate` of step.py for a dtype.

    Raises:
        NotCompilableError: Numba refuses it.
    """
    scope = {"carray": carray, "pointer": pointer, "atomic_add": atomic_add, "atomic_load": atomic_load, "pause": pause}
    scope |= {"prefetch": prefetch, "real": np.dtype(dtype).type, "width": np.dtype(dtype).itemsize}
    constants = {"LARGE": LARGE, "ROW_BLOCK": ROW_BLOCK, "SPINS": SPINS, "EPSILON": EPSILON, "MOMENTUM": MOMENTUM}
    constants |= {"FUSED": FUSED, "GRADIENTS": GRADIENTS, "UPDATES": UPDATES}
    constants |= {"LAYER_NUMBER": LAYER_NUMBER, "NODES": NODES}
    sources = [f'@njit(error_model="numpy")\n{inspect.getsource(part)}' for part in FUNCTIONS]
    # Annotations are not evaluated: the names that they use are unknown to the text.
    head = f"from __future__ import annotations\n# {dtype} {constants} {LAYER} {THREAD}"
    text = "\n".join([head, *sources, inspect.getsource(function)])
    signature = _EVALUATE if function is evaluate else _TRAIN
    return compile_text(function.__name__, text, partial(numba.njit, nogil=True), signature, {**scope, **constants})
