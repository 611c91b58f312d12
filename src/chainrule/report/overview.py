"""The report of any set of runs: what they were, what they reached, and which settings made the difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from chainrule.report.charts import Chart
from chainrule.report.records import Record, best, varied
from chainrule.report.section import Report, Section
from chainrule.report.statistics import by_value, correlations, importances, scored
from chainrule.report.views import bars, best_so_far, confusion, learning_curves, parallel

__all__ = ["overview", "rows", "table"]

METRIC = "val_accuracy"
_TOP = 10
_FEW = 6


def overview(records: Sequence[Record], title: str) -> Report:
    """The report of at least one run."""
    statuses = Counter(record.status for record in records)
    about = f"{len(records)} runs ({', '.join(f'{n} {status}' for status, n in statuses.items())})"
    sections = [_results(records), *_settings(records), *_curves(records), *_mistakes(records)]
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
        found.append(results | {name: record.settings[name] for name in names})
    return found


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """A Markdown table; columns of numbers are set to the right."""
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _is_number(cell: object) -> bool:
    return str(cell).strip("*").split(" ")[0].replace(".", "", 1).lstrip("-").isdigit()


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _results(records: Sequence[Record]) -> Section:
    winner = best(records)
    pairs = sorted(scored(records, METRIC), key=lambda pair: -pair[1])
    names = list(varied([record for record, _ in pairs]))
    text = []
    if winner is not None:
        text.append(
            f"The best run by validation accuracy is `{winner.name}`: {_percent(winner.number(METRIC))} % on "
            f"the validation set, {_percent(winner.number('test_accuracy'))} % on the test set."
        )
    else:
        text.append("No run has got so far that it was tested.")
    if len(pairs) > 1:
        text.append("![Validation accuracy of each run, and the best so far](chart:best_so_far)")
        cells = [
            [_percent(value), _percent(record.number("test_accuracy")), *(record.settings[name] for name in names)]
            for record, value in pairs[:_TOP]
        ]
        heading = "The best" if len(pairs) > _TOP else "All"
        text += [f"{heading} {min(len(pairs), _TOP)}:", table(cells, ["validation %", "test %", *names])]
    return Section("Results", "\n\n".join(text), {"best_so_far": best_so_far(records)})


def _settings(records: Sequence[Record]) -> list[Section]:
    """What made the difference; nothing where the runs are alike, or too few."""
    space = varied([record for record, _ in scored(records, METRIC)])
    if not space or len(scored(records, METRIC)) < 3:
        return []
    charts: dict[str, Chart] = {"parallel": parallel(records)}
    text = ["![Each line is a run](chart:parallel)"]
    if weights := importances(records, METRIC):
        charts["importance"] = bars(weights, "share of the variance explained")
        text.append("![How much of the differences in validation accuracy each setting explains](chart:importance)")
    if ranks := correlations(records, METRIC):
        charts["correlation"] = bars(ranks, "rank correlation with validation accuracy")
        text.append("![Rank correlation of settings with validation accuracy](chart:correlation)")
    for name in list(weights or space)[:_FEW]:
        groups = by_value(records, METRIC, name)
        cells = [
            [value, *(int(found["runs"]), _percent(found["median"]), _percent(found["best"]))]
            for value, found in groups.items()
        ]
        text.append(table(cells, [name, "runs", "median %", "best %"]))
    return [Section("What made the difference", "\n\n".join(text), charts)]


def _curves(records: Sequence[Record]) -> list[Section]:
    shown = sorted(scored(records, METRIC), key=lambda pair: -pair[1])[:_FEW]
    trained = {record.name: [record.history] for record, _ in shown if len(record.history)}
    if not trained:
        return []
    charts: dict[str, Chart] = {
        "accuracy": learning_curves(trained),
        "loss": learning_curves(trained, "val_loss"),
    }
    text = f"The best {len(trained)} runs.\n\n" if len(trained) > 1 else ""
    text += "![Validation accuracy by epoch](chart:accuracy)\n\n![Validation loss by epoch](chart:loss)"
    return [Section("Learning curves", text, charts)]


def _mistakes(records: Sequence[Record]) -> list[Section]:
    winner = best(records) or max(records, key=lambda record: record.number(METRIC) or 0.0)
    matrix = confusion(winner)
    if matrix is None:
        return []
    wrong = [
        (count, matrix.classes[i], matrix.classes[j])
        for i, line in enumerate(matrix.counts)
        for j, count in enumerate(line)
        if i != j and count
    ]
    most = "; ".join(f"{true} for {answer} ({count})" for count, true, answer in sorted(wrong, reverse=True)[:3])
    # The order of the words is that of the matrix: what it was, and what it was taken for.
    text = f"The run `{winner.name}` on the test set."
    if most:
        text += f" It takes most often: {most}."
    return [
        Section("Mistakes of the best run", f"{text}\n\n![Confusion matrix](chart:confusion)", {"confusion": matrix})
    ]
