"""How hyperparameters affect results: groups and correlations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.report.run_records import RunRecord, find_varied_hyperparameters, get_metric_sign

__all__ = ["MAX_CATEGORIES", "compute_correlations", "group_by_value", "select_scored"]

# A numeric hyperparameter with more values than this is treated as continuous, with fewer as categorical.
MAX_CATEGORIES = 12


def select_scored(records: Sequence[RunRecord], metric: str) -> list[tuple[RunRecord, float]]:
    """The runs with a configuration and the metric, paired with its value."""
    pairs = [(record, record.get_metric(metric)) for record in records]
    return [(record, value) for record, value in pairs if value is not None and record.config]


def group_by_value(records: Sequence[RunRecord], metric: str, hyperparameter: str) -> dict[str, dict[str, float]]:
    """The number of runs and the median, mean and best metric for each value of a hyperparameter."""
    groups: dict[str, list[float]] = {
        str(value): [] for value in find_varied_hyperparameters(records).get(hyperparameter, [])
    }
    sign = get_metric_sign(metric)
    for record, value in select_scored(records, metric):
        groups.setdefault(str(record.config.get(hyperparameter)), []).append(value)
    return {
        name: {
            "runs": len(values),
            "median": float(np.median(values)),
            "mean": float(np.mean(values)),
            "best": sign * max(sign * value for value in values),
        }
        for name, values in groups.items()
        if values
    }


def compute_correlations(records: Sequence[RunRecord], metric: str) -> dict[str, float]:
    """Spearman's rank correlation of each hyperparameter with a metric, strongest first.

    A categorical hyperparameter is one-hot encoded, as in W&B's importance panel.
    """
    from scipy.stats import spearmanr

    pairs = select_scored(records, metric)
    scores = [value for _, value in pairs]
    found: dict[str, float] = {}
    for name, column in _encode_columns([record for record, _ in pairs]).items():
        if len(set(column)) > 1 and len(set(scores)) > 1:
            found[name] = float(spearmanr(column, scores).statistic)
    return dict(sorted(found.items(), key=lambda item: -abs(item[1])))


def _encode_columns(records: Sequence[RunRecord]) -> dict[str, list[float]]:
    """The varied hyperparameters as numeric columns; categories one-hot."""
    columns: dict[str, list[float]] = {}
    for name, values in find_varied_hyperparameters(records).items():
        found = [record.config[name] for record in records]
        if all(isinstance(value, int | float) for value in values):
            columns[name] = [float(value) for value in found]
        else:
            for value in values:
                columns[f"{name} = {value}"] = [float(str(one) == str(value)) for one in found]
    return columns
