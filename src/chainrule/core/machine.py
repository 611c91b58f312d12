"""The hardware and software that measured times depend on: processor, system, libraries. Host names are left out."""

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

# Instruction set extensions that matter for matrix products.
_VECTORS = ("avx2", "avx512f", "amx_tile", "asimd", "sve")


def cores() -> int:
    """The number of processors that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(found, _read_quota()))


@lru_cache(maxsize=1)
def _read_quota() -> int:
    """The CPU limit of a Linux container in processors; a large number if there is none."""
    try:
        allowed, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.ceil(int(allowed) / int(period))
    except (OSError, ValueError):
        return 1 << 16


def describe(libraries: Iterable[str] = ("chainrule", "numpy", "numba")) -> dict[str, Any]:
    """Describe this machine.

    Returns:
        `processor`, `cores` (available to this process), `memory_gib` (None if unknown), `system`, `python`,
        `libraries` (versions by name) and `blas` (the BLAS libraries that are loaded).
    """
    from threadpoolctl import threadpool_info

    versions: dict[str, str] = {}
    memory, distribution = None, ""
    for name in libraries:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    with suppress(AttributeError, ValueError):  # Windows has no sysconf
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    with suppress(OSError):
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    blas = {
        f"{info['internal_api']} {info.get('version') or ''} ({info.get('architecture') or 'any'})"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return {
        "processor": _describe_processor(),
        "cores": cores(),
        "memory_gib": memory,
        "system": ", ".join(filter(None, (distribution, platform.system(), platform.machine()))),
        "python": platform.python_version(),
        "libraries": versions,
        "blas": sorted(blas),
    }


def _describe_processor() -> str:
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
