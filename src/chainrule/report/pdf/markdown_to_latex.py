r"""A section's Markdown as LaTeX.

CommonMark and tables, no HTML, and formulas between `$` signs. A dollar sign is one of money unless it begins a formula
that closes: no space after the first sign, none before the last, and no letter or digit behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from chainrule.report.pdf.latex import bookmark, code_lines, escape, formula, table

if TYPE_CHECKING:
    from markdown_it.rules_inline import StateInline
    from markdown_it.tree import SyntaxTreeNode

__all__ = ["heading", "to_latex"]

_LEVELS = {"h1": "subsection", "h2": "subsubsection"}

# LaTeX stops at lists within lists within lists; deeper ones are set as plain paragraphs.
_DEEPEST = 4


def to_latex(text: str, figures: Mapping[str, str]) -> str:
    """Turn Markdown into LaTeX.

    Args:
        text: Markdown. A paragraph `![caption](chart:NAME)` stands where a chart goes.
        figures: LaTeX by name of the chart, with `CAPTION` where the caption goes.

    Raises:
        ValueError: a chart is not in `figures`, or does not stand in a paragraph of its own.
    """
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.inline.ruler.before("escape", "formula", _find_formula)
    return _Writer(figures).blocks(SyntaxTreeNode(markdown.parse(text)))


def heading(level: str, text: str, shown: str | None = None) -> str:
    """A heading that also stands in the PDF's outline.

    Args:
        level: of LaTeX: section, subsection and so on.
        text: as the outline has it.
        shown: LaTeX for the page; made of the text if left out.
    """
    shown = escape(text) if shown is None else shown
    return f"\\{level}{{\\texorpdfstring{{{shown}}}{{{bookmark(text)}}}}}\n"


def _find_formula(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: take `$...$` or `$$...$$` at the present place, if it is a formula."""
    start, text = state.pos, state.src
    if not text.startswith("$", start):
        return False
    sign = "$$" if text.startswith("$$", start) else "$"
    end = text.find(sign, start + len(sign))
    if end < 0 or end > state.posMax - len(sign):
        return False
    inside, behind = text[start + len(sign) : end], text[end + len(sign) : end + len(sign) + 1]
    if sign == "$" and (inside != inside.strip() or behind.isalnum()):
        return False
    if formula(inside) is None:
        return False
    if not silent:
        state.push("formula", "", 0).content = inside
        state.tokens[-1].markup = sign
    state.pos = end + len(sign)
    return True


class _Writer:
    """Writes a tree of Markdown. Methods take a node and give LaTeX."""

    def __init__(self, figures: Mapping[str, str]) -> None:
        self._figures = figures
        self._depth = 0  # of lists and quotations around the present node
        self._narrow = False  # in a caption, a heading or a cell, which cannot hold a displayed formula
        self._block: dict[str, Callable[[Any], str]] = {
            "paragraph": self._paragraph,
            "heading": self._heading,
            "fence": lambda node: f"\\begin{{code}}\n{code_lines(node.content)}\\end{{code}}\n\n",
            "code_block": lambda node: f"\\begin{{code}}\n{code_lines(node.content)}\\end{{code}}\n\n",
            "bullet_list": self._list,
            "ordered_list": self._list,
            "blockquote": self._quotation,
            "hr": lambda _: "\\medskip\\noindent\\hrulefill\\par\\medskip\n\n",
            "table": self._table,
        }
        self._inline: dict[str, Callable[[Any], str]] = {
            "text": lambda node: escape(node.content),
            "softbreak": lambda _: "\n",
            "hardbreak": lambda _: " " if self._narrow else "\\newline{}",
            "code_inline": lambda node: f"\\texttt{{{escape(node.content)}}}",
            "em": lambda node: f"\\emph{{{self._words(node)}}}",
            "strong": lambda node: f"\\textbf{{{self._words(node)}}}",
            "link": self._link,
            "image": self._image,
            "formula": self._formula,
        }

    def blocks(self, node: SyntaxTreeNode) -> str:
        """All that is in a node, one after the other."""
        return "".join(self._block[child.type](child) for child in node.children)

    def _words(self, node: SyntaxTreeNode) -> str:
        return "".join(self._inline[child.type](child) for child in node.children)

    def _in_narrow(self, node: SyntaxTreeNode) -> str:
        self._narrow, before = True, self._narrow
        words = self._words(node)
        self._narrow = before
        return " ".join(words.split())

    def _paragraph(self, node: SyntaxTreeNode) -> str:
        line = node.children[0]
        if len(line.children) == 1 and line.children[0].type == "image" and not self._depth:
            image = line.children[0]
            name = _chart(image)
            if name is not None:
                if name not in self._figures:
                    known = ", ".join(map(repr, self._figures)) or "none"
                    raise ValueError(f"A text asks for the chart {name!r}. Its section has: {known}.")
                return self._figures[name].replace("CAPTION", self._in_narrow(image)) + "\n"
        return f"{self._words(line)}\n\n"

    def _heading(self, node: SyntaxTreeNode) -> str:
        line = node.children[0]
        return "\n" + heading(_LEVELS.get(node.tag, "paragraph"), _text(line), self._in_narrow(line)) + "\n"

    def _list(self, node: SyntaxTreeNode) -> str:
        self._depth += 1
        kind = "enumerate" if node.type == "ordered_list" else "itemize"
        number = int(node.attrs.get("start", 1))
        items = [self.blocks(item).strip() for item in node.children]
        self._depth -= 1
        if self._depth >= _DEEPEST:
            marks = [f"{number + i}. " if kind == "enumerate" else "-- " for i in range(len(items))]
            return "".join(f"{mark}{item}\n\n" for mark, item in zip(marks, items, strict=True))
        first = "\\closely" + (f"\\startat{{{number - 1}}}" if kind == "enumerate" and number != 1 else "") + "\n"
        body = "".join(f"\\item {item}\n" for item in items)
        return f"\\begin{{{kind}}}\n{first}{body}\\end{{{kind}}}\n\n"

    def _quotation(self, node: SyntaxTreeNode) -> str:
        self._depth += 1
        body = self.blocks(node)
        self._depth -= 1
        return body if self._depth >= _DEEPEST or not body.strip() else f"\\begin{{quote}}\n{body}\\end{{quote}}\n\n"

    def _table(self, node: SyntaxTreeNode) -> str:
        lines = [row.children for part in node.children for row in part.children]
        sides = [str(cell.attrs.get("style", "")) for cell in lines[0]]
        alignments = ["r" if "right" in side else "c" if "center" in side else "l" for side in sides]
        cells = [[self._in_narrow(cell.children[0]) for cell in line] for line in lines]
        widths = [max(len(_text(line[column].children[0])) for line in lines) for column in range(len(sides))]
        return table([f"\\textbf{{{cell}}}" for cell in cells[0]], cells[1:], alignments, widths) + "\n"

    def _link(self, node: SyntaxTreeNode) -> str:
        words, address = self._words(node), str(node.attrs["href"])
        if not address.lower().startswith(("http://", "https://", "mailto:")):
            return words
        # markdown-it has encoded spaces, braces and backslashes.
        address = address.replace("$", "%24").replace("~", "%7E").replace("^", "%5E").replace("\\", "%5C")
        for sign in "%#&_":
            address = address.replace(sign, f"\\{sign}")
        return f"\\href{{{address}}}{{{words}}}" if address.isascii() else words

    def _image(self, node: SyntaxTreeNode) -> str:
        """The words of a picture: a report's only pictures are its charts."""
        if (name := _chart(node)) is not None:
            raise ValueError(f"The chart {name!r} stands within a text. A chart needs a paragraph of its own.")
        return self._words(node)

    def _formula(self, node: SyntaxTreeNode) -> str:
        if node.markup == "$":
            return f"${node.content.strip()}$"
        inside = f"\\displaystyle {node.content.strip()}"
        return f"${inside}$" if self._narrow else f"\\[ {node.content.strip()} \\]"


def _chart(image: SyntaxTreeNode) -> str | None:
    """The name of the chart that a picture asks for."""
    source = str(image.attrs["src"])
    return unquote(source.removeprefix("chart:")) if source.startswith("chart:") else None


def _text(node: SyntaxTreeNode) -> str:
    """The letters of a node without markup."""
    if not node.children:
        return " " if node.type.endswith("break") else node.content if node.type != "inline" else ""
    return "".join(map(_text, node.children))
