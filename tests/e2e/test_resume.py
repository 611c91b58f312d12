"""Kill the process at any instant, start it again with --resume: the result is that of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2e.conftest import CACHE, ROOT

from chainrule.training.checkpoint import FILES

EPOCHS = 4
KILLER = str(Path(__file__).with_name("killer.py"))
RESULTS = ("config.json", "history.jsonl", "metrics.json", "model.safetensors", "checkpoints/a.safetensors")


class Bench:
    """Runs train.py on the digits, from a folder of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.words = ("-d", "digits", "-e", str(EPOCHS), "-nhl", "1", "-sz", "24", "--plugin", KILLER, *words)
        self.environment = {**os.environ, "HOME": str(folder), "CHAINRULE_CACHE_DIR": CACHE}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "train.py"), "--wandb_mode", "disabled", *words]

    def start(self, *words: str, kill_at: str = "", after: float | None = None) -> int:
        """Returns the exit status; killed after some seconds, or at an event of the killer's."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env={**self.environment, "KILL_AT": kill_at},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.out, self.err = process.communicate(timeout=after or 120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    def train(self, name: str, **how) -> int:
        return self.start(*self.words, "--run_name", name, **how)

    def resume(self, name: str, *words: str, **how) -> int:
        return self.start("--resume", name, *words, **how)

    def results(self, name: str) -> dict[str, bytes]:
        run = self.folder / "runs" / name
        found = {file: (run / file).read_bytes() for file in RESULTS[:-1]}
        # Which of the two checkpoints is the newer one depends on the kills; what it holds does not.
        (newest,) = (run / "checkpoints").glob("*.safetensors")
        return {**found, "checkpoint": newest.read_bytes()}

    def journal(self, name: str) -> dict:
        return json.loads((self.folder / "runs" / name / "run.json").read_text())


@pytest.mark.parametrize(
    ("engine", "optimizer", "seed"), [("compiled", "adam", 1), ("numpy", "eve", 2), ("compiled", "nag", 3)]
)
def test_killed_again_and_again_while_saving(tmp_path, engine, optimizer, seed) -> None:
    bench = Bench(tmp_path, "--engine", engine, "-o", optimizer, "--checkpoint_every", "0.0001")
    assert bench.train("whole") == 0, bench.err
    dice, kills = random.Random(seed), 0
    status = bench.train("hurt", kill_at=f"{dice.choice(EVENTS)} {dice.randint(4, 9)}")
    while status != 0 and kills < 40:
        kills += 1
        assert status == -signal.SIGKILL, bench.err
        # Far enough to get through one more epoch, at least.
        kill_at = f"{dice.choice(EVENTS)} {dice.randint(8, 16)}" if kills < 8 else ""
        status = bench.resume("hurt", kill_at=kill_at)
    assert kills >= 2
    assert bench.results("hurt") == bench.results("whole")
    assert 1 <= len(bench.journal("hurt")["resumed"]) <= kills


EVENTS = ("create", "write", "flush", "move", "moved")


def test_killed_before_the_journal_was_there(tmp_path) -> None:
    bench = Bench(tmp_path, "--engine", "numpy")
    for event in ("create 1", "moved 1", "write 2", "move 2"):
        assert bench.train("run", kill_at=event) == -signal.SIGKILL
        assert not (tmp_path / "runs" / "run" / "run.json").exists()
    assert bench.train("run") == 0, bench.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]


def test_killed_at_any_time(tmp_path) -> None:
    bench = Bench(tmp_path, "--engine", "numpy", "-b", "4")
    began = time.perf_counter()
    assert bench.train("whole") == 0, bench.err
    needed = time.perf_counter() - began
    dice, kills = random.Random(4), 0
    status = bench.train("hurt", after=needed * 0.6)
    while status != 0 and kills < 30:
        kills += 1
        assert status == -signal.SIGKILL, bench.err
        exists = (tmp_path / "runs" / "hurt" / "run.json").exists()
        after = needed * dice.uniform(0.3, 1.2) if kills < 8 else None
        status = bench.resume("hurt", after=after) if exists else bench.train("hurt", after=after)
    assert kills >= 1
    assert bench.results("hurt") == bench.results("whole")


def test_stopped_by_ctrl_c_in_the_middle_of_an_epoch(tmp_path) -> None:
    bench = Bench(tmp_path, "-b", "1", "--engine", "numpy")
    assert bench.train("whole") == 0, bench.err
    process = subprocess.Popen(
        bench.command(*bench.words, "--run_name", "hurt"),
        cwd=tmp_path,
        env=bench.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    history = tmp_path / "runs" / "hurt" / "history.jsonl"
    while not history.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert bench.journal("hurt")["status"] == "aborted"
    assert bench.resume("hurt") == 0, bench.err
    assert bench.results("hurt") == bench.results("whole")


def test_more_epochs(tmp_path) -> None:
    bench = Bench(tmp_path)
    assert bench.train("short") == 0
    assert bench.resume("short") == 0  # nothing to do
    assert "resumed" not in bench.journal("short")
    assert bench.resume("short", "-e", "7") == 0
    assert bench.start(*bench.words, "-e", "7", "--run_name", "long") == 0
    assert bench.results("short") == bench.results("long")


def test_auto_takes_the_latest_with_the_same_configuration_or_starts_a_new_one(tmp_path) -> None:
    bench = Bench(tmp_path)
    assert bench.train("other", kill_at="move 8") == -signal.SIGKILL
    assert bench.start(*bench.words, "-lr", "0.01", "--run_name", "mine", kill_at="move 8") == -signal.SIGKILL
    assert bench.start(*bench.words, "-lr", "0.01", "--resume", "auto") == 0
    assert [bench.journal(name)["status"] for name in ("other", "mine")] == ["running", "finished"]
    # Only a run of the wanted name is resumed.
    assert bench.start(*bench.words, "--resume", "auto", "--run_name", "third") == 0
    assert bench.journal("other")["status"] == "running"
    (tmp_path / "runs" / "third").rename(tmp_path / "third")
    assert bench.start(*bench.words, "-lr", "0.02", "--resume", "auto") == 0
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_what_may_not_change_is_refused_and_shown(tmp_path) -> None:
    bench = Bench(tmp_path)
    bench.train("run", kill_at="move 8")
    before = (tmp_path / "runs" / "run" / "run.json").read_bytes()
    assert bench.resume("run", "-lr", "0.5", "-b", "32") == 2
    assert "learning_rate: was 0.0001, now 0.5" in bench.err
    assert "batch_size: was 16, now 32" in bench.err
    assert (tmp_path / "runs" / "run" / "run.json").read_bytes() == before
    assert bench.resume("run", "--run_name", "other") == 2
    assert all(fact in bench.err for fact in ("run_name", "'run'", "'other'"))
    assert bench.resume("rum") == 2
    assert "There is no run 'rum' in runs. Did you mean 'run'?" in bench.err
    assert bench.resume("run", "-e", "5", "--quiet") == 0, bench.err


def test_two_processes_on_one_run(tmp_path) -> None:
    bench = Bench(tmp_path, "-b", "1", "--engine", "numpy", "-e", "200")
    process = subprocess.Popen(
        bench.command(*bench.words, "--run_name", "run"), cwd=tmp_path, env=bench.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (tmp_path / "runs" / "run" / "history.jsonl").exists():
        time.sleep(0.01)
    try:
        assert bench.resume("run") == 1
        assert "another process trains this run" in bench.err
        assert bench.start(*bench.words, "--resume", "auto", "-e", "1", "--run_name", "new") == 0
        listing = subprocess.run(
            [sys.executable, "-m", "chainrule", "runs"],
            cwd=tmp_path,
            env=bench.environment,
            capture_output=True,
            text=True,
        ).stdout
        assert listing.splitlines()[1].startswith("finished")
        assert listing.splitlines()[2].startswith("running")
    finally:
        process.kill()
        process.wait()
    listing = subprocess.run(
        [sys.executable, "-m", "chainrule", "runs"], cwd=tmp_path, env=bench.environment, capture_output=True, text=True
    ).stdout
    assert "interrupted" in listing
    assert "chainrule train --resume run" in listing


def test_the_older_checkpoint_is_used_if_the_newer_one_is_damaged(tmp_path) -> None:
    bench = Bench(tmp_path)
    assert bench.train("whole") == 0
    bench.train("hurt", kill_at="move 12")
    files = [tmp_path / "runs" / "hurt" / "checkpoints" / name for name in FILES]
    before = [file.read_bytes() for file in files]
    for file, content in zip(files, before, strict=True):
        file.write_bytes(content[:-5] + bytes([content[-5] ^ 4]) + content[-4:])
    # Both at once: nothing is overwritten by training from the start.
    assert bench.resume("hurt") == 1
    assert "no intact checkpoint" in bench.err
    # Nor where they are gone and the history cannot be read.
    history = tmp_path / "runs" / "hurt" / "history.jsonl"
    records = history.read_bytes()
    history.write_bytes(b"x" + records)
    for file in files:
        file.unlink()
    assert bench.resume("hurt") == 1
    assert "no intact checkpoint" in bench.err
    assert history.read_bytes() == b"x" + records
    history.write_bytes(records)
    files[0].write_bytes(before[0][:-5] + bytes([before[0][-5] ^ 4]) + before[0][-4:])
    files[1].write_bytes(before[1])
    assert bench.resume("hurt") == 0, bench.err
    assert "is damaged" in bench.out
    assert bench.results("hurt") == bench.results("whole")


def test_other_data_are_refused(tmp_path) -> None:
    bench = Bench(tmp_path, "--val_fraction", "0.2")
    bench.train("run", kill_at="move 8")
    config = tmp_path / "runs" / "run" / "config.json"
    config.write_text(config.read_text().replace('"val_fraction": 0.2', '"val_fraction": 0.3'))
    assert bench.resume("run") == 1
    assert "were made with other configuration" in bench.err
