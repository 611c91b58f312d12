r"""LaTeX made of texts that may hold anything: each character appears as it is, and none commands TeX.

What comes out is plain ASCII that pdflatex sets with any of its usual fonts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from chainrule.report.pdf.unicode_to_latex import SPECIAL, to_ascii

__all__ = ["bookmark", "code_lines", "escape", "formula", "table"]

# A word of more letters than this may be broken: no hyphenation knows the names of runs.
_LONGEST = 24

# Letters in a line of the page, by font.
_FONTS = (("small", 98), ("footnotesize", 106), ("scriptsize", 122))

# What a formula may say. Others could read files, define commands or never end.
_WORDS = r"""
    frac dfrac tfrac sqrt sum prod int partial nabla infty cdot cdots ldots dots times div pm mp le leq ge geq ne neq
    approx equiv sim propto in notin subset cup cap forall exists to mapsto gets leftarrow rightarrow Rightarrow
    Leftrightarrow left right big Big bigg Bigg bigl bigr Bigl Bigr langle rangle lVert rVert lvert rvert lfloor rfloor
    lceil rceil mid odot oplus otimes circ star ast prime top bot hat bar tilde vec dot ddot widehat widetilde overline
    underline mathbf mathrm mathit mathcal mathbb mathsf boldsymbol operatorname text quad qquad min max arg log ln exp
    sin cos tan tanh sinh cosh lim sup inf det Pr begin end alpha beta gamma delta epsilon varepsilon zeta eta theta
    vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi
    Pi Sigma Upsilon Phi Psi Omega ell Re Im hbar
    , ; : ! { } | \
"""
_COMMANDS = frozenset([*_WORDS.split(), " "])
_ENVIRONMENTS = frozenset(["aligned", "cases", "matrix", "pmatrix", "bmatrix", "vmatrix"])


def escape(text: str, longest: int = _LONGEST) -> str:
    """A text as LaTeX that shows it literally.

    Args:
        text: anything. What pdflatex cannot show becomes "?".
        longest: words of more letters get places where a line may break.
    """
    words = re.split(r"(\s+)", unicodedata.normalize("NFC", text))
    return "".join(_word(word, longest) if word and not word.isspace() else " " * bool(word) for word in words)


def bookmark(text: str) -> str:
    """The same for the reader's outline of a PDF, which knows no formulas: ASCII only."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split())).encode("ascii", "ignore").decode()
    return "".join(SPECIAL.get(c, c) for c in plain if c.isprintable())


def code_lines(text: str) -> str:
    """Lines of code, each a paragraph: its spaces stay, and where it is too long it goes on in the next line."""
    lines = []
    for line in text.expandtabs(4).rstrip("\n").split("\n"):
        body = line.lstrip(" ")
        spaced = re.sub(r" (?= )", lambda _: "\0", body)
        shown = "~".join(escape(part) for part in spaced.split("\0"))
        lines.append("~" * (len(line) - len(body)) + shown if body.strip() else r"\mbox{}")
    return "\\par\n".join(lines) + "\\par\n"


def formula(text: str) -> str | None:
    r"""Mathematics as TeX may have it: with known commands only, and whole.

    Returns:
        The text without the spaces around it; None where it is no formula, or one that may do more than be shown.
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
    # TeX takes one letter for an index: x_ab is x_a b.
    single = re.sub(r"(?<=[_^][A-Za-z])(?=[A-Za-z])", " ", bare)
    doubled = re.search(r"([_^])\s*(\{[^{}]*\}|\\?[A-Za-z]+|.)\s*\1", single)
    begun = [name for word, name in blocks if word == "begin"]
    sound = (
        text
        and depth == 0
        and all(command in _COMMANDS for command in commands)
        and not re.search(r"[%#~$\x00-\x09\x0b-\x1f\x7f-\U0010ffff]|\^\^|[_^]\s*($|[}_^&])|\n\s*\n", bare)
        and not doubled
        and sorted(begun) == sorted(name for word, name in blocks if word == "end")
        and _ENVIRONMENTS.issuperset(begun)
        and (begun or not ("&" in bare or "\\" in commands))
        and commands.count("left") == commands.count("right")
    )
    return text if sound else None


def table(head: Sequence[str], rows: Sequence[Sequence[str]], alignments: Sequence[str], widths: Sequence[int]) -> str:
    """A table with rules above, below and under its head; never wider than the page.

    Args:
        head: k cells, as LaTeX.
        rows: each k cells, as LaTeX.
        alignments: k of "l", "c" and "r".
        widths: of the k columns: letters in the longest cell.
    """
    # A column also costs the space of three letters.
    needed = sum(widths) + 3 * len(widths)
    fitting = [font for font, line in _FONTS if needed <= line]
    font, columns = (fitting[0], "".join(alignments)) if fitting else ("footnotesize", _columns(alignments, widths))
    body = " \\\\\n".join(" & ".join(row) for row in rows)
    top = f"\\toprule\n{' & '.join(head)} \\\\\n\\midrule\n"
    spec = f"@{{}}{columns}@{{}}"
    if len(rows) > 25 and len(widths) <= 10:  # goes on on the next page, under the same head
        inner = (
            f"\\begin{{longtable}}{{{spec}}}\n{top}\\endhead\n\\bottomrule\n\\endlastfoot\n{body}\n\\end{{longtable}}"
        )
        return f"{{\\{font}\n{inner}}}\n"
    body += " \\\\\n" if rows else ""
    inner = f"\\begin{{tabular}}{{{spec}}}\n{top}{body}\\bottomrule\n\\end{{tabular}}"
    return f"\\begin{{fitted}}\\{font}\n{inner}\\end{{fitted}}\n"


def _columns(alignments: Sequence[str], widths: Sequence[int]) -> str:
    """Columns of a table that is too wide: short ones as they are, and the long ones share the rest of the line."""
    short = [width <= 12 for width in widths]
    left = 106 - 3 * len(widths) - sum(width for width, kept in zip(widths, short, strict=True) if kept)
    weights = [0 if kept else min(width, 200) ** 0.5 for width, kept in zip(widths, short, strict=True)]
    if left < 10 * short.count(False):
        return "".join(alignments)  # hopeless: the page shrinks it
    sides = {"l": r"\raggedright", "c": r"\centering", "r": r"\raggedleft"}
    specs = []
    for alignment, weight in zip(alignments, weights, strict=True):
        share = 0.94 * left / 106 * weight / sum(weights)
        cell = f">{{{sides[alignment]}\\arraybackslash}}p{{{share:.3f}\\linewidth}}"
        specs.append(cell if weight else alignment)
    return "".join(specs)


def _word(word: str, longest: int) -> str:
    parts = [to_ascii(c) for c in word]
    if len(word) <= longest:
        return "".join(parts)
    # Best after a sign, else anywhere.
    return "".join(
        part + r"\allowbreak{}" * (not c.isalnum() or i % 8 == 7)
        for i, (c, part) in enumerate(zip(word, parts, strict=True))
    )
