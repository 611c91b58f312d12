"""The environment of a result (hardware, libraries, date) and the folder of stored results."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chainrule.core import machine

__all__ = ["RESULTS", "describe", "read_results", "read_stored", "save"]

RESULTS = Path(__file__).resolve().parent / "results"
_LIBRARIES = ("numpy", "scipy", "numba", "scikit-learn", "torch", "jax", "jaxlib", "keras", "chainrule")


def describe() -> dict[str, Any]:
    """Describe the machine and the libraries, with the BLAS of NumPy and that of SciPy, which scikit-learn uses."""
    with suppress(ImportError):  # importing it loads its BLAS
        import scipy.linalg  # noqa: F401
    return machine.describe(_LIBRARIES)


def read_results(name: str) -> dict[str, Any]:
    """Read results/<name>.json."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def read_stored(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Read results/<name>.json to continue it; empty if there is none, or if it was measured with other settings."""
    stored = read_results(name) if (RESULTS / f"{name}.json").exists() else {}
    return stored if stored.get("settings") == json.loads(json.dumps(settings)) else {}


def save(name: str, settings: dict[str, Any], content: dict[str, Any]) -> Path:
    """Write results/<name>.json: date, machine, settings, and the content."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    date = datetime.now(UTC).date().isoformat()
    whole = {"date": date, "machine": describe(), "settings": settings, **content}
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return file
