"""A report as a LaTeX document with its charts, and as the PDF that latexmk makes of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError, OutputError
from chainrule.core.files import replacing, write_text
from chainrule.report.pdf.latex import bookmark, escape, table
from chainrule.report.pdf.markdown_to_latex import heading, to_latex
from chainrule.report.pdf.mpl_charts import save
from chainrule.report.section import Report, Section

__all__ = ["compile_pdf", "write_document"]

_BEST, _METRIC = 20, "val_accuracy"

# Of the table of runs: letters in a line of the page, and in a cell; columns that say nothing of a result.
_LINE, _LETTERS = 122, 24
_BESIDES = ("status", "started", "ended", "group")

# Not a float: a chart stays where the text has it.
_FIGURE = r"""\begin{center}\begin{minipage}{\linewidth}\centering
\includegraphics[width=\linewidth,height=0.82\textheight,keepaspectratio]{charts/FILE}
\captionof{figure}{CAPTION}\label{fig:FILE}
\end{minipage}\end{center}
"""


def write_document(report: Report, folder: Path) -> Path:
    """Write a report as LaTeX: `report.tex`, and its charts in `charts/`.

    Args:
        report: what to show.
        folder: where to; is made if it is not there. Files of an earlier report are replaced.

    Returns:
        The path of `report.tex`.

    Raises:
        ConfigError: a library of the extra `report` is missing.
        ValueError: a text asks for a chart that its section does not have, or not in a paragraph of its own.
        OSError: a file cannot be written.
    """
    try:
        import jinja2
        import markdown_it  # noqa: F401  (used by prose: all that is missing is said at once)
    except ImportError as error:
        raise ConfigError(
            f"A report needs the Python package {error.name!r}. Run: pip install 'chainrule[report]'"
        ) from error
    names = [_file_names(number, section) for number, section in enumerate(report.sections, start=1)]
    sections = [
        {
            "heading": heading("section", section.title),
            "body": to_latex(section.text, {name: _FIGURE.replace("FILE", file) for name, file in own.items()}),
        }
        for section, own in zip(report.sections, names, strict=True)
    ]
    (folder / "charts").mkdir(parents=True, exist_ok=True)
    for section, own, parts in zip(report.sections, names, sections, strict=True):
        for name, file in own.items():
            if f"{{charts/{file}}}" in parts["body"]:  # a chart that no text asks for is not shown
                save(section.charts[name], folder / "charts" / f"{file}.pdf")
    environment = jinja2.Environment(
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\COMMENT{",
        comment_end_string="}",
        trim_blocks=True,
        autoescape=False,  # that is for HTML; `escape` is for LaTeX
        undefined=jinja2.StrictUndefined,
    )
    template = environment.from_string(files("chainrule.report.pdf").joinpath("document.tex.jinja").read_text("utf-8"))
    text = template.render(report=report, sections=sections, runs=_runs(report.runs), escape=escape, bookmark=bookmark)
    write_text(folder / "report.tex", text)
    return folder / "report.tex"


def compile_pdf(tex: Path) -> Path:
    """Make `Report.pdf` beside a document of `write_document`. Equal documents give equal files.

    Args:
        tex: the document.

    Raises:
        ConfigError: latexmk is not installed.
        OutputError: LaTeX stopped at an error; its log is kept beside the document.
        OSError: a file cannot be read or written.
    """
    if shutil.which("latexmk") is None or shutil.which("pdflatex") is None:
        raise ConfigError(
            "A report as PDF needs latexmk and pdflatex, which are not installed. On Debian and Ubuntu: "
            f"apt-get install latexmk texlive-latex-recommended. The document itself is ready: {tex}"
        )
    target, log = tex.with_name("Report.pdf"), tex.with_name("report.log")
    # The document is compiled elsewhere: no helper files are left behind, and no name of a folder can confuse TeX.
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
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode or not (build / "report.pdf").exists():
            kept = build / "report.log"
            shutil.copy(kept if kept.exists() else build / "output.txt", log)
            raise OutputError(f"LaTeX could not make {target}: {_first_error(log)} The log is kept: {log}")
        with replacing(target) as temporary:
            shutil.copyfile(build / "report.pdf", temporary)
    log.unlink(missing_ok=True)  # of an earlier failure
    return target


def _environment() -> dict[str, str]:
    """What TeX is told: a fixed date, no line of the log cut in two, and no files read outside its folder."""
    return {
        "SOURCE_DATE_EPOCH": "0",
        **os.environ,
        "FORCE_SOURCE_DATE": "1",
        "max_print_line": "1000",
        "openin_any": "p",
        "openout_any": "p",
    }


def _first_error(log: Path) -> str:
    """The first error in a log of TeX, with the line of the document that it is about."""
    lines = log.read_text("utf-8", "replace").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("! "):
            place = next((later for later in lines[number:] if re.match(r"l\.\d+ ", later)), "")
            return f"{line[2:]} {place}".strip()
    return "it gave no reason."


def _file_names(number: int, section: Section) -> dict[str, str]:
    """Names for the files of a section's charts: harmless in TeX and on any disk, and distinct."""
    found: dict[str, str] = {}
    for position, name in enumerate(section.charts, start=1):
        slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
        found[name] = f"{number:02}-{position:02}-{slug}".strip("-")
    return found


def _runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The table of the best runs, and the sentence above it."""
    if not runs:
        return {"table": "", "sentence": ""}
    scored = any(_score(run) > float("-inf") for run in runs)
    shown = sorted(runs, key=_score, reverse=True)[:_BEST] if scored else list(runs)[:_BEST]
    columns: list[tuple[str, list[str], int]] = []  # name, cells, width
    for name in _ranked(runs):
        cells = [_cell(name, run.get(name)) for run in shown]
        # A head has its words below each other, so a column need not be as wide as its name.
        width = max(map(len, [*cells, *_words(name)]))
        if sum(width + 3 for *_, width in columns) + width + 3 <= _LINE:
            columns.append((name, cells, width))
    sides = ["l" if any(isinstance(run.get(name), str) for run in shown) else "r" for name, *_ in columns]
    body = table(
        [_head(name, side) for (name, *_), side in zip(columns, sides, strict=True)],
        [[escape(cells[row]) for _, cells, _ in columns] for row in range(len(shown))],
        sides,
        [width for *_, width in columns],
    )
    order = f"The best {len(shown)} of {len(runs)} runs by validation accuracy" if scored else "The first runs"
    if len(runs) <= _BEST:
        order = f"All {len(runs)} runs" + (", the best by validation accuracy first" if scored else "")
    return {"table": body, "sentence": f"{order}. The HTML page has every run with all of its columns."}


def _ranked(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns, what matters most first: the name, the accuracies, and those in which runs differ."""
    first, *others = runs[0]
    results = [name for name in others if name.endswith("accuracy")]
    varying = [name for name in others if len({str(run.get(name)) for run in runs}) > 1]
    return [first, *results, *(name for name in varying if name not in results and name not in _BESIDES)]


def _words(name: str) -> list[str]:
    return name.replace("_", " ").split() or [""]


def _head(name: str, side: str) -> str:
    """A column's name, its words below each other."""
    words = r" \\ ".join(rf"\bfseries {escape(word)}" for word in _words(name))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{words}\end{{tabular}}"


def _score(run: Mapping[str, Any]) -> float:
    value = run.get(_METRIC)
    known = isinstance(value, (int, float)) and value == value
    return float(value) if known and value is not None else float("-inf")


def _cell(name: str, value: Any) -> str:
    """A value in a few letters; of a long text the end too, for there names of runs differ."""
    if value is None or value != value:
        return "\u2013"
    if isinstance(value, float):
        return f"{value:.4f}" if name.endswith(("accuracy", "loss")) else f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _LETTERS else f"{text[:8]}…{text[9 - _LETTERS :]}"
