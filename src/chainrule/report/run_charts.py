"""Charts of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chainrule.charts.chart import Axis, BarChart, ConfusionMatrix, LineChart, ParallelCoordinates, Series, encode_png
from chainrule.core.errors import ChainruleError
from chainrule.data import load_dataset
from chainrule.report.run_records import RunRecord, find_varied_hyperparameters, get_metric_sign
from chainrule.report.statistics import MAX_CATEGORIES, select_scored
from chainrule.report.variance import VarianceShares
from chainrule.runs.folder import MODEL
from chainrule.saved_models import load_model
from chainrule.training.history import History

__all__ = [
    "build_bar_chart",
    "build_best_so_far",
    "build_confusion_matrix",
    "build_learning_curves",
    "build_parallel_coordinates",
    "build_share_chart",
    "format_metric_label",
]

_EXAMPLES_PER_CELL = 6
_MAX_BARS = 20


def format_metric_label(metric: str) -> str:
    """The axis label of a metric; accuracies are shown in percent."""
    words = metric.replace("val_", "validation ").replace("test_", "test ").replace("train_", "training ")
    return f"{words} (%)" if metric.endswith("accuracy") else words


def _get_scale(metric: str) -> float:
    return 100.0 if metric.endswith("accuracy") else 1.0


def build_best_so_far(
    records: Sequence[RunRecord], metric: str = "val_accuracy", *, by_number: bool = False
) -> LineChart:
    """Chart each run's metric against its start time, and the best value so far.

    Args:
        records: the runs, ordered by start time.
        metric: the metric to show.
        by_number: put the number of the run on the x axis instead of minutes, for runs with idle hours between them.
    """
    timed = [(record, record.started, record.get_metric(metric)) for record in records]
    scored = [(record, start, value) for record, start, value in timed if start is not None and value is not None]
    x = [float(number) for number in range(1, len(scored) + 1)]
    if scored and not by_number:
        first = min(start for _, start, _ in scored)
        x = [(start - first).total_seconds() / 60 for _, start, _ in scored]
    y = [_get_scale(metric) * value for *_, value in scored]
    sign = get_metric_sign(metric)
    best: list[float] = (sign * np.maximum.accumulate(sign * np.array(y))).tolist()
    by_status: dict[str, list[int]] = {}
    for index, (record, *_) in enumerate(scored):
        by_status.setdefault(record.status, []).append(index)
    points = [
        Series(status, [x[i] for i in own], [y[i] for i in own], mark="points", notes=[scored[i][0].name for i in own])
        for status, own in by_status.items()
    ]
    line = Series("best so far", x, best, mark="step")
    x_label = "run number, by start time" if by_number else "minutes since the first run"
    return LineChart(x_label, format_metric_label(metric), [*points, line])


def build_parallel_coordinates(records: Sequence[RunRecord], metric: str = "val_accuracy") -> ParallelCoordinates:
    """Chart each run as a line across the varied hyperparameters to its metric."""
    scored = select_scored(records, metric)
    axes = []
    for name, values in find_varied_hyperparameters([record for record, _ in scored]).items():
        own = [record.config[name] for record, _ in scored]
        if len(values) > MAX_CATEGORIES and all(isinstance(value, int | float) for value in values):
            axes.append(Axis(name, [float(value) for value in own]))
            continue
        names = [str(value) for value in values]
        labels = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        axes.append(Axis(name, [float(names.index(str(value))) for value in own], labels))
    axes.append(Axis(format_metric_label(metric), [_get_scale(metric) * value for _, value in scored]))
    return ParallelCoordinates(axes, [record.name for record, _ in scored])


def build_bar_chart(values: Mapping[str, float], x_label: str) -> BarChart:
    """Chart the first named numbers as bars, in the given order."""
    shown = dict(list(values.items())[:_MAX_BARS])
    return BarChart(x_label, list(shown), [Series("", [], list(shown.values()))])


def build_share_chart(shares: VarianceShares) -> BarChart:
    """Chart by how much the explained share drops without each hyperparameter, and the interaction, with intervals."""
    shown = dict(list(shares.hyperparameters.items())[:_MAX_BARS])
    if shares.interaction is not None:
        shown["interaction of pairs"] = shares.interaction
    mean, low, high = ([100 * getattr(one, part) for one in shown.values()] for part in ("value", "low", "high"))
    series = [Series("", [], mean, low=low, high=high)]
    return BarChart("share of the variance (%), 95 % interval", list(shown), series, "points", 0.0)


def build_learning_curves(groups: Mapping[str, Sequence[History]], column: str = "val_accuracy") -> LineChart:
    """Chart the mean of a column by epoch, one line per group of histories; a band shows the range of each group."""
    series = []
    for name, histories in groups.items():
        columns = [[_get_scale(column) * v for v in history.column(column) if v is not None] for history in histories]
        epochs = max(map(len, columns), default=0)
        by_epoch = [[values[epoch] for values in columns if epoch < len(values)] for epoch in range(epochs)]
        means = [float(np.mean(values)) for values in by_epoch]
        band = [list(map(edge, by_epoch)) if len(columns) > 1 else [] for edge in (min, max)]
        x = [float(epoch) for epoch in range(1, epochs + 1)]
        series.append(Series(name, x, means, low=band[0], high=band[1]))
    return LineChart("epoch", format_metric_label(column), series)


def build_confusion_matrix(record: RunRecord) -> ConfusionMatrix | None:
    """Chart a run's confusion matrix on the test set, with example images if model and data are available.

    Returns:
        The chart, or None if the run has no valid confusion matrix.
    """
    counts = record.metrics.get("confusion_matrix")
    if not isinstance(counts, list) or not counts:
        return None
    k = len(counts)
    if not all(isinstance(row, list) and len(row) == k and all(map(_is_count, row)) for row in counts):
        return None
    scores = record.metrics.get("per_class")
    classes = list(map(str, scores if isinstance(scores, dict) and len(scores) == k else range(k)))
    try:
        examples = _collect_examples(record)
    # An unknown dataset of a plugin, a deleted model, an unreadable configuration: the counts are still there.
    except (ChainruleError, OSError, KeyError, TypeError):
        examples = {}
    return ConfusionMatrix(classes, counts, examples)


def _is_count(cell: object) -> bool:
    return isinstance(cell, int) and not isinstance(cell, bool) and 0 <= cell < 2**53


def _collect_examples(record: RunRecord) -> dict[str, list[str]]:
    """Test images by "true class,predicted class", the most confident predictions first."""
    config = record.config
    network = load_model(record.folder / MODEL)
    folder = Path(config["data_dir"]) if config.get("data_dir") is not None else None
    settings = {name: config[name] for name in ("seed", "val_fraction", "dtype")}
    data = load_dataset(config["dataset"], data_dir=folder, **settings)
    if data.image_shape is None or network.sizes[0] != data.x_test.shape[1]:
        return {}
    probabilities = network.predict_proba(data.x_test)
    predictions = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(predictions)), predictions]
    found: dict[str, list[str]] = {}
    for index in np.argsort(-confidence, kind="stable"):
        cell = found.setdefault(f"{data.y_test[index]},{predictions[index]}", [])
        if len(cell) < _EXAMPLES_PER_CELL and math.isfinite(confidence[index]):
            cell.append(encode_png(data.x_test[index].reshape(data.image_shape)))
    return found
