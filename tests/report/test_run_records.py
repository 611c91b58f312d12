"""Which runs a report covers, and what is read from each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chainrule.core.errors import ConfigError
from chainrule.report.run_records import find_run_records, find_varied_hyperparameters, select_best


def test_all_runs_and_sweeps_of_a_folder_ordered_by_start_time(output_dir: Path) -> None:
    records = find_run_records([output_dir])
    assert len(records) == 13
    assert {record.sweep for record in records} == {"", "small"}
    assert [record.started for record in records] == sorted(record.started for record in records)
    assert all(record.status == "finished" for record in records)


def test_by_name_of_a_run_a_sweep_and_a_trial(output_dir: Path) -> None:
    assert [record.name for record in find_run_records([output_dir / "alone"])] == ["alone"]
    assert len(find_run_records([output_dir / "small"])) == 12
    (trial,) = find_run_records([next((output_dir / "small").glob("0003_*"))])
    assert trial.name.startswith("0003_")
    # Sources may overlap.
    assert len(find_run_records([output_dir / "alone", output_dir / "alone", output_dir])) == 13


def test_a_record_holds_what_its_folder_holds(output_dir: Path) -> None:
    (record,) = find_run_records([output_dir / "alone"])
    metrics = json.loads((output_dir / "alone" / "metrics.json").read_text())
    assert record.metrics == metrics
    assert record.get_metric("test_accuracy") == metrics["test_accuracy"]
    assert record.get_metric("status") is None
    assert len(record.history) == record.config["epochs"] == 2
    assert record.seconds is not None


@pytest.mark.parametrize("names", [["nothing"], ["alone", "nothing"]])
def test_a_missing_source_is_refused(names: list[str], output_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run, sweep or folder.*nothing"):
        find_run_records([output_dir / name for name in names])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There are no runs in"):
        find_run_records([tmp_path])


def test_varied_hyperparameters_are_those_that_may_change_results(output_dir: Path) -> None:
    space = find_varied_hyperparameters(find_run_records([output_dir / "small"]))
    assert list(space) == ["hidden_size", "epochs", "optimizer", "learning_rate"] or set(space) >= {
        "hidden_size",
        "epochs",
        "optimizer",
    }
    assert space["hidden_size"] == [8, 16, 32]
    assert space["optimizer"] == ["adam", "sgd"]
    assert "output_dir" not in space
    assert "momentum" not in space
    assert find_varied_hyperparameters([]) == {}


def test_the_best_has_finished(output_dir: Path) -> None:
    records = find_run_records([output_dir / "small"])
    winner = select_best(records)
    assert winner is not None
    assert winner.get_metric("val_accuracy") == max(record.get_metric("val_accuracy") or 0 for record in records)
    assert select_best([]) is None


@pytest.mark.parametrize("name", ["config.json", "history.jsonl", "metrics.json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe{[", b"[1, 2]", b'{"val_accuracy": "high"}'])
def test_damaged_runs_lose_only_what_is_damaged(name: str, content: bytes | None, output_dir: Path, tmp_path) -> None:
    shutil.copytree(output_dir / "alone", tmp_path / "alone")
    if content is None:
        (tmp_path / "alone" / name).unlink()
    else:
        (tmp_path / "alone" / name).write_bytes(content)
    (record,) = find_run_records([tmp_path / "alone"])
    assert record.name == "alone"
    if name == "metrics.json" and content in (None, b""):
        assert record.get_metric("val_accuracy") == max(epoch.val_score or 0 for epoch in record.history)


def test_a_trial_that_lost_its_folder_is_known_from_the_storage(output_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(output_dir / "small", tmp_path / "small")
    shutil.rmtree(next((tmp_path / "small").glob("0004_*")))
    records = find_run_records([tmp_path / "small"])
    lost = next(record for record in records if record.name.startswith("0004_"))
    whole = next(record for record in find_run_records([output_dir / "small"]) if record.name == lost.name)
    assert len(records) == 12
    assert lost.get_metric("val_accuracy") == whole.get_metric("val_accuracy")
    assert lost.config["hidden_size"] == whole.config["hidden_size"]
