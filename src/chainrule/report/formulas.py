r"""Formulas in Markdown: LaTeX between `$` signs, parsed to a MathML tree that holds nothing but mathematics.

`$...$` is a formula in the text, `$$...$$` a displayed one. A dollar sign is literal unless it starts a formula: no
space after the first sign, none before the last, and no letter or digit after it. An invalid formula is literal text.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

__all__ = ["add_formulas", "parse_formula"]

_MAX_LENGTH, _MAX_DEPTH = 2000, 30

# The elements, with the number of their children; None is any number.
_ELEMENTS = {
    **dict.fromkeys(["mi", "mn", "mo", "mtext", "mspace"], 0),
    **dict.fromkeys(["mfrac", "mroot", "msub", "msup", "munder", "mover"], 2),
    **dict.fromkeys(["msubsup", "munderover"], 3),
    **dict.fromkeys(["math", "mrow", "mstyle", "msqrt", "mtable", "mtr", "mtd"], None),
}
_ATTRIBUTES = re.compile(
    "display|displaystyle|scriptlevel|stretchy|fence|form|accent|movablelimits|linethickness|m(ax|in)size|mathvariant"
)
_ENVIRONMENTS = {"aligned", "split", "cases", "matrix", "pmatrix", "bmatrix", "vmatrix"}
_LIMITS = ("lim", "max", "min", "sup", "inf")  # what is below them is not an index
_ENTITY = re.compile("&#x[0-9A-Fa-f]+;")


def parse_formula(latex: str, *, display: bool = False) -> Element | None:
    r"""Parse a formula.

    Args:
        latex: the formula in LaTeX, such as `\frac{1}{2}`.
        display: whether it is on a line of its own.

    Returns:
        A MathML tree of a few kinds of elements and attributes, none of which refers to anything. None if the formula
        is invalid or uses something that is not supported.
    """
    from latex2mathml.converter import convert_to_element

    environments = set(re.findall(r"\\(?:begin|end)\s*{(.*?)}", latex))
    # Definitions can expand without bound; comments would vanish; the others would be ignored.
    refused = re.search(r"\\(def|let|unicode|href|class|style|(re)?new|provide)|(?<!\\)[%#~$]", latex)
    if refused or len(latex) > _MAX_LENGTH or not environments <= _ENVIRONMENTS or not _is_printable(latex):
        return None
    try:
        tree = convert_to_element(
            re.sub(r"\\(begin|end)\s*{aligned}", r"\\\1{split}", latex), display="block" if display else "inline"
        )
        return _copy_element(tree, 0)
    except Exception:  # the package raises classes that have no base in common, and IndexError for some formulas
        return None


def add_formulas(markdown: MarkdownIt) -> None:
    """Make a parser recognize formulas: tokens `formula`, with the tree in `meta`. HTML shows them as MathML."""

    def render(renderer: Any, tokens: Sequence[Token], index: int, *context: Any) -> str:
        return tostring(tokens[index].meta["tree"], encoding="unicode")

    markdown.inline.ruler.before("escape", "formula", _find_formula)
    markdown.add_render_rule("formula", render)


def _find_formula(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: parse `$...$` or `$$...$$` at the current position if it is a formula."""
    start, text = state.pos, state.src
    if not text.startswith("$", start):
        return False
    sign = "$$" if text.startswith("$$", start) else "$"
    end = text.find(sign, start + len(sign))
    if end < 0 or end > state.posMax - len(sign):
        return False
    inside, next_character = text[start + len(sign) : end], text[end + len(sign) : end + len(sign) + 1]
    if sign == "$" and (inside != inside.strip() or next_character.isalnum()):
        return False
    tree = parse_formula(inside, display=sign == "$$")
    if tree is None:
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content, token.markup, token.meta = inside.strip(), sign, {"tree": tree}
    state.pos = end + len(sign)
    return True


def _is_printable(text: str) -> bool:
    return bool(text.strip()) and all(c.isprintable() or c in " \n\t" for c in text)


def _copy_element(element: Element, depth: int) -> Element:
    """Copy what is mathematics; a ValueError for anything else."""
    expected = _ELEMENTS[element.tag]
    if depth > _MAX_DEPTH or (expected is not None and len(element) != expected):
        raise ValueError(element.tag)
    copy = Element(element.tag, {k: v for k, v in element.attrib.items() if _ATTRIBUTES.fullmatch(k)})
    text = element.text or ""
    # The package writes characters as entities. What it did not understand stays LaTeX.
    if re.search(r"[\\{}&$^_]", _ENTITY.sub("", text)):
        raise ValueError(text)
    copy.text = html.unescape(text) or None
    if not _is_printable((copy.text or "x").replace("\xa0", "x").replace("\u2009", "x")):
        raise ValueError(text)
    if element.tag == "mi" and _ENTITY.fullmatch(text) and str(copy.text).isascii() and str(copy.text).isalpha():
        copy.set("mathvariant", "normal")  # the package's form of \mathrm{x}
    if "bold" in copy.get("mathvariant", ""):
        copy.set("style", "font-weight: bold")  # of the variants, browsers know "normal" only
    if element.tag == "mspace":
        width = element.get("width", "").replace("negativethinmathspace", "-0.167em")
        if not re.fullmatch(r"-?[0-3](\.\d+)?em", width):
            raise ValueError(width)
        copy.set("width", width)
    if element.tag == "mtd" and element.get("columnalign") in ("left", "right"):
        copy.set("style", f"text-align: {element.get('columnalign')}")
    copy.extend(_copy_element(child, depth + 1) for child in element)
    if copy.tag in ("msub", "msubsup") and (copy[0].text in _LIMITS or copy[0].get("movablelimits")):
        copy[0].set("movablelimits", "true")
        copy.tag = {"msub": "munder", "msubsup": "munderover"}[copy.tag]
    return copy
