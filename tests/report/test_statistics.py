"""Effects of hyperparameters, on synthetic runs with a known result."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chainrule.report.run_charts import build_best_so_far, build_learning_curves, build_parallel_coordinates
from chainrule.report.run_records import RunRecord
from chainrule.report.statistics import compute_correlations, group_by_value
from chainrule.training.history import EpochRecord, History

WIDTHS, OPTIMIZERS, RATES = (32, 64, 128), ("adam", "sgd"), (0.1, 0.01)


def record(score: float | None, number: int = 0, **settings: object) -> RunRecord:
    started = datetime(2026, 1, 1, 0, number, tzinfo=UTC)
    metrics = {} if score is None else {"val_accuracy": score}
    return RunRecord(f"r{number}", Path("none"), "", "finished", settings, metrics, History(), started, 1.0)


def grid(score) -> list[RunRecord]:
    every = enumerate(itertools.product(WIDTHS, OPTIMIZERS, RATES))
    return [record(score(w, o, r), i, hidden_size=w, optimizer=o, learning_rate=r) for i, (w, o, r) in every]


def test_the_only_relevant_hyperparameter_correlates_fully() -> None:
    records = grid(lambda width, optimizer, rate: width / 1000)
    found = compute_correlations(records, "val_accuracy")
    assert next(iter(found)) == "hidden_size"
    assert found["hidden_size"] == pytest.approx(1)
    assert found["optimizer = sgd"] == pytest.approx(0)


def test_the_sign_of_a_correlation_and_names_as_columns() -> None:
    records = grid(lambda width, optimizer, rate: 0.9 if optimizer == "adam" else 0.2 - rate)
    found = compute_correlations(records, "val_accuracy")
    assert found["optimizer = adam"] == pytest.approx(-found["optimizer = sgd"])
    assert found["optimizer = adam"] > 0.8
    assert found["learning_rate"] < 0


def test_groups_of_a_hyperparameter() -> None:
    found = group_by_value(grid(lambda width, optimizer, rate: width / 1000 + rate), "val_accuracy", "hidden_size")
    assert list(found) == ["32", "64", "128"]
    assert found["64"]["runs"] == 4
    assert found["64"]["best"] == pytest.approx(0.164)
    assert found["64"]["median"] == pytest.approx(0.119)


def test_runs_without_the_metric_are_left_out() -> None:
    records = [*grid(lambda width, optimizer, rate: width / 1000), record(None, 50), record(float("nan"), 51)]
    assert group_by_value(records[:12], "val_accuracy", "hidden_size")["32"]["runs"] == 4
    assert compute_correlations(records, "val_accuracy")["hidden_size"] == pytest.approx(1)
    assert compute_correlations([], "val_accuracy") == {}


def test_the_best_so_far_never_falls_and_a_loss_never_rises() -> None:
    records = [record(score, minute, a=minute) for minute, score in enumerate([0.3, 0.5, 0.4, 0.7, 0.1])]
    points, line = build_best_so_far(records).series
    assert list(points.y) == pytest.approx([30, 50, 40, 70, 10])
    assert list(line.y) == pytest.approx([30, 50, 50, 70, 70])
    assert list(line.x) == [0, 1, 2, 3, 4]
    numbered = build_best_so_far(records, by_number=True).series[-1]
    assert list(numbered.x) == [1, 2, 3, 4, 5]
    losses = [
        RunRecord(
            one.name,
            one.folder,
            "",
            "finished",
            {},
            {"val_loss": one.get_metric("val_accuracy")},
            History(),
            one.started,
            1,
        )
        for one in records
    ]
    assert list(build_best_so_far(losses, "val_loss").series[-1].y) == pytest.approx([0.3, 0.3, 0.3, 0.3, 0.1])


def test_learning_curves_are_means_with_their_range() -> None:
    def history(*accuracies: float) -> History:
        return History([EpochRecord(i, i, 1.0, 0.5, 1.0, value) for i, value in enumerate(accuracies, 1)])

    (line,) = build_learning_curves({"one": [history(0.1, 0.2, 0.6), history(0.3, 0.4)]}).series
    assert list(line.x) == [1, 2, 3]
    assert list(line.y) == pytest.approx([20, 30, 60])
    assert list(line.low) == pytest.approx([10, 20, 60])
    assert list(line.high) == pytest.approx([30, 40, 60])
    assert build_learning_curves({"none": []}).series[0].x == []


def test_parallel_coordinates_hold_what_the_runs_hold() -> None:
    chart = build_parallel_coordinates(grid(lambda width, optimizer, rate: width / 1000))
    assert [axis.name for axis in chart.axes] == [
        "hidden_size",
        "optimizer",
        "learning_rate",
        "validation accuracy (%)",
    ]
    assert chart.axes[0].labels == ["32", "64", "128"]
    assert [chart.axes[1].labels[int(value)] for value in chart.axes[1].values][:4] == ["adam", "adam", "sgd", "sgd"]
    assert list(chart.axes[-1].values)[:4] == pytest.approx([3.2] * 4)
    assert chart.runs[0] == "r0"
