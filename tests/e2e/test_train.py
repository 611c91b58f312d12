"""The train command from outside: what it prints, what it leaves, and that runs are reproducible bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from e2e.conftest import ROOT, Train

from chainrule import ACTIVATIONS, DATASETS, INITIALIZERS, LOSSES, OPTIMIZERS, load_dataset, load_model
from chainrule.runs.config import TrainConfig, find_hyperparameters
from chainrule.training.history import History

QUICK = ("-d", "digits", "-e", "2", "-lr", "0.003", "-nhl", "1", "-sz", "32")
FILES = ["checkpoints", "config.json", "figures", "history.jsonl", "metrics.json", "model.safetensors", "run.json"]


def test_a_run_leaves_everything(train: Train) -> None:
    result = train(*QUICK, "--seed", "3")
    assert result.status == 0, result.err
    assert sorted(path.name for path in result.run.iterdir()) == FILES
    assert result.run.name.startswith("hl_1_bs_16_ac_ReLU_opt_rmsprop_lr_0.003_wd_0.0005_sz_32_")
    assert sorted(path.name for path in (result.run / "figures").iterdir()) == [
        "confusion_matrix.png",
        "learning_curves.png",
        "samples.png",
        "worst_mistakes.png",
    ]
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in (result.run / "figures").iterdir())
    config, metrics = result.read("config.json"), result.read("metrics.json")
    assert config["optimizer"] == "rmsprop"
    assert config["seed"] == 3
    assert "momentum" not in config
    history = History.from_jsonl((result.run / "history.jsonl").read_text())
    assert history.column("epoch") == [1, 2]
    assert result.read("run.json")["status"] == metrics["status"] == "finished"
    assert metrics["val_accuracy"] == max(history.column("val_accuracy"))
    # The saved model is the one that was tested.
    data = load_dataset("digits", seed=3)
    network = load_model(result.run / "model.safetensors")
    assert network.evaluate(data.x_test, data.y_test).accuracy == metrics["test_accuracy"] > 0.7
    matrix = np.array(metrics["confusion_matrix"])
    assert matrix.sum() == len(data.y_test)
    assert matrix.trace() / matrix.sum() == pytest.approx(metrics["test_accuracy"])
    assert f"Test accuracy {100 * metrics['test_accuracy']:.2f} %" in result.out
    assert "epoch 2/2" in result.out


def test_the_same_seed_makes_the_same_bytes(train: Train, tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert train(*QUICK, "--run_name", name, "--seed", seed).status == 0
    runs = tmp_path / "runs"
    for file in ("config.json", "history.jsonl", "metrics.json", "model.safetensors", "figures/confusion_matrix.png"):
        assert (runs / "a" / file).read_bytes() == (runs / "b" / file).read_bytes(), file
    assert (runs / "a" / "history.jsonl").read_bytes() != (runs / "c" / "history.jsonl").read_bytes()


def test_chainrule_train_is_the_same_program(train: Train) -> None:
    """With other defaults: the course's are those of train.py alone."""
    program = (str(Path(sys.executable).parent / "chainrule"), "train")
    first = train(*QUICK, "--run_name", "a")
    runs = first.folder / "runs"
    assert train("--config", "runs/a/config.json", "--run_name", "b", program=program).status == 0
    assert (runs / "a/history.jsonl").read_bytes() == (runs / "b/history.jsonl").read_bytes()
    assert train(*QUICK, "--run_name", "c", program=program).status == 0
    config = json.loads((runs / "c/config.json").read_text())
    assert (config["optimizer"], config["batch_size"], config["wandb_project"]) == ("adam", 64, "chainrule")


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_the_defaults_of_the_course(train: Train, optimizer: str) -> None:
    import yaml

    result = train("-o", optimizer, "--print_config")
    config = yaml.safe_load(result.out)
    expected = {
        "wandb_project": "DA6401_A1",
        "wandb_entity": None,
        "dataset": "fashion_mnist",
        "epochs": 10,
        "batch_size": 16,
        "loss": "cross_entropy",
        "optimizer": optimizer,
        "learning_rate": 0.0001,
        "weight_decay": 0.0005,
        "weight_init": "Xavier",
        "num_layers": 4,
        "hidden_size": 128,
        "activation": "ReLU",
    }
    assert {name: config[name] for name in expected} == expected
    more = {"momentum": 0.9, "beta": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 0.000001}
    assert {name: more[name] for name in more if name in config} == {
        name: config[name] for name in more if name in OPTIMIZERS[optimizer].fields()
    }


def test_defaults_of_the_course_that_an_optimizer_lacks_are_not_reported(train: Train) -> None:
    result = train(*QUICK, "-o", "sgd", "--wandb_mode", "auto", env={"WANDB_MODE": "disabled"})
    assert result.status == 0, result.err
    assert "no effect" not in result.out
    assert (result.read("config.json")["learning_rate"], result.read("config.json")["wandb_mode"]) == (0.003, "auto")


def test_help_names_everything(train: Train) -> None:
    result = train("--help")
    assert result.status == 0
    for registry in (ACTIVATIONS, DATASETS, INITIALIZERS, LOSSES, OPTIMIZERS):
        assert all(name in result.out for name in registry)
    settings = [*TrainConfig.fields().values(), *(found.get_field() for found in find_hyperparameters().values())]
    for setting in settings:
        assert f"--{setting.name}" in result.out
        assert setting.flag in result.out
    assert "(default: 0.0001)" in result.out
    assert "(default: 0.000001)" in result.out


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--learning_rate=1e-3"], "learning_rate", 0.001),
        (["--hidden_size=[24, 12]"], "hidden_size", [24, 12]),
        (["-sz", "24", "12"], "num_layers", 2),
        (["-sz", "24,12"], "hidden_size", [24, 12]),
        (["--wandb_entity=None"], "wandb_entity", None),
        (["--quiet=True"], "quiet", True),
        (["--quiet"], "quiet", True),
        (["--quiet=false"], "quiet", False),
        (["-b16"], "batch_size", 16),
        (["-a", "relu"], "activation", "ReLU"),
        (["-w_i", "xavier"], "weight_init", "Xavier"),
        (["-o", "adam", "-beta1", "0.8"], "beta1", 0.8),
        (["-eps", "1e-8"], "epsilon", 1e-8),
        (["-nhl", "0"], "num_layers", 0),
    ],
)
def test_ways_to_write_a_flag(train: Train, words, key, value) -> None:
    import yaml

    result = train(*words, "--print_config")
    assert result.status == 0, result.err
    assert yaml.safe_load(result.out)[key] == value
    assert not (result.folder / "runs").exists()


def test_a_config_file_and_flags_over_it(train: Train, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "dataset: digits\nepochs: 1\nlearning_rate: 1e-3\nhidden_size: [16, 8]\noptimizer: adam\n"
    )
    result = train("--config", "c.yaml", "-o", "nag", "--run_name", "a")
    assert result.status == 0, result.err
    config = result.read("config.json")
    assert (config["learning_rate"], config["hidden_size"], config["optimizer"]) == (0.001, [16, 8], "nag")
    again = train("--config", "runs/a/config.json")
    assert again.status == 0, again.err
    first, second = sorted((tmp_path / "runs").glob("*/history.jsonl"))
    assert first.read_bytes() == second.read_bytes()


def test_an_unused_flag_is_reported_once_and_not_recorded(train: Train) -> None:
    result = train(*QUICK, "-o", "sgd", "-beta1", "0.8")
    assert result.status == 0
    assert result.out.count("beta1") == 1
    assert "the optimizer sgd does not use it" in result.out
    assert "beta1" not in result.read("config.json")


def test_quiet_prints_nothing(train: Train) -> None:
    result = train(*QUICK, "--quiet")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert (result.run / "metrics.json").exists()


@pytest.mark.parametrize(
    "words", [["-nhl", "0"], ["-l", "mean_squared_error"], ["--dtype", "float64"], ["--val_fraction", "0"]]
)
def test_variants_train(train: Train, words) -> None:
    result = train(*QUICK, *words)
    assert result.status == 0, result.err
    assert result.read("metrics.json")["test_accuracy"] > 0.5
    if words[0] == "--val_fraction":
        assert result.read("metrics.json")["val_accuracy"] is None


def test_the_best_epoch_is_kept(train: Train, tmp_path: Path) -> None:
    """With a learning rate so large that accuracy jumps, the best epoch is rarely the last."""
    flags = ("-d", "digits", "-e", "8", "-lr", "0.2", "-o", "adam", "-nhl", "1", "-sz", "16")
    for seed in range(5):
        result = train(*flags, "--seed", str(seed), "--run_name", f"r{seed}")
        run = tmp_path / "runs" / f"r{seed}"
        metrics = json.loads((run / "metrics.json").read_text())
        history, data = History.from_jsonl((run / "history.jsonl").read_text()), load_dataset("digits", seed=seed)
        assert metrics["kept_epoch"] == history.best().epoch
        network = load_model(run / "model.safetensors")
        assert network.evaluate(data.x_val, data.y_val).accuracy == metrics["val_accuracy"]
        if metrics["kept_epoch"] < 8:
            assert f"with the parameters of epoch {metrics['kept_epoch']}" in result.out
            return
    raise AssertionError("the last epoch was always the best")


def test_keep_last(train: Train) -> None:
    flags = ("-d", "digits", "-e", "6", "-lr", "0.05", "-o", "adam", "-nhl", "1", "-sz", "16")
    result = train(*flags, "--keep", "last")
    assert result.read("metrics.json")["kept_epoch"] == 6


def start(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), *words, "--wandb_mode", "disabled", "--run_name", "r"]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_ctrl_c_keeps_what_was_trained(tmp_path: Path) -> None:
    process = start(tmp_path, "-d", "digits", "-e", "100000")
    run = tmp_path / "runs" / "r"
    wait_for(run / "history.jsonl", process)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Stopped early" in out
    assert sorted(path.name for path in run.iterdir()) == FILES
    assert '"status": "aborted"' in (run / "run.json").read_text()
    assert '"status": "aborted"' in (run / "metrics.json").read_text()
    load_model(run / "model.safetensors")


@pytest.mark.parametrize("flags", [["--keep", "last"], ["--val_fraction", "0"]])
def test_the_numbers_of_a_stopped_run_belong_to_its_parameters(tmp_path: Path, flags: list[str]) -> None:
    """What was learned in the unfinished epoch is dropped: a clean run of as many epochs gives the same model."""
    words = ["-d", "digits", "-b", "1", "-nhl", "1", "-sz", "16", *flags]
    process = start(tmp_path, *words, "-e", "100000")
    run = tmp_path / "runs" / "r"
    wait_for(run / "history.jsonl", process)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["status"] == "aborted"
    run.rename(tmp_path / "stopped")
    process = start(tmp_path, *words, "-e", str(metrics["kept_epoch"]))
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "stopped" / "model.safetensors").read_bytes()


def test_ctrl_c_twice_is_an_abort_too(tmp_path: Path) -> None:
    process = start(tmp_path, "-d", "digits", "-e", "100000")
    run = tmp_path / "runs" / "r"
    wait_for(run / "history.jsonl", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # long enough for the batch to end, and not for the test and the figures
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert json.loads((run / "run.json").read_text())["status"] == "aborted"


def test_kill_9_costs_no_finished_epoch(tmp_path: Path) -> None:
    process = start(tmp_path, "-d", "digits", "-e", "100000")
    run = tmp_path / "runs" / "r"
    wait_for(run / "history.jsonl", process)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert len(History.from_jsonl((run / "history.jsonl").read_text())) >= 1
    load_model(run / "model.safetensors")


def test_a_terminal_sees_a_progress_bar(tmp_path: Path) -> None:
    """Under a pseudo-terminal: the bar with speed and time left, and the same lines."""
    import pty

    command = [sys.executable, str(ROOT / "train.py"), *QUICK, "-e", "6", "-b", "1", "--wandb_mode", "disabled"]
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 4096)
        except OSError:
            break
    assert process.wait() == 0
    text = seen.decode()
    assert "samples/s" in text
    assert "left" in text
    assert "epoch 6/6" in text
    assert "Test accuracy" in text


def test_importing_and_help_are_light() -> None:
    code = "import sys, chainrule, chainrule.cli; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in (
        "sklearn",
        "scipy",
        "vl_convert",
        "PIL",
        "wandb",
        "rich",
        "yaml",
        "safetensors",
        "numba",
    ):
        assert f"'{heavy}'" not in loaded, heavy
