"""The W&B tracker against a stand-in for wandb: what it sends, and how it fails.

`test_wandb_modes.py` has when it goes online, `test_wandb_real.py` the tests with wandb itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tracking.tracked_program import CONFIG, METRICS, RECORDS, toy_files, toy_test
from tracking.wandb_fake import FakeWandb, started

from chainrule.core.errors import ConfigError
from chainrule.runs.tracking.wandb import make_wandb_tracker

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
    tracker.log(RECORDS[0])
    tracker.log(type(RECORDS[0])(2, 20, 0.5, 0.625, None, None))
    assert wandb.run.of("log") == [
        {"epoch": 1, "step": 10, "train_loss": 0.75, "train_accuracy": 0.5, "val_loss": 0.875, "val_accuracy": 0.25},
        {"epoch": 2, "step": 20, "train_loss": 0.5, "train_accuracy": 0.625},
    ]


def test_images_go_by_name(wandb: FakeWandb, tmp_path: Path) -> None:
    messages: list[str] = []
    tracker = started(tmp_path / "run", messages, shape=None)
    figure = toy_files(tmp_path)[0]["samples"]
    tracker.log_images({"curves": figure})
    assert wandb.run.of("log") == [{"figures/curves": ("image", str(figure), None)}]
    tracker.finish("finished")


def test_report_sends_results_charts_figures_and_the_model(wandb: FakeWandb, tmp_path: Path) -> None:
    tracker = started(tmp_path / "run", [], shape=None)
    figures, model = toy_files(tmp_path)
    tracker.report(METRICS, toy_test(), figures, model)
    assert wandb.run.of("summary") == [{"test_accuracy": 0.75, "test_loss": 0.5, "val_accuracy": 0.5625}]
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
    messages: list[str] = []
    tracker = started(tmp_path / "run", messages)
    tracker.finish(status, reason)
    assert wandb.run.of("summary") == [summary]
    assert wandb.run.calls[-1] == ("finish", exit_code)
    assert len(messages) == 1  # where the offline run lies, at the start
    assert wandb.torn_down == 0


def test_the_users_folder_for_wandb_is_respected(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    started(tmp_path / "run", [])
    assert wandb.inits[0]["dir"] is None


# Failures


@pytest.mark.parametrize("variables", [{}, {"WANDB_MODE": "offline"}])
def test_a_missing_package_is_said_and_training_continues(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    messages: list[str] = []
    assert make_wandb_tracker("auto", "demo", None, notify=messages.append) is None
    (line,) = messages
    assert all(fact in line for fact in ("wandb is not installed", "pip install 'chainrule[train]'"))
    for mode in ("online", "offline"):
        with pytest.raises(ConfigError, match=r"wandb.*pip install 'chainrule\[train\]'"):
            make_wandb_tracker(mode, "demo", None, notify=pytest.fail)


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError("No space left on device"), "OSError: No space left on device"), (SystemExit(1), "SystemExit: 1")],
)
def test_wandb_that_cannot_start_at_all(wandb: FakeWandb, tmp_path: Path, error: BaseException, said: str) -> None:
    wandb.fails["offline"] = error
    messages: list[str] = []
    tracker = started(tmp_path / "run", messages)
    tracker.log(RECORDS[0])
    tracker.finish("finished")
    assert messages == [f"W&B: not tracking this run, because wandb does not start ({said})."]
    assert wandb.run.calls == []


def test_a_package_that_ends_the_program_when_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    messages: list[str] = []
    started(tmp_path / "run", messages).finish("finished")
    assert messages == ["W&B: not tracking this run, because wandb does not start (SystemExit: 3)."]


@pytest.mark.parametrize("error", [ConnectionResetError("Connection lost"), SystemExit("Connection lost")])
def test_the_first_failure_is_reported_and_is_the_last(wandb: FakeWandb, tmp_path: Path, error: BaseException) -> None:
    messages: list[str] = []
    tracker = started(tmp_path / "run", messages, shape=None)
    messages.clear()
    wandb.run.fails["log"] = error
    tracker.log(RECORDS[0])
    assert len(messages) == 1
    facts = ("tracking stops", "training continues", f"{type(error).__name__}: Connection lost", "wandb sync")
    assert all(fact in messages[0] for fact in facts)
    del wandb.run.fails["log"]
    tracker.log(RECORDS[1])
    figures, model = toy_files(tmp_path)
    tracker.report(METRICS, toy_test(), figures, model)
    tracker.finish("finished")
    assert len(messages) == 1
    assert [call for call, _ in wandb.run.calls if call != "define_metric"] == ["log", "finish"]


def test_an_interrupt_in_the_middle_is_left_to_the_training_loop(wandb: FakeWandb, tmp_path: Path) -> None:
    tracker = started(tmp_path / "run", [], shape=None)
    wandb.run.fails["log"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tracker.log(RECORDS[0])


@pytest.mark.parametrize(
    ("error", "discarded"),
    [
        (TimeoutError("Timed out finishing run."), 0),
        (ConnectionResetError("lost"), 1),
        (SystemExit(1), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_finish_never_raises_and_says_where_the_rest_is(
    wandb: FakeWandb, tmp_path: Path, error: BaseException, discarded: int
) -> None:
    messages: list[str] = []
    tracker = started(tmp_path / "run", messages)
    messages.clear()
    wandb.run.fails["finish"] = error
    tracker.finish("finished")
    (line,) = messages
    assert line.startswith(f"W&B: not everything was sent ({type(error).__name__}")
    assert line.endswith(f"wandb sync {tmp_path}/run/wandb/offline-run-1")
    assert wandb.torn_down == discarded
    tracker.finish("finished")
    assert len(messages) == 1


def test_tables_are_staged_in_the_run_folder_and_the_variable_is_taken_back(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(wandb.run, "log", lambda _: seen.append(os.environ.get("WANDB_DATA_DIR")))
    tracker = started(tmp_path / "run", [], shape=None)
    tracker.log(RECORDS[0])
    tracker.finish("finished")
    assert seen == [str(tmp_path / "run" / "wandb")]
    assert "WANDB_DATA_DIR" not in os.environ
    monkeypatch.setenv("WANDB_DATA_DIR", "/chosen")
    tracker = started(tmp_path / "run", [], shape=None)
    tracker.log(RECORDS[1])
    tracker.finish("finished")
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
