"""What settings do to results: groups, correlations, importances, and how sure a mean is."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.report.records import Record, sign, varied

__all__ = ["Estimate", "by_value", "correlations", "estimate", "importances", "scored"]

_MOST_RUNS = 500
# A setting of numbers with more values than this is a scale, with fewer a choice.
_MOST_NAMES = 12


@dataclass(frozen=True)
class Estimate:
    """A mean of n independent values.

    Attributes:
        mean: of the values.
        std: sample standard deviation; 0 of a single value.
        low: lower end of the 95 % confidence interval by Student's t; the mean itself of a single value.
        high: upper end.
        values: the values.
    """

    mean: float
    std: float
    low: float
    high: float
    values: tuple[float, ...]


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of n >= 1 values with its 95 % confidence interval, by Student's t distribution.

    >>> round(estimate([1.0, 2.0, 3.0]).high, 3)
    4.484
    """
    from scipy.stats import t

    n, mean = len(values), float(np.mean(values))
    std = float(np.std(values, ddof=1)) if n > 1 else 0.0
    half = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n) if n > 1 else 0.0
    return Estimate(mean, std, mean - half, mean + half, tuple(float(value) for value in values))


def scored(records: Sequence[Record], metric: str) -> list[tuple[Record, float]]:
    """The runs that have the metric and settings, with it."""
    pairs = [(record, record.number(metric)) for record in records]
    return [(record, value) for record, value in pairs if value is not None and record.settings]


def by_value(records: Sequence[Record], metric: str, setting: str) -> dict[str, dict[str, float]]:
    """For each value of a setting, how many runs have it and the median, mean and best of their metric."""
    groups: dict[str, list[float]] = {str(value): [] for value in varied(records).get(setting, [])}
    for record, value in scored(records, metric):
        groups.setdefault(str(record.settings.get(setting)), []).append(value)
    return {
        name: {
            "runs": len(values),
            "median": float(np.median(values)),
            "mean": float(np.mean(values)),
            "best": sign(metric) * max(sign(metric) * value for value in values),
        }
        for name, values in groups.items()
        if values
    }


def correlations(records: Sequence[Record], metric: str) -> dict[str, float]:
    """Spearman's rank correlation of each setting with a metric, strongest first.

    A setting whose values are names counts as one column of zeros and ones for each, as W&B's panel does it.
    """
    from scipy.stats import spearmanr

    pairs = scored(records, metric)
    scores = [value for _, value in pairs]
    found: dict[str, float] = {}
    for name, column in _columns([record for record, _ in pairs]).items():
        if len(set(column)) > 1 and len(set(scores)) > 1:
            found[name] = float(spearmanr(column, scores).statistic)
    return dict(sorted(found.items(), key=lambda item: -abs(item[1])))


def _columns(records: Sequence[Record]) -> dict[str, list[float]]:
    """Settings as numbers."""
    columns: dict[str, list[float]] = {}
    for name, values in varied(records).items():
        found = [record.settings[name] for record in records]
        if all(isinstance(value, int | float) for value in values):
            columns[name] = [float(value) for value in found]
        else:
            for value in values:
                columns[f"{name} = {value}"] = [float(str(one) == str(value)) for one in found]
    return columns


def importances(records: Sequence[Record], metric: str) -> dict[str, float]:
    """The share of the metric's variance over the space that each setting explains by itself, greatest first.

    By functional ANOVA on a random forest (Hutter, Hoos and Leyton-Brown, 2014), as Optuna does it. What is missing to
    1 is explained by settings together. Empty where there are fewer than ten runs; of more than 500, it looks at 500.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    pairs = scored(records, metric)
    if len(pairs) > _MOST_RUNS:
        # Its time grows faster than the number of runs: seconds for 500, minutes for thousands.
        chosen = np.random.default_rng(0).permutation(len(pairs))[:_MOST_RUNS]
        pairs = [pairs[index] for index in sorted(chosen)]
    space = varied([record for record, _ in pairs])
    if len(pairs) < 10 or not space:
        return {}
    distributions: dict[str, Any] = {}
    for name, values in space.items():
        if len(values) > _MOST_NAMES and all(isinstance(value, int | float) for value in values):
            low, high = min(values), max(values)
            distributions[name] = FloatDistribution(low, high, log=low > 0 and high / low > 50)
        else:
            distributions[name] = CategoricalDistribution([str(value) for value in values])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="maximize")
        for record, value in pairs:
            params = {
                name: float(record.settings[name])
                if isinstance(kind, FloatDistribution)
                else str(record.settings[name])
                for name, kind in distributions.items()
            }
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    return {name: float(value) for name, value in found.items()}
