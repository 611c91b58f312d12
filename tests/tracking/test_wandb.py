"""The W&B tracker against a stand-in for wandb: what it says, to whom, and how it fails.

`test_wandb_real.py` has the tests with wandb itself.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wandb_session import CONFIG, METRICS, RECORDS, toy_files, toy_run, toy_test

from chainrule.errors import ConfigError
from chainrule.tracking import wandb as tracking
from chainrule.tracking.wandb import WandbTracker, wandb_tracker

KEY = "0123456789abcdef0123456789abcdef01234567"


class FakeError(Exception):
    """Stands for wandb.Error."""


class FakeRun:
    """Stands for wandb's run: remembers what it was told, and fails where a test says so."""

    def __init__(self, folder: Path) -> None:
        self.dir = str(folder / "wandb" / "offline-run-1" / "files")
        self.url = "https://wandb.example.org/run"
        self.calls: list[tuple[str, Any]] = []
        self.fails: dict[str, BaseException] = {}
        self.summary = SimpleNamespace(update=lambda values: self._call("summary", values))

    def _call(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if name in self.fails:
            raise self.fails[name]

    def define_metric(self, name: str, **options: Any) -> None:
        self._call("define_metric", (name, options))

    def log(self, values: dict[str, Any]) -> None:
        self._call("log", values)

    def log_artifact(self, artifact: Any) -> None:
        self._call("log_artifact", artifact)

    def finish(self, exit_code: int) -> None:
        self._call("finish", exit_code)

    def of(self, name: str) -> list[Any]:
        """The arguments of each call of one method."""
        return [value for call, value in self.calls if call == name]


class FakeArtifact:
    def __init__(self, name: str, type: str) -> None:
        self.made = (name, type)
        self.files: list[tuple[str, dict[str, Any]]] = []

    def add_file(self, path: str, **options: Any) -> None:
        self.files.append((path, options))


class FakeWandb:
    """Stands for the module."""

    Error = FakeError

    def __init__(self, run: FakeRun) -> None:
        self.run = run
        self.settings = SimpleNamespace(
            mode="online", base_url="https://api.wandb.ai", http_proxy=None, https_proxy="http://proxy:1"
        )
        self.inits: list[dict[str, Any]] = []
        self.fails: dict[str, Exception] = {}
        self.torn_down = 0
        self.Artifact = FakeArtifact
        self.plot = SimpleNamespace(confusion_matrix=lambda **options: ("chart", options))

    def setup(self) -> Any:
        return SimpleNamespace(settings=self.settings)

    def Settings(self, **values: Any) -> dict[str, Any]:
        return values

    def init(self, **options: Any) -> FakeRun:
        self.inits.append(options)
        if options["mode"] in self.fails:
            raise self.fails[options["mode"]]
        return self.run

    def Image(self, pixels: Any, caption: str | None = None) -> tuple[str, Any, str | None]:
        return ("image", pixels.tolist() if isinstance(pixels, np.ndarray) else pixels, caption)

    def Table(self, columns: list[str], data: list[list[Any]]) -> tuple[str, Any, Any]:
        return ("table", columns, data)

    def teardown(self) -> None:
        self.torn_down += 1


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb(FakeRun(tmp_path / "run"))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def started(
    folder: Path, told: list[str], mode: Any = "offline", shape: tuple[int, int] | None = (2, 2)
) -> WandbTracker:
    tracker = WandbTracker("demo", "team", mode, notify=told.append)
    tracker.start(toy_run(folder, shape))
    return tracker


network: Any = None


# What is sent


def test_start_describes_the_run(wandb: FakeWandb, tmp_path: Path) -> None:
    started(tmp_path / "run", [])
    (options,) = wandb.inits
    settings = options.pop("settings")
    assert options == {
        "project": "demo",
        "entity": "team",
        "name": "bs 16/ReLU",
        "config": CONFIG,
        "dir": str(tmp_path / "run"),
        "mode": "offline",
        "reinit": "create_new",
    }
    assert settings["console"] == "off"
    assert settings["save_code"] is False
    assert settings["disable_git"] is True
    assert "api_key" not in settings
    assert settings["init_timeout"] <= 15
    assert settings["finish_timeout"] <= 10
    assert settings["finish_timeout_raises"] is True
    assert wandb.run.of("define_metric") == [
        ("epoch", {}),
        *(
            (name, {"step_metric": "epoch"})
            for name in ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
        ),
    ]


def test_start_sends_the_first_image_of_each_class(wandb: FakeWandb, tmp_path: Path) -> None:
    started(tmp_path / "run", [])
    (values,) = wandb.run.of("log")
    assert values == {
        "sample_images": [
            ("image", [[255, 255], [255, 255]], "cat"),
            ("image", [[0, 128], [255, 0]], "T-shirt/top"),
            ("image", [[64, 0], [0, 0]], "dog"),
        ]
    }


def test_data_that_are_not_images_have_no_samples(wandb: FakeWandb, tmp_path: Path) -> None:
    started(tmp_path / "run", [], shape=None)
    assert wandb.run.of("log") == []


def test_log_sends_an_epoch_without_what_is_missing(wandb: FakeWandb, tmp_path: Path) -> None:
    tracker = started(tmp_path / "run", [], shape=None)
    tracker.log(RECORDS[0], network)
    tracker.log(type(RECORDS[0])(2, 20, 0.5, 0.625, None, None), network)
    assert wandb.run.of("log") == [
        {"epoch": 1, "step": 10, "train_loss": 0.75, "train_accuracy": 0.5, "val_loss": 0.875, "val_accuracy": 0.25},
        {"epoch": 2, "step": 20, "train_loss": 0.5, "train_accuracy": 0.625},
    ]


def test_report_sends_results_charts_figures_and_the_model(wandb: FakeWandb, tmp_path: Path) -> None:
    tracker = started(tmp_path / "run", [], shape=None)
    figures, model = toy_files(tmp_path)
    tracker.report(METRICS, toy_test(), figures, model)
    assert wandb.run.of("summary") == [{"test_accuracy": 0.75, "test_loss": 0.5, "val_accuracy": 0.625}]
    assert wandb.run.of("log") == [
        {
            "test_accuracy": 0.75,
            "test_loss": 0.5,
            "figures/confusion_matrix": ("image", str(tmp_path / "confusion_matrix.png"), None),
            "figures/samples": ("image", str(tmp_path / "samples.png"), None),
        },
        {
            "confusion_matrix": (
                "chart",
                {
                    "y_true": [0, 1, 1, 2],
                    "preds": [0, 1, 0, 2],
                    "class_names": ["cat", "T-shirt/top", "dog"],
                    "title": "Confusion matrix (test set)",
                },
            ),
            "per_class": (
                "table",
                ["class", "precision", "recall", "f1", "support"],
                [["cat", 0.5, 1.0, 0.625, 1], ["T-shirt/top", 1.0, 0.5, 0.6875, 2], ["dog", 1.0, 1.0, 1.0, 1]],
            ),
        },
    ]
    (artifact,) = wandb.run.of("log_artifact")
    assert artifact.made == ("bs-16-ReLU", "model")
    assert artifact.files == [(str(model), {"policy": "immutable", "skip_cache": True})]


@pytest.mark.parametrize(
    ("status", "reason", "summary", "exit_code"),
    [
        ("finished", "", {"status": "finished"}, 0),
        ("aborted", "", {"status": "aborted"}, 1),
        ("failed", "the loss is nan", {"status": "failed", "reason": "the loss is nan"}, 1),
    ],
)
def test_finish(
    wandb: FakeWandb, tmp_path: Path, status: Any, reason: str, summary: dict[str, str], exit_code: int
) -> None:
    told: list[str] = []
    tracker = started(tmp_path / "run", told)
    tracker.finish(status, reason)
    assert wandb.run.of("summary") == [summary]
    assert wandb.run.calls[-1] == ("finish", exit_code)
    assert len(told) == 1  # where the offline run lies, at the start
    assert wandb.torn_down == 0


def test_the_users_folder_for_wandb_is_respected(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    started(tmp_path / "run", [])
    assert wandb.inits[0]["dir"] is None


# Online or not


def test_a_key_leads_online_and_is_given_explicitly(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    told: list[str] = []
    started(tmp_path / "run", told, "auto")
    assert [options["mode"] for options in wandb.inits] == ["online"]
    # wandb must not look for a key itself: where it finds none, it asks on the terminal.
    assert wandb.inits[0]["settings"]["api_key"] == KEY
    assert told == ["W&B: https://wandb.example.org/run"]


@pytest.mark.parametrize("place", ["environment", "file", "login"])
def test_the_environment_wins_over_the_file_and_the_file_over_the_login(
    wandb: FakeWandb, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    places = ("environment", "file", "login")
    keys = dict(zip(places, ("a" * 40, "b" * 40, "c" * 40), strict=True))
    (home / ".netrc").write_text(f"machine api.wandb.ai login user password {keys['login']}\n")
    if place != "login":
        (tmp_path / "wandb_key.txt").write_text(keys["file"])
    if place == "environment":
        monkeypatch.setenv("WANDB_API_KEY", keys["environment"])
    started(tmp_path / "run", [], "auto")
    assert wandb.inits[0]["settings"]["api_key"] == keys[place]


@pytest.mark.parametrize(("mode", "warning"), [("auto", "W&B: not logged in"), ("online", "Warning: W&B was asked")])
def test_without_a_key_the_run_is_offline_and_one_line_says_what_to_do(
    wandb: FakeWandb, tmp_path: Path, mode: str, warning: str
) -> None:
    told: list[str] = []
    started(tmp_path / "run", told, mode)
    assert [options["mode"] for options in wandb.inits] == ["offline"]
    (line,) = told
    assert line.startswith(warning)
    assert "`wandb login`" in line
    assert line.endswith(f"wandb sync {tmp_path}/run/wandb/offline-run-1")
    assert "\n" not in line


@pytest.mark.parametrize("error", [FakeError(f"no\nsuch key: {KEY}"), RuntimeError("odd"), AssertionError()])
def test_an_init_that_fails_is_repeated_offline(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.fails["online"] = error
    told: list[str] = []
    remains = tmp_path / "run" / "wandb" / "run-2026-abc"
    remains.mkdir(parents=True)
    tracker = started(tmp_path / "run", told, "auto")
    assert [options["mode"] for options in wandb.inits] == ["online", "offline"]
    assert "api_key" not in wandb.inits[1]["settings"]
    (line,) = told
    assert line.startswith(f"W&B: not online ({type(error).__name__}")
    assert KEY not in line
    assert "\n" not in line
    assert not remains.exists()
    assert wandb.torn_down == (0 if isinstance(error, FakeError) else 1)
    tracker.log(RECORDS[0], network)
    assert wandb.run.of("log")[-1]["epoch"] == 1


def test_a_remote_folder_of_the_user_is_not_tidied(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "run"))
    wandb.fails["online"] = FakeError("no")
    other = tmp_path / "run" / "wandb" / "run-of-somebody-else"
    other.mkdir(parents=True)
    started(tmp_path / "run", [], "auto")
    assert other.exists()


@pytest.mark.parametrize(("stored", "modes"), [("offline", ["offline"]), ("disabled", []), ("online", ["online"])])
def test_auto_follows_what_the_user_has_told_wandb(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str, modes: list[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.settings.mode = stored  # what `wandb offline` and `wandb disabled` write into a settings file
    tracker = started(tmp_path / "run", [], "auto")
    assert [options["mode"] for options in wandb.inits] == modes
    tracker.log(RECORDS[0], network)
    tracker.finish("finished")


def test_an_unreachable_server_is_noticed_without_init(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        wandb.settings.base_url, wandb.settings.https_proxy = address, None
        started(tmp_path / "run", [], "auto")
        assert wandb.inits.pop()["mode"] == "online"
    told: list[str] = []
    started(tmp_path / "run", told, "auto")
    assert [options["mode"] for options in wandb.inits] == ["offline"]
    assert told[0].startswith(f"W&B: no connection to {address.removeprefix('http://')}; recording offline.")
    # Behind a proxy, only the proxy can tell.
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
    started(tmp_path / "run", told, "auto")
    assert wandb.inits[-1]["mode"] == "online"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started(tmp_path / "run", told, "auto")
    assert wandb.inits[-1]["mode"] == "offline"


def test_the_probe_does_not_wait_for_a_slow_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: time.sleep(2))
    before = time.monotonic()
    assert not tracking._reachable("https://api.wandb.ai")
    assert time.monotonic() - before < 1


# Modes


def test_disabled_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wandb_tracker("disabled", "demo", None, notify=pytest.fail) is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_tracker("auto", "demo", None, notify=pytest.fail) is None
    assert wandb_tracker("offline", "demo", None, notify=pytest.fail) is not None


@pytest.mark.parametrize(
    ("flag", "variable", "expected"),
    [
        ("auto", "offline", "offline"),
        ("auto", "dryrun", "offline"),
        ("auto", "", "online"),
        ("online", "offline", "online"),
        ("offline", "online", "offline"),
    ],
)
def test_the_flag_wins_over_the_variable(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, variable: str, expected: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    tracker = wandb_tracker(flag, "demo", None, notify=[].append)
    assert tracker is not None
    tracker.start(toy_run(tmp_path / "run"))
    assert [options["mode"] for options in wandb.inits] == [expected]


def test_unknown_modes_are_usage_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"must be one of auto, online, offline, disabled\. Got 'of' instead"):
        wandb_tracker("of", "demo", None, notify=pytest.fail)
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(ConfigError, match=r"WANDB_MODE must be one of online, offline, disabled\. Got 'sometimes'"):
        wandb_tracker("auto", "demo", None, notify=pytest.fail)


# Failures


def test_a_missing_package_is_said_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    told: list[str] = []
    tracker = started(tmp_path / "run", told)
    tracker.log(RECORDS[0], network)
    tracker.finish("finished")
    (line,) = told
    assert "pip install wandb" in line


def test_wandb_that_cannot_start_at_all(wandb: FakeWandb, tmp_path: Path) -> None:
    wandb.fails["offline"] = OSError("No space left on device")
    told: list[str] = []
    tracker = started(tmp_path / "run", told)
    tracker.log(RECORDS[0], network)
    tracker.finish("finished")
    assert told == ["W&B: not tracking this run, because wandb does not start (OSError: No space left on device)."]
    assert wandb.run.calls == []


def test_the_first_failure_is_told_and_is_the_last(wandb: FakeWandb, tmp_path: Path) -> None:
    told: list[str] = []
    tracker = started(tmp_path / "run", told, shape=None)
    told.clear()
    wandb.run.fails["log"] = ConnectionResetError("Connection lost")
    tracker.log(RECORDS[0], network)
    assert len(told) == 1
    assert told[0].startswith("W&B: tracking stops here, training goes on (ConnectionResetError: Connection lost).")
    del wandb.run.fails["log"]
    tracker.log(RECORDS[1], network)
    figures, model = toy_files(tmp_path)
    tracker.report(METRICS, toy_test(), figures, model)
    tracker.finish("finished")
    assert len(told) == 1
    assert [call for call, _ in wandb.run.calls if call != "define_metric"] == ["log", "finish"]


def test_an_interrupt_in_the_middle_is_left_to_the_training_loop(wandb: FakeWandb, tmp_path: Path) -> None:
    tracker = started(tmp_path / "run", [], shape=None)
    wandb.run.fails["log"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tracker.log(RECORDS[0], network)


@pytest.mark.parametrize(
    ("error", "discarded"),
    [(TimeoutError("Timed out finishing run."), 0), (ConnectionResetError("lost"), 1), (KeyboardInterrupt(), 1)],
)
def test_finish_never_raises_and_says_where_the_rest_is(
    wandb: FakeWandb, tmp_path: Path, error: BaseException, discarded: int
) -> None:
    told: list[str] = []
    tracker = started(tmp_path / "run", told)
    told.clear()
    wandb.run.fails["finish"] = error
    tracker.finish("finished")
    (line,) = told
    assert line.startswith(f"W&B: not everything was sent ({type(error).__name__}")
    assert line.endswith(f"wandb sync {tmp_path}/run/wandb/offline-run-1")
    assert wandb.torn_down == discarded
    tracker.finish("finished")
    assert len(told) == 1


def test_tables_are_staged_in_the_run_folder_and_the_variable_is_taken_back(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(wandb.run, "log", lambda _: seen.append(os.environ.get("WANDB_DATA_DIR")))
    tracker = started(tmp_path / "run", [], shape=None)
    tracker.log(RECORDS[0], network)
    assert seen == [str(tmp_path / "run" / "wandb")]
    assert "WANDB_DATA_DIR" not in os.environ
    monkeypatch.setenv("WANDB_DATA_DIR", "/chosen")
    tracker.log(RECORDS[1], network)
    assert seen[-1] == os.environ["WANDB_DATA_DIR"] == "/chosen"


def test_what_wandb_reads_from_the_environment_only(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_HTTP_TIMEOUT": "8",
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.1",
    }
    for name in defaults:
        monkeypatch.delenv(name)
    started(tmp_path / "run", [])
    assert {name: os.environ.get(name) for name in defaults} == defaults
    for name in defaults:
        monkeypatch.setenv(name, "chosen")
    started(tmp_path / "run", [])
    assert {os.environ[name] for name in defaults} == {"chosen"}
