"""The report on any set of runs: results, hyperparameters that made the difference, learning curves, mistakes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from chainrule.charts.chart import Chart
from chainrule.report import run_charts
from chainrule.report.run_charts import format_metric_label
from chainrule.report.run_records import RunRecord, find_varied_hyperparameters, get_metric_sign, select_best
from chainrule.report.section import Report, Section
from chainrule.report.statistics import compute_correlations, group_by_value, select_scored
from chainrule.report.variance import Share, VarianceShares, compute_variance_shares

__all__ = ["build_overview", "describe_shares", "escape_markdown", "format_markdown_table", "tabulate_runs"]

_MAX_ROWS = 10
_MAX_GROUPS = 6  # learning curves, and hyperparameters with a table of their own


def build_overview(records: Sequence[RunRecord], title: str, metric: str = "val_accuracy") -> Report:
    """Build the report on one or more runs.

    Args:
        records: the runs.
        title: the title.
        metric: the metric by which runs are compared.
    """
    statuses = Counter(record.status for record in records)
    counts = ", ".join(f"{count} {status}" for status, count in statuses.items())
    builders = (_build_results, _build_differences, _build_curves, _build_mistakes)
    sections = [section for build in builders if (section := build(records, metric))]
    about = f"{len(records)} runs ({counts}), {datetime.now(UTC):%Y-%m-%d}"
    return Report(title, about, sections, tabulate_runs(records))


def tabulate_runs(records: Sequence[RunRecord]) -> list[dict[str, object]]:
    """Rows of the table of runs: results first, then the varied hyperparameters."""
    names = list(find_varied_hyperparameters(records))
    rows = []
    for record in records:
        about = {"run": record.name, "status": record.status, "epochs trained": len(record.history)}
        results = {name: record.get_metric(name) for name in ("val_accuracy", "test_accuracy")}
        rows.append(
            {**about, **results, "seconds": record.seconds, **{name: record.config.get(name) for name in names}}
        )
    return rows


def format_markdown_table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Format a Markdown table with numeric columns right-aligned. Cells are Markdown (see `escape_markdown`)."""
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in numeric], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _is_number(cell: object) -> bool:
    return str(cell).strip("*").split(" ")[0].replace(".", "", 1).lstrip("-").isdigit()


def escape_markdown(text: object) -> str:
    """Escape text so that Markdown shows it literally.

    >>> escape_markdown("a_b*")
    'a\\\\_b\\\\*'
    """
    # `format_markdown_table` escapes "|".
    return re.sub(r"([\\`*_{}\[\]()<>#+!~&$-])", r"\\\1", " ".join(str(text).split()))


def describe_shares(shares: VarianceShares, label: str) -> str:
    """Describe in Markdown which shares of a metric's variance the hyperparameters explain, or why this is unknown.

    Args:
        shares: the shares.
        label: name of the metric.
    """
    if shares.additive is None:
        return shares.reason
    text = (
        f"A model in which the effects of the hyperparameters add up predicts {_format_share(shares.additive)} of the "
        f"variance of {label}, in cross-validation over {shares.runs} runs. "
    )
    if shares.pairwise is None or shares.interaction is None:
        text += shares.reason
    else:
        text += (
            f"With effects of pairs it predicts {_format_share(shares.pairwise)}. "
            f"The difference, {_format_share(shares.interaction)}, is interaction."
        )
        if shares.interaction.low <= 0:
            text += " Its interval includes 0, so these runs do not show that hyperparameters interact."
    if shares.continuous:
        names = ", ".join(map(escape_markdown, shares.continuous))
        text += f" Modeled as splines: {names}; the other hyperparameters are categorical."
    return text


def _format_share(share: Share) -> str:
    value, low, high = (100 * part for part in (share.value, share.low, share.high))
    return f"{value:.1f} % (95 % interval {low:.1f} to {high:.1f})"


def _format_metric(value: float | None, metric: str) -> str:
    """Format a metric for a table; accuracies in percent."""
    if value is None:
        return ""
    return f"{100 * value:.2f}" if metric.endswith("accuracy") else f"{value:.4g}"


def _rank(records: Sequence[RunRecord], metric: str) -> list[tuple[RunRecord, float]]:
    return sorted(select_scored(records, metric), key=lambda pair: -get_metric_sign(metric) * pair[1])


def _build_results(records: Sequence[RunRecord], metric: str) -> Section:
    best, label, ranked = select_best(records, metric), format_metric_label(metric), _rank(records, metric)
    names = list(find_varied_hyperparameters([record for record, _ in ranked]))
    text, charts = [f"No completed run has a {label}."], {}
    if best is not None:
        value = _format_metric(best.get_metric(metric), metric)
        test = _format_metric(best.get_metric("test_accuracy"), "test_accuracy") or "unknown"
        text = [f"The best run by {label} is {escape_markdown(best.name)}: {label} {value}; test accuracy {test} %."]
    if "dataset" in names:
        text.append("The runs use several datasets, whose results are not comparable: select runs or sweeps of one.")
    if len(ranked) > 1:
        charts["best_so_far"] = run_charts.build_best_so_far(records, metric)
        text.append(f"![The {label} of each run, and the best so far](chart:best_so_far)")
        cells = [
            [
                _format_metric(value, metric),
                _format_metric(record.get_metric("test_accuracy"), "test_accuracy"),
                *(escape_markdown(record.config.get(name)) for name in names),
            ]
            for record, value in ranked[:_MAX_ROWS]
        ]
        heading = "The best" if len(ranked) > _MAX_ROWS else "All"
        head = [label, "test accuracy (%)", *map(escape_markdown, names)]
        text += [f"{heading} {len(cells)}:", format_markdown_table(cells, head)]
    return Section("Results", "\n\n".join(text), charts)


def _build_differences(records: Sequence[RunRecord], metric: str) -> Section | None:
    """How the varied hyperparameters affect the metric; None for fewer than three runs or without variation."""
    scored, label = select_scored(records, metric), format_metric_label(metric)
    space = find_varied_hyperparameters([record for record, _ in scored])
    if not space or len(scored) < 3:
        return None
    charts: dict[str, Chart] = {"parallel": run_charts.build_parallel_coordinates(records, metric)}
    text = ["![One line per run](chart:parallel)"]
    shares = compute_variance_shares(records, metric)
    text.append(describe_shares(shares, label))
    if shares.hyperparameters:
        charts["shares"] = run_charts.build_share_chart(shares)
        text.append(f"![Share of the variance of {label} that is lost without each hyperparameter](chart:shares)")
    if correlations := compute_correlations(records, metric):
        charts["correlation"] = run_charts.build_bar_chart(correlations, f"rank correlation with {label}")
        text.append(f"![Rank correlation of hyperparameters with {label}](chart:correlation)")
    for name in list(shares.hyperparameters or space)[:_MAX_GROUPS]:
        groups = group_by_value(records, metric, name)
        if len(groups) > _MAX_ROWS:
            continue
        cells = [
            [
                escape_markdown(value),
                int(group["runs"]),
                *(_format_metric(group[key], metric) for key in ("median", "best")),
            ]
            for value, group in groups.items()
        ]
        text.append(format_markdown_table(cells, [escape_markdown(name), "runs", "median", "best"]))
    return Section("What made the difference", "\n\n".join(text), charts)


def _build_curves(records: Sequence[RunRecord], metric: str) -> Section | None:
    shown = [record for record, _ in _rank(records, metric) if len(record.history)][:_MAX_GROUPS]
    if not shown:
        return None
    names = Counter(record.name for record in shown)
    curves = {f"{one.sweep} {one.name}" if names[one.name] > 1 else one.name: [one.history] for one in shown}
    charts = {name: run_charts.build_learning_curves(curves, f"val_{name}") for name in ("accuracy", "loss")}
    text = f"The best {len(curves)} runs.\n\n" if len(curves) > 1 else ""
    text += "![Validation accuracy by epoch](chart:accuracy)\n\n![Validation loss by epoch](chart:loss)"
    return Section("Learning curves", text, charts)


def _build_mistakes(records: Sequence[RunRecord], metric: str) -> Section | None:
    best = select_best(records, metric) or (records[0] if len(records) == 1 else None)
    matrix = run_charts.build_confusion_matrix(best) if best else None
    if best is None or matrix is None:
        return None
    names = [escape_markdown(name) for name in matrix.classes]
    cells = [
        (count, names[i], names[j]) for i, row in enumerate(matrix.counts) for j, count in enumerate(row) if i != j
    ]
    worst = [(count, true, predicted) for count, true, predicted in sorted(cells, reverse=True)[:3] if count]
    most = "; ".join(f"{true} as {predicted} ({count})" for count, true, predicted in worst)
    text = f"The run {escape_markdown(best.name)} on the test set."
    if most:
        text += f" Its most frequent mistakes: {most}."
    return Section("Mistakes", f"{text}\n\n![Confusion matrix](chart:confusion)", {"confusion": matrix})
