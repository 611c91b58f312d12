"""Keep the tests away from the user's W&B account and settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tracking.wandb_fake import FakeRun, FakeWandb


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and an environment that says nothing about W&B, proxies or git."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in os.environ:
        if name.startswith(("WANDB_", "GIT_", "XDG_")) or name.lower().endswith("_proxy") or name == "NETRC":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    # The tracker sets these where they are missing; set here, they are taken back after the test.
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "8")
    monkeypatch.setenv("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "0.1")
    monkeypatch.setenv("WANDB_DATA_DIR", "")
    monkeypatch.delenv("WANDB_DATA_DIR")
    return folder


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    """A stand-in that `import wandb` finds, and `tmp_path` as the current folder."""
    fake = FakeWandb(FakeRun(tmp_path / "run"))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.chdir(tmp_path)
    return fake
