"""The Jinja environment and the Markdown dialect that the HTML page and the PDF share."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from markdown_it import MarkdownIt

__all__ = ["load_template", "new_markdown_parser"]


def load_template(path: str, **syntax: Any) -> Template:
    """Load a template of this folder. An undefined variable is an error.

    Args:
        path: relative to this folder.
        syntax: arguments of `jinja2.Environment`.
    """
    import jinja2

    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, **syntax)
    return environment.from_string(files("chainrule.report").joinpath(path).read_text("utf-8"))


def new_markdown_parser() -> MarkdownIt:
    """A parser of CommonMark with tables and without HTML."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")
