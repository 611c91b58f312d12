"""A report as a LaTeX document with its charts, and its compilation to PDF by latexmk."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.charts.renderer import save_chart
from chainrule.core.errors import ConfigError, OutputError
from chainrule.core.extras import needs_extra
from chainrule.core.files import replacing, write_text
from chainrule.report.pdf.latex import escape_bookmark, escape_latex, format_table
from chainrule.report.pdf.markdown_to_latex import convert_markdown, format_heading
from chainrule.report.section import Report, Section
from chainrule.report.templates import load_template

__all__ = ["compile_pdf", "write_document"]

# The table of runs: rows, metric to sort by, characters per line and per cell, columns that explain no result.
_MAX_ROWS, _METRIC = 20, "val_accuracy"
_LINE_LENGTH, _CELL_LENGTH = 122, 24
_EXCLUDED = ("status", "started", "ended")

# Not a float: a chart stays at its position in the text.
_FIGURE = r"""\begin{center}\begin{minipage}{\linewidth}\centering
\includegraphics[width=\linewidth,height=0.82\textheight,keepaspectratio]{charts/FILE}
\captionof{figure}{CAPTION}\label{fig:FILE}
\end{minipage}\end{center}
"""


@needs_extra("Reports", "report")
def write_document(report: Report, folder: Path) -> Path:
    """Write a report as LaTeX: `report.tex`, and its charts in `charts/`.

    Args:
        report: the report.
        folder: output folder, created if missing. Files of an earlier report are replaced.

    Returns:
        The path of `report.tex`.

    Raises:
        ConfigError: a package of the extra `report` is not installed.
        ValueError: a text refers to a chart that its section does not have, or outside a paragraph of its own.
        OSError: a file cannot be written.
    """
    template = load_template(
        "pdf/document.tex.jinja",
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\COMMENT{",
        comment_end_string="}",
        autoescape=False,  # that is for HTML; `escape_latex` is for LaTeX
    )
    (folder / "charts").mkdir(parents=True, exist_ok=True)
    sections = []
    for number, section in enumerate(report.sections, start=1):
        files = _name_files(number, section)
        body = convert_markdown(section.text, {name: _FIGURE.replace("FILE", file) for name, file in files.items()})
        sections.append({"heading": format_heading("section", section.title), "body": body})
        for name, file in files.items():
            if f"{{charts/{file}}}" in body:  # a chart without a reference is not shown
                save_chart(section.charts[name], folder / "charts" / f"{file}.pdf")
    text = template.render(
        report=report,
        sections=sections,
        runs=_format_runs(report.runs),
        escape_latex=escape_latex,
        escape_bookmark=escape_bookmark,
    )
    write_text(folder / "report.tex", text)
    return folder / "report.tex"


def compile_pdf(tex: Path) -> Path:
    """Compile the result of `write_document` to `Report.pdf` in the same folder. Equal documents give equal files.

    Args:
        tex: path of the document.

    Raises:
        ConfigError: latexmk is not installed.
        OutputError: LaTeX failed; its log is kept in the same folder.
        OSError: a file cannot be read or written.
    """
    if shutil.which("latexmk") is None or shutil.which("pdflatex") is None:
        raise ConfigError(
            "PDF reports need latexmk and pdflatex, which are not installed. Install them, on Debian and Ubuntu: "
            f"apt-get install latexmk texlive-latex-recommended. The LaTeX document is in {tex}."
        )
    target, log = tex.with_name("Report.pdf"), tex.with_name("report.log")
    # Compiled in a temporary folder: no auxiliary files are left, and TeX sees no special characters in paths.
    with tempfile.TemporaryDirectory(prefix="chainrule-") as name:
        build = Path(name)
        shutil.copy(tex, build / "report.tex")
        if (tex.parent / "charts").is_dir():
            shutil.copytree(tex.parent / "charts", build / "charts")
        command = ["latexmk", "-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error"]
        with (build / "output.txt").open("wb") as output:
            done = subprocess.run(
                [*command, "-latexoption=-no-shell-escape", "report.tex"],
                cwd=build,
                env=_make_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode or not (build / "report.pdf").exists():
            kept = build / "report.log"
            shutil.copy(kept if kept.exists() else build / "output.txt", log)
            raise OutputError(f"LaTeX could not compile {target}: {_find_first_error(log)} Its log is in {log}.")
        with replacing(target) as temporary:
            shutil.copyfile(build / "report.pdf", temporary)
    log.unlink(missing_ok=True)  # of an earlier failure
    return target


def _make_environment() -> dict[str, str]:
    """The environment of TeX: a fixed date, no wrapped lines in the log, no access to files outside its folder."""
    return {
        "SOURCE_DATE_EPOCH": "0",
        **os.environ,
        "FORCE_SOURCE_DATE": "1",
        "max_print_line": "1000",
        "openin_any": "p",
        "openout_any": "p",
    }


def _find_first_error(log: Path) -> str:
    """The first error in a TeX log, with the line of the document that caused it."""
    lines = log.read_text("utf-8", "replace").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("! "):
            source = next((later for later in lines[number:] if re.match(r"l\.\d+ ", later)), "")
            return f"{line[2:]} {source}".strip()
    return "no error in the log."


def _name_files(number: int, section: Section) -> dict[str, str]:
    """Unique file names for the charts of a section, safe in TeX and in any file system."""
    found: dict[str, str] = {}
    for position, name in enumerate(section.charts, start=1):
        slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
        found[name] = f"{number:02}-{position:02}-{slug}".strip("-")
    return found


def _format_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The table of the best runs, and the sentence above it."""
    if not runs:
        return {"table": "", "sentence": ""}
    scored = any(_get_score(run) > float("-inf") for run in runs)
    shown = (sorted(runs, key=_get_score, reverse=True) if scored else runs)[:_MAX_ROWS]
    heads, columns, sides = [], [], []
    widths: list[int] = []
    for name in _select_columns(runs):
        cells = [_format_cell(name, run.get(name)) for run in shown]
        words = name.replace("_", " ").split() or [""]
        # The words of a name are stacked, so a column may be narrower than its name.
        width = max(map(len, [*cells, *words]))
        if sum(widths) + width + 3 * (len(widths) + 1) > _LINE_LENGTH:
            continue
        side = "l" if any(isinstance(run.get(name), str) for run in shown) else "r"
        stacked = r" \\ ".join(rf"\bfseries {escape_latex(word)}" for word in words)
        heads.append(rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{stacked}\end{{tabular}}")
        columns.append(list(map(escape_latex, cells)))
        sides.append(side)
        widths.append(width)
    body = format_table(heads, list(zip(*columns, strict=True)), sides, widths)
    sentence = f"The best {len(shown)} of {len(runs)} runs by validation accuracy" if scored else "The first runs"
    if len(runs) <= _MAX_ROWS:
        sentence = f"All {len(runs)} runs" + (", the best by validation accuracy first" if scored else "")
    return {"table": body, "sentence": f"{sentence}. The HTML page has every run with all of its columns."}


def _select_columns(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns by importance: name, accuracies, and the others in which runs differ."""
    first, *others = runs[0]
    results = [name for name in others if name.endswith("accuracy")]
    varying = [name for name in others if len({str(run.get(name)) for run in runs}) > 1]
    return [first, *results, *(name for name in varying if name not in results and name not in _EXCLUDED)]


def _get_score(run: Mapping[str, Any]) -> float:
    value = run.get(_METRIC)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else float("-inf")


def _format_cell(name: str, value: Any) -> str:
    """Format a cell. Long text keeps its beginning and its end, where names of runs differ."""
    if value is None or value != value:
        return "\u2013"
    if isinstance(value, float):
        return f"{value:.4f}" if name.endswith(("accuracy", "loss")) else f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _CELL_LENGTH else f"{text[:8]}…{text[9 - _CELL_LENGTH :]}"
