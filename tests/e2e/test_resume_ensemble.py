"""Kill a run of an ensemble at any instant and resume it: the result is that of an uninterrupted run."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from e2e.test_resume import EVENTS, RESULTS, Bench

K = 3


class EnsembleBench(Bench):
    """Trains ensembles."""

    def __init__(self, folder: Path, *words: str) -> None:
        super().__init__(folder, "--members", str(K), "--figures", "False", *words)

    def results(self, name: str) -> dict[str, bytes]:
        run = self.folder / "runs" / name
        found = {file: (run / file).read_bytes() for file in RESULTS[:-1]}
        for member in range(K):
            found |= {f"{member}/{key}": value for key, value in super().results(f"{name}/members/{member}").items()}
        return found


@pytest.mark.parametrize(("engine", "seed"), [("compiled", 1), ("numpy", 2)])
def test_killed_again_and_again_while_saving(tmp_path, engine, seed) -> None:
    bench = EnsembleBench(tmp_path, "--engine", engine, "--checkpoint_every", "0.0001")
    assert bench.train("whole") == 0, bench.err
    dice, kills = random.Random(seed), 0
    status = bench.train("hurt", kill_at=f"{dice.choice(EVENTS)} {dice.randint(4, 20)}")
    while status != 0 and kills < 40:
        kills += 1
        assert status == -signal.SIGKILL, bench.err
        kill_at = f"{dice.choice(EVENTS)} {dice.randint(16, 60)}" if kills < 6 else ""
        status = bench.resume("hurt", kill_at=kill_at)
    assert kills >= 2
    assert bench.results("hurt") == bench.results("whole")
    assert 1 <= len(bench.journal("hurt")["resumed"]) <= kills


def test_finished_members_are_not_trained_again(tmp_path) -> None:
    bench = EnsembleBench(tmp_path, "--threads", "1")  # one member after the other
    assert bench.train("whole") == 0, bench.err
    process = subprocess.Popen(
        bench.command(*bench.words, "--run_name", "hurt"),
        cwd=tmp_path, env=bench.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (tmp_path / "runs/hurt/members/2").exists():
        time.sleep(0.002)
    process.kill()
    process.wait()
    seconds = bench.journal("hurt/members/0")["epoch_seconds"]
    assert bench.resume("hurt") == 0, bench.err
    assert "member 0   epoch" not in bench.out
    assert "member 2   epoch" in bench.out
    assert bench.journal("hurt/members/0")["epoch_seconds"] == seconds
    assert bench.results("hurt") == bench.results("whole")


def test_stopped_by_ctrl_c(tmp_path) -> None:
    bench = EnsembleBench(tmp_path, "-b", "1")
    assert bench.train("whole") == 0, bench.err
    process = subprocess.Popen(
        bench.command(*bench.words, "--run_name", "hurt"),
        cwd=tmp_path, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    while not (tmp_path / "runs/hurt/members/0/history.jsonl").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopping after the current batches" in out
    assert bench.journal("hurt")["status"] == "aborted"
    assert bench.journal("hurt/members/0")["status"] in ("aborted", "finished")
    assert bench.resume("hurt") == 0, bench.err
    assert bench.results("hurt") == bench.results("whole")


def test_more_epochs(tmp_path) -> None:
    bench = EnsembleBench(tmp_path)
    assert bench.train("short") == 0
    assert bench.resume("short", "-e", "6") == 0, bench.err
    assert bench.start(*bench.words, "-e", "6", "--run_name", "long") == 0
    assert bench.results("short") == bench.results("long")


def test_stopped_at_once_by_a_second_ctrl_c(tmp_path) -> None:
    bench = EnsembleBench(tmp_path, "-b", "8")
    process = subprocess.Popen(
        bench.command(*bench.words, "-e", "12", "--run_name", "hurt"),
        cwd=tmp_path, env=bench.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (tmp_path / "runs/hurt/members/0/history.jsonl").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert bench.journal("hurt")["status"] == "aborted"
    assert bench.resume("hurt") == 0, bench.err
    assert bench.start(*bench.words, "-e", "12", "--run_name", "whole") == 0
    assert bench.results("hurt") == bench.results("whole")
