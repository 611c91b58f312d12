"""What all specifications share: numbers and texts that are safe to draw."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

__all__ = ["VEGA", "VEGA_LITE", "Spec", "make_label_expression", "shorten", "to_finite", "wrap"]

VEGA, VEGA_LITE = (f"https://vega.github.io/schema/{name}.json" for name in ("vega/v6", "vega-lite/v6"))

# A Vega-Lite or Vega specification, or a part of one.
Spec = dict[str, Any]

# Vega uses texts as keys of JavaScript objects, which have these already.
_INHERITED = re.compile(r"__\w+__|constructor|to(Locale)?String|valueOf|hasOwnProperty|isPrototypeOf|propertyIs\w+")


def to_finite(value: Any) -> float | None:
    """A number as Python float; None, which is not drawn, for one that is missing or not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def shorten(text: str, max_length: int = 60) -> str:
    """Text on one line, shortened to a length; lone surrogates, which are no valid Unicode, become question marks."""
    text = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    if _INHERITED.fullmatch(text):
        return text + "\N{ZERO WIDTH SPACE}"
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def wrap(text: str, width: int, max_lines: int = 3) -> list[str]:
    """Text in at most `max_lines` lines of `width` characters."""
    return textwrap.wrap(shorten(text, 400), width, max_lines=max_lines, placeholder=" …") or [""]


def make_label_expression(labels: Sequence[Any]) -> str:
    """A Vega expression for labels of an axis or legend whose values are indices into `labels`."""
    return f"{json.dumps(list(labels))}[datum.value]"
