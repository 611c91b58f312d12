"""`train` from Python: what it returns, that it prints nothing, and how it resumes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule import LOSSES, load_model
from chainrule.cli.flags import build_parser
from chainrule.core.errors import CheckpointError, ConfigError
from chainrule.core.fields import Float
from chainrule.data import Dataset, load_dataset
from chainrule.runs import RunResult, TrainConfig, train
from chainrule.sweeps.space.sweep_file import read_sweep
from chainrule.terminal.console import Console

LOSS = """
from chainrule import LOSSES
from chainrule.core.fields import Float
from chainrule.nn.losses import Loss

@LOSSES.register("tilted")
class Tilted(Loss):
    '''Cross-entropy times a factor.'''

    tilt = Float(1.0, "factor", flag="-tilt", gt=0)

    @staticmethod
    def value(y, p, log_p, tilt):
        return -tilt * y * log_p

    @staticmethod
    def derivative(y, p, log_p, tilt):
        return -tilt * y
"""
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


def test_data_loaded_before_are_recorded_under_their_name(digits: Dataset) -> None:
    result = train(QUICK, data=digits)
    assert result.history == train(QUICK).history
    assert json.loads((result.folder / "config.json").read_text())["dataset"] == "digits"


def test_own_data_replace_the_configured_dataset(digits: Dataset) -> None:
    own = replace(digits, name="own digits")
    result = train({**QUICK, "run_name": "own"}, data=own)
    assert result.history == train(QUICK).history
    assert json.loads((result.folder / "config.json").read_text())["dataset"] is None
    assert json.loads((result.folder / "run.json").read_text())["dataset"] == "own digits"
    with pytest.raises(ConfigError, match=r"own.*pass them again.*data="):
        train({"epochs": 3}, resume="own")
    with pytest.raises(CheckpointError, match="other data"):
        train({"epochs": 3}, resume="own", data=replace(own, x_train=own.x_train + 1))
    whole = train({**QUICK, "epochs": 3})
    for config in ({"epochs": 3}, TrainConfig(**{**QUICK, "epochs": 3})):
        assert train(config, resume="own", data=own).metrics == whole.metrics
    # Without a name the run gets one.
    assert "_data_own_" in train(TrainConfig(epochs=1, engine="numpy"), data=own).folder.name


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"config": "digits"}, "mapping.*'digits'"),
        ({"config": [1]}, r"mapping.*\[1\]"),
        ({"data": [[1.0]]}, "Dataset.*list"),
        ({"data": Dataset.from_arrays([[0.0], [1.0]], [0, 1])}, "no test samples.*test_data"),
        ({"config": {"dataset": None}}, "dataset is None.*data="),
    ],
)
def test_arguments_of_other_types_are_refused(arguments: dict[str, Any], facts: str) -> None:
    with pytest.raises(ConfigError, match=facts):
        train(**arguments)
    assert not Path("runs").exists()


def test_a_resumed_run_keeps_its_name() -> None:
    train({**QUICK, "run_name": "run"})
    with pytest.raises(ConfigError, match=r"run_name.*'run'.*'other'"):
        train({"run_name": "other", "epochs": 3}, resume="run")
    assert train({"run_name": "run", "epochs": 3}, resume="run").history.column("epoch") == [1, 2, 3]


@pytest.mark.parametrize("given", [{"schedule": "cosine"}, {"warmup": 0.5}])
def test_with_a_schedule_the_epochs_must_not_change(capsys: pytest.CaptureFixture[str], given: dict[str, Any]) -> None:
    train({**QUICK, "run_name": "run", **given})
    with pytest.raises(ConfigError) as caught:
        train({"epochs": 3}, resume="run")
    text = str(caught.value)
    assert "epochs: was 2, now 3" in text
    assert "schedule spans all epochs" in text
    assert "epochs" not in text.split("only", 1)[1].split("may change")[0]
    train(resume="run", console=Console())
    assert "set epochs" not in capsys.readouterr().out
    train({**QUICK, "run_name": "constant"})
    with pytest.raises(ConfigError, match=r"(?s)schedule: was 'constant', now 'cosine'.*only epochs") as caught:
        train({"schedule": "cosine"}, resume="constant")
    assert "epochs: was" not in str(caught.value)


@pytest.fixture
def own_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOSSES, "_parts", dict(LOSSES._parts))
    monkeypatch.setattr(LOSSES, "_aliases", dict(LOSSES._aliases))


@pytest.mark.usefixtures("own_losses")
def test_hyperparameters_of_a_loss_are_part_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(LOSS)
    config = {**QUICK, "loss": "tilted", "plugin": "plugin.py"}
    results = {tilt: train({**config, "tilt": tilt, "run_name": f"tilt{tilt}"}) for tilt in (1, "3")}
    assert results[1].history != results["3"].history
    assert json.loads((results["3"].folder / "config.json").read_text())["tilt"] == 3.0
    network = load_model(results["3"].model_path)
    assert network.objective.loss.as_dict() == {"tilt": 3.0}
    with pytest.raises(ConfigError, match=r"tilt: was 3\.0, now 2\.0"):
        train({"tilt": 2}, resume="tilt3")
    assert TrainConfig(loss="tilted", tilt=2).loss_hyperparameters == {"tilt": 2.0}
    assert "cross_entropy does not use it" in TrainConfig(tilt=2).ignored["tilt"]
    assert "tilt" not in TrainConfig(tilt=2).to_dict()
    with pytest.raises(ConfigError, match=r"tilt must be.*above 0.*-1"):
        TrainConfig(loss="tilted", tilt=-1)
    text = " ".join(build_parser("x").format_help().split())
    assert all(fact in text for fact in ("hyperparameters of the loss", "-tilt, --tilt N", "[tilted]", "(default: 1)"))
    space = {"method": "grid", "parameters": {"loss": {"value": "tilted"}, "tilt": {"values": [1, 2]}}}
    assert read_sweep(space).size == 2
    with pytest.raises(ConfigError, match=r"tilt must be.*0"):
        read_sweep({**space, "parameters": {"loss": {"value": "tilted"}, "tilt": {"values": [0]}}})


@pytest.mark.usefixtures("own_losses")
def test_a_loss_and_an_optimizer_cannot_share_a_hyperparameter() -> None:
    clash = type("Clash", (LOSSES["ce"],), {"momentum": Float(0.5, "clashes")})
    LOSSES.register("clash")(clash)
    with pytest.raises(ConfigError, match=r"loss 'clash'.*'momentum'.*optimizer"):
        TrainConfig()


@pytest.mark.usefixtures("own_losses")
def test_a_plugin_is_loaded_by_its_path_as_a_text(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOSS)
    chainrule.load_plugin("mine.py")
    assert LOSSES["tilted"](tilt=2).as_dict() == {"tilt": 2.0}
    with pytest.raises(ConfigError, match=r"missing\.py"):
        chainrule.load_plugin("missing.py")


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


def test_early_stopping_finishes_a_run(tmp_path) -> None:
    given = {"dataset": "digits", "epochs": 60, "learning_rate": 0.05, "patience": 1, "quiet": True}
    result = train({**given, "output_dir": str(tmp_path)})
    assert result.status == "finished"
    assert len(result.history) < 60
    journal = json.loads((result.folder / "run.json").read_text())
    assert (journal["status"], "no longer improved" in journal["reason"]) == ("finished", True)


def test_a_loss_of_every_kind_of_target_trains_a_run(tmp_path, random) -> None:
    x, y = random.normal(size=(80, 3)), random.normal(size=80)
    data = Dataset.from_arrays(x, y, classes=(), val_fraction=0.2, test_data=(x, y), name="mine")
    result = train(
        {"dataset": None, "loss": "huber", "epochs": 2, "quiet": True, "output_dir": str(tmp_path)}, data=data
    )
    assert "test_r2" in result.metrics
    assert (result.folder / "figures" / "learning_curves.png").exists()
