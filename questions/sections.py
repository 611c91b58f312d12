"""The answers as sections of a report: a text for each question, its numbers and charts from the stored answer.

The texts are in report/text, Markdown with Jinja's braces. Where a text claims something of the data it says so to
`holds`, so that a claim that new data do not bear out stops the report instead of standing in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from chainrule.charts.chart import chart_from_dict
from chainrule.report.overview import table
from chainrule.report.section import Section
from chainrule.report.statistics import estimate_mean

__all__ = ["QUESTIONS", "section"]

QUESTIONS = tuple(range(1, 11))
_TEXTS = Path(__file__).resolve().parents[1] / "report" / "text"


class _Unknown(jinja2.ChainableUndefined):
    """A number that the few runs of a quick version do not give: it shows as a question mark."""

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


def section(name: str, answers: Path, *, quick: bool = False) -> Section:
    """A section from its text and the answers.

    Args:
        name: of the text, such as "question7".
        answers: folder of the stored answers.
        quick: whether these are of the quick version, which are too few to claim much.

    Raises:
        ValueError: the text claims something that the answers do not show.
    """
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(answers.glob("*.json"))}
    own = found.get(name, {})

    def holds(claim: bool, what: str = "a claim") -> str:
        if claim:
            return ""
        if quick:
            return " (A full run claims this; the quick one did not show it.)"
        raise ValueError(f"The text of {name} says what the answers do not show: {what}. Read the data, mend the text.")

    missing = _Unknown if quick else jinja2.StrictUndefined
    environment = jinja2.Environment(undefined=missing, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "points": _points, "estimate": _estimate}
    # The page numbers its sections, of which the summary is the first.
    links = {word: lambda n, word=word: f"[{word}uestion {n}](#section-{n + 1})" for word in "qQ"}
    environment.globals |= {"to": links["q"], "To": links["Q"]}
    environment.globals |= {"benchmarks": {"accuracy": _benchmark("accuracy")}}
    environment.globals |= {"table": table, "holds": holds, **found}
    text = environment.from_string((_TEXTS / f"{name}.md").read_text(encoding="utf-8")).render(own)
    title, _, body = text.lstrip("# ").partition("\n")
    # Those of another question go by its name too: chart:question5_best_so_far.
    charts = {f"{key}_{chart}": content for key, one in found.items() for chart, content in one["charts"].items()}
    charts |= own.get("charts", {})
    shown = {key: chart_from_dict(content) for key, content in charts.items() if f"(chart:{key})" in body}
    return Section(title, body.strip(), shown)


def _benchmark(name: str) -> dict[str, Any]:
    """The estimates of the test accuracies that a benchmark stored."""
    stored = json.loads((_TEXTS.parents[1] / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    runs = {key: [run["test_accuracy"] for run in entry["runs"]] for key, entry in stored["results"].items()}
    return {key: asdict(estimate_mean(values)) for key, values in runs.items()}


def _percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}"


def _points(value: float, digits: int = 2) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.{digits}f}"


def _estimate(value: Mapping[str, Any]) -> str:
    """A mean of shares in percent with its standard deviation."""
    return f"{100 * value['mean']:.2f} ± {100 * value['std']:.2f}"
