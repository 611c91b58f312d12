"""What a result depends on besides the code: processor, system, libraries. No names of machines or people."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pool import cores

__all__ = ["RESULTS", "describe", "save", "version"]

RESULTS = Path(__file__).resolve().parent / "results"
_LIBRARIES = ("numpy", "scipy", "numba", "scikit-learn", "torch", "jax", "jaxlib", "keras", "chainrule")


def version(library: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, Any]:
    """The machine, in words that identify its kind and nothing else."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": _system(),
        "python": platform.python_version(),
        "libraries": {name: found for name in _LIBRARIES if (found := version(name))},
        "blas": _blas(),
    }


def save(name: str, settings: dict[str, Any], content: dict[str, Any]) -> Path:
    """Write results/<name>.json: date, machine, settings, and the content."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    date = datetime.now(UTC).date().isoformat()
    whole = {"date": date, "machine": describe(), "settings": settings, **content}
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return file


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
    vectors = [flag for flag in ("avx2", "avx512f", "amx_tile") if flag in fields.get("flags", "").split()]
    return ", ".join([name, *numbers, *vectors])


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return ", ".join(part for part in (name, platform.system(), platform.machine()) if part)


def _blas() -> list[str]:
    """The BLAS libraries that NumPy and SciPy load, by name and version."""
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    found = {
        f"{info['internal_api']} {info.get('version') or ''} ({info.get('architecture') or 'any'})"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return sorted(found)
