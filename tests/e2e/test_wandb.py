"""Training from the command line with W&B in offline mode, and what W&B's own tool reads from the result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.conftest import Train

QUICK = ("-d", "digits", "-e", "3", "-lr", "0.003", "-nhl", "1", "-sz", "16")
KEY = "0123456789abcdef0123456789abcdef01234567"


def inspect(run: Path, *flags: str) -> str:
    """`wandb leet inspect --json`: an offline run as W&B reads it."""
    wandb = str(Path(sys.executable).parent / "wandb")
    return subprocess.run(
        [wandb, "leet", "inspect", "--json", *flags, str(run)], capture_output=True, text=True, check=True
    ).stdout


def test_without_a_login_the_run_is_recorded_offline(train: Train) -> None:
    result = train(*QUICK, "--wandb_mode", "auto", "-wp", "my-project")
    assert result.status == 0, result.err
    assert "not logged in" in result.out
    assert "wandb sync" in result.out
    (offline,) = (result.run / "wandb").glob("offline-run-*")
    summary = json.loads(inspect(offline, "--summary"))
    text = json.dumps(summary)
    metrics = result.read("metrics.json")
    assert str(metrics["test_accuracy"]) in text
    assert "confusion_matrix" in text
    history = inspect(offline)
    for line in (result.run / "history.jsonl").read_text().splitlines():
        assert str(json.loads(line)["train_loss"]) in history


def test_disabled_leaves_no_trace(train: Train) -> None:
    result = train(*QUICK, "--wandb_mode", "disabled")
    assert not (result.run / "wandb").exists()
    assert "W&B" not in result.out


def test_a_key_that_leads_nowhere_costs_nothing_and_is_not_written_down(train: Train, tmp_path: Path) -> None:
    env = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    result = train(*QUICK, "--wandb_mode", "online", env=env, timeout=60)
    assert result.status == 0, result.err
    assert "(127.0.0.1:9)" in result.out
    assert "wandb sync" in result.out
    assert KEY not in result.out + result.err
    for folder, _, files in os.walk(tmp_path):
        for name in files:
            assert KEY.encode() not in (Path(folder) / name).read_bytes(), name


def test_a_key_file_that_git_tracks_is_refused(train: Train, tmp_path: Path) -> None:
    (tmp_path / "wandb_key.txt").write_text(KEY)
    for words in (["init", "-q"], ["add", "wandb_key.txt"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    result = train(*QUICK, "--wandb_mode", "auto")
    assert result.status == 2
    assert "wandb_key.txt" in result.err
    assert KEY not in result.out + result.err


@pytest.mark.parametrize("mode", ["auto", "offline"])
def test_failed_runs_are_told_to_wandb(train: Train, mode: str) -> None:
    result = train("-d", "digits", "-o", "sgd", "-lr", "1e9", "-a", "identity", "--wandb_mode", mode)
    assert result.status == 1
    assert "Training diverged" in result.err
    (offline,) = (result.run / "wandb").glob("offline-run-*")
    assert "failed" in inspect(offline, "--summary")
