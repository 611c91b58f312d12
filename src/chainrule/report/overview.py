"""The report of any set of runs: what they were, what they reached, and which settings made the difference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from chainrule.report.charts import Chart
from chainrule.report.records import Record, best, sign, varied
from chainrule.report.run_charts import bars, best_so_far, confusion, learning_curves, parallel, percent_label
from chainrule.report.section import Report, Section
from chainrule.report.statistics import by_value, correlations, importances, scored

__all__ = ["literal", "overview", "rows", "table"]

_TOP = 10
_FEW = 6


def overview(records: Sequence[Record], title: str, metric: str = "val_accuracy") -> Report:
    """The report of at least one run.

    Args:
        records: the runs.
        title: its heading.
        metric: what runs are compared by. Of one that ends in "loss" less is better, of others more.
    """
    statuses = Counter(record.status for record in records)
    about = f"{len(records)} runs ({', '.join(f'{n} {status}' for status, n in statuses.items())})"
    parts = (_results, _settings, _curves, _mistakes)
    sections = [section for part in parts for section in part(records, metric)]
    moment = f"{datetime.now(UTC):%Y-%m-%d}"
    return Report(title, f"{about}, {moment}", sections, rows(records))


def rows(records: Sequence[Record]) -> list[dict[str, object]]:
    """The table of runs: results first, then the settings in which they differ."""
    names = list(varied(records))
    found = []
    for record in records:
        results: dict[str, object] = {
            "run": record.name,
            "status": record.status,
            "epochs trained": len(record.history),
            "val_accuracy": record.number("val_accuracy"),
            "test_accuracy": record.number("test_accuracy"),
            "seconds": record.seconds,
        }
        found.append(results | {name: record.settings.get(name) for name in names})
    return found


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """A Markdown table; columns of numbers are set to the right. Cells may hold Markdown (see `literal`)."""
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _is_number(cell: object) -> bool:
    return str(cell).strip("*").split(" ")[0].replace(".", "", 1).lstrip("-").isdigit()


def literal(text: object) -> str:
    """A user's text in Markdown, to be read as it is.

    >>> literal("a_b*")
    'a\\\\_b\\\\*'
    """
    # A | belongs to the table, which escapes it.
    return re.sub(r"([\\`*_{}\[\]()<>#+!~&$-])", r"\\\1", " ".join(str(text).split()))


def _shown(value: float | None, metric: str) -> str:
    """A metric for a table: an accuracy in percent."""
    if value is None:
        return ""
    return f"{100 * value:.2f}" if metric.endswith("accuracy") else f"{value:.4g}"


def _ranked(records: Sequence[Record], metric: str) -> list[tuple[Record, float]]:
    return sorted(scored(records, metric), key=lambda pair: -sign(metric) * pair[1])


def _results(records: Sequence[Record], metric: str) -> list[Section]:
    winner, label, pairs = best(records, metric), percent_label(metric), _ranked(records, metric)
    names = list(varied([record for record, _ in pairs]))
    text, charts = [f"No run that has ended has a {label}."], {}
    if winner is not None:
        of = f"{label} {_shown(winner.number(metric), metric)}"
        test = _shown(winner.number("test_accuracy"), "test_accuracy")
        text = [f"The best run by {label} is {literal(winner.name)}: {of}; test accuracy {test or 'unknown'} %."]
    if "dataset" in names:
        text.append("The runs are of several datasets, whose results do not compare: name runs or sweeps of one.")
    if len(pairs) > 1:
        charts["best_so_far"] = best_so_far(records, metric)
        text.append(f"![The {label} of each run, and the best so far](chart:best_so_far)")
        cells = [
            [
                _shown(value, metric),
                _shown(record.number("test_accuracy"), "test_accuracy"),
                *(literal(record.settings.get(name)) for name in names),
            ]
            for record, value in pairs[:_TOP]
        ]
        heading = "The best" if len(pairs) > _TOP else "All"
        text += [f"{heading} {len(cells)}:", table(cells, [label, "test accuracy (%)", *map(literal, names)])]
    return [Section("Results", "\n\n".join(text), charts)]


def _settings(records: Sequence[Record], metric: str) -> list[Section]:
    """What made the difference; nothing where the runs are alike, or too few."""
    space, label = varied([record for record, _ in scored(records, metric)]), percent_label(metric)
    if not space or len(scored(records, metric)) < 3:
        return []
    charts: dict[str, Chart] = {"parallel": parallel(records, metric)}
    text = ["![Each line is a run](chart:parallel)"]
    if weights := importances(records, metric):
        charts["importance"] = bars(weights, "share of the variance")
        text.append(f"![The share of the variance of {label} that each setting explains by itself](chart:importance)")
    if ranks := correlations(records, metric):
        charts["correlation"] = bars(ranks, f"rank correlation with {label}")
        text.append(f"![Rank correlation of settings with {label}](chart:correlation)")
    for name in list(weights or space)[:_FEW]:
        groups = by_value(records, metric, name)
        if len(groups) > _TOP:
            continue
        cells = [
            [literal(value), int(found["runs"]), _shown(found["median"], metric), _shown(found["best"], metric)]
            for value, found in groups.items()
        ]
        text.append(table(cells, [literal(name), "runs", "median", "best"]))
    return [Section("What made the difference", "\n\n".join(text), charts)]


def _curves(records: Sequence[Record], metric: str) -> list[Section]:
    shown = [record for record, _ in _ranked(records, metric) if len(record.history)][:_FEW]
    if not shown:
        return []
    alike = Counter(record.name for record in shown)
    trained = {f"{one.group} {one.name}" if alike[one.name] > 1 else one.name: [one.history] for one in shown}
    charts: dict[str, Chart] = {
        "accuracy": learning_curves(trained),
        "loss": learning_curves(trained, "val_loss"),
    }
    text = f"The best {len(trained)} runs.\n\n" if len(trained) > 1 else ""
    text += "![Validation accuracy by epoch](chart:accuracy)\n\n![Validation loss by epoch](chart:loss)"
    return [Section("Learning curves", text, charts)]


def _mistakes(records: Sequence[Record], metric: str) -> list[Section]:
    winner = best(records, metric) or (records[0] if len(records) == 1 else None)
    matrix = confusion(winner) if winner else None
    if winner is None or matrix is None:
        return []
    wrong = [
        (count, matrix.classes[i], matrix.classes[j])
        for i, line in enumerate(matrix.counts)
        for j, count in enumerate(line)
        if i != j and count
    ]
    most = "; ".join(
        f"{literal(true)} for {literal(answer)} ({count})" for count, true, answer in sorted(wrong, reverse=True)[:3]
    )
    text = f"The run {literal(winner.name)} on the test set."
    if most:
        text += f" It takes most often: {most}."
    return [Section("Mistakes", f"{text}\n\n![Confusion matrix](chart:confusion)", {"confusion": matrix})]
