"""Input that nobody gives on purpose: odd files, broken terminals, code that misbehaves. Nothing hangs either."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from e2e.conftest import ROOT, Result, Train
from e2e.test_bad_input import check

QUICK = ("-d", "digits", "-e", "2", "-nhl", "1", "-sz", "8", "--engine", "numpy")


def test_a_network_larger_than_memory(train: Train) -> None:
    result = train(*QUICK[:4], "-sz", "1000000", "-nhl", "1000")
    check(result, 1, "Not enough memory")
    assert all(word in result.err for word in ("layers", "-nhl", "-sz"))
    assert not (result.folder / "runs").exists()


# --- configuration files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "seed: 1\nrun_name: 2024-13-45\n",
            "c.yaml, line 2: run_name has a value that YAML cannot read: month must be",
        ),
        ('epochs: !!int ""\n', "line 1: epochs has a value that YAML cannot read"),
        ("epochs: !!float x\n", "line 1: epochs has a value that YAML cannot read: could not convert"),
        (f"seed: {'9' * 5000}\n", "line 1: seed has a value that YAML cannot read: Exceeds the limit"),
        (f"seed: 0x{'f' * 5000}\n", "line 1: seed has a value that YAML cannot read: Exceeds the limit"),
        ("epochs: !!python/name:os.system\n", "line 1: epochs has a value that YAML cannot read"),
        ("[" * 5000, "c.yaml is nested too deeply"),
        (f"epochs: {'[' * 5000}", "c.yaml is nested too deeply"),
        ("seed: 1\nepochs: [[1]]\n", "c.yaml, line 2: epochs is nested too deeply. Each setting is `name: value`"),
        ("epochs: {value: 1}\n", "line 1: epochs is nested too deeply"),
        ("? [a]\n: 1\n", "line 1: a key must be a text"),
        ("epochs: 1\nseed: 2\nepochs: 3\n", "c.yaml, line 3: 'epochs' is given a second time. Remove one"),
        ('{"epochs": 1,\n"epochs": 1}', "c.yaml, line 2: 'epochs' is given a second time"),
        ("# " + "x" * 100_000, "it has 100,002 bytes, the limit is 100,000"),
    ],
    ids=lambda text: text[:30],
)
def test_configurations_that_are_not_plain_settings(train: Train, tmp_path: Path, content, message) -> None:
    (tmp_path / "c.yaml").write_text(content)
    check(train("--config", "c.yaml"), 2, message)


def test_aliases_that_stand_for_a_billion_values(train: Train, tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    check(train("--config", "c.yaml", timeout=20), 2, "too many values, or they are nested too deeply")


def test_a_pipe_as_configuration(train: Train, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.yaml")
    message = "Cannot read c.yaml: it is not a regular file"
    check(train("--config", "c.yaml", timeout=20), 2, message)


def test_plain_lists_and_empty_files_are_settings(train: Train, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("hidden_size: [16, 8]\nplugin: []\nseed: 0x10\n")
    result = train("--config", "c.yaml", "--print_config")
    assert "hidden_size:\n- 16\n- 8\n" in result.out
    assert "seed: 16\n" in result.out
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert train("--config", "c.yaml", "--print_config").status == 0


# --- data


def test_a_pipe_as_a_data_file(train: Train, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "train-images-idx3-ubyte.gz")
    check(
        train("--data_dir", "data", timeout=20),
        1,
        "train-images-idx3-ubyte.gz cannot be read: it is not a regular file",
    )


def test_the_home_folder_of_nobody(train: Train) -> None:
    check(train("--data_dir", "~no-such-user/x"), 1, "data_dir ~no-such-user/x is not a folder")
    env = {"CHAINRULE_CACHE_DIR": "~no-such-user", "CHAINRULE_DATA_DIR": ""}
    check(train(env=env), 2, "CHAINRULE_CACHE_DIR ~no-such-user is in no known home folder")


# --- plugins


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1\nimport sys\nsys.exit(0)\n", "p.py failed in line 3: SystemExit: 0"),
        ("class Odd(BaseException): pass\nraise Odd('x')\n", "p.py failed in line 2: Odd: x"),
    ],
)
def test_plugins_that_end_the_program(train: Train, tmp_path: Path, content, message) -> None:
    (tmp_path / "p.py").write_text(content)
    check(train("--plugin", "p.py", *QUICK), 2, message)


def test_a_plugin_whose_path_cannot_be(train: Train, tmp_path: Path) -> None:
    (tmp_path / "circle.py").symlink_to("circle.py")
    result = train("--plugin", "circle.py")
    assert result.status == 2
    assert result.err.startswith("error: The plugin ")
    assert "Traceback" not in result.err
    os.mkfifo(tmp_path / "p.py")
    check(train("--plugin", "p.py", timeout=20), 2, "must be an existing Python file")


def test_a_plugin_that_ends_the_program_later(train: Train, tmp_path: Path) -> None:
    """Its exit status of 0 must not pass for success."""
    (tmp_path / "p.py").write_text(
        "import sys\nimport chainrule.runs.experiment as e\ne.make_trainer = lambda *a, **k: sys.exit(0)\n"
    )
    check(train("--plugin", "p.py", *QUICK), 1, "sys.exit(0)")


LOADER = """
import numpy as np
from chainrule import DATASETS
from chainrule.data import RawDataset
@DATASETS.register("mine")
def load(folder):
    x, y = np.zeros((20, 4)), np.arange(20) % 2
    {0}
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise ValueError('no such column')", "The loader of dataset 'mine' failed: ValueError: no such column"),
        ("import sys; sys.exit(0)", "The loader of dataset 'mine' failed: SystemExit: 0"),
        ("return None", "The loader of dataset 'mine' must return a RawDataset, got NoneType"),
        (
            "return RawDataset(x, y, x, y, ('a', 'a'))",
            "Dataset 'mine': classes must hold each name once",
        ),
    ],
)
def test_datasets_of_plugins_that_fail(train: Train, tmp_path: Path, line, message) -> None:
    (tmp_path / "p.py").write_text(LOADER.format(line))
    check(train("--plugin", "p.py", *QUICK, "-d", "mine"), 1, message)


# --- standard output and error


def in_shell(folder: Path, line: str, **variables: str) -> Result:
    """Run a line of bash in which `train` stands for the program with its words."""
    words = " ".join([sys.executable, str(ROOT / "train.py"), "--wandb_mode disabled", *QUICK])
    script = f'set -o pipefail; train() {{ {words} "$@"; }}\n{line}'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr, folder)


@pytest.mark.parametrize("where", [">&-", ">/dev/full", "| true", "| head -n 1", ">&- 2>&-", "<&- >&- 2>&-"])
def test_nobody_reads_the_output(tmp_path: Path, where: str) -> None:
    result = in_shell(tmp_path, f"train -e 20 {where}")
    assert result.status == 0
    assert result.err == ""
    assert result.read("run.json")["status"] == "finished"
    assert result.read("metrics.json")["epochs"] == 20


@pytest.mark.parametrize("words", ["--help", "--print_config"])
@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_an_answer_that_cannot_be_printed(tmp_path: Path, words: str, where: str, buffered: str) -> None:
    result = in_shell(tmp_path, f"train {words} {where}", PYTHONUNBUFFERED=buffered)
    assert result.status == 1
    assert result.err == ""


def test_a_complaint_that_cannot_be_printed(tmp_path: Path) -> None:
    for where in ("2>&-", "2>/dev/full", ">&- 2>&-"):
        result = in_shell(tmp_path, f"train -e 0 {where}")
        assert (result.status, result.out + result.err) == (2, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_lacks_letters(tmp_path: Path, encoding: str) -> None:
    result = in_shell(tmp_path, "train --run_name né-Ж | iconv -f latin1 -t utf8", PYTHONIOENCODING=encoding)
    assert result.status == 0, result.err
    assert result.err == ""
    assert ("n\\xe9-\\u0416" if encoding == "ascii" else "né-\\u0416") in result.out
    assert (tmp_path / "runs" / "né-Ж").is_dir()


def test_a_terminal_that_is_closed_in_the_middle(tmp_path: Path) -> None:
    """The progress bar has a thread that would print a traceback, and its end would end the run."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *QUICK, "-e", "60", "--wandb_mode", "disabled", "--run_name", "r"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path), "TERM": "xterm"},
    )
    os.close(theirs)
    seen = b""
    try:
        with suppress(OSError):
            while b"epoch  2/60" not in seen:
                seen += os.read(ours, 4096)
        os.close(ours)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert errors == b""
    assert b"epoch  2/60" in seen
    assert b"epoch 60/60" not in seen


def test_a_home_folder_that_cannot_be_written_to(train: Train) -> None:
    result = train(*QUICK, env={"HOME": "/proc/nobody"})
    assert result.status == 0
    assert result.err == ""


# --- Ctrl-C


@pytest.mark.parametrize(
    "module", ["numpy._core.numeric", "numpy", "chainrule.core.errors", "chainrule.runs.config", "sklearn"]
)
def test_ctrl_c_while_the_program_is_being_imported(tmp_path: Path, module: str) -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "train.py"), *QUICK, "-e", "100000"]
    process = subprocess.Popen(
        [*command, "--wandb_mode", "disabled"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        # Python tells each module that has been imported.
        while process.stderr.readline().rpartition("|")[2].strip() != module:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_ctrl_c_that_arrives_in_a_callback_is_not_dropped() -> None:
    program = """
import sys, time, train
class Callback:
    def __del__(self):
        raise KeyboardInterrupt
sys.unraisablehook = train.repeat_interrupt
try:
    Callback()
    time.sleep(30)
except KeyboardInterrupt:
    print("stopped")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("stopped\n", "")
