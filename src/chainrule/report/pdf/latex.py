r"""Untrusted text, formulas and tables as LaTeX: every character is shown literally, and no text can run a command.

The result is ASCII that pdflatex can set in any of its standard fonts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from chainrule.report.pdf.unicode_to_latex import COMMANDS, SPECIAL, encode_character

__all__ = ["escape_bookmark", "escape_latex", "format_code", "format_table", "sanitize_formula"]

# Longer words may be broken: hyphenation patterns do not cover names of runs.
_MAX_WORD_LENGTH = 24

# Characters per line, by font.
_FONTS = (("small", 98), ("footnotesize", 106), ("scriptsize", 122))

_ENVIRONMENTS = frozenset(["aligned", "cases", "matrix", "pmatrix", "bmatrix", "vmatrix"])


def escape_latex(text: str, max_word_length: int = _MAX_WORD_LENGTH) -> str:
    """Escape text so that LaTeX shows it literally.

    Args:
        text: any text. Characters that pdflatex cannot show become "?".
        max_word_length: longer words get optional line breaks.
    """
    parts = re.split(r"(\s+)", unicodedata.normalize("NFC", text))
    return "".join(" " if part.isspace() else _escape_word(part, max_word_length) for part in parts)


def escape_bookmark(text: str) -> str:
    """Escape text for the outline of a PDF, which supports no formulas: ASCII only."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split())).encode("ascii", "ignore").decode()
    return "".join(SPECIAL.get(c, c) for c in plain if c.isprintable())


def format_code(text: str) -> str:
    """Format lines of code as paragraphs that keep their spaces and wrap if they are too long."""
    lines = []
    for line in text.expandtabs(4).rstrip("\n").split("\n"):
        body = line.lstrip(" ")
        spaced = re.sub(r" (?= )", lambda _: "\0", body)
        shown = "~".join(escape_latex(part) for part in spaced.split("\0"))
        lines.append("~" * (len(line) - len(body)) + shown if body.strip() else r"\mbox{}")
    return "\\par\n".join(lines) + "\\par\n"


def sanitize_formula(text: str) -> str | None:
    r"""Check that a formula is complete and uses only harmless commands.

    Returns:
        The formula without surrounding spaces, or None if it is invalid or uses commands that are not allowed.
    """
    text = text.strip()
    commands = re.findall(r"\\([A-Za-z]+|.|$)", text, re.DOTALL)
    blocks = re.findall(r"\\(begin|end)(?:\{([a-z]+)\})?", text)
    bare = re.sub(r"\\[^A-Za-z]", "", text)
    depth = 0
    for brace in re.findall(r"[{}]", bare):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return None
    # In TeX an index is one letter: x_ab means x_a b.
    single = re.sub(r"(?<=[_^][A-Za-z])(?=[A-Za-z])", " ", bare)
    doubled = re.search(r"([_^])\s*(\{[^{}]*\}|\\?[A-Za-z]+|.)\s*\1", single)
    opened = [name for word, name in blocks if word == "begin"]
    is_valid = (
        text
        and depth == 0
        and all(command in COMMANDS for command in commands)
        and not re.search(r"[%#~$\x00-\x09\x0b-\x1f\x7f-\U0010ffff]|\^\^|[_^]\s*($|[}_^&])|\n\s*\n", bare)
        and not doubled
        and sorted(opened) == sorted(name for word, name in blocks if word == "end")
        and _ENVIRONMENTS.issuperset(opened)
        and (opened or not ("&" in bare or "\\" in commands))
        and commands.count("left") == commands.count("right")
    )
    return text if is_valid else None


def format_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], alignments: Sequence[str], widths: Sequence[int]
) -> str:
    """Format a table with horizontal rules that is never wider than the page.

    Args:
        head: k cells in LaTeX.
        rows: rows of k cells in LaTeX.
        alignments: "l", "c" or "r" for each of the k columns.
        widths: length of the longest cell of each column, in characters.
    """
    # The gap between columns is about three characters wide.
    needed = sum(widths) + 3 * len(widths)
    fitting = [font for font, line in _FONTS if needed <= line]
    font, columns = (fitting[0], "".join(alignments)) if fitting else ("footnotesize", _fit_columns(alignments, widths))
    body = " \\\\\n".join(" & ".join(row) for row in rows)
    top = f"\\toprule\n{' & '.join(head)} \\\\\n\\midrule\n"
    spec = f"@{{}}{columns}@{{}}"
    if len(rows) > 25 and len(widths) <= 10:  # may break across pages and repeats its head
        inner = (
            f"\\begin{{longtable}}{{{spec}}}\n{top}\\endhead\n\\bottomrule\n\\endlastfoot\n{body}\n\\end{{longtable}}"
        )
        return f"{{\\{font}\n{inner}}}\n"
    body += " \\\\\n" if rows else ""
    inner = f"\\begin{{tabular}}{{{spec}}}\n{top}{body}\\bottomrule\n\\end{{tabular}}"
    return f"\\begin{{fitted}}\\{font}\n{inner}\\end{{fitted}}\n"


def _fit_columns(alignments: Sequence[str], widths: Sequence[int]) -> str:
    """Column types of a table that is too wide: short columns stay, long ones wrap and share the rest of the line."""
    short = [width <= 12 for width in widths]
    left = 106 - 3 * len(widths) - sum(width for width, kept in zip(widths, short, strict=True) if kept)
    weights = [0 if kept else min(width, 200) ** 0.5 for width, kept in zip(widths, short, strict=True)]
    if left < 10 * short.count(False):
        return "".join(alignments)  # not enough room: the table is scaled down as a whole
    sides = {"l": r"\raggedright", "c": r"\centering", "r": r"\raggedleft"}
    specs = []
    for alignment, weight in zip(alignments, weights, strict=True):
        share = 0.94 * left / 106 * weight / sum(weights)
        cell = f">{{{sides[alignment]}\\arraybackslash}}p{{{share:.3f}\\linewidth}}"
        specs.append(cell if weight else alignment)
    return "".join(specs)


def _escape_word(word: str, max_length: int) -> str:
    parts = [encode_character(c) for c in word]
    if len(word) <= max_length:
        return "".join(parts)
    # Preferably after a punctuation mark, otherwise after every eighth character.
    return "".join(
        part + r"\allowbreak{}" * (not c.isalnum() or i % 8 == 7)
        for i, (c, part) in enumerate(zip(word, parts, strict=True))
    )
