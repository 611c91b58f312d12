"""Runs with `members`: what they record, and that reports, lists and sweeps read them."""

from __future__ import annotations

import errno
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from chainrule import Dataset, Ensemble, load_model, run_sweep, train
from chainrule.cli.main import main
from chainrule.core.errors import CheckpointError, ConfigError, DivergenceError, OutputError
from chainrule.core.seeding import derive_seed
from chainrule.report.run_records import find_run_records
from chainrule.runs import TrainConfig, recorded_run
from chainrule.runs.experiment import run_experiment
from chainrule.runs.folder import RunFolder, make_run_error
from chainrule.runs.writer import RunWriter
from chainrule.terminal.console import Console
from chainrule.training.history import History

QUICK = {"dataset": "digits", "epochs": 2, "num_layers": 1, "hidden_size": 8, "figures": False}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_the_first_member_is_the_run_with_one(engine) -> None:
    quick = {**QUICK, "engine": engine, "seed": 5}
    train({**quick, "run_name": "one"})
    train({**quick, "run_name": "three", "members": 3})
    for file in ("config.json", "history.jsonl", "metrics.json", "model.safetensors", "checkpoints/b.safetensors"):
        assert Path("runs/one", file).read_bytes() == Path("runs/three/members/0", file).read_bytes()
    models = {Path(f"runs/three/members/{number}/model.safetensors").read_bytes() for number in range(3)}
    assert len(models) == 3


def test_what_is_recorded(digits, monkeypatch) -> None:
    result = train({**QUICK, "members": 3, "run_name": "three", "figures": True})
    assert result.status == "finished"
    model = load_model(result.model_path)
    assert isinstance(model, Ensemble)
    test = model.evaluate(digits.x_test, digits.y_test)
    assert result.metrics["test_accuracy"] == test.score
    assert result.metrics["test_loss"] == test.loss
    assert result.metrics["val_accuracy"] == model.evaluate(digits.x_val, digits.y_val).score
    assert result.metrics["members"] == 3
    assert result.metrics["parameters"] == 3 * (65 * 8 + 9 * 10)
    alone = [member.evaluate(digits.x_test, digits.y_test).score for member in model.members]
    assert result.metrics["member_test_accuracy"] == alone
    assert sum(map(sum, result.metrics["confusion_matrix"])) == len(digits.x_test)
    assert (result.folder / "figures/learning_curves.png").exists()
    histories = [
        History.from_jsonl((result.folder / f"members/{number}/history.jsonl").read_text()) for number in range(3)
    ]
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        expected = np.mean([history.column(name) for history in histories], axis=0)
        np.testing.assert_allclose(result.history.column(name), expected, rtol=1e-15)
    assert History.from_jsonl((result.folder / "history.jsonl").read_text()) == result.history
    found = RunFolder.read(result.folder)
    assert (found.status, found.epochs) == ("finished", 2)
    assert (found.val_accuracy, found.test_accuracy) == (result.metrics["val_accuracy"], test.score)
    (record,) = find_run_records(["runs"])
    assert record.get_metric("test_accuracy") == test.score


def test_the_number_of_threads_changes_nothing() -> None:
    runs = [train({**QUICK, "members": 3, "threads": threads}) for threads in (1, 2, 3, 0)]
    assert len({run.model_path.read_bytes() for run in runs}) == 1
    assert len({(run.folder / "history.jsonl").read_bytes() for run in runs}) == 1


def test_members_that_stop_early() -> None:
    result = train({**QUICK, "members": 3, "epochs": 60, "patience": 2, "learning_rate": 0.02})
    lengths = [len((result.folder / f"members/{number}/history.jsonl").read_text().splitlines()) for number in range(3)]
    assert min(lengths) < 60
    assert len(result.history) == max(lengths)
    assert train(resume=result.folder).metrics == result.metrics


def test_the_console_says_what_happens(capsys) -> None:
    train({**QUICK, "members": 3, "run_name": "three"}, console=Console())
    out = capsys.readouterr().out
    assert "3 members" in out
    assert all(f"member {member}   epoch {epoch}/2" in out for member in range(3) for epoch in (1, 2))
    assert "averaged over 3 members" in out
    assert main(["runs"]) == 0
    assert "finished" in capsys.readouterr().out


def test_a_member_that_diverges_fails_the_run() -> None:
    with pytest.raises(DivergenceError, match=r"Member \d.*diverged"):
        train({**QUICK, "members": 2, "run_name": "two", "optimizer": "sgd", "learning_rate": 1e30})
    assert json.loads(Path("runs/two/run.json").read_text())["status"] == "failed"


def test_a_full_disk_fails_the_run_and_says_which_to_resume(monkeypatch) -> None:
    def fail(self, network) -> Path:
        raise make_run_error(self._folder, self._folder / "model", OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "save_model", fail)
        with pytest.raises(OutputError, match="No space left") as raised:
            train({**QUICK, "members": 3, "run_name": "full"})
    assert raised.value.run_folder == Path("runs/full")
    assert RunFolder.read(Path("runs/full")).status == "failed"
    whole = train({**QUICK, "members": 3, "run_name": "whole"})
    assert train(resume="full").model_path.read_bytes() == whole.model_path.read_bytes()


def test_other_data_are_refused_when_resumed(digits) -> None:
    own = replace(digits, name="own")
    train({**QUICK, "members": 2, "run_name": "own"}, data=own)
    with pytest.raises(CheckpointError, match="other data"):
        train({"epochs": 3}, resume="own", data=replace(own, x_train=own.x_train + 1))
    assert train({"epochs": 3}, resume="own", data=own).status == "finished"


def test_a_sweep_over_members() -> None:
    space = {
        "method": "grid",
        "metric": {"name": "val_accuracy", "goal": "maximize"},
        "parameters": {**{name: {"value": value} for name, value in QUICK.items()}, "members": {"values": [1, 3]}},
    }
    result = run_sweep(space, name="members", workers=1)
    folders = sorted(path.parent for path in Path("runs/members").glob("*/metrics.json"))
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert [found.get("members", 1) for found in metrics] == [1, 3]
    assert [trial["val_accuracy"] for trial in result.trials] == [found["val_accuracy"] for found in metrics]
    assert not list(Path("runs/members").rglob("checkpoints"))


def test_a_pruned_run_is_tested() -> None:
    seen = []

    def watch(history: History) -> bool:
        seen.append(len(history))
        return True

    config = TrainConfig({**QUICK, "members": 2, "epochs": 200, "threads": 2, "run_name": "two"})
    result = run_experiment(config, Console(quiet=True), watch=watch)
    assert result.status == "pruned"
    assert seen[0] == 1
    assert 1 <= len(result.history) < 200
    assert result.metrics["members"] == 2
    assert RunFolder.read(Path("runs/two")).status == "pruned"


def test_a_run_that_is_stopped_at_once(monkeypatch) -> None:
    @contextmanager
    def stopping(notify):
        stop = Event()
        stop.set()
        yield stop

    with monkeypatch.context() as patch:
        patch.setattr(recorded_run, "stopping_on_interrupt", stopping)
        result = train({**QUICK, "members": 2, "run_name": "two"})
    assert (result.status, len(result.history), result.metrics["epochs"]) == ("aborted", 0, 0)
    whole = train({**QUICK, "members": 2, "run_name": "whole"})
    assert train(resume="two").model_path.read_bytes() == whole.model_path.read_bytes()


def test_runs_of_regression(random) -> None:
    x = random.normal(size=(200, 3))
    data = Dataset.from_arrays(x, x[:, :1], classes=(), val_fraction=0.2, test_data=(x, x[:, :1]))
    config = {"members": 2, "loss": "squared_error", "epochs": 3, "hidden_size": 8, "figures": False}
    result = train(config, data=data)
    model = load_model(result.model_path)
    assert result.metrics["test_r2"] == model.evaluate(x, x[:, :1]).score
    assert len(result.metrics["member_test_r2"]) == 2


@pytest.mark.parametrize("members", [0, -1, 1.5, "two", True])
def test_bad_numbers_of_members(members) -> None:
    with pytest.raises(ConfigError, match=rf"members.*1.*{members}"):
        train({**QUICK, "members": members})


def test_seeds_of_members() -> None:
    seeds = [derive_seed(seed, member) for seed in range(20) for member in range(20)]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert [derive_seed(seed, 0) for seed in (0, 7)] == [0, 7]
    assert TrainConfig(seed=2**63 - 1).of_member(derive_seed(2**63 - 1, 1)).members == 1
