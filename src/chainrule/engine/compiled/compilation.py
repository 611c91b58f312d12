"""Machine code, made by Numba and kept on disk, so that it is made once per installation.

Numba finds a function again in its cache if it was defined in a file that has not changed. The functions compiled here
are made from text (a rule's source among it), so the text is written to a file whose name holds its hash: other text,
other file. Where files cannot be written, the functions are compiled for this process alone.
"""

from __future__ import annotations

import hashlib
import logging
import math
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import numba
import numpy as np

from chainrule.core.files import cache_folder, write_text
from chainrule.engine.base import NotCompilableError

__all__ = ["compile_text"]

_log = logging.getLogger("chainrule.engine")

# Two threads that compile the same text would replace each other's module.
_lock = threading.Lock()


def compile_text(
    name: str, text: str, compiler: Callable[..., Callable[[Any], Any]], signature: Any, namespace: Mapping[str, Any]
) -> Any:
    """Compile the function `name` that `text` defines.

    Args:
        name: the function.
        text: Python source. It may use `np`, `math` and `njit` besides the namespace.
        compiler: such as `numba.njit` or `numba.cfunc`.
        signature: the types of its arguments and of its result.
        namespace: what else the text uses. Nothing of it may change without the text changing, but for versions.

    Returns:
        What the compiler makes of it.

    Raises:
        NotCompilableError: Numba refuses the text; the message gives its reason.
    """
    with _lock:
        return _load_or_compile(name, text, compiler, signature, namespace)


def _load_or_compile(
    name: str, text: str, compiler: Callable[..., Callable[[Any], Any]], signature: Any, namespace: Mapping[str, Any]
) -> Any:
    parts = (text, str(signature), numba.__version__, sys.version, np.__version__)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    file = cache_folder("kernels") / f"{name}_{digest}.py"
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, text)
        if not any((file.parent / "__pycache__").glob(f"{file.stem}.*.nbi")):
            _log_once("Compiling to machine code, once for this installation; it is kept in %s", file.parent)
        return _compile(name, file.stem, text, str(file), compiler, signature, namespace, cache=True)
    except NotCompilableError:
        raise
    except Exception as error:
        # A folder that cannot be written to, a full disk, or a file in it that is damaged and must not be met again.
        with suppress(OSError):
            for damaged in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
                damaged.unlink()
        _log_once("Compiling to machine code for this run only: %s cannot be used (%s)", file.parent, error)
        return _compile(name, file.stem, text, f"<{name}>", compiler, signature, namespace, cache=False)


_logged: set[str] = set()


def _log_once(message: str, *values: object) -> None:
    """Log a message that would otherwise come once a function."""
    if message not in _logged:
        _logged.add(message)
        _log.info(message, *values)


def _compile(
    name: str,
    identity: str,
    text: str,
    filename: str,
    compiler: Callable[..., Callable[[Any], Any]],
    signature: Any,
    namespace: Mapping[str, Any],
    *,
    cache: bool,
) -> Any:
    """Define the function as if read from `filename`, and compile it."""
    # Numba names machine code after the function's module and asks for that module when it loads it again. With a
    # module for each text, two functions of one name cannot be taken for each other.
    module = ModuleType(f"chainrule_{identity}")
    sys.modules[module.__name__] = module
    scope = module.__dict__
    scope.update({"np": np, "math": math, "njit": numba.njit, **namespace})
    exec(compile(text, filename, "exec"), scope)
    # Without error_model="numpy", a check for division by 0 keeps loops from using vector instructions.
    try:
        return compiler(signature, cache=cache, error_model="numpy")(scope[name])
    except numba.core.errors.NumbaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if not line.startswith(("Failed in", "- Resolution"))), "unknown")
        raise NotCompilableError(f"Numba cannot compile {name.replace('_', ' ')}: {reason}") from error
