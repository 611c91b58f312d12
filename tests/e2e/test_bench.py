"""The bench command from outside: its table, its file, its errors. How fast anything is, no test asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from e2e.conftest import CACHE

from chainrule import __version__

Bench = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = (str(Path(sys.executable).parent / "chainrule"), "bench")
SHORT = ("--quick", "--seconds", "0.01", "--rounds", "1")


def surroundings(folder: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(folder), "CHAINRULE_CACHE_DIR": CACHE, "COLUMNS": "120"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """`chainrule bench <words>` in tmp_path."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *words], cwd=tmp_path, env=surroundings(tmp_path), capture_output=True, text=True, timeout=240
        )

    return run


def test_it_prints_a_row_for_each_problem_and_stores_them(bench: Bench, tmp_path: Path) -> None:
    done = bench(*SHORT, "--threads", "1", "--json", "speed.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("784-")]
    assert [row[:2] for row in rows] == [["784-128x4-10", "16"], ["784-128x4-10", "256"]]
    assert f"chainrule {__version__}, numpy {np.__version__}, numba " in done.stdout
    assert "Results in speed.json" in done.stdout

    stored = json.loads((tmp_path / "speed.json").read_text())
    assert stored["machine"]["cores"] >= 1
    assert stored["machine"]["processor"]
    assert set(stored["machine"]) >= {"memory_gib", "python", "libraries"}
    assert set(stored["machine"]["libraries"]) == {"chainrule", "numpy", "numba"}
    assert stored["settings"] == {
        "quick": True,
        "threads": 1,
        "seconds": 0.01,
        "rounds": 1,
        "optimizer": "rmsprop",
        "data": "random, float32",
    }
    found = [(entry["batch"], entry["engine"]) for entry in stored["results"]]
    assert found == [(16, "compiled"), (16, "numpy"), (256, "compiled"), (256, "numpy")]
    for entry in stored["results"]:
        (microseconds,) = entry["microseconds"]
        assert entry["median_microseconds"] == microseconds > 0
        assert entry["samples_per_second"] == pytest.approx(1e6 * entry["batch"] / microseconds, rel=1e-2)
    # The printed figures are the stored ones.
    compiled, numpy = (entry["median_microseconds"] for entry in stored["results"][:2])
    assert [float(cell.replace(",", "")) for cell in rows[0][2:4]] == pytest.approx([compiled, numpy], abs=0.06)
    assert float(rows[0][4]) == pytest.approx(numpy / compiled, abs=0.02)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".cache") == ["speed.json"]


def test_help_names_every_flag(bench: Bench) -> None:
    done = bench("--help")
    assert done.returncode == 0
    assert "usage: chainrule bench [options]" in done.stdout
    for flag in ("--quick", "--threads", "--seconds", "--rounds", "--json"):
        assert flag in done.stdout
    assert "(default: 0.3)" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seconds", "0"], "seconds must be a number above 0 and of at most 3600, got '0'"),
        (["--seconds", "-1"], "got '-1'"),
        (["--seconds", "nan"], "got 'nan'"),
        (["--rounds", "0"], "rounds must be a whole number from 1 to 10000, got '0'"),
        (["--rounds", "1.5"], "got '1.5'"),
        (["--threads", "-1"], "threads must be a whole number from 0 to 1024, got '-1'"),
        (["--quick=maybe"], "quick must be True or False, got 'maybe'"),
        (["--json", "missing/speed.json"], "json must be a file in a folder that exists, got 'missing/speed.json'"),
        (["--json", "."], "json must be a file in a folder that exists, got '.'"),
        (["--json"], "expected one argument"),
        (["--round", "2"], "Unknown flag '--round'. Did you mean '--rounds'"),
        (["extra"], "Unrecognized arguments: extra"),
    ],
)
def test_a_wrong_flag_gets_one_clear_message(bench: Bench, words: list[str], message: str) -> None:
    done = bench(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_results_that_cannot_be_printed_are_a_failure(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *SHORT], cwd=tmp_path, env=surroundings(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    words = ("--quick", "--seconds", "60", "--json", "speed.json")
    process = subprocess.Popen(
        [*PROGRAM, *words],
        cwd=tmp_path,
        env=surroundings(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("network"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err == "Stopped.\n"
    assert not (tmp_path / "speed.json").exists()
