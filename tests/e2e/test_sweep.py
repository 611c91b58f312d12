"""`chainrule sweep` as a user runs it: to its end, killed and resumed, with trials that fail."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import CACHE, ROOT

GRID = """
program: train.py
method: grid
metric: {name: val_accuracy, goal: maximize}
parameters:
  dataset: {value: digits}
  epochs: {value: 3}
  num_layers: {value: 1}
  hidden_size: {values: [8, 16]}
  engine: {value: numpy}
  optimizer: {values: [sgd, adam, nadam]}
  batch_size: {values: [8, 32]}
"""
TRIALS = 12


class Sweeps:
    """Runs the command in a folder of its own."""

    def __init__(self, folder: Path, text: str = GRID) -> None:
        self.folder = folder
        self.environment = {**os.environ, "HOME": str(folder), "CHAINRULE_CACHE_DIR": CACHE, "WANDB_MODE": "offline"}
        (folder / "s.yaml").write_text(text)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "chainrule", "sweep", *words],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str) -> int:
        process = self.start(*words)
        self.out, self.err = process.communicate(timeout=300)
        assert "Traceback" not in self.err, self.err
        return process.returncode

    def table(self, name: str) -> list[dict[str, str]]:
        """The trials, without what depends on the clock."""
        assert self.run("status", name, "--export", "csv") == 0, self.err
        with (self.folder / "runs" / name / "trials.csv").open() as file:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]

    def results(self, name: str) -> dict[str, dict[str, Any]]:
        """What each trial's run left behind, of that which must not depend on interruptions."""
        return {
            run.name: {
                "history": (run / "history.jsonl").read_text(),
                "metrics": json.loads((run / "metrics.json").read_text()),
                "model": (run / "model.safetensors").read_bytes(),
                "settings": {
                    key: value
                    for key, value in json.loads((run / "config.json").read_text()).items()
                    if key != "output_dir"
                },
            }
            for run in sorted((self.folder / "runs" / name).iterdir())
            if run.is_dir()
        }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Sweeps:
    sweeps = Sweeps(tmp_path_factory.mktemp("sweep"))
    assert sweeps.run("s.yaml", "--name", "whole", "--workers", "1") == 0, sweeps.err
    return sweeps


def test_a_grid_from_its_file_to_its_best_trial(undisturbed: Sweeps) -> None:
    table = undisturbed.table("whole")
    assert [(row["hidden_size"], row["optimizer"], row["batch_size"]) for row in table] == [
        (size, name, batch) for size in ("8", "16") for name in ("sgd", "adam", "nadam") for batch in ("8", "32")
    ]
    assert {row["status"] for row in table} == {"finished"}
    best = max(table, key=lambda row: float(row["val_accuracy"]))
    assert undisturbed.run("best", "whole") == 0
    assert f"# trial {best['trial']} of whole, val_accuracy {best['val_accuracy']}" in undisturbed.out
    assert f"hidden_size: {best['hidden_size']}" in undisturbed.out
    results = undisturbed.results("whole")
    assert list(results) == [row["run"] for row in table]
    assert best["run"].startswith(f"{int(best['trial']):04d}_hl_1_bs_{best['batch_size']}_")
    run = results[best["run"]]
    assert run["metrics"]["val_accuracy"] == float(best["val_accuracy"])
    assert undisturbed.run("list") == 0
    assert "whole  grid  done  12/12 trials" in undisturbed.out


def test_a_trial_is_the_run_that_train_makes(undisturbed: Sweeps) -> None:
    assert undisturbed.run("best", "whole") == 0
    (undisturbed.folder / "best.yaml").write_text(undisturbed.out)
    number = undisturbed.out.split()[2]
    train = [sys.executable, str(ROOT / "train.py"), "--wandb_mode", "disabled"]
    for name, words in (
        ("file", ["--config", "best.yaml"]),
        ("sweep", ["--from-sweep", "whole"]),
        ("trial", ["--from-sweep", "runs/whole", "--trial", number]),
    ):
        subprocess.run(
            [*train, *words, "--run_name", name], cwd=undisturbed.folder, env=undisturbed.environment, check=True,
            capture_output=True,
        )  # fmt: skip
        model = (undisturbed.folder / "runs" / name / "model.safetensors").read_bytes()
        (run,) = (undisturbed.folder / "runs" / "whole").glob(f"{int(number):04d}_*")
        assert model == (run / "model.safetensors").read_bytes()


def test_two_workers_and_nothing_to_do_twice(undisturbed: Sweeps) -> None:
    assert undisturbed.run("s.yaml", "--name", "two", "--workers", "2") == 0, undisturbed.err
    assert undisturbed.results("two") == undisturbed.results("whole")
    assert undisturbed.table("two") == undisturbed.table("whole")
    files = {
        file: file.stat().st_mtime_ns for file in (undisturbed.folder / "runs" / "two").rglob("*/*") if file.is_file()
    }
    assert undisturbed.run("s.yaml", "--name", "two") == 0
    assert "12 trials are done, 0 were interrupted" in undisturbed.out
    assert all(file.stat().st_mtime_ns == time_ for file, time_ in files.items())


def test_the_dashboard_shows_the_sweep(undisturbed: Sweeps) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = undisturbed.start("dashboard", "whole", "--port", str(port))
    try:
        studies = None
        while studies is None:
            assert process.poll() is None, process.communicate()
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
                studies = json.load(answer)["study_summaries"]
        assert [study["study_name"] for study in studies] == ["whole"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies/{studies[0]['study_id']}") as answer:
            assert len(json.load(answer)["trials"]) == TRIALS
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in err) == (130, False)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a process has started."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in found.split()]


def test_killed_again_and_again(tmp_path: Path, undisturbed: Sweeps) -> None:
    sweeps = Sweeps(tmp_path)
    dice, kills = random.Random(5), {"worker": 0, "coordinator": 0}
    while True:
        process = sweeps.start("s.yaml", "--name", "whole", "--workers", "2")
        deadline = time.monotonic() + dice.uniform(0.6, 1.6)
        while process.poll() is None and sum(kills.values()) < 12:
            time.sleep(0.05)
            workers = workers_of(process)
            if kills["worker"] < 6 and workers and dice.random() < 0.05:
                os.kill(dice.choice(workers), signal.SIGKILL)
                kills["worker"] += 1
            if time.monotonic() > deadline and kills["coordinator"] < 6:
                process.kill()
                kills["coordinator"] += 1
                break
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in err, err
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, out + err
    assert sum(kills.values()) >= 5, kills
    assert sweeps.results("whole") == undisturbed.results("whole")
    assert sweeps.table("whole") == undisturbed.table("whole")
    log = (tmp_path / "runs" / "whole" / "workers.log").read_text()
    assert "Traceback" not in log


def test_ctrl_c_and_the_same_command_again(tmp_path: Path, undisturbed: Sweeps) -> None:
    sweeps = Sweeps(tmp_path, GRID.replace("epochs: {value: 3}", "epochs: {value: 60}"))
    process = sweeps.start("s.yaml", "--workers", "2")
    while not list((tmp_path / "runs").glob("s/0001_*/history.jsonl")):
        time.sleep(0.05)
    # A second one meanwhile is refused.
    assert sweeps.run("s.yaml") == 1
    assert "another process runs this sweep" in sweeps.err
    assert sweeps.run("list") == 0
    assert "running" in sweeps.out
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "Stopped" in out
    states = {json.loads(file.read_text())["status"] for file in (tmp_path / "runs" / "s").glob("*/run.json")}
    assert "aborted" in states
    assert "running" not in states
    assert sweeps.run("s.yaml", "--seed", "3") == 2
    assert "started with seed 0, got 3" in sweeps.err
    (tmp_path / "s.yaml").write_text(GRID)
    assert sweeps.run("s.yaml") == 2
    assert "another sweep file" in sweeps.err


@pytest.mark.parametrize(
    ("slow_at", "status"),
    [('"status": "running"', "aborted"), ("metrics.json", "finished"), ('"status": "finished"', "finished")],
    ids=["before training", "while testing", "while the end is recorded"],
)
def test_ctrl_c_outside_of_training_leaves_no_run_that_says_running(
    tmp_path: Path, undisturbed: Sweeps, slow_at: str, status: str
) -> None:
    plugin = Path(__file__).with_name("slow_disk.py")
    sweeps = Sweeps(
        tmp_path, GRID.replace("method: grid", "method: grid\nrun_cap: 1") + f"  plugin: {{value: {plugin}}}\n"
    )
    sweeps.environment["SLOW_AT"] = slow_at
    process = sweeps.start("s.yaml", "--workers", "1")
    while not list((tmp_path / "runs").glob("s/0000_*/slow")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, ""), out
    (run,) = (tmp_path / "runs" / "s").glob("0000_*")
    assert json.loads((run / "run.json").read_text())["status"] == status
    assert (tmp_path / "runs" / "s" / "workers.log").read_text() == ""
    assert sweeps.run("s.yaml") == 0, sweeps.err
    assert (run / "model.safetensors").read_bytes() == undisturbed.results("whole")[run.name]["model"]


def test_trials_that_fail_are_written_down(tmp_path: Path) -> None:
    text = GRID.replace("optimizer: {values: [sgd, adam, nadam]}", "learning_rate: {values: [0.1, 1.0e+30]}")
    sweeps = Sweeps(tmp_path, text + "  loss: {value: cross_entropy}\n")
    assert sweeps.run("s.yaml", "--workers", "1") == 0, sweeps.err
    table = sweeps.table("s")
    assert [row["status"] for row in table] == ["finished", "finished", "failed", "failed"] * 2
    assert "Training diverged" in table[2]["reason"]
    assert "Trial 2 failed: Training diverged" in sweeps.out or sweeps.run("status", "s") == 0


def test_a_plugin_and_another_current_folder(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "my_optimizer.py").write_text((ROOT / "examples" / "my_optimizer.py").read_text())
    text = GRID.replace("  optimizer: {values: [sgd, adam, nadam]}", "  optimizer: {values: [my_lion, sgd]}")
    sweeps = Sweeps(tmp_path, text + "  plugin: {value: plugins/my_optimizer.py}\n")
    assert sweeps.run("s.yaml") == 0, sweeps.err
    assert {row["status"] for row in sweeps.table("s")} == {"finished"}
    (tmp_path / "elsewhere").mkdir()
    sweeps.folder = tmp_path / "elsewhere"
    assert sweeps.run("best", "../runs/s") == 0, sweeps.err
    assert "plugin: plugins/my_optimizer.py" in sweeps.out
    # Under another name, it is the same sweep still.
    (tmp_path / "runs" / "s").rename(tmp_path / "runs" / "renamed")
    assert sweeps.run("status", "../runs/renamed") == 0
    assert "8 of 8 trials" in sweeps.out


def test_a_problem_outside_the_trials_ends_the_sweep_and_costs_none(tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, GRID.replace("dataset: {value: digits}", "dataset: {value: mnist}"))
    assert sweeps.run("s.yaml", "--data_dir", str(tmp_path), "--workers", "1") == 1
    assert "The sweep was stopped: data_dir" in sweeps.err
    assert "run the sweep again" in sweeps.err
    assert [row["status"] for row in sweeps.table("s")] == ["running"]
    assert sweeps.run("list") == 0
    assert "s  grid  stopped  0/12 trials" in sweeps.out


def test_a_sweep_in_which_everything_fails_stops(tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, GRID.replace("program", "project: p\nprogram") + "  learning_rate: {value: 1.0e+30}\n")
    assert sweeps.run("s.yaml", "--workers", "1") == 1
    assert "No more trials: the first 5 trials all failed for the same reason: Training diverged" in sweeps.out
    assert len(sweeps.table("s")) == 5


def test_a_target_ends_the_sweep(tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, GRID.replace("goal: maximize}", "goal: maximize, target: 0.05}"))
    assert sweeps.run("s.yaml", "--workers", "1") == 0
    assert "No more trials: trial 0 has reached the target" in sweeps.out
    assert len(sweeps.table("s")) == 1


def test_bayes_with_early_termination_and_one_worker_is_repeatable(tmp_path: Path) -> None:
    text = GRID.replace("method: grid", "method: bayes\nrun_cap: 26").replace(
        "parameters:", "early_terminate: {type: hyperband, min_iter: 1, eta: 2}\nparameters:"
    )
    sweeps = Sweeps(tmp_path, text)
    for name in ("one", "other"):
        assert sweeps.run("s.yaml", "--workers", "1", "--name", name) == 0, sweeps.err
    assert sweeps.table("one") == sweeps.table("other")
    table = sweeps.table("one")
    assert {row["status"] for row in table} == {"finished", "pruned"}
    assert {row["epochs_trained"] for row in table if row["status"] == "pruned"} <= {"1", "2"}
    runs = sorted((tmp_path / "runs" / "one").glob("0*/run.json"))
    assert [json.loads(file.read_text())["status"] for file in runs] == [row["status"] for row in table]
    assert sweeps.run("s.yaml", "--name", "one", "--seed", "0") == 0
    assert sweeps.run("s.yaml", "--workers", "1", "--name", "seeded", "--seed", "4") == 0
    assert sweeps.table("seeded") != table
    # Without --seed it resumes with its own.
    assert sweeps.run("s.yaml", "--name", "seeded") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.yaml"], "There is no sweep file none.yaml"),
        (["statsu"], "Did you mean 'status'?"),
        (["status"], "status needs the name of one sweep"),
        (["status", "nothing"], "There is no sweep 'nothing' in runs"),
        (["list", "x"], "list takes no name"),
        (["s.yaml", "--workers", "many"], "workers must be a whole number"),
        (["s.yaml", "--name", "../x"], "name must be a plain folder name"),
        (["s.yaml", "--export", "csv"], "does not go with a sweep file"),
        (["best", "x", "--export", "csv"], "--export csv goes with status"),
        (["s.yaml", "--wandb_mode", "sometimes"], "wandb_mode must be one of"),
        (["s.yaml", "--worker", "3"], "Unknown flag '--worker'. Did you mean '--workers'?"),
        (["x" * 300], "There is no sweep file"),
        (["status", "x" * 300], "There is no sweep"),
        (["status", "x", "--seed", "1"], "--seed needs a sweep file, got status"),
    ],
)
def test_wrong_words(tmp_path: Path, words: list[str], message: str) -> None:
    sweeps = Sweeps(tmp_path)
    assert sweeps.run(*words) == 2
    assert message in sweeps.err
    assert not (tmp_path / "runs").exists()
