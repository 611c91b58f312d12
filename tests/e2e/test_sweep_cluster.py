"""A sweep on a Dask cluster: a real scheduler with workers on the loopback interface, of which some are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.conftest import CACHE
from e2e.test_sweep import GRID, Sweeps

LONGER = GRID.replace("epochs: {value: 3}", "epochs: {value: 6}")


class Cluster:
    """A scheduler and workers, started and killed one by one."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self._folder = folder
        self._environment = {**os.environ, "HOME": str(folder), "CHAINRULE_CACHE_DIR": CACHE}
        self.processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file))
        while not self.file.exists():
            time.sleep(0.05)

    def _start(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{kind}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [str(Path(sys.executable).with_name("dask")), kind, "--no-dashboard", *words],
                    cwd=self._folder, env=self._environment, stdout=log, stderr=log,
                )
            )  # fmt: skip
        return self.processes[-1]

    def worker(self) -> subprocess.Popen[bytes]:
        words = ["--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny", "--death-timeout", "30"]
        return self._start("worker", *words, "--host", "127.0.0.1", "--local-directory", str(self._folder / "dask"))

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    try:
        yield found
    finally:
        found.stop()


def test_workers_and_the_coordinator_are_killed(tmp_path: Path, cluster: Cluster) -> None:
    sweeps = Sweeps(tmp_path, LONGER)
    assert sweeps.run("s.yaml", "--name", "local", "--workers", "1") == 0, sweeps.err
    workers = [cluster.worker(), cluster.worker()]
    command = ("s.yaml", "--name", "far", "--scheduler", str(cluster.file))
    process = sweeps.start(*command)
    while not list((tmp_path / "runs" / "far").glob("0003_*/history.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    for worker in workers:
        worker.kill()
    cluster.worker()
    while not list((tmp_path / "runs" / "far").glob("0006_*/history.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    out, _ = process.communicate()
    assert "was lost; it resumes from its last checkpoint" in out
    assert sweeps.run(*command) == 0, sweeps.err
    assert sweeps.results("far") == sweeps.results("local")
    assert sweeps.table("far") == sweeps.table("local")


def test_ctrl_c_saves_and_workers_that_come_later_are_used(tmp_path: Path, cluster: Cluster) -> None:
    sweeps = Sweeps(tmp_path, GRID.replace("epochs: {value: 3}", "epochs: {value: 40}\n  seed: {value: 1}"))
    command = ("s.yaml", "--scheduler", str(cluster.file))
    process = sweeps.start(*command)
    cluster.worker()
    while not list((tmp_path / "runs" / "s").glob("0000_*/history.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, ""), out
    assert sweeps.run(*command) == 0, sweeps.err
    assert {row["status"] for row in sweeps.table("s")} == {"finished"}


def test_two_sweeps_on_one_cluster_and_workers_that_are_late(tmp_path: Path, cluster: Cluster) -> None:
    sweeps = Sweeps(tmp_path)
    both = [sweeps.start("s.yaml", "--name", name, "--scheduler", str(cluster.file)) for name in ("one", "two")]
    for process in both:
        assert any("Waiting for workers." in line for line in process.stdout), process.communicate()
    workers = [cluster.worker(), cluster.worker()]
    said = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sweeps.results("one") == sweeps.results("two")
    assert len(workers) == 2


def test_a_scheduler_that_is_not_there(tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path)
    assert sweeps.run("s.yaml", "--scheduler", "tcp://127.0.0.1:9") == 2
    assert "No scheduler answers at tcp://127.0.0.1:9" in sweeps.err
    (tmp_path / "file.json").write_text("{}")
    assert sweeps.run("s.yaml", "--scheduler", "file.json") == 2
    assert "No scheduler answers at file.json" in sweeps.err
    assert not (tmp_path / "runs").exists()
