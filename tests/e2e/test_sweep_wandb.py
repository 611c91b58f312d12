"""The same sweep file with W&B: `wandb sweep` and the real `wandb agent` against a server on the loopback interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from e2e.conftest import CACHE, ROOT
from e2e.test_sweep import GRID, Sweeps
from tracking.wandb_server import LoopbackServer

WANDB = str(Path(sys.executable).with_name("wandb"))


class SweepServer(LoopbackServer):
    """Takes a sweep, hands its agent one run after another and then sends it home.

    Args:
        runs: the parameters of each run.
    """

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.config = ""
        self.left = [
            {
                "type": "run", "run_id": f"run{number}", "run_storage_id": "x", "program": "train.py",
                "args": {name: {"value": value} for name, value in values.items()},
            }
            for number, values in enumerate(runs)
        ]  # fmt: skip
        self.left.append({"type": "exit"})
        super().__init__()

    def _reply(self, body: bytes) -> dict[str, Any]:
        question = json.loads(body)
        query = question["query"]
        if "upsertSweep" in query:
            self.config = question["variables"]["config"]
            project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "e"}}
            return {
                "data": {"upsertSweep": {"sweep": {"name": "abc", "project": project}, "configValidationWarnings": []}}
            }
        if "createAgent" in query:
            return {"data": {"createAgent": {"agent": {"id": "agent"}}}}
        if "agentHeartbeat" in query:
            busy = json.loads(question["variables"]["runState"] or "{}")
            commands = [] if busy or not self.left else [self.left.pop(0)]
            return {"data": {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}}
        if "sweep(" in query:
            known = {"id": "s", "name": "abc", "state": "RUNNING", "runCount": 0, "config": self.config}
            none = dict.fromkeys(
                ("heartbeatAt", "updatedAt", "controller", "scheduler", "bestLoss", "displayName", "description")
            )
            empty = {"runs": {"edges": []}, "priorRuns": {"edges": []}}
            return {"data": {"project": {"sweep": {**known, **none, **empty, "createdAt": "2026-01-01"}}}}
        return super()._reply(body)


def test_wandb_agent_drives_train_with_our_file(tmp_path: Path) -> None:
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    file = ROOT / "sweeps" / "fashion_mnist.yaml"
    # As W&B's search would draw them, with a list and a group, which agents pass in Python's notation.
    rest = {"dataset": "digits", "epochs": 1, "engine": "numpy"}
    runs = [
        {**rest, "num_layers": 3, "hidden_size": 32, "learning_rate": 0.001, "weight_init": "Xavier"},
        {**rest, "hidden_size": [16, 8], "model": {"activation": "tanh", "more": {"weight_init": "random"}}},
    ]
    with SweepServer(runs) as server:
        environment = {
            **os.environ, "HOME": str(tmp_path), "CHAINRULE_CACHE_DIR": CACHE, "WANDB_BASE_URL": server.address,
            "WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "false", "WANDB_MODE": "offline",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip
        made = subprocess.run(
            [WANDB, "sweep", "--project", "p", "--entity", "e", str(file)],
            cwd=tmp_path, env=environment | {"WANDB_MODE": "online"}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        assert "Creating sweep with ID: abc" in made.stderr
        sent = json.loads(server.config) if server.config.startswith("{") else server.config
        assert "val_accuracy" in str(sent)
        assert "nadam" in str(sent)
        agent = subprocess.run(
            [WANDB, "agent", "e/p/abc"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
    assert agent.returncode == 0, agent.stderr
    configs = [json.loads(path.read_text()) for path in sorted((tmp_path / "runs").glob("*/config.json"))]
    assert sorted((c["num_layers"], c["activation"], c["weight_init"]) for c in configs) == [
        (2, "tanh", "random"), (3, "ReLU", "Xavier"),
    ], agent.stdout + agent.stderr  # fmt: skip
    # Each is the W&B run that the agent asked for.
    assert sorted(path.name.rpartition("-")[2] for path in (tmp_path / "wandb").glob("offline-run-*")) == [
        "run0",
        "run1",
    ]


def test_trials_are_runs_of_wandb_in_a_group(tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, GRID.replace("method: grid", "method: grid\nrun_cap: 2"))
    assert sweeps.run("s.yaml", "--name", "mine", "--wandb_mode", "offline", "--workers", "1") == 0, sweeps.err
    files = sorted((tmp_path / "runs").glob("*/*/wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    for file in files:
        content = file.read_bytes()
        assert b"mine" in content
        assert b"0000_hl_1_bs_8" in content or b"0001_hl_1_bs_32" in content
    # Not asked for, there is none.
    assert sweeps.run("s.yaml", "--name", "other", "--workers", "1") == 0, sweeps.err
    assert sorted((tmp_path / "runs").glob("*/*/wandb/offline-run-*/*.wandb")) == files
