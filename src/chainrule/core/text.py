"""Escaping of untrusted text for terminals."""

from __future__ import annotations

__all__ = ["printable", "printable_lines"]


def printable(text: str) -> str:
    """Escape every control character and every character that cannot be encoded.

    >>> printable("a\\x1b[31m b")
    'a\\\\x1b[31m b'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Escape a text of several lines, keeping the line breaks."""
    return "\n".join(map(printable, text.split("\n")))
