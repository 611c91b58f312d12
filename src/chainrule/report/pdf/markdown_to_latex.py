r"""Conversion of Markdown to LaTeX.

CommonMark with tables and without HTML, plus formulas between `$` signs. A dollar sign is literal unless it starts a
formula: no space after the first sign, none before the last, and no letter or digit after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chainrule.report.pdf.latex import escape_bookmark, escape_latex, format_code, format_table, sanitize_formula
from chainrule.report.templates import new_markdown_parser, split_at_charts

if TYPE_CHECKING:
    from markdown_it.rules_inline import StateInline
    from markdown_it.tree import SyntaxTreeNode

__all__ = ["convert_markdown", "format_heading"]

_LEVELS = {"h1": "subsection", "h2": "subsubsection"}

# LaTeX limits the depth of nested lists; deeper ones are set as plain paragraphs.
_MAX_DEPTH = 4


def convert_markdown(text: str, figures: Mapping[str, str]) -> str:
    """Convert Markdown to LaTeX.

    Args:
        text: Markdown. A paragraph `![caption](chart:NAME)` inserts a chart.
        figures: LaTeX by name of the chart, with the placeholder `CAPTION`.

    Raises:
        ValueError: a chart is not in `figures`, or is referred to outside a paragraph of its own.
    """
    from markdown_it.tree import SyntaxTreeNode

    markdown = new_markdown_parser()
    markdown.inline.ruler.before("escape", "formula", _find_formula)
    converter = _Converter()
    parts = []
    for name, tokens in split_at_charts(text, figures, markdown):
        tree = SyntaxTreeNode(tokens)
        if name:
            parts.append(figures[name].replace("CAPTION", converter.convert_narrow(tree.children[0])) + "\n")
        else:
            parts.append(converter.convert_blocks(tree))
    return "".join(parts)


def format_heading(level: str, text: str, shown: str | None = None) -> str:
    """Format a heading that is also in the outline of the PDF.

    Args:
        level: sectioning command: section, subsection and so on.
        text: the heading in plain text.
        shown: the heading in LaTeX; the escaped text if left out.
    """
    shown = escape_latex(text) if shown is None else shown
    return f"\\{level}{{\\texorpdfstring{{{shown}}}{{{escape_bookmark(text)}}}}}\n"


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
    if sanitize_formula(inside) is None:
        return False
    if not silent:
        state.push("formula", "", 0).content = inside
        state.tokens[-1].markup = sign
    state.pos = end + len(sign)
    return True


class _Converter:
    """Converts a tree of Markdown. Each method converts one kind of node to LaTeX."""

    def __init__(self) -> None:
        self._depth = 0  # of lists and quotations around the current node
        self._narrow = False  # in a caption, a heading or a cell, which cannot contain displayed formulas
        self._block: dict[str, Callable[[Any], str]] = {
            "paragraph": lambda node: f"{self._convert_inline(node.children[0])}\n\n",
            "heading": self._convert_heading,
            "fence": _convert_code,
            "code_block": _convert_code,
            "bullet_list": self._convert_list,
            "ordered_list": self._convert_list,
            "blockquote": self._convert_quotation,
            "hr": lambda _: "\\medskip\\noindent\\hrulefill\\par\\medskip\n\n",
            "table": self._convert_table,
        }
        self._inline: dict[str, Callable[[Any], str]] = {
            "text": lambda node: escape_latex(node.content),
            "softbreak": lambda _: "\n",
            "hardbreak": lambda _: " " if self._narrow else "\\newline{}",
            "code_inline": lambda node: f"\\texttt{{{escape_latex(node.content)}}}",
            "em": lambda node: f"\\emph{{{self._convert_inline(node)}}}",
            "strong": lambda node: f"\\textbf{{{self._convert_inline(node)}}}",
            "link": self._convert_link,
            "image": self._convert_inline,  # its description: the only images of a report are its charts
            "formula": self._convert_formula,
        }

    def convert_blocks(self, node: SyntaxTreeNode) -> str:
        """Convert the children of a node in order."""
        return "".join(self._block[child.type](child) for child in node.children)

    def _convert_inline(self, node: SyntaxTreeNode) -> str:
        return "".join(self._inline[child.type](child) for child in node.children)

    def convert_narrow(self, node: SyntaxTreeNode) -> str:
        """Convert inline text for a caption, a heading or a cell."""
        self._narrow, before = True, self._narrow
        words = self._convert_inline(node)
        self._narrow = before
        return " ".join(words.split())

    def _convert_heading(self, node: SyntaxTreeNode) -> str:
        line = node.children[0]
        level = _LEVELS.get(node.tag, "paragraph")
        return f"\n{format_heading(level, _get_plain_text(line), self.convert_narrow(line))}\n"

    def _convert_list(self, node: SyntaxTreeNode) -> str:
        self._depth += 1
        kind = "enumerate" if node.type == "ordered_list" else "itemize"
        number = int(node.attrs.get("start", 1))
        items = [self.convert_blocks(item).strip() for item in node.children]
        self._depth -= 1
        if self._depth >= _MAX_DEPTH:
            marks = [f"{number + i}. " if kind == "enumerate" else "-- " for i in range(len(items))]
            return "".join(f"{mark}{item}\n\n" for mark, item in zip(marks, items, strict=True))
        first = "\\compactlist" + (f"\\startat{{{number - 1}}}" if kind == "enumerate" and number != 1 else "") + "\n"
        body = "".join(f"\\item {item}\n" for item in items)
        return f"\\begin{{{kind}}}\n{first}{body}\\end{{{kind}}}\n\n"

    def _convert_quotation(self, node: SyntaxTreeNode) -> str:
        self._depth += 1
        body = self.convert_blocks(node)
        self._depth -= 1
        return body if self._depth >= _MAX_DEPTH or not body.strip() else f"\\begin{{quote}}\n{body}\\end{{quote}}\n\n"

    def _convert_table(self, node: SyntaxTreeNode) -> str:
        lines = [row.children for part in node.children for row in part.children]
        sides = [str(cell.attrs.get("style", "")) for cell in lines[0]]
        alignments = ["r" if "right" in side else "c" if "center" in side else "l" for side in sides]
        cells = [[self.convert_narrow(cell.children[0]) for cell in line] for line in lines]
        widths = [max(len(_get_plain_text(line[column].children[0])) for line in lines) for column in range(len(sides))]
        return format_table([f"\\textbf{{{cell}}}" for cell in cells[0]], cells[1:], alignments, widths) + "\n"

    def _convert_link(self, node: SyntaxTreeNode) -> str:
        words, address = self._convert_inline(node), str(node.attrs["href"])
        if not address.lower().startswith(("http://", "https://", "mailto:")):
            return words
        # markdown-it has encoded spaces, braces and backslashes.
        address = address.replace("$", "%24").replace("~", "%7E").replace("^", "%5E").replace("\\", "%5C")
        for sign in "%#&_":
            address = address.replace(sign, f"\\{sign}")
        return f"\\href{{{address}}}{{{words}}}" if address.isascii() else words

    def _convert_formula(self, node: SyntaxTreeNode) -> str:
        if node.markup == "$":
            return f"${node.content.strip()}$"
        inside = f"\\displaystyle {node.content.strip()}"
        return f"${inside}$" if self._narrow else f"\\[ {node.content.strip()} \\]"


def _convert_code(node: SyntaxTreeNode) -> str:
    return f"\\begin{{code}}\n{format_code(node.content)}\\end{{code}}\n\n"


def _get_plain_text(node: SyntaxTreeNode) -> str:
    """The text of a node without markup."""
    if not node.children:
        return " " if node.type.endswith("break") else node.content if node.type != "inline" else ""
    return "".join(map(_get_plain_text, node.children))
