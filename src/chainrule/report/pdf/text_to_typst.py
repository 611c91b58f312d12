"""Untrusted text as Typst: string literals, in which no text can be code."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["convert_text", "quote"]


def quote(text: str) -> str:
    r"""A string literal of Typst. Characters that no font can show become U+FFFD.

    >>> quote('a "b" \\')
    '"a \\"b\\" \\\\"'
    """
    shown = "".join("\ufffd" if _is_unprintable(c) else c for c in text)
    return '"' + re.sub(r'(["\\])', r"\\\1", shown).replace("\n", "\\n") + '"'


def convert_text(text: str) -> str:
    """Text for use in markup, with white space collapsed."""
    collapsed = re.sub(r"\s+", " ", text)
    return f"#{quote(collapsed)};" if text else ""


def _is_unprintable(c: str) -> bool:
    return c != "\n" and unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn")
