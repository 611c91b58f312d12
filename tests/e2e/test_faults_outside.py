"""Faults that come from outside of the program: signals, a small disk, little memory, W&B's server, the cache."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.conftest import CACHE, ROOT
from e2e.test_resume import Bench
from tracking.wandb_server import LoopbackServer

from chainrule.runs.folder import RunFolder

SPOILER = str(Path(__file__).with_name("spoiler.py"))
KEY = "0123456789abcdef0123456789abcdef01234567"


class Outside(Bench):
    """Runs train.py on the digits, with other surroundings each time."""

    def __init__(self, folder: Path, *words: str) -> None:
        super().__init__(folder)
        self.words = ("-d", "digits", "-e", "2", "-nhl", "1", "-sz", "8", "-b", "64", "--plugin", SPOILER)
        self.words += ("--engine", "numpy", *words)
        self.plain = {name: value for name, value in self.environment.items() if not name.startswith("WANDB")}
        self.environment = self.plain

    def command(self, *words: str) -> list[str]:
        mode = () if "--wandb_mode" in words else ("--wandb_mode", "disabled")
        return [sys.executable, str(ROOT / "train.py"), *mode, *words]

    def around(self, **variables: str) -> Outside:
        """The same with other variables in the environment."""
        self.environment = {**self.plain, **variables}
        return self

    def message(self) -> str:
        """The one message of the last command, which failed."""
        assert self.complaints.startswith("error: "), self.complaints
        assert self.complaints.count("\n") == 1, self.complaints
        return self.complaints


# --- signals


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_signals_of_all_kinds_at_any_instant(tmp_path: Path, engine: str) -> None:
    # Some tenths of a second of training, and checkpoints within epochs.
    work = ("-b", "1", "-sz", "256", "-e", "16") if engine == "compiled" else ("-b", "1", "-sz", "8", "-e", "8")
    bench = Bench(tmp_path, "--engine", engine, "--checkpoint_every", "0.0001", *work)
    assert bench.begin("whole") == 0, bench.complaints
    seconds = sum(bench.journal("whole")["epoch_seconds"])
    dice, journal = random.Random(engine), tmp_path / "runs" / "hurt" / "run.json"
    kinds = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGINT, signal.SIGKILL]
    dice.shuffle(kinds)
    for kind in kinds:
        begun = journal.exists()
        before = journal.read_bytes() if begun else b""
        words = ("--resume", "hurt") if begun else (*bench.words, "--run_name", "hurt")
        process = subprocess.Popen(
            bench.command(*words),
            cwd=tmp_path,
            env={**bench.environment, "KILL_AT": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        # At some time after it has begun; together they come about as far as the figures.
        while process.poll() is None and (not journal.exists() or journal.read_bytes() == before):
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.5 * seconds))
        process.send_signal(kind)
        _, complaints = process.communicate(timeout=60)
        assert process.returncode in {0, 130, -kind}, complaints
        assert "Traceback" not in complaints
    assert bench.resume("hurt") == 0, bench.complaints
    assert bench.results("hurt") == bench.results("whole")


# --- a disk that is too small


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A block in which a folder is a file system of its own, of a size such as 64k."""
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or not mount:
        pytest.skip("only root may mount")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed: {done.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", ["44k", "140k"])
def test_a_disk_that_is_too_small(tmp_path: Path, size: str) -> None:
    bench = Outside(tmp_path)
    assert bench.start(*bench.words, "--run_name", "hurt", "--output_dir", "roomy") == 0, bench.complaints
    with small_disk(tmp_path / "runs", size):
        assert bench.begin("hurt") == 1
        assert "No space left on device" in bench.message()
        assert RunFolder.read(tmp_path / "runs" / "hurt").status in ("failed", "interrupted", "damaged")
        subprocess.run(["mount", "-o", "remount,size=10m", str(tmp_path / "runs")], check=True)
        begun = (tmp_path / "runs" / "hurt" / "run.json").exists()
        assert ("--resume hurt" in bench.complaints) == begun
        assert (bench.resume("hurt") if begun else bench.begin("hurt")) == 0, bench.complaints
        (newest,) = (tmp_path / "runs" / "hurt" / "checkpoints").glob("*.safetensors")
        (expected,) = (tmp_path / "roomy" / "hurt" / "checkpoints").glob("*.safetensors")
        assert newest.read_bytes() == expected.read_bytes()
        for file in ("history.jsonl", "metrics.json", "model.safetensors", "figures/worst_mistakes.png"):
            assert (tmp_path / "runs" / "hurt" / file).read_bytes() == (tmp_path / "roomy" / "hurt" / file).read_bytes()


# --- little memory


def test_too_little_memory_to_resume(tmp_path: Path) -> None:
    """For the data, the network, or the checkpoint."""
    bench = Outside(tmp_path, "-nhl", "2", "-sz", "1000", "-b", "512")
    assert bench.begin("whole") == 0, bench.complaints
    assert bench.start(*bench.words, "-e", "1", "--run_name", "short") == 0
    for megabytes in (1, 45):
        assert bench.around(LITTLE_MEMORY=str(megabytes)).resume("short", "-e", "2") == 1, megabytes
        assert "error: Not enough memory" in bench.message()
        assert all(fact in bench.complaints for fact in ("--resume short", "last checkpoint"))
    assert bench.around().resume("short", "-e", "2") == 0, bench.complaints
    assert bench.results("short") == bench.results("whole")


# --- W&B


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """A run of two epochs that a good server has seen, and one of three that none has."""
    bench = Outside(tmp_path_factory.mktemp("mirrored"))
    with LoopbackServer() as server:
        words = (*bench.words, "--run_name", "seen", "--wandb_mode", "online")
        assert bench.around(WANDB_API_KEY=KEY, WANDB_BASE_URL=server.address).start(*words) == 0, bench.complaints
    assert bench.around().start(*bench.words, "-e", "3", "--run_name", "whole") == 0, bench.complaints
    return bench


def resumed(bench: Outside, name: str, server: LoopbackServer, **variables: str) -> int:
    """The exit status of training the run on, with W&B."""
    folder = bench.folder / "runs"
    if not (folder / name).exists():
        shutil.copytree(folder / "seen", folder / name)
    surroundings = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address, "WANDB_SECONDS": "1.5", **variables}
    return bench.around(**surroundings).resume(name, "-e", "3", "--wandb_mode", "online", **{"after": 60.0})


def same(bench: Outside, name: str) -> None:
    """The results are those of the run that no server has seen."""
    found, expected = bench.results(name), bench.results("whole")
    assert found.keys() == expected.keys()
    for file in found.keys() - {"config.json"}:
        assert found[file] == expected[file], file


def asked_for(server: LoopbackServer) -> set[str]:
    """The ids of the runs that a server was told of."""
    questions = [json.loads(body) for _, path, _, body in server.requests if path.endswith("/graphql")]
    return {question["variables"]["name"] for question in questions if "mutation UpsertBucket" in question["query"]}


@pytest.mark.parametrize("behaviour", ["gone", "500", "401", "hang"])
def test_a_resumed_run_whose_wandb_server_misbehaves(mirrored: Outside, behaviour: str) -> None:
    before = {path.name for path in (mirrored.folder / "runs" / "seen" / "wandb").glob("run-*")}
    assert before
    with LoopbackServer("good" if behaviour == "gone" else behaviour) as server:
        if behaviour == "gone":
            server.stop()
        assert resumed(mirrored, f"run-{behaviour}", server) == 0, mirrored.complaints
    assert mirrored.complaints == ""
    assert "online mode was requested" in mirrored.said
    assert "wandb sync" in mirrored.said
    same(mirrored, f"run-{behaviour}")
    # What the first part could not send, if there is such, is in its folder.
    wandb = mirrored.folder / "runs" / f"run-{behaviour}" / "wandb"
    assert {path.name for path in wandb.glob("run-*")} == before
    assert len(list(wandb.glob("offline-run-*"))) == 1


def test_a_resumed_run_goes_on_as_the_same_run_of_wandb(mirrored: Outside) -> None:
    known = json.loads((mirrored.folder / "runs" / "seen" / "wandb.json").read_text())["id"]
    with LoopbackServer() as server:
        assert resumed(mirrored, "same", server) == 0, mirrored.complaints
        assert asked_for(server) == {known}
    assert f"/runs/{known}" in mirrored.said
    same(mirrored, "same")


# --- the cache of machine code


def test_a_cache_that_cannot_be_used_when_a_run_is_resumed(tmp_path: Path) -> None:
    bench, cache = Outside(tmp_path, "--engine", "compiled"), tmp_path / "cache"
    assert bench.begin("whole") == 0, bench.complaints
    assert bench.start(*bench.words, "-e", "1", "--run_name", "hurt") == 0
    shutil.copytree(Path(CACHE) / "kernels", cache / "kernels")
    for path in (cache / "kernels" / "__pycache__").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    shutil.copytree(tmp_path / "runs" / "hurt", tmp_path / "runs" / "other")
    # Of the cache in /proc, root cannot make a file either.
    for name, place in (("hurt", str(cache)), ("other", "/proc/nobody")):
        assert bench.around(CHAINRULE_CACHE_DIR=place).resume(name, "-e", "2") == 0, bench.complaints
        assert bench.complaints == ""
        assert f"for this run only: {place}/kernels cannot be used" in bench.said
        assert bench.results(name) == bench.results("whole")
