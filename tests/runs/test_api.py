"""`train` from Python: what it returns, that it prints nothing, and how it resumes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chainrule import load_model
from chainrule.core.errors import ConfigError
from chainrule.data import Dataset, load_dataset
from chainrule.runs import RunResult, TrainConfig, train
from chainrule.terminal.console import Console

QUICK = {"dataset": "digits", "epochs": 2, "num_layers": 1, "hidden_size": 8, "engine": "numpy", "figures": False}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_is_recorded_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    result = train(QUICK)
    assert isinstance(result, RunResult)
    assert result.status == "finished"
    assert result.folder.parent == Path("runs")
    assert json.loads((result.folder / "metrics.json").read_text()) == result.metrics
    assert result.history.column("epoch") == [1, 2]
    data = load_dataset("digits")
    assert load_model(result.model_path).evaluate(data.x_test, data.y_test).score == result.metrics["test_accuracy"]
    assert capfd.readouterr() == ("", "")


def test_a_console_prints(capsys: pytest.CaptureFixture[str]) -> None:
    train(QUICK, console=Console())
    assert "epoch 2/2" in capsys.readouterr().out


def test_wandb_is_left_alone_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert train(QUICK).status == "finished"


def test_keywords_and_a_mapping_train_the_same() -> None:
    first, second = train(TrainConfig(**QUICK, learning_rate=0.01)), train({**QUICK, "learning_rate": "1e-2"})
    assert first.history == second.history


def test_resuming_is_training_further() -> None:
    whole = train({**QUICK, "epochs": 4})
    assert train({**QUICK, "run_name": "short"}).folder == Path("runs/short")
    further = train({"epochs": 4}, resume="short")
    assert further.folder == Path("runs/short")
    assert (further.history, further.metrics) == (whole.history, whole.metrics)
    # There is nothing left to do, and the path is as good as the name.
    assert train(resume=Path("runs/short")) == further
    assert train(TrainConfig(**{**QUICK, "epochs": 4}), resume="short") == further


@pytest.mark.parametrize(
    ("config", "facts"),
    [({"seed": 1}, "seed.*0.*1"), ({"epochs": 1}, "epochs.*2.*got 1"), (TrainConfig(**QUICK, seed=5), "seed.*0.*5")],
)
def test_resuming_with_another_configuration_is_refused(config: TrainConfig | dict[str, object], facts: str) -> None:
    train({**QUICK, "run_name": "run"})
    with pytest.raises(ConfigError, match=f"(?s){facts}"):
        train(config, resume="run")


def test_a_run_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no run 'rum'"):
        train(resume="rum")


def test_data_loaded_before_must_be_those_of_the_configuration(digits: Dataset) -> None:
    assert train(QUICK, data=digits).history == train(QUICK).history
    with pytest.raises(ConfigError, match=r"'digits'.*'other'"):
        train(QUICK, data=replace(digits, name="other"))
    assert not list(Path("runs").glob("*_other_*"))


def test_plugins_of_the_configuration_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "from chainrule import ACTIVATIONS\n"
        "from chainrule.nn.activations import ReLU\n"
        "ACTIVATIONS.register('of_the_plugin')(type('Mine', (ReLU,), {}))\n"
    )
    with pytest.raises(ConfigError, match="of_the_plugin"):
        train({**QUICK, "activation": "of_the_plugin"})
    assert train({**QUICK, "activation": "of_the_plugin", "plugin": "plugin.py"}).status == "finished"


# --- without the optional packages


@pytest.mark.parametrize("package", ["vl_convert", "rich", "wandb", "sklearn", "yaml"])
def test_training_requires_no_optional_package(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    expected = train(QUICK, data=digits)
    monkeypatch.setitem(sys.modules, package, None)
    config = {name: value for name, value in QUICK.items() if name != "figures"}
    result = train(config | {"wandb_mode": "auto"} if package == "wandb" else config, data=digits, console=Console())
    assert result.metrics == expected.metrics
    output = capsys.readouterr().out
    assert ("no figures are drawn" in output and "vl_convert" in output) == (package == "vl_convert")
    assert ("wandb is not installed" in output) == (package == "wandb")
    assert (result.folder / "figures").exists() == (package != "vl_convert")


@pytest.mark.parametrize(
    ("package", "asked"),
    [
        ("vl_convert", {"figures": True}),
        ("wandb", {"wandb_mode": "online"}),
        ("wandb", {"wandb_mode": "offline"}),
    ],
)
def test_what_was_asked_for_names_the_extra_that_is_missing(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, package: str, asked: dict[str, object]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package}.*pip install 'chainrule\[train\]'"):
        train({**QUICK, **asked}, data=digits)
    assert not Path("runs").exists()
