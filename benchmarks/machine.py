"""What a result depends on besides the code, and where it is stored. No names of machines or people."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chainrule.core import machine

__all__ = ["RESULTS", "describe", "save"]

RESULTS = Path(__file__).resolve().parent / "results"
_LIBRARIES = ("numpy", "scipy", "numba", "scikit-learn", "torch", "jax", "jaxlib", "keras", "chainrule")


def describe() -> dict[str, Any]:
    """The machine and the libraries compared, with the BLAS of NumPy and that of SciPy, which scikit-learn uses."""
    with suppress(ImportError):  # chainrule does without SciPy
        import scipy.linalg  # noqa: F401
    return machine.describe(_LIBRARIES)


def save(name: str, settings: dict[str, Any], content: dict[str, Any]) -> Path:
    """Write results/<name>.json: date, machine, settings, and the content."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    date = datetime.now(UTC).date().isoformat()
    whole = {"date": date, "machine": describe(), "settings": settings, **content}
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return file
