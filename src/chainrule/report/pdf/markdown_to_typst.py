"""Markdown as Typst markup. All text is in string literals; all markup is written here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainrule.report.markdown import new_markdown_parser, split_at_charts
from chainrule.report.pdf.mathml_to_typst import convert_formula
from chainrule.report.pdf.text_to_typst import convert_text, quote

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

__all__ = ["convert_markdown", "find_longest_word", "format_table"]

_LINKED = ("http://", "https://", "mailto:")

# Longer words may be broken at any character (see document.typ), so a column of them can be narrow.
_MAX_WORD_LENGTH, _PIECE_LENGTH = 24, 8


def convert_markdown(text: str, charts: Mapping[str, str], section_count: int = 0) -> str:
    """Convert Markdown to Typst markup.

    Args:
        text: Markdown. A paragraph `![caption](chart:NAME)` inserts a chart.
        charts: file of each chart by name.
        section_count: number of sections of the report; links to `#section-1` and so on work in the PDF, too.

    Raises:
        ValueError: a chart is not in `charts`, or is referred to outside a paragraph of its own.
    """
    from markdown_it.tree import SyntaxTreeNode

    converter = _Converter(section_count)
    parts = []
    for name, tokens in split_at_charts(text, charts, new_markdown_parser()):
        tree = SyntaxTreeNode(tokens)
        if name:
            line = tree.children[0]
            caption = converter.convert_narrow(line)
            parts.append(f"#chart({quote(charts[name])}, {quote(_get_plain_text(line))}, [{caption}]);\n")
        else:
            parts.append(converter.convert_blocks(tree))
    return "".join(parts)


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[str], words: Sequence[str]) -> str:
    """Format a table with horizontal rules that is never wider than the page.

    Args:
        head: k cells in Typst markup.
        rows: rows of k cells in Typst markup.
        sides: "left", "center" or "right" for each of the k columns.
        words: the longest word of each column, as `find_longest_word` returns it.
    """
    lines = "".join(f"  ({''.join(f'[{cell}], ' for cell in row)}),\n" for row in [head, *rows])
    return f"#fitted-table(({', '.join(sides)},), ({''.join(f'{quote(word)}, ' for word in words)}), (\n{lines}));\n\n"


def find_longest_word(texts: Sequence[str]) -> str:
    """The longest word in a column that must stay on one line."""
    words = [word for text in texts for word in text.split()]
    return max((w[:_PIECE_LENGTH] if len(w) > _MAX_WORD_LENGTH else w for w in words), key=len, default="")


class _Converter:
    """Converts a tree of Markdown. Each method converts one kind of node to Typst markup."""

    def __init__(self, section_count: int) -> None:
        self._section_count = section_count
        self._narrow = False  # in a caption, a heading or a cell, which cannot contain displayed formulas
        self._block: dict[str, Callable[[Any], str]] = {
            "paragraph": lambda node: f"{self._convert_inline(node.children[0])}\n\n",
            "heading": self._convert_heading,
            "fence": _convert_code,
            "code_block": _convert_code,
            "bullet_list": lambda node: f"#list({self._convert_items(node)});\n\n",
            "ordered_list": lambda node: (
                f"#enum(start: {node.attrs.get('start', 1)}, {self._convert_items(node)});\n\n"
            ),
            "blockquote": lambda node: f"#quote(block: true, [{self.convert_blocks(node)}]);\n\n",
            "hr": lambda _: "#line(length: 100%, stroke: 0.5pt);\n\n",
            "table": self._convert_table,
        }
        self._inline: dict[str, Callable[[Any], str]] = {
            "text": lambda node: convert_text(node.content),
            "softbreak": lambda _: "\n",
            "hardbreak": lambda _: "\n" if self._narrow else "#linebreak();",
            "code_inline": lambda node: f"#raw({quote(node.content)});",
            "em": lambda node: f"#emph([{self._convert_inline(node)}]);",
            "strong": lambda node: f"#strong([{self._convert_inline(node)}]);",
            "link": self._convert_link,
            "image": self._convert_inline,  # its description: the only images of a report are its charts
            "formula": lambda node: convert_formula(
                node.meta["tree"], node.content, block=node.markup == "$$" and not self._narrow
            ),
        }

    def convert_blocks(self, node: SyntaxTreeNode) -> str:
        """Convert the children of a node in order."""
        return "".join(self._block[child.type](child) for child in node.children)

    def _convert_inline(self, node: SyntaxTreeNode) -> str:
        return "".join(self._inline[child.type](child) for child in node.children)

    def convert_narrow(self, node: SyntaxTreeNode) -> str:
        """Convert inline text for a caption, a heading or a cell."""
        self._narrow, before = True, self._narrow
        result = self._convert_inline(node)
        self._narrow = before
        return result

    def _convert_heading(self, node: SyntaxTreeNode) -> str:
        level = min(int(node.tag[1]) + 1, 4)  # below the headings of sections
        return f"#heading(level: {level}, [{self.convert_narrow(node.children[0])}]);\n\n"

    def _convert_items(self, node: SyntaxTreeNode) -> str:
        return ", ".join(f"[{self.convert_blocks(item).strip()}]" for item in node.children)

    def _convert_table(self, node: SyntaxTreeNode) -> str:
        lines = [[cell.children[0] for cell in row.children] for part in node.children for row in part.children]
        styles = [str(cell.attrs.get("style", "")) for cell in node.children[0].children[0].children]
        sides = ["right" if "right" in style else "center" if "center" in style else "left" for style in styles]
        cells = [[self.convert_narrow(cell) for cell in line] for line in lines]
        words = [find_longest_word([_get_plain_text(line[column]) for line in lines]) for column in range(len(sides))]
        return format_table(cells[0], cells[1:], sides, words)

    def _convert_link(self, node: SyntaxTreeNode) -> str:
        words, address = self._convert_inline(node), str(node.attrs["href"])
        section = re.fullmatch(r"#section-(\d{1,6})", address)
        if section and 1 <= int(section[1]) <= self._section_count:
            return f"#link(label({quote(address[1:])}), [{words}]);"
        return f"#link({quote(address)}, [{words}]);" if address.lower().startswith(_LINKED) else words


def _convert_code(node: SyntaxTreeNode) -> str:
    return f"#raw(block: true, {quote(node.content.expandtabs(4).rstrip())});\n\n"


def _get_plain_text(node: SyntaxTreeNode) -> str:
    """The text of a node without markup."""
    if not node.children:
        return " " if node.type.endswith("break") else node.content if node.type != "inline" else ""
    return "".join(map(_get_plain_text, node.children))
