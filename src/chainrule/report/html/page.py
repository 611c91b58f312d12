"""A report as one HTML page that works by itself: charts to touch, a table of runs to sort and filter, no network.

All texts of a report come from users: names of runs, classes, settings. So the template escapes each of them, what the
script needs is JSON without a `<`, and the page's own policy (CSP) lets the browser run the page's one script, known by
its hash, and fetch nothing.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from chainrule.core.errors import ConfigError
from chainrule.core.files import write_text
from chainrule.report.charts import Chart, Images
from chainrule.report.html.interactive import figure, jsonable
from chainrule.report.section import Report, Section

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

__all__ = ["write_page"]


def write_page(report: Report, file: Path) -> None:
    """Write a report as one HTML file.

    Args:
        report: what to show.
        file: where to; its folder must exist. A file that is there is replaced, whole.

    Raises:
        ConfigError: a library of the extra `report` is missing.
        ValueError: a text asks for a chart that its section does not have, or not in a paragraph of its own.
        OSError: the file cannot be written.
    """
    try:
        import jinja2
        import markdown_it  # noqa: F401  (used further down: all that is missing is said at once)
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ConfigError(
            f"A report's page needs the Python package {error.name!r}. Run: pip install 'chainrule[report]'"
        ) from error
    markdown = _markdown()
    figures: list[dict[str, Any]] = []
    sections = [
        {"id": f"section-{i}", "title": section.title, "blocks": _blocks(section, markdown, figures)}
        for i, section in enumerate(report.sections, start=1)
    ]
    own = files("chainrule.report.html")
    script = own.joinpath("page.js").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(own.joinpath("page.html.jinja").read_text("utf-8")).render(
        report=report,
        sections=sections,
        script=script,
        policy=_policy(script),
        # A third of its size, which is most of the page's. Equal reports make equal pages: no time stands in it.
        plotly=base64.b64encode(gzip.compress(get_plotlyjs().encode("utf-8"), mtime=0)).decode("ascii"),
        data=_json({"figures": figures, "runs": _table(report.runs)}),
    )
    # A folder's name may hold bytes that are no text; UTF-8 cannot hold what Python makes of them.
    write_text(file, page.encode("utf-8", "replace").decode("utf-8"))


def _policy(script: str) -> str:
    """The page's Content-Security-Policy: nothing is fetched, and no script runs but this one.

    It unpacks Plotly, which in turn compiles small functions for its drawings with WebGL; hence `unsafe-eval`.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> str:
    """JSON to stand in a `<script>`: without `<`, which could end it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The runs as columns' names and rows of texts, numbers and None."""
    columns = list(dict.fromkeys(name for run in runs for name in run))
    return {
        "columns": [str(name) for name in columns],
        "rows": [[_cell(run.get(name)) for name in columns] for run in runs],
    }


def _cell(value: Any) -> str | float | None:
    """A value as the table can sort it: a number that is not finite is None, and what is no number is a text."""
    value = jsonable(value)
    if value is None or (isinstance(value, (int, float, str)) and not isinstance(value, bool)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _markdown() -> MarkdownIt:
    """The reader of sections' texts: CommonMark and tables, no HTML, no pictures from elsewhere."""
    from markdown_it import MarkdownIt

    def picture(renderer: RendererHTML, tokens: Sequence[Token], index: int, *context: Any) -> str:
        """The words of a picture in its place: a page that fetches pictures tells others who reads it."""
        source = str(tokens[index].attrs["src"])
        if source.startswith("chart:"):
            raise ValueError(f"{source!r} stands within a text. A chart needs a paragraph of its own, not in a list.")
        return html.escape(renderer.renderInlineAsText(tokens[index].children, *context))

    def heading(renderer: RendererHTML, tokens: Sequence[Token], index: int, *context: Any) -> str:
        """Headings of a text stand below the section's own."""
        return f"<{'/' * (tokens[index].nesting < 0)}h{min(int(tokens[index].tag[1]) + 2, 6)}>"

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    rules = {
        "image": picture,
        "heading_open": heading,
        "heading_close": heading,
        "table_open": lambda *_: '<div class="scroll" tabindex="0"><table>',
        "table_close": lambda *_: "</table></div>",
    }
    for name, rule in rules.items():
        markdown.add_render_rule(name, rule)
    return markdown


def _blocks(section: Section, markdown: MarkdownIt, figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A section as what stands in it from top to bottom: HTML made of its text, and charts.

    Args:
        section: the section.
        markdown: the reader of its text.
        figures: the page's figures so far; those of the section are added.
    """
    environment: dict[str, Any] = {}
    tokens = markdown.parse(section.text, environment)
    blocks: list[dict[str, Any]] = []
    done = 0
    for i, token in enumerate(tokens):
        inside = token.children or []
        source = str(inside[0].attrs.get("src", "")) if len(inside) == 1 and token.level == 1 else ""
        if not source.startswith("chart:") or tokens[i - 1].type != "paragraph_open":
            continue
        name = unquote(source.removeprefix("chart:"))
        if name not in section.charts:
            known = ", ".join(sorted(section.charts)) or "none"
            raise ValueError(f"The text of section {section.title!r} asks for chart {name!r}. Its charts are: {known}.")
        blocks.append({"html": markdown.renderer.render(tokens[done : i - 1], markdown.options, environment)})
        words = token.copy(children=inside[0].children or [])
        caption = markdown.renderer.render([words], markdown.options, environment)
        blocks.append({"caption": caption, **_drawn(section.charts[name], figures)})
        done = i + 2  # past the paragraph's end
    blocks.append({"html": markdown.renderer.render(tokens[done:], markdown.options, environment)})
    return blocks


def _drawn(chart: Chart, figures: list[dict[str, Any]]) -> dict[str, Any]:
    """What the template needs to show a chart: a figure of Plotly by its number, or pictures."""
    if isinstance(chart, Images):
        rows = [_shares(row, chart.classes) for row in chart.probabilities] or [[]] * len(chart.pictures)
        return {
            "kind": "images" if chart.pictures else "empty",
            "columns": max(chart.columns, 1),
            "pictures": list(zip(chart.pictures, chart.titles, rows, strict=True)),
        }
    drawn = figure(chart)
    if not drawn["data"]:
        return {"kind": "empty"}
    figures.append(drawn)
    return {"kind": type(chart).__name__.lower(), "number": len(figures) - 1, "figure": drawn}


def _shares(row: Sequence[float], classes: Sequence[str]) -> list[tuple[str, float, bool]]:
    """The probabilities of a picture as bars, ten at most: name, probability, whether it is the greatest."""
    bars = [(name, share if math.isfinite(share) else 0.0) for name, share in zip(classes, row, strict=True)]
    greatest = sorted((share for _, share in bars), reverse=True)[:10]
    return [(name, share, share == greatest[0]) for name, share in bars if share >= greatest[-1]]
