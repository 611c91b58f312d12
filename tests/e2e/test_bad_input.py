"""Bad input: one clear message, the right exit status, no traceback, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.conftest import ROOT, Train

USAGE = [
    (["-e", "0"], "epochs must be a whole number from 1 to 1000000000, got '0'"),
    (["-e", "ten"], "got 'ten'"),
    (["-e", "2.5"], "got '2.5'"),
    (["-b", "-4"], "batch_size must be a whole number from 1 to 1000000000, got '-4'"),
    (["-lr", "0"], "learning_rate must be a number above 0, got '0'"),
    (["-lr", "-1e-3"], "got '-1e-3'"),
    (["-lr", "nan"], "got 'nan'"),
    (["-lr", "inf"], "got 'inf'"),
    (["-lr", "-inf"], "got '-inf'"),
    (["-w_d", "-0.1"], "weight_decay must be a number of at least 0"),
    (["-o", "momentum", "-m", "1"], "momentum must be a number of at least 0 and below 1, got '1'"),
    (["-beta", "1.5"], "beta must be"),
    (["-beta1", "-0.1"], "beta1 must be"),
    (["-beta2", "1"], "beta2 must be"),
    (["-eps", "0"], "epsilon must be a number of at least 1e-30"),
    (["-nhl", "-1"], "num_layers must be a whole number from 0 to 1000"),
    (["-sz", "0"], "hidden_size must be"),
    (["-sz", "128", "x"], "hidden_size must be"),
    (["--seed", "-1"], "seed must be"),
    (["--val_fraction", "1"], "val_fraction must be a number of at least 0 and below 1"),
    (["--quiet=maybe"], "quiet must be True or False, got 'maybe'"),
    (["--dtype", "float16"], "dtype must be one of float32, float64, got 'float16'"),
    (["--wandb_mode", "onlin"], "Did you mean 'online'"),
    (
        ["-o", "adm"],
        "Unknown optimizer 'adm'. Did you mean 'adam'? Choose from: sgd, momentum, nag, adagrad, rmsprop, adam, nadam",
    ),
    (["-d", "mnsit"], "Did you mean 'mnist'"),
    (["-a", "relo"], "Did you mean 'ReLU'"),
    (["-l", "cross_entrpy"], "Did you mean 'cross_entropy'"),
    (["-w_i", "xaver"], "Did you mean 'Xavier'"),
    (["--learning_rte", "1"], "Unknown flag '--learning_rte'. Did you mean '--learning_rate'"),
    (["--learning", "1"], "Unknown flag '--learning'"),
    (["--epoch", "1"], "Unknown flag '--epoch'. Did you mean '--epochs'"),
    (["-ep", "1"], "Unknown flag '-ep'"),
    (["-e"], "expected one argument"),
    (["extra"], "Unrecognized arguments: extra"),
    (["--config", "missing.yaml"], "Cannot read missing.yaml"),
    (["--plugin", "missing.py"], "missing.py must be an existing Python file"),
    (["-sz", "10000000"], "hidden_size must be a whole number from 1 to 1000000"),
    (["-nhl", "1e18"], "num_layers must be a whole number from 0 to 1000"),
    (["-b", "1e30"], "batch_size must be"),
    (["--run_name", "a\x1b[31m"], "run_name must be a plain folder name"),
]


def check(result, status: int, message: str) -> None:
    assert result.status == status, (result.out, result.err)
    assert message in result.err
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 30


@pytest.mark.parametrize(
    ("words", "message"), USAGE, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_usage(train: Train, words, message) -> None:
    result = train(*words)
    check(result, 2, message)
    assert not (result.folder / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochz: 3\n", "Unknown option 'epochz'. Did you mean 'epochs'"),
        ("epochs: [1, 2]\n", "epochs must be a whole number from 1 to 1000000000, got [1, 2]"),
        ("epochs: many\nloss: x\n", "2 errors"),
        ("- a\n- b\n", "must hold settings as `name: value`, got list"),
        ("a: [1\n", "not valid YAML"),
        ("!!python/object/apply:os.system ['touch hacked']\n", "line 1: the file has the tag"),
        ("1: 2\n", "Unknown option '1'"),
    ],
)
def test_wrong_config_files(train: Train, tmp_path: Path, content, message) -> None:
    (tmp_path / "c.yaml").write_text(content)
    check(train("--config", "c.yaml"), 2, message)
    assert not (tmp_path / "hacked").exists()


def test_a_config_that_is_no_text(train: Train, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(bytes(range(256)))
    check(train("--config", "c.yaml"), 2, "not valid YAML")
    check(train("--config", "."), 2, "Cannot read .")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import nonsense_module\n", "failed in line 1: ModuleNotFoundError"),
        ("x = 1\nclass\n", "failed in line 2: SyntaxError"),
        (
            "from chainrule.optim.optimizer import OPTIMIZERS, Optimizer\n@OPTIMIZERS.register('adam')\n"
            "class A(Optimizer):\n    @staticmethod\n    def update(weight):\n        return weight\n",
            "The optimizer 'adam' is registered already",
        ),
        (
            "from chainrule.optim.optimizer import OPTIMIZERS, Optimizer\nfrom chainrule.core.fields import Float\n"
            "@OPTIMIZERS.register('x')\nclass X(Optimizer):\n    epochs = Float(1.0, 'clash')\n"
            "    @staticmethod\n    def update(weight):\n        return weight\n",
            "'epochs'",
        ),
    ],
)
def test_wrong_plugins(train: Train, tmp_path: Path, content, message) -> None:
    (tmp_path / "p.py").write_text(content)
    check(train("--plugin", "p.py"), 2, message)


def test_data_that_are_missing(train: Train, tmp_path: Path) -> None:
    result = train("--data_dir", "nowhere")
    assert result.status in (1, 2)
    assert result.err.startswith("error: ")
    assert "nowhere" in result.err
    assert "Traceback" not in result.err
    (tmp_path / "empty").mkdir()
    result = train("--data_dir", "empty")
    check(result, 1, "train-images")
    assert not (tmp_path / "runs").exists(), "no run folder is left behind"


def test_names_that_leave_the_output_folder(train: Train, tmp_path: Path) -> None:
    for name in ("../x", "/tmp/x", "..", "a/b", ".hidden", "x" * 300):
        check(train("-d", "digits", "-e", "1", "--run_name", name), 2, "run_name must be a plain folder name")
    assert not (tmp_path.parent / "x").exists()


def test_a_taken_name(train: Train) -> None:
    words = ("-d", "digits", "-e", "1", "-nhl", "1", "-sz", "8", "--run_name", "mine")
    first = train(*words)
    before = (first.run / "history.jsonl").read_bytes()
    check(train(*words, "--seed", "5"), 1, "mine exists already")
    assert (first.run / "history.jsonl").read_bytes() == before


def test_an_output_folder_that_is_a_file(train: Train, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    check(train("-d", "digits", "-e", "1"), 1, "Cannot write to runs")
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder(train: Train, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o555)
    check(train("-d", "digits", "-e", "1"), 1, "Permission denied")


def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk without room: writing the model fails in the first epoch."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        f"sys.path.insert(0, {str(ROOT / 'src')!r});"
        "from chainrule.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["train", "-d", "digits", "-e", "2", "--wandb_mode", "disabled", "--run_name", "r"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "error: Cannot write to" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"status": "failed"' in (tmp_path / "runs" / "r" / "run.json").read_text()
    assert not [path for path in (tmp_path / "runs" / "r").iterdir() if path.name.startswith(".")], "no half files"


def test_divergence(train: Train) -> None:
    words = ("-d", "digits", "-o", "sgd", "-lr", "1e6", "-a", "identity", "-w_d", "0", "--run_name", "r")
    result = train(*words)
    check(result, 1, "Training diverged: the loss is")
    assert "Try a smaller one, such as 100000" in result.err
    run = result.read("run.json")
    assert run["status"] == "failed"
    assert "diverged" in run["reason"]


def test_commands(train: Train) -> None:
    chainrule = (sys.executable, "-m", "chainrule")
    result = train(program=(*chainrule, "trian"))
    check(result, 2, "Unknown command 'trian'. Did you mean 'train'")
