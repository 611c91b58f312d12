"""What all specifications share: numbers and texts that are safe to draw, and placeholders."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from typing import Any

__all__ = ["Spec", "label_expression", "shorten", "spans_decades", "to_finite", "wrap"]

# A Vega-Lite or Vega specification.
Spec = dict[str, Any]

_DECADES = 1000

# Vega uses texts as keys of JavaScript objects, which have these already.
_INHERITED = frozenset(
    ("__proto__", "constructor", "toString", "toLocaleString", "valueOf", "hasOwnProperty", "isPrototypeOf")
    + ("propertyIsEnumerable", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__")
)


def to_finite(value: Any) -> float | None:
    """A number as Python float; None, which is not drawn, for one that is missing or not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def shorten(text: str, max_length: int = 60) -> str:
    """Text on one line, shortened to a length; lone surrogates, which are no valid Unicode, become question marks."""
    text = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    if text in _INHERITED:
        text += "\N{ZERO WIDTH SPACE}"
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def wrap(text: str, width: int, max_lines: int = 3) -> list[str]:
    """Text in at most `max_lines` lines of `width` characters."""
    return textwrap.wrap(shorten(text, 400), width, max_lines=max_lines, placeholder=" …") or [""]


def label_expression(labels: Sequence[Any]) -> str:
    """A Vega expression for labels of an axis or legend whose values are indices into `labels`."""
    return f"{json.dumps(list(labels))}[datum.value]"


def spans_decades(values: Sequence[float | None]) -> bool:
    """Whether a logarithmic axis fits: all values are positive, and the largest is 1000 times the smallest."""
    known = [value for value in values if value is not None]
    return bool(known) and min(known) > 0 and max(known) >= _DECADES * min(known)
