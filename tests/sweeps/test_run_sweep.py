"""Sweeps from Python: a file or a mapping, run and resumed; names and aliases; what is refused."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sweeps.sweep_files import CASES

from chainrule.core.errors import ConfigError
from chainrule.data import Dataset
from chainrule.runs import train
from chainrule.sweeps import run_sweep
from chainrule.sweeps.folder import find_sweep
from chainrule.sweeps.space.sweep_file import read_sweep
from chainrule.terminal.console import Console

SPACE: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {
        "dataset": {"value": "digits"},
        "epochs": {"value": 1},
        "num_layers": {"value": 1},
        "hidden_size": {"values": [8, (16, 8)]},
        "engine": {"value": "numpy"},
    },
}


def test_a_mapping_is_run_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_sweep(SPACE, output_dir=tmp_path, name="mine", workers=1)
    assert capsys.readouterr() == ("", "")
    assert (result.folder, result.state, result.stop_reason) == (tmp_path / "mine", "done", "")
    assert [trial["hidden_size"] for trial in result.trials] == [8, [16, 8]]
    assert result.best == max(result.trials, key=lambda trial: trial["val_accuracy"])
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "mine").glob("*/*")}
    again = run_sweep({**SPACE, "run_cap": 9}, output_dir=str(tmp_path), name="mine", console=Console())
    assert again == result
    assert "2 trials are done, 0 were interrupted" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "mine").glob("*/*")} == files
    _, sweep, trials = find_sweep("mine", tmp_path)
    assert [trial.settings["hidden_size"] for trial in trials] == [8, [16, 8]]
    assert sweep.name == "mine"
    trials.close()


def test_the_best_configuration_can_be_trained(tmp_path: Path) -> None:
    result = run_sweep(SPACE, output_dir=tmp_path, workers=1)
    assert result.best_config is not None
    again = train({**result.best_config, "output_dir": str(tmp_path), "figures": False})
    assert again.metrics["val_accuracy"] == result.best["val_accuracy"]


def test_a_mapping_without_a_name_is_a_new_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("chainrule.sweeps.space.sweep_file.datetime", Clock)
    assert read_sweep(SPACE).name == "sweep_20260102-030405"
    assert read_sweep({**SPACE, "name": "mine"}).name == "mine"


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, digits: Dataset) -> None:
    config = {"dataset": "digits", "epochs": 1, "hidden_size": 8, "engine": "numpy", "figures": False}
    run = train({**config, "run_name": "run", "output_dir": str(tmp_path)}, data=digits).folder
    before = sorted(run.rglob("*"))
    with pytest.raises(ConfigError, match=r"run.*no sweep.*another name"):
        run_sweep(SPACE, output_dir=tmp_path, name="run", workers=1)
    assert sorted(run.rglob("*")) == before
    assert train({"epochs": 2}, resume=run, data=digits).status == "finished"


@pytest.mark.parametrize("space", [[1], None, 3])
def test_a_space_of_another_type_is_refused(tmp_path: Path, space: Any) -> None:
    with pytest.raises(ConfigError, match=f"file.*parameters.*got .*{space!r}".replace("[", r"\[")):
        run_sweep(space, output_dir=tmp_path)


def test_the_seed_of_a_sweep_is_known_when_it_is_resumed(tmp_path: Path) -> None:
    space = {**SPACE, "method": "random", "run_cap": 1, "name": "s"}
    first = run_sweep(space, output_dir=tmp_path, seed=4, workers=1)
    assert run_sweep(space, output_dir=tmp_path) == first
    with pytest.raises(ConfigError, match="seed 4, got 5"):
        run_sweep(space, output_dir=tmp_path, seed=5)
    with pytest.raises(ConfigError, match="another sweep file"):
        run_sweep({**space, "method": "grid"}, output_dir=tmp_path)


def test_a_mapping_and_the_file_with_the_same_content_are_the_same_sweep(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps(SPACE))
    assert read_sweep(str(file)).digest == read_sweep(SPACE).digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "all"}, ["method must be one of grid, random, bayes", "'all'"]),
        ({"metric": object()}, ["numbers, texts, lists and mappings"]),
        ({"parameters": {"epochs": {"values": [0]}}}, ["epochs must be a whole number from 1"]),
    ],
)
def test_a_mapping_that_is_wrong_is_refused_without_line_numbers(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        run_sweep({**SPACE, **change}, output_dir=tmp_path)
    assert all(word in str(caught.value) for word in words)
    assert "line" not in str(caught.value).replace("lines", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"wandb_mode": "sometimes"}, ["wandb_mode must be one of", "'sometimes'"]),
        ({"epoch": 1}, ["'epoch'", "'epochs'"]),
        ({"run_name": "x"}, ["run_name", "the sweep chooses it"]),
        ({"hidden_size": 8}, ["hidden_size", "the sweep chooses it"]),
    ],
)
def test_overrides_are_checked(tmp_path: Path, overrides: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        run_sweep(SPACE, output_dir=tmp_path, overrides=overrides)
    assert all(word in str(caught.value) for word in words)
    assert not list(tmp_path.iterdir())


def test_overrides_hold_for_all_trials(tmp_path: Path) -> None:
    space = {**SPACE, "run_cap": 1}
    result = run_sweep(space, output_dir=tmp_path, workers=1, overrides={"optimizer": "nesterov", "momentum": "0.5"})
    config = json.loads((result.folder / result.trials[0]["run"] / "config.json").read_text())
    assert (config["optimizer"], config["momentum"]) == ("nag", 0.5)


ALIASES = {
    "optimizer": {"values": ["nesterov", "adam"]},
    "weight_init": {"values": ["Glorot", "He"], "probabilities": [0.5, 0.5]},
    "loss": {"value": "ce"},
    "activation": {"values": ["relu", "TANH"]},
}


def test_aliases_are_stored_as_the_canonical_names(tmp_path: Path) -> None:
    command = ["${env}", "${interpreter}", "${program}", "-d", "Digits", "${args}"]
    sweep = read_sweep({"method": "random", "parameters": ALIASES, "command": command})
    assert {name: distribution.examples() for name, distribution in sweep.parameters.items()} == {
        "optimizer": ["nag", "adam"],
        "weight_init": ["Xavier", "He"],
        "loss": ["cross_entropy"],
        "activation": ["ReLU", "tanh"],
    }
    assert sweep.parameters["optimizer"].storage_value(0.0) == "nag"
    assert sweep.fixed == {"dataset": "digits"}
    parameters = {**SPACE["parameters"], "optimizer": {"values": ["nesterov"]}, "loss": {"value": "mse"}}
    result = run_sweep({**SPACE, "parameters": parameters, "run_cap": 1}, output_dir=tmp_path, workers=1)
    assert (result.trials[0]["optimizer"], result.trials[0]["loss"]) == ("nag", "mean_squared_error")
    assert "_opt_nag_" in result.trials[0]["run"]


def test_a_name_and_its_alias_are_the_same_value() -> None:
    with pytest.raises(ConfigError, match="optimizer: values holds the same value twice"):
        read_sweep({"method": "random", "parameters": {"optimizer": {"values": ["nag", "nesterov"]}}})


def test_hyperparameters_are_checked_for_the_optimizer_behind_an_alias() -> None:
    parameters = {"optimizer": {"value": "nesterov"}, "momentum": {"value": 1.5}}
    with pytest.raises(ConfigError, match=r"momentum must be .*1\.5"):
        read_sweep({"method": "random", "parameters": parameters})


def test_without_optuna_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"optuna.*pip install 'chainrule\[sweeps\]'"):
        run_sweep(SPACE, output_dir=tmp_path)
    assert not list(tmp_path.iterdir())
    # A sweep file needs no Optuna.
    assert read_sweep(SPACE).size == 2


def test_a_sweep_file_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(CASES["unknown setting"][0])
    with pytest.raises(ConfigError, match=r"(?s)s\.yaml has a problem.*line 3.*learning_rte"):
        run_sweep(file, output_dir=tmp_path / "runs")
