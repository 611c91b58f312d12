"""Running the program as a user does: in a process of its own, from a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.faulty import Disk, Program

from chainrule.core.files import cache_folder, write_bytes
from chainrule.runs import figures

ROOT = Path(__file__).resolve().parents[2]
CACHE = str(cache_folder("kernels").parent)


@dataclass
class Result:
    status: int
    out: str
    err: str
    folder: Path

    @property
    def run(self) -> Path:
        """The one run folder that was made."""
        (only,) = (self.folder / "runs").iterdir()
        return only

    def read(self, name: str) -> Any:
        return json.loads((self.run / name).read_text())


Train = Callable[..., Result]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`python train.py <words>` with results in tmp_path/runs; W&B off unless asked for."""

    def run(
        *words: str, env: dict[str, str] | None = None, program: tuple[str, ...] = (), timeout: float = 240
    ) -> Result:
        command = [*(program or (sys.executable, str(ROOT / "train.py"))), *words]
        if not any(word.startswith("--wandb_mode") for word in words):
            command += ["--wandb_mode", "disabled"]
        # A home of its own, but the machine code and the data that are there already.
        surroundings = {**os.environ, "HOME": str(tmp_path), "CHAINRULE_CACHE_DIR": CACHE, **(env or {})}
        done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=timeout)
        return Result(done.returncode, done.stdout, done.stderr, tmp_path)

    return run


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    monkeypatch.chdir(tmp_path)
    # Drawing would take nine tenths of the time of these runs; their files are written all the same.
    monkeypatch.setattr(figures, "save_spec", lambda _, file: write_bytes(file, b"figure"))
    return Program(tmp_path, capsys)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)
