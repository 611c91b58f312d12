"""The analysis of the survey: effects of its hyperparameters, and what its poor runs have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chainrule.charts.chart import Chart
from chainrule.report.run_charts import build_bar_chart, build_parallel_coordinates, build_share_chart
from chainrule.report.run_records import RunRecord, find_varied_hyperparameters
from chainrule.report.statistics import compute_correlations, group_by_value
from chainrule.report.variance import compute_variance_shares
from chainrule.training.history import History

__all__ = ["METRIC", "analyze_survey", "read_trials"]

METRIC, _LOW, _PLAIN = "val_accuracy", 0.65, ("sgd", "momentum", "nag")
# Reasons for failure, each among the runs that the previous ones do not explain.
_REASONS = {
    "weight decay 0.5": lambda c: c["weight_decay"] == 0.5,
    "sigmoid with sgd, momentum, nag": lambda c: c["activation"] == "sigmoid" and c["optimizer"] in _PLAIN,
    "sigmoid with random initialization": lambda c: c["activation"] == "sigmoid" and c["weight_init"] == "random",
    "sgd, momentum, nag with random initialization": lambda c: (
        c["weight_init"] == "random" and c["optimizer"] in _PLAIN
    ),
    "sgd": lambda c: c["optimizer"] == "sgd",
    "none of these": lambda c: True,
}


def _count_reasons(left: list[RunRecord]) -> list[dict]:
    """How many runs each reason applies to, and how many of these stay low."""
    found = []
    for name, applies in _REASONS.items():
        group, left = ([run for run in left if applies(run.config) == wanted] for wanted in (True, False))
        low = sum((record.get_metric(METRIC) or 0.0) < _LOW for record in group)
        found.append({"reason": name, "runs": len(group), "low": low})
    return found


def read_trials(answer: dict[str, Any], sweep: str) -> list[RunRecord]:
    """The trials of a sweep with their results, from the answer to question 4."""
    rows = [row for row in answer["runs"] if row["sweep"] == sweep]
    fixed, varied = (answer["experiments"][sweep][part] for part in ("fixed", "varied"))
    return [
        RunRecord(
            name=row["run"],
            folder=Path(row["run"]),
            sweep=sweep,
            status=row["status"],
            config=fixed | {name: row[name] for name in row if name in varied},
            metrics={name: row[name] for name in (METRIC, "test_accuracy")},
            history=History(),
            started=None,
            seconds=row["seconds"],
        )
        for row in rows
    ]


def analyze_survey(survey: list[RunRecord]) -> tuple[dict[str, Any], dict[str, Chart]]:
    """Compute the effects from the survey, which covers the space evenly."""
    mild = [record for record in survey if record.config["weight_decay"] < 0.5]
    shares = {"all": compute_variance_shares(survey, METRIC), "mild": compute_variance_shares(mild, METRIC)}
    numbers = {
        "effects": {name: group_by_value(mild, METRIC, name) for name in find_varied_hyperparameters(mild)},
        "decay": group_by_value(survey, METRIC, "weight_decay"),
        "runs": {"all": len(survey), "mild": len(mild)},
        "correlations": compute_correlations(mild, METRIC),
        "shares": shares,
        "reasons": _count_reasons(survey),
    }
    charts: dict[str, Chart] = {
        "survey": build_parallel_coordinates(survey),
        "shares": build_share_chart(shares["mild"]),
    }
    charts["correlation"] = build_bar_chart(numbers["correlations"], "rank correlation with validation accuracy")
    return numbers, charts
