"""A report as one self-contained HTML page with interactive charts and a sortable, filterable table of runs.

Text in a report is untrusted: names of runs, classes and hyperparameters come from users. The template escapes it, data
for the script are JSON without `<`, and the Content-Security-Policy allows only the page's own script and no requests.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.charts.chart import Chart, ConfusionMatrix, ImageGrid, ParallelCoordinates
from chainrule.charts.palette import DARK, LIGHT
from chainrule.charts.renderer import build_spec, check_renderer
from chainrule.charts.theme import make_config
from chainrule.charts.values import to_finite
from chainrule.core.extras import needs_extra
from chainrule.core.files import write_text
from chainrule.report.markdown import new_markdown_parser, split_at_charts
from chainrule.report.section import Report, Section

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

__all__ = ["write_page"]

_SOURCES = ("page.html.jinja", "page.js")


@needs_extra("Reports", "report")
def write_page(report: Report, file: Path) -> None:
    """Write a report as one HTML file.

    Args:
        report: the report.
        file: path of the page in an existing folder; replaced atomically.

    Raises:
        ConfigError: a package of the extra `report` is not installed, or charts cannot be drawn (see
            `check_renderer`).
        ValueError: a text refers to a chart that its section does not have, or outside a paragraph of its own.
        OSError: the file cannot be written.
    """
    import jinja2
    import vl_convert

    check_renderer()
    vega = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub requires the argument
    markdown = _new_page_parser()
    figures: list[dict[str, Any]] = []
    sections = [
        {"id": f"section-{i}", "title": section.title, "blocks": _split_into_blocks(section, markdown, figures)}
        for i, section in enumerate(report.sections, start=1)
    ]
    template, script = (files("chainrule.report.html").joinpath(name).read_text("utf-8") for name in _SOURCES)
    configs = {"light": make_config(LIGHT), "dark": make_config(DARK)}
    data = {"figures": figures, "runs": _tabulate(report.runs), "configs": configs}
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(template).render(
        report=report,
        sections=sections,
        script=script,
        policy=_build_security_policy(script),
        # Compressed to a third of its size. No time stamp: equal reports give equal pages.
        vega=base64.b64encode(gzip.compress(vega.encode("utf-8"), mtime=0)).decode("ascii"),
        data=_dump_json(data),
    )
    # Folder names may contain bytes that are not valid UTF-8, which Python represents by lone surrogates.
    write_text(file, page.encode("utf-8", "replace").decode("utf-8"))


def _build_security_policy(script: str) -> str:
    """The page's Content-Security-Policy: no requests, and no script but this one.

    The script evaluates the compressed Vega, which in turn compiles the expressions of charts; hence `unsafe-eval`.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _dump_json(value: Any) -> str:
    """JSON for a `<script>` element: without `<`, which could end it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _tabulate(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table of runs as column names and rows of cells."""
    columns = list(dict.fromkeys(name for run in runs for name in run))
    return {"columns": columns, "rows": [[_to_cell(run.get(name)) for name in columns] for run in runs]}


def _to_cell(value: Any) -> str | float | None:
    """Convert a value to a number, text or None (also for numbers that are not finite)."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return to_finite(value)
    if value is None or (isinstance(value, (int, str)) and not isinstance(value, bool)):
        return value
    return json.dumps(value, ensure_ascii=False, default=lambda part: part.tolist())


def _new_page_parser() -> MarkdownIt:
    """A Markdown parser that renders images as their description, and headings below those of sections."""

    def render_image(renderer: RendererHTML, tokens: Sequence[Token], index: int, *context: Any) -> str:
        """The description: a page that loads images tells others who reads it."""
        return renderer.renderInline(tokens[index].children or [], *context)

    def render_heading(renderer: RendererHTML, tokens: Sequence[Token], index: int, *context: Any) -> str:
        return f"<{'/' * (tokens[index].nesting < 0)}h{min(int(tokens[index].tag[1]) + 2, 6)}>"

    markdown = new_markdown_parser()
    rules = {
        "image": render_image,
        "heading_open": render_heading,
        "heading_close": render_heading,
        "table_open": lambda *_: '<div class="scroll" tabindex="0"><table>',
        "table_close": lambda *_: "</table></div>",
    }
    for name, rule in rules.items():
        markdown.add_render_rule(name, rule)
    return markdown


def _split_into_blocks(section: Section, markdown: MarkdownIt, figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Split a section into blocks of HTML and charts, in reading order.

    Args:
        section: the section.
        markdown: the parser.
        figures: the figures of the page so far; those of the section are appended.
    """
    blocks = []
    for name, tokens in split_at_charts(section.text, section.charts, markdown):
        rendered = markdown.renderer.render(tokens, markdown.options, {})
        block = _make_chart_block(section.charts[name], figures) if name else {}
        blocks.append({**block, "caption" if name else "html": rendered})
    return blocks


def _make_chart_block(chart: Chart, figures: list[dict[str, Any]]) -> dict[str, Any]:
    """The template's variables for a chart: the number of a figure, or images."""
    kind = type(chart).__name__
    if isinstance(chart, ImageGrid):
        rows = [_rank_classes(row, chart.classes) for row in chart.probabilities] or [[]] * len(chart.images)
        images = list(zip(chart.images, chart.titles, rows, strict=True))
        return {"kind": "images" if images else "empty", "columns": max(chart.columns, 1), "images": images}
    spec = build_spec(chart, interactive=True)
    meta = spec.get("usermeta", {})
    if meta.get("empty"):
        return {"kind": "empty"}
    extra: dict[str, Any] = {}
    if isinstance(chart, ConfusionMatrix):
        extra = {"classes": chart.classes, "examples": chart.examples}
    elif isinstance(chart, ParallelCoordinates):
        extra = {"names": chart.runs}
    figures.append({"kind": kind, "spec": spec, **extra})
    return {"kind": kind, "number": len(figures) - 1, "width": meta.get("width", 0)}


def _rank_classes(row: Sequence[float], classes: Sequence[str]) -> list[tuple[str, float, bool]]:
    """At most ten of the most likely classes: (name, probability, whether it is the largest)."""
    shares = [(name, share if math.isfinite(share) else 0.0) for name, share in zip(classes, row, strict=True)]
    top = sorted((share for _, share in shares), reverse=True)[:10]
    return [(name, share, share == top[0]) for name, share in shares if share >= top[-1]]
