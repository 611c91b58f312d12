"""Answers as sections of a report: one text per question, with numbers and charts of the stored answer.

The texts are Jinja templates in Markdown, in report/text. They assert their claims about the data by `holds`, so that a
claim that new data do not support stops the report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from estimate import estimate_mean

from chainrule.charts.chart import chart_from_dict
from chainrule.report.overview import escape_markdown, format_markdown_table
from chainrule.report.section import Section

__all__ = ["QUESTIONS", "ROOT", "build_section"]

QUESTIONS = tuple(range(1, 11))
ROOT = Path(__file__).resolve().parents[1]
_TEXTS = ROOT / "report" / "text"


class _Unknown(jinja2.ChainableUndefined):
    """A number that is undefined for the few runs of a quick version; rendered as a question mark."""

    def __str__(self) -> str:
        return "?"

    def __format__(self, style: str) -> str:
        return "?"

    def __lt__(self, other: object) -> bool:
        return False

    def _itself(self, *others: object) -> _Unknown:
        return self

    __le__ = __gt__ = __ge__ = __lt__
    __call__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = (
        _itself
    )


def build_section(name: str, answers: Path, *, quick: bool = False) -> Section:
    """Build a section from its text and the answers.

    Args:
        name: name of the text, such as "question7".
        answers: folder of the stored answers.
        quick: whether they are of the quick version, whose claims are not enforced.

    Raises:
        ValueError: the answers do not support a claim of the text.
    """
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(answers.glob("*.json"))}
    own = found.get(name, {})

    def holds(claim: bool, what: str = "a claim") -> str:
        if claim:
            return ""
        if quick:
            return " (Claimed for the full runs; the quick ones do not show it.)"
        raise ValueError(f"The answers do not support a claim of {name}: {what}. Check the data, then fix the text.")

    missing = _Unknown if quick else jinja2.StrictUndefined
    environment = jinja2.Environment(undefined=missing, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _format_percent, "points": _format_points, "estimate": _format_estimate}
    # The page numbers its sections; the summary is the first.
    links = {word: lambda n, word=word: f"[{word}uestion {n}](#section-{n + 1})" for word in "qQ"}
    environment.globals |= {"to": links["q"], "To": links["Q"]}
    environment.globals |= {"benchmarks": {"accuracy": _read_benchmark("accuracy")}}
    environment.globals |= {"table": format_markdown_table, "holds": holds, **found}
    text = environment.from_string((_TEXTS / f"{name}.md").read_text(encoding="utf-8")).render(own)
    text = text.rstrip() + _format_experiments(own.get("experiments", {}))
    title, _, body = text.lstrip("# ").partition("\n")
    # Charts of other questions are prefixed with the question: chart:question5_best_so_far.
    charts = {f"{key}_{chart}": content for key, one in found.items() for chart, content in one["charts"].items()}
    charts |= own.get("charts", {})
    shown = {key: chart_from_dict(content) for key, content in charts.items() if f"(chart:{key})" in body}
    return Section(title, body.strip(), shown)


def _format_experiments(experiments: Mapping[str, Any]) -> str:
    """Format what the runs of a question share and in what they differ: every hyperparameter."""
    if not experiments:
        return ""

    def format_value(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    parts = ["", "", "## All hyperparameters of these runs"]
    for name, one in experiments.items():
        varied = "; ".join(f"`{key}`: {', '.join(map(format_value, found))}" for key, found in one["varied"].items())
        fixed = "; ".join(f"`{key}`: {format_value(found)}" for key, found in one["fixed"].items())
        parts += [
            "",
            f"**{escape_markdown(name)}**, {one['runs']} runs. Varied: {varied or 'nothing'}. Fixed: {fixed}.",
        ]
    return "\n".join(parts)


def _read_benchmark(name: str) -> dict[str, Any]:
    """Mean test accuracies from the stored results of a benchmark."""
    stored = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    runs = {key: [run["test_accuracy"] for run in entry["runs"]] for key, entry in stored["results"].items()}
    return {key: asdict(estimate_mean(values)) for key, values in runs.items()}


def _format_percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}"


def _format_points(value: float, digits: int = 2) -> str:
    """Format a difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.{digits}f}"


def _format_estimate(value: Mapping[str, Any]) -> str:
    """Format a mean of fractions in percent, with its standard deviation."""
    return f"{100 * value['mean']:.2f} ± {100 * value['std']:.2f}"
