"""Runs to report on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chainrule.cli import main

SWEEP = {
    "program": "train.py",
    "name": "small",
    "method": "grid",
    "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {
        "dataset": {"value": "digits"},
        "epochs": {"values": [1, 2]},
        "optimizer": {"values": ["sgd", "adam"]},
        "hidden_size": {"values": [8, 16, 32]},
        "num_layers": {"value": 1},
    },
}


@pytest.fixture(scope="package")
def output_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of twelve trials and a run."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    assert main(["sweep", str(folder / "sweep.yaml"), "--output_dir", str(folder / "runs"), "--workers", "1"]) == 0
    words = ["-d", "digits", "-e", "2", "-nhl", "1", "--quiet", "--figures", "False", "--wandb_mode", "disabled"]
    assert main(["train", *words, "--run_name", "alone", "--output_dir", str(folder / "runs")]) == 0
    return folder / "runs"
