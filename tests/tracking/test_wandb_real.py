"""The W&B tracker with wandb itself, in a process of its own: what lands on disk, and what a bad server can do."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tracking.tracked_program import METRICS
from tracking.wandb_server import LoopbackServer

KEY = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = Path(__file__).with_name("tracked_program.py")
WANDB = Path(sys.executable).with_name("wandb")


class TrackedProgram:
    """`tracked_program.py` running in `tmp_path`, with a clean environment and the variables given."""

    def __init__(self, folder: Path, options: dict[str, Any], **variables: str) -> None:
        self.run_folder = folder / "runs" / "demo"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        environment = {**kept, "LANG": "C.UTF-8", **variables}
        command = [sys.executable, str(PROGRAM), json.dumps({"folder": str(self.run_folder), **options})]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self.output = ""

    def wait_for_start(self) -> dict[str, Any]:
        """The messages until the first epoch was logged."""
        assert self.process.stdout is not None
        self.output += self.process.stdout.readline()
        return dict(json.loads(self.output))

    def end(self) -> dict[str, Any]:
        """Let it continue to its end, which must come soon and without a word from wandb; what it printed last."""
        output, errors = self.process.communicate("continue\n", timeout=60)
        self.output += output
        assert errors == ""
        assert self.process.returncode == 0
        return dict(json.loads(self.output.splitlines()[-1]))

    def records(self) -> list[dict[str, Any]]:
        """The records of the only run on disk."""
        (folder,) = (self.run_folder / "wandb").glob("*run-*")
        command = [str(WANDB), "leet", "inspect", "--json", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def summary(self) -> dict[str, Any]:
        """The final state of the only run on disk."""
        (folder,) = (self.run_folder / "wandb").glob("*run-*")
        command = [str(WANDB), "leet", "inspect", "--summary", "--json", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return dict(json.loads(done.stdout))


def files_with(folder: Path, text: str) -> list[Path]:
    """Every file under a folder that holds a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The logged steps, without wandb's own columns."""
    items = (record["history"]["item"] for record in records if record["type"] == "history")
    return [{name: value for name, value in item.items() if not name.startswith("_")} for item in items]


def test_an_offline_run_holds_everything(tmp_path: Path, home: Path) -> None:
    program = TrackedProgram(tmp_path, {"mode": "offline"})
    (line,) = program.end()["messages"]
    (folder,) = (program.run_folder / "wandb").glob("offline-run-*")
    assert line.startswith("W&B: recording offline. ")
    assert line.endswith(f"wandb sync {folder}")

    summary = program.summary()
    assert summary["config"] == {"optimizer": "rmsprop", "learning_rate": 0.5, "hidden_size": [128, 64]} | {
        name: value for name, value in summary["config"].items() if name.startswith("_")
    }
    assert (summary["name"], summary["project"], summary["state"]) == ("bs 16/ReLU", "demo", "finished")
    numbers = {name: summary["summary"][name] for name in ("test_accuracy", "test_loss", "val_accuracy", "epoch")}
    assert numbers == {"test_accuracy": 0.75, "test_loss": 0.5, "val_accuracy": 0.5625, "epoch": 3}
    assert summary["summary"]["status"] == "finished"
    assert summary["console_lines"] == 0

    records = program.records()
    steps = history(records)
    assert steps[1:4] == [
        {"epoch": 1, "step": 10, "train_loss": 0.75, "train_accuracy": 0.5, "val_loss": 0.875, "val_accuracy": 0.25},
        {"epoch": 2, "step": 20, "train_loss": 0.5, "train_accuracy": 0.625, "val_loss": 0.75, "val_accuracy": 0.5},
        {"epoch": 3, "step": 30, "train_loss": 0.25, "train_accuracy": 0.75, "val_loss": 0.625, "val_accuracy": 0.625},
    ]
    assert steps[0]["sample_images.captions"] == ["cat", "T-shirt/top", "dog"]
    assert steps[4]["test_accuracy"] == 0.75
    metrics = {r["metric"]["name"]: r["metric"].get("step_metric") for r in records if r["type"] == "metric"}
    assert metrics["val_accuracy"] == "epoch"

    media = folder / "files" / "media"
    assert len(list((media / "images").glob("sample_images_*.png"))) == 3
    assert len(list((media / "images" / "figures").glob("confusion_matrix_*.png"))) == 1
    assert len(list((media / "images" / "figures").glob("samples_*.png"))) == 1
    (matrix,) = (media / "table").glob("confusion_matrix_table_*.table.json")
    counts = METRICS["confusion_matrix"]
    classes = ["cat", "T-shirt/top", "dog"]
    assert json.loads(matrix.read_text()) == {
        "columns": ["Actual", "Predicted", "nPredictions"],
        "data": [[classes[i], classes[j], counts[i][j]] for i in range(3) for j in range(3)],
    }
    (scores,) = (media / "table").glob("per_class_*.table.json")
    assert json.loads(scores.read_text())["data"][1] == ["T-shirt/top", 1.0, 0.5, 0.6875, 2]
    text = json.dumps(records)
    assert "wandb/confusion_matrix/v1" in text  # W&B's interactive chart
    (artifact,) = (r["artifact"] for r in records if r["type"] == "artifact" and r["artifact"]["type"] == "model")
    assert artifact["name"] == "bs-16-ReLU"
    (entry,) = artifact["manifest"]["contents"]
    assert (entry["path"], entry["local_path"]) == ("model.safetensors", str(program.run_folder / "model.safetensors"))

    # All in the run folder: the home folder has wandb's own log of its service process and nothing of the run.
    assert files_with(home, "T-shirt/top") == []
    assert not (home / ".local").exists()


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    program = TrackedProgram(tmp_path, {"mode": "offline", "status": "failed", "reason": "the loss is nan"})
    program.end()
    summary = program.summary()
    assert (summary["state"], summary["exit_code"]) == ("failed", 1)
    assert summary["summary"]["status"] == "failed"
    assert summary["summary"]["reason"] == "the loss is nan"


def test_a_killed_run_keeps_its_epochs(tmp_path: Path) -> None:
    program = TrackedProgram(tmp_path, {"mode": "offline", "wait": True})
    program.wait_for_start()
    time.sleep(1)  # ten times the flush interval
    program.process.send_signal(signal.SIGKILL)
    program.process.communicate()
    assert history(program.records())[-1]["train_loss"] == 0.75


def test_a_home_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    nowhere = tmp_path / "a_file"
    nowhere.touch()
    program = TrackedProgram(tmp_path, {"mode": "offline"}, HOME=str(nowhere / "home"), TMPDIR=str(tmp_path))
    (line,) = program.end()["messages"]
    assert "recording offline" in line
    assert program.summary()["summary"]["test_accuracy"] == 0.75


def test_a_cache_that_the_user_chose_and_that_cannot_be_written_to(tmp_path: Path) -> None:
    """wandb's service process would print its log: fifteen lines."""
    (tmp_path / "file").touch()
    program = TrackedProgram(tmp_path, {"mode": "offline"}, WANDB_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert len(program.end()["messages"]) == 1


@pytest.mark.parametrize("variables", [{"WANDB_MODE": ""}, {"WANDB_API_KEY": f" {KEY}\n"}])
def test_variables_that_wandb_itself_would_stumble_over(tmp_path: Path, variables: dict[str, str]) -> None:
    program = TrackedProgram(tmp_path, {"mode": "offline"}, **variables)
    (line,) = program.end()["messages"]
    assert line.startswith("W&B: recording offline.")
    assert len(program.records()) > 10


def test_under_a_sweep_the_agent_decides_the_id(tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.yaml"
    chosen.write_text("wandb_version: 1\nlearning_rate:\n  value: 0.5\n")
    sweep = {"WANDB_SWEEP_ID": "sweep123", "WANDB_RUN_ID": "trial456", "WANDB_SWEEP_PARAM_PATH": str(chosen)}
    program = TrackedProgram(tmp_path, {"mode": "auto"}, WANDB_MODE="offline", WANDB_PROJECT="swept", **sweep)
    program.end()
    summary = program.summary()
    assert summary["run_id"] == "trial456"
    assert summary["config"]["learning_rate"] == 0.5
    (record,) = (r["run"] for r in program.records() if r["type"] == "run")
    assert record["sweep_id"] == "sweep123"


def test_disabled_does_not_even_import_wandb(tmp_path: Path) -> None:
    program = TrackedProgram(tmp_path, {"mode": "auto"}, WANDB_MODE="disabled")
    assert program.end() == {"disabled": True, "imported": False}


def test_offline_wins_over_a_disabling_environment(tmp_path: Path) -> None:
    program = TrackedProgram(tmp_path, {"mode": "offline"}, WANDB_MODE="disabled")
    program.end()
    assert program.summary()["summary"]["test_accuracy"] == 0.75


@pytest.mark.parametrize("place", ["environment", "file", "login"])
def test_an_online_run_sends_everything_and_shows_the_key_to_nobody_else(
    tmp_path: Path, home: Path, place: str
) -> None:
    with LoopbackServer() as server:
        variables = {"WANDB_BASE_URL": server.address}
        kept = tmp_path / "wandb_key.txt"
        if place == "environment":
            variables["WANDB_API_KEY"] = KEY
        elif place == "file":
            kept.write_text(KEY)
        else:
            kept = home / ".netrc"
            kept.write_text(f"machine {server.address.removeprefix('http://')}\n  login user\n  password {KEY}\n")
        program = TrackedProgram(tmp_path, {"mode": "auto"}, **variables)
        (line,) = program.end()["messages"]
        assert line.startswith(f"W&B: {server.address}/someone/demo/runs/")
        authorised = {authorization for _, _, authorization, _ in server.requests if authorization}
        sent = b"".join(body for _, _, _, body in server.requests)
    assert authorised == {"Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()}
    for text in ('\\"train_accuracy\\":0.75', '\\"test_accuracy\\":0.75', "bs-16-ReLU", "rmsprop"):
        assert text.encode() in sent
    assert KEY.encode() not in sent
    assert KEY not in program.output
    assert files_with(tmp_path, KEY) == ([] if place == "environment" else [kept])


def test_a_mode_that_wandb_does_not_know_does_not_stop_training(tmp_path: Path) -> None:
    (line,) = TrackedProgram(tmp_path, {"mode": "auto"}, WANDB_MODE="sometimes").end()["messages"]
    assert "not tracking this run, because wandb does not start" in line


def test_no_key_and_no_network_start_offline_at_once(tmp_path: Path) -> None:
    program = TrackedProgram(tmp_path, {"mode": "auto"}, WANDB_BASE_URL="http://127.0.0.1:9")
    ended = program.end()
    (line,) = ended["messages"]
    assert "`wandb login`" in line
    assert "wandb sync" in line


def test_an_unreachable_server_means_offline(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    program = TrackedProgram(tmp_path, {"mode": "auto"}, WANDB_BASE_URL=f"http://{address}", WANDB_API_KEY=KEY)
    ended = program.end()
    (line,) = ended["messages"]
    assert all(fact in line for fact in ("no connection", f"({address})", "recording offline"))
    assert program.summary()["summary"]["test_accuracy"] == 0.75
    assert files_with(tmp_path, KEY) == []


@pytest.mark.parametrize(("mode", "behaviour"), [("auto", "hang"), ("auto", "500"), ("auto", "401"), ("online", "401")])
def test_a_server_that_does_not_let_us_in_means_offline(tmp_path: Path, mode: str, behaviour: str) -> None:
    options = {"mode": mode, "init_seconds": 1.5}
    with LoopbackServer(behaviour) as server:
        program = TrackedProgram(tmp_path, options, WANDB_BASE_URL=server.address, WANDB_API_KEY=KEY)
        ended = program.end()
        assert server.requests
    (line,) = ended["messages"]
    assert "not online (CommError" in line
    assert ("online mode was requested" in line) == (mode == "online")
    assert program.summary()["summary"]["test_accuracy"] == 0.75  # of the only run on disk
    assert files_with(tmp_path, KEY) == []


@pytest.mark.parametrize("behaviour", ["gone", "hang", "500", "401"])
def test_a_server_that_goes_away_costs_nothing(tmp_path: Path, behaviour: str) -> None:
    options = {"mode": "auto", "wait": True, "finish_seconds": 1}
    variables = {"WANDB_API_KEY": KEY, "WANDB_HTTP_TIMEOUT": "1"}
    with LoopbackServer() as server:
        program = TrackedProgram(tmp_path, options, WANDB_BASE_URL=server.address, **variables)
        assert len(program.wait_for_start()["messages"]) == 1
        if behaviour == "gone":
            server.stop()
        else:
            server.behaviour = behaviour
        ended = program.end()
    (_, line) = ended["messages"]
    (folder,) = (program.run_folder / "wandb").glob("run-*")
    assert line.endswith(f"wandb sync {folder}")
    # What could not be sent is on disk.
    assert program.summary()["summary"]["test_accuracy"] == 0.75
    assert [step["epoch"] for step in history(program.records()) if "epoch" in step] == [1, 2, 3]


def test_an_aborted_run_whose_server_is_gone_says_so_at_the_end(tmp_path: Path) -> None:
    options = {"mode": "auto", "wait": True, "finish_seconds": 1, "report": False, "status": "aborted"}
    with LoopbackServer() as server:
        program = TrackedProgram(tmp_path, options, WANDB_BASE_URL=server.address, WANDB_API_KEY=KEY)
        program.wait_for_start()
    (_, line) = program.end()["messages"]
    assert line.startswith("W&B: not everything was sent (TimeoutError")
    assert program.summary()["summary"]["status"] == "aborted"


def test_ctrl_c_ends_the_wait_for_a_server_that_is_gone(tmp_path: Path) -> None:
    options = {"mode": "auto", "wait": True, "finish_seconds": 300, "report": False, "status": "aborted"}
    with LoopbackServer() as server:
        program = TrackedProgram(tmp_path, options, WANDB_BASE_URL=server.address, WANDB_API_KEY=KEY)
        program.wait_for_start()
        server.behaviour = "hang"
        assert program.process.stdin is not None
        program.process.stdin.write("continue\n")
        program.process.stdin.flush()
        assert program.process.stdout is not None
        assert "finishing" in program.process.stdout.readline()
        time.sleep(1)
        program.process.send_signal(signal.SIGINT)
        (_, line) = program.end()["messages"]
    # Not by the timeout of 300 seconds, which would be reported as such.
    assert line.startswith("W&B: not everything was sent (KeyboardInterrupt")


def test_the_death_of_wandbs_service_process_is_survived_in_silence(tmp_path: Path) -> None:
    program = TrackedProgram(tmp_path, {"mode": "offline", "wait": True})
    program.wait_for_start()
    parent = program.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (service,) = (int(pid) for pid in children if b"wandb-core" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(service, signal.SIGKILL)
    ended = program.end()
    assert len(ended["messages"]) == 2
    assert "training continues" in ended["messages"][1] or "not everything was sent" in ended["messages"][1]
