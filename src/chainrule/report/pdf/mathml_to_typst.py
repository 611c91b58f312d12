"""Formulas as Typst: a MathML tree (see `chainrule.report.formulas`) becomes calls of Typst's math functions."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from chainrule.report.pdf.text_to_typst import quote

__all__ = ["convert_formula"]

# Marks above or below, with the functions of Typst that draw them at any width.
_OVER = {
    **{"\u2015": "overline", "\u23de": "overbrace", "\u23b4": "overbracket", "\u23dc": "overparen"},
    **{"^": "hat", "~": "tilde", "\u00af": "macron", "\u2192": "arrow", "\u02d9": "dot", "\u00a8": "dot.double"},
}
_UNDER = {"\u2015": "underline", "\u23df": "underbrace", "\u23b5": "underbracket", "\u23dd": "underparen"}
_VARIANTS = {
    **{"normal": "upright", "italic": "italic", "monospace": "mono", "script": "cal", "double-struck": "bb"},
    **{"fraktur": "frak", "sans-serif": "sans"},
}


def convert_formula(tree: Element, latex: str, *, block: bool = False) -> str:
    """Convert a formula to Typst.

    Args:
        tree: the formula, as `parse_formula` returns it.
        latex: its source, the description for readers who cannot see it.
        block: whether it is on a line of its own.
    """
    body = _convert_children(tree)
    if tree.get("display") == "block" and not block:
        body = f"#math.display([{body}]);"
    return f"#math.equation(block: {str(block).lower()}, alt: {quote(latex)}, [{body}]);"


def _convert_children(element: Element) -> str:
    """Convert the children of a row. Brackets around a table, and those that TeX stretches, grow with their content."""
    children = list(element)
    parts = [_convert(child) for child in children]
    first = children[0] if children else None
    if first is not None and first.get("form") == "prefix":
        return f"#math.lr([{''.join(parts)}]);"
    for i, child in enumerate(children):
        if child.tag == "mtable" and 0 < i < len(children) - 1 and {children[i - 1].tag, children[i + 1].tag} == {"mo"}:
            parts[i - 1 : i + 2] = ["", f"#math.lr([{''.join(parts[i - 1 : i + 2])}]);", ""]
    return "".join(parts)


def _convert(element: Element) -> str:
    tag, text = element.tag, element.text or ""
    if tag in ("mi", "mo", "mn", "mtext"):
        return _convert_leaf(tag, text, element)
    if tag == "mspace":
        return f"#h({element.get('width')});"
    if tag == "mtable":
        return _convert_table(element)
    if tag in ("mrow", "mtd", "mstyle", "math"):
        body = _convert_children(element)
        style = {"true": "display", "false": "inline"}.get(element.get("displaystyle", ""))
        return f"#math.{style}([{body}]);" if style and tag == "mstyle" else body
    if tag == "msqrt":
        return f"#math.sqrt([{_convert_children(element)}]);"
    base, *others = (f"[{_convert(child)}]" for child in element)
    if tag == "mroot":
        return f"#math.root({others[0]}, {base});"
    if tag == "mfrac":
        if element.get("linethickness") == "0":
            return f"#math.mat(delim: none, ({base},), ({others[0]},));"
        return f"#math.frac({base}, {others[0]});"
    mark = element[1].text or ""
    if tag == "mover" and mark in _OVER and element[1].tag == "mo":
        name = _OVER[mark]
        return f"#math.{name}({base});" if name.startswith("over") else f"#math.accent({base}, sym.{name});"
    if tag == "munder" and mark in _UNDER and element[1].tag == "mo":
        return f"#math.{_UNDER[mark]}({base});"
    if tag in ("munder", "mover", "munderover") and element[0].get("movablelimits") != "true":
        base = f"math.limits({base})"
    sides = {"msub": "b", "munder": "b", "msup": "t", "mover": "t"}.get(tag, "bt")
    scripts = ", ".join(f"{side}: {other}" for side, other in zip(sides, others, strict=True))
    return f"#math.attach({base}, {scripts});"


def _convert_leaf(tag: str, text: str, element: Element) -> str:
    if not text:  # takes part in the spacing: an empty cell before "="
        return '#math.class("normal", "");' if tag == "mi" else ""
    if tag in ("mtext", "mn"):
        return f"#{quote(text)};"
    if len(text) > 1 and text.isascii():
        return f"#math.op({quote(text)}, limits: {element.get('movablelimits', 'false')});"
    symbol = f"symbol({quote(text)})" if len(text) == 1 else quote(text)
    if size := re.fullmatch(r"[\d.]+em", element.get("minsize", "")):
        return f"#math.lr(size: {size[0]}, {symbol});"
    variant = element.get("mathvariant", "")
    if name := _VARIANTS.get(variant.removeprefix("bold-").replace("bold", "normal")):
        symbol = f"math.{name}({symbol})"
    return f"#math.bold({symbol});" if variant.startswith("bold") else f"#{symbol};"


def _convert_table(table: Element) -> str:
    """Convert a table. Typst aligns the cells of a column at the sign that `&` writes in a formula."""
    sides = [cell.get("style", "") for row in table for cell in row]
    gap = "0pt" if any("right" in side for side in sides) else "0.8em"
    is_displayed = table.get("displaystyle") == "true"
    rows = ", ".join(f"({''.join(f'[{_convert_cell(cell, is_displayed)}], ' for cell in row)})" for row in table)
    return f"#math.mat(delim: none, row-gap: 0.5em, column-gap: {gap}, {rows});"


def _convert_cell(cell: Element, is_displayed: bool) -> str:
    body, side = _convert_children(cell), cell.get("style", "")
    body = f"#math.display([{body}]);" if is_displayed else body
    return f"{body}#align-point;" if "right" in side else f"#align-point;{body}" if "left" in side else body
