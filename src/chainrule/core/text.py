"""Text from outside, made harmless for a terminal."""

from __future__ import annotations

__all__ = ["printable", "printable_lines"]


def printable(text: str) -> str:
    """The text with an escape in place of each character that would command the terminal or cannot be encoded.

    >>> printable("a\\x1b[31m b")
    'a\\\\x1b[31m b'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of some lines."""
    return "\n".join(map(printable, text.split("\n")))
