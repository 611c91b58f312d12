"""The Markdown dialect that the page and the PDF share."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import unquote

from chainrule.report.formulas import add_formulas

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["new_markdown_parser", "split_at_charts"]


def new_markdown_parser() -> MarkdownIt:
    """A parser of CommonMark with tables and formulas, and without HTML."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    add_formulas(markdown)
    return markdown


def split_at_charts(text: str, charts: Collection[str], markdown: MarkdownIt) -> list[tuple[str, list[Token]]]:
    """Parse Markdown and split it at its charts, which are paragraphs `![caption](chart:NAME)`.

    Returns:
        In reading order: ("", tokens) of the text, and (name of a chart, its caption as a single inline token).

    Raises:
        ValueError: the text refers to a chart that is not one of `charts`, or outside a paragraph of its own.
    """
    tokens = markdown.parse(text)
    pieces: list[tuple[str, list[Token]]] = []
    start = 0
    for i, token in enumerate(tokens):
        children = token.children or []
        for child in children:
            scheme, _, name = unquote(str(child.attrs.get("src", ""))).partition(":")
            if scheme != "chart":
                continue
            if len(children) > 1 or token.level != 1 or tokens[i - 1].type != "paragraph_open":
                raise ValueError(f"Chart {name!r} is within other text. A chart needs a paragraph of its own.")
            if name not in charts:
                known = ", ".join(map(repr, charts)) or "none"
                raise ValueError(f"A text refers to chart {name!r}. Its charts are: {known}.")
            pieces += [("", tokens[start : i - 1]), (name, [token.copy(children=child.children or [])])]
            start = i + 2  # after the end of the paragraph
    return [*pieces, ("", tokens[start:])]
