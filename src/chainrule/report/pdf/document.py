"""A report as a PDF, typeset by Typst."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from chainrule.charts.renderer import save_chart
from chainrule.core.errors import OutputError
from chainrule.core.extras import needs_extra
from chainrule.core.files import write_bytes
from chainrule.report.pdf.markdown_to_typst import convert_markdown, find_longest_word, format_table
from chainrule.report.pdf.text_to_typst import convert_text, quote
from chainrule.report.section import Report, Section

__all__ = ["write_pdf"]

# The table of runs: rows, metric to sort by, characters per line and per cell, columns that explain no result.
_MAX_ROWS, _METRIC = 20, "val_accuracy"
_LINE_LENGTH, _CELL_LENGTH = 122, 24
_EXCLUDED = ("status", "started", "ended")


@needs_extra("Reports", "report")
def write_pdf(report: Report, file: Path) -> None:
    """Write a report as PDF. Equal reports give equal files.

    Args:
        report: the report.
        file: path of the PDF in an existing folder; replaced atomically.

    Raises:
        ConfigError: a package of the extra `report` is not installed.
        ValueError: a text refers to a chart that its section does not have, or outside a paragraph of its own.
        OutputError: Typst failed.
        OSError: the file cannot be written.
    """
    import typst

    with tempfile.TemporaryDirectory(prefix="chainrule-") as name:
        source = Path(name) / "report.typ"
        source.write_text(_build_document(report, source.parent), encoding="utf-8")
        try:
            content = typst.compile(source, root=source.parent)  # Typst can read no files but those of the root
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise OutputError(f"Typst could not compile {file}: {reason}.") from error
    write_bytes(file, content)


def _build_document(report: Report, folder: Path) -> str:
    """Build the document in Typst, and write its charts to a folder."""
    has_contents = str(len(report.sections) > 5).lower()
    parts = [
        files("chainrule.report.pdf").joinpath("document.typ").read_text("utf-8"),
        f"#set document(title: {quote(report.title)}, date: none)\n",
        f"#front([{convert_text(report.title)}], [{convert_text(report.about)}], {has_contents})",
    ]
    for number, section in enumerate(report.sections, start=1):
        parts.append(f'\n\n#heading(level: 1, [{convert_text(section.title)}]) #label("section-{number}")\n\n')
        parts.append(_convert_section(section, number, len(report.sections), folder))
    if report.runs:
        parts.append(f"#heading(level: 1)[Runs]\n\n{_format_runs(report.runs)}")
    return "".join(parts)


def _convert_section(section: Section, number: int, section_count: int, folder: Path) -> str:
    """Convert the text of a section, and write those of its charts that it shows."""
    # PDFs hold their font. Text in SVG files would be in whatever font Typst finds on the machine.
    charts = {name: f"{number}-{i}.pdf" for i, name in enumerate(section.charts, start=1)}
    text = convert_markdown(section.text, charts, section_count)
    for name, file in charts.items():
        if f'#chart("{file}"' in text:
            save_chart(section.charts[name], folder / file)
    return text


def _format_runs(runs: Sequence[Mapping[str, Any]]) -> str:
    """The table of the best runs, and the sentence above it."""
    scored = any(_get_score(run) > -math.inf for run in runs)
    shown = (sorted(runs, key=_get_score, reverse=True) if scored else runs)[:_MAX_ROWS]
    columns: dict[str, list[str]] = {}
    length = 0
    for name in _select_columns(runs):
        cells = [_format_cell(name, run.get(name)) for run in shown]
        # The words of a name are stacked, so a column may be narrower than its name.
        width = max(map(len, [*cells, *_split_name(name)])) + 3
        if length + width <= _LINE_LENGTH:
            columns[name] = cells
            length += width
    sides = ["left" if any(isinstance(run.get(name), str) for run in shown) else "right" for name in columns]
    head = ["#linebreak();".join(map(convert_text, _split_name(name))) for name in columns]
    rows = [list(map(convert_text, row)) for row in zip(*columns.values(), strict=True)]
    words = [find_longest_word([*_split_name(name), *cells]) for name, cells in columns.items()]
    count = f"All {len(runs)}" if len(runs) <= _MAX_ROWS else f"{_MAX_ROWS} of {len(runs)}"
    order = ", the best by validation accuracy first" if scored else ""
    sentence = convert_text(f"{count} runs{order}. The HTML page has every run with all of its columns.")
    return f"#block(sticky: true, [{sentence}]);\n\n{format_table(head, rows, sides, words)}"


def _split_name(name: str) -> list[str]:
    return name.replace("_", " ").split() or [""]


def _select_columns(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns by importance: name, accuracies, and the others in which runs differ."""
    first, *others = runs[0]
    results = [name for name in others if name.endswith("accuracy")]
    varying = [name for name in others if len({str(run.get(name)) for run in runs}) > 1]
    return [first, *results, *(name for name in varying if name not in results and name not in _EXCLUDED)]


def _get_score(run: Mapping[str, Any]) -> float:
    value = run.get(_METRIC)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else -math.inf


def _format_cell(name: str, value: Any) -> str:
    """Format a cell. Long text keeps its beginning and its end, where names of runs differ."""
    if value is None or value != value:
        return "\u2013"
    if isinstance(value, float):
        return f"{value:.4f}" if name.endswith(("accuracy", "loss")) else f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _CELL_LENGTH else f"{text[:8]}…{text[9 - _CELL_LENGTH :]}"
