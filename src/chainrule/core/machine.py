"""What a measured time depends on besides the code: processor, system, libraries. No names of computers or people."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["cores", "describe"]

# Extensions of the instruction set that decide how fast products of matrices are.
_VECTORS = ("avx2", "avx512f", "amx_tile", "asimd", "sve")


def cores() -> int:
    """The processors that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(found, _quota()))


@lru_cache(maxsize=1)
def _quota() -> int:
    """How many processors' time a container grants on Linux; a large number where there is no limit."""
    try:
        allowed, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.ceil(int(allowed) / int(period))
    except (OSError, ValueError):
        return 1 << 16


def describe(libraries: Iterable[str] = ("chainrule", "numpy", "numba")) -> dict[str, Any]:
    """This machine, in words that identify its kind and nothing else.

    Args:
        libraries: distributions whose versions are told; those that are not installed are left out.

    Returns:
        `processor`, `cores` (that this process may use), `memory_gib` (None where the system does not tell), `system`,
        `python`, `libraries` (versions by name) and `blas` (the BLAS libraries loaded just now).
    """
    versions = {}
    for name in libraries:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": _memory(),
        "system": _system(),
        "python": platform.python_version(),
        "libraries": versions,
        "blas": _blas(),
    }


def _processor() -> str:
    """Its model, with family numbers where the name alone says little."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    name = fields.get("model name", platform.machine())
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    flags = (fields.get("flags") or fields.get("Features", "")).split()
    return ", ".join([name, *numbers, *(vector for vector in _VECTORS if vector in flags)])


def _memory() -> int | None:
    """GiB, rounded."""
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return None


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return ", ".join(part for part in (name, platform.system(), platform.machine()) if part)


def _blas() -> list[str]:
    """Name and version of each; NumPy's is always there."""
    from threadpoolctl import threadpool_info

    found = {
        f"{info['internal_api']} {info.get('version') or ''} ({info.get('architecture') or 'any'})"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return sorted(found)
