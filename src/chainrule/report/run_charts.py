"""Charts of runs: the pictures that a set of records, or one of them, has to offer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from chainrule.core.errors import ChainruleError
from chainrule.data import load_dataset
from chainrule.neural_network import load_model
from chainrule.report.charts import Axis, Bars, Confusion, Lines, Parallel, Series, png
from chainrule.report.records import Record, sign, varied
from chainrule.report.statistics import scored
from chainrule.training.history import History

__all__ = ["bars", "best_so_far", "confusion", "learning_curves", "parallel", "percent_label"]

_EXAMPLES = 6  # pictures of a cell of the confusion matrix


def percent_label(metric: str) -> str:
    """A metric's name for an axis: an accuracy is shown in percent."""
    words = metric.replace("val_", "validation ").replace("test_", "test ").replace("train_", "training ")
    return f"{words} (%)" if metric.endswith("accuracy") else words


def _scale(metric: str) -> float:
    return 100.0 if metric.endswith("accuracy") else 1.0


def best_so_far(records: Sequence[Record], metric: str = "val_accuracy", *, by_number: bool = False) -> Lines:
    """Each run's metric against when it began, and the best until then.

    Args:
        records: the runs, in the order in which they began.
        metric: what to show.
        by_number: count runs instead of minutes; for runs with idle hours between them.
    """
    timed = [(record, record.started, record.number(metric)) for record in records]
    pairs = [(record, start, value) for record, start, value in timed if start is not None and value is not None]
    first = min((start for _, start, _ in pairs), default=datetime.min)
    minutes = [(start - first).total_seconds() / 60 for _, start, _ in pairs]
    places = [float(number) for number in range(1, len(pairs) + 1)] if by_number else minutes
    values = [_scale(metric) * value for *_, value in pairs]
    best = list(sign(metric) * np.maximum.accumulate(sign(metric) * np.array(values))) if values else []
    statuses = [record.status for record, *_ in pairs]
    points = [
        Series(
            status,
            [x for x, one in zip(places, statuses, strict=True) if one == status],
            [y for y, one in zip(values, statuses, strict=True) if one == status],
            look="points",
            notes=[record.name for record, *_ in pairs if record.status == status],
        )
        for status in dict.fromkeys(statuses)
    ]
    line = Series("best so far", places, [float(value) for value in best], look="step")
    x_label = "runs, in the order in which they began" if by_number else "minutes since the first run"
    return Lines(x_label, percent_label(metric), [*points, line])


def parallel(records: Sequence[Record], metric: str = "val_accuracy") -> Parallel:
    """A line a run through its settings to its metric; only settings in which the runs differ."""
    pairs = scored(records, metric)
    axes = []
    for name, values in varied([record for record, _ in pairs]).items():
        found = [record.settings[name] for record, _ in pairs]
        if len(values) > 12 and all(isinstance(value, int | float) for value in values):
            axes.append(Axis(name, [float(value) for value in found]))
            continue
        names = [str(value) for value in values]
        labels = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        axes.append(Axis(name, [float(names.index(str(value))) for value in found], labels))
    axes.append(Axis(percent_label(metric), [_scale(metric) * value for _, value in pairs]))
    return Parallel(axes, [record.name for record, _ in pairs])


def bars(values: Mapping[str, float], x_label: str, most: int = 20) -> Bars:
    """Named numbers as bars, in their order."""
    shown = dict(list(values.items())[:most])
    return Bars(x_label, list(shown), [Series("", [], list(shown.values()))])


def learning_curves(groups: Mapping[str, Sequence[History]], column: str = "val_accuracy") -> Lines:
    """A line for each group of histories: the mean of a column by epoch, with its range in a band."""
    series = []
    for name, histories in groups.items():
        columns = [[_scale(column) * value for value in one.column(column) if value is not None] for one in histories]
        epochs = max(map(len, columns), default=0)
        by_epoch = [[values[epoch] for values in columns if epoch < len(values)] for epoch in range(epochs)]
        band = len(columns) > 1
        series.append(
            Series(
                name,
                [float(epoch) for epoch in range(1, epochs + 1)],
                [float(np.mean(values)) for values in by_epoch],
                low=[min(values) for values in by_epoch] if band else [],
                high=[max(values) for values in by_epoch] if band else [],
            )
        )
    return Lines("epoch", percent_label(column), series)


def confusion(record: Record) -> Confusion | None:
    """The confusion matrix of a run on the test set, with pictures where the model and the data are there."""
    counts = record.metrics.get("confusion_matrix")
    if not isinstance(counts, list) or not counts:
        return None
    k = len(counts)
    if not all(isinstance(row, list) and len(row) == k and all(map(_is_count, row)) for row in counts):
        return None
    scores = record.metrics.get("per_class")
    classes = (
        [str(name) for name in scores] if isinstance(scores, dict) and len(scores) == k else list(map(str, range(k)))
    )
    try:
        return Confusion(classes, counts, _examples(record))
    # A plugin's dataset, a model that is gone, settings that could not be read: the numbers are there all the same.
    except (ChainruleError, OSError, KeyError, TypeError):
        return Confusion(classes, counts, {})


def _is_count(cell: object) -> bool:
    return isinstance(cell, int) and not isinstance(cell, bool) and 0 <= cell < 2**53


def _examples(record: Record) -> dict[str, list[str]]:
    """Pictures of test samples by true class and answer: of mistakes those that the network was surest of."""
    settings = record.settings
    network = load_model(record.folder / "model.safetensors")
    folder = Path(settings["data_dir"]) if settings.get("data_dir") is not None else None
    data = load_dataset(
        settings["dataset"],
        seed=settings["seed"],
        val_fraction=settings["val_fraction"],
        dtype=settings["dtype"],
        data_dir=folder,
    )
    if data.image_shape is None or network.sizes[0] != data.x_test.shape[1]:
        return {}
    probabilities = network.predict_proba(data.x_test)
    answers = probabilities.argmax(axis=1)
    sure = probabilities[np.arange(len(answers)), answers]
    found: dict[str, list[str]] = {}
    for index in np.argsort(-sure, kind="stable"):
        cell = found.setdefault(f"{data.y_test[index]},{answers[index]}", [])
        if len(cell) < _EXAMPLES and math.isfinite(sure[index]):
            cell.append(png(data.x_test[index].reshape(data.image_shape)))
    return found
