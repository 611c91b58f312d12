"""Numbers so small that a processor computes with them a hundred times slower, treated as the 0 they all but are.

A pixel that is always 0 gives its weights no gradient but the L2 term, so they, and the optimizer's memory of them,
shrink by a factor at every step, until after some thousand steps they are subnormal: below 1.2e-38 in float32, where
most processors leave their fast path. On MNIST that makes an epoch several times slower. Processors have a switch for
it; C's standard library sets it, as a part of the floating-point environment, for the calling thread.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

__all__ = ["subnormals_as_zero"]

# Where the control register stands in fenv_t, and its bits "flush results to zero" and "take operands as zero".
_REGISTERS = {
    "x86_64": (28, 0x8040),  # glibc: 28 bytes of x87 state, then MXCSR: bit 15 FTZ, bit 6 DAZ
    "aarch64": (0, 1 << 24),  # glibc: FPCR first: bit 24 FZ, both ways
}
_ENVIRONMENT_BYTES = 64  # more than fenv_t needs on either


@lru_cache(maxsize=1)
def _library() -> Any:
    """C's mathematical library, or None on a system whose fenv_t this file does not know."""
    known = sys.platform == "linux" and platform.machine() in _REGISTERS and platform.libc_ver()[0] == "glibc"
    return ctypes.CDLL("libm.so.6") if known else None


@contextmanager
def subnormals_as_zero() -> Iterator[None]:
    """A `with` block in which this thread takes subnormal numbers as 0. Elsewhere than on Linux it changes nothing."""
    library = _library()
    if library is None:
        yield
        return
    before = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    library.fegetenv(before)
    offset, bits = _REGISTERS[platform.machine()]
    inside = ctypes.create_string_buffer(before.raw, _ENVIRONMENT_BYTES)
    register = ctypes.c_uint32.from_buffer(inside, offset)
    register.value |= bits
    library.fesetenv(inside)
    try:
        yield
    finally:
        library.fesetenv(before)
