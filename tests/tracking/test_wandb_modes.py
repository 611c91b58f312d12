"""When the W&B tracker goes online, with which key, and what it says when it does not."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tracking.tracked_program import RECORDS, toy_run
from tracking.wandb_fake import FakeError, FakeRun, FakeWandb, started

from chainrule.core.errors import ConfigError
from chainrule.runs.tracking import wandb_account
from chainrule.runs.tracking.wandb import make_wandb_tracker

KEY = "0123456789abcdef0123456789abcdef01234567"


def test_a_key_leads_online_and_is_given_explicitly(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    messages: list[str] = []
    started(tmp_path / "run", messages, "auto")
    assert [options["mode"] for options in wandb.inits] == ["online"]
    # wandb must not look for a key itself: where it finds none, it asks on the terminal.
    assert wandb.inits[0]["settings"]["api_key"] == KEY
    assert messages == ["W&B: https://wandb.example.org/run"]


def test_a_resumed_run_continues_the_same_run_of_wandb(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(tmp_path / "run")
    for resumed in (False, True):
        tracker = make_wandb_tracker("offline", "demo", None, notify=lambda line: None)
        assert tracker is not None
        tracker.start(replace(run, resumed=resumed))
    assert "id" not in wandb.inits[0]
    assert (wandb.inits[1]["id"], wandb.inits[1]["resume"]) == ("abc123", "allow")
    # Under a sweep, the agent has chosen the run.
    monkeypatch.setenv("WANDB_RUN_ID", "chosen")
    tracker.start(replace(run, resumed=True))
    assert "id" not in wandb.inits[2]


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


@pytest.mark.parametrize(
    ("mode", "warning"), [("auto", "W&B: not logged in"), ("online", "W&B: warning: online mode was requested")]
)
def test_without_a_key_the_run_is_offline_and_one_line_says_what_to_do(
    wandb: FakeWandb, tmp_path: Path, mode: str, warning: str
) -> None:
    messages: list[str] = []
    started(tmp_path / "run", messages, mode)
    assert [options["mode"] for options in wandb.inits] == ["offline"]
    (line,) = messages
    assert line.startswith(warning)
    assert "`wandb login`" in line
    assert line.endswith(f"wandb sync {tmp_path}/run/wandb/offline-run-1")
    assert "\n" not in line


@pytest.mark.parametrize(
    "error", [FakeError(f"no\nsuch key: {KEY}"), RuntimeError("odd"), AssertionError(), SystemExit(1)]
)
def test_an_init_that_fails_is_repeated_offline(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.fails["online"] = error
    messages: list[str] = []
    remains, earlier = (tmp_path / "run" / "wandb" / name for name in ("run-2026-abc", "run-2025-abc"))
    earlier.mkdir(parents=True)
    init = wandb.init

    def leaving_remains(**options: Any) -> FakeRun:
        if options["mode"] == "online":
            remains.mkdir()
        return init(**options)

    monkeypatch.setattr(wandb, "init", leaving_remains)
    tracker = started(tmp_path / "run", messages, "auto")
    assert [options["mode"] for options in wandb.inits] == ["online", "offline"]
    assert "api_key" not in wandb.inits[1]["settings"]
    (line,) = messages
    assert line.startswith(f"W&B: not online ({type(error).__name__}")
    assert KEY not in line
    assert "\n" not in line
    assert not remains.exists()
    assert earlier.exists(), "it may hold what the first part of a resumed run could not send"
    assert wandb.torn_down == (0 if isinstance(error, FakeError) else 1)
    tracker.log(RECORDS[0])
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
def test_auto_follows_what_the_user_has_set_in_wandb(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str, modes: list[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.settings.mode = stored  # what `wandb offline` and `wandb disabled` write into a settings file
    tracker = started(tmp_path / "run", [], "auto")
    assert [options["mode"] for options in wandb.inits] == modes
    tracker.log(RECORDS[0])
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
    messages: list[str] = []
    started(tmp_path / "run", messages, "auto")
    assert [options["mode"] for options in wandb.inits] == ["offline"]
    assert all(fact in messages[0] for fact in ("no connection", address.removeprefix("http://"), "recording offline"))
    # Behind a proxy, only the proxy can tell.
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
    started(tmp_path / "run", messages, "auto")
    assert wandb.inits[-1]["mode"] == "online"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started(tmp_path / "run", messages, "auto")
    assert wandb.inits[-1]["mode"] == "offline"


def test_a_name_that_no_server_can_have_is_not_reachable(capfd: pytest.CaptureFixture[str]) -> None:
    assert not wandb_account.is_reachable("http://a..b:80")
    assert capfd.readouterr().err == ""


def test_passwords_in_addresses_are_not_shown(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    wandb.settings.base_url, wandb.settings.https_proxy = f"http://me:secret@{host}", None
    messages: list[str] = []
    started(tmp_path / "run", messages, "auto")
    wandb.settings.https_proxy = "http://me:secret@proxy"
    wandb.fails["online"] = FakeError("cannot reach http://me:secret@proxy/path")
    started(tmp_path / "run", messages, "auto")
    del wandb.fails["online"]
    wandb.run.url = "http://me:secret@example.org/run"
    started(tmp_path / "run", messages, "auto")
    assert f"({host})" in messages[0]
    assert "cannot reach http://proxy/path" in messages[1]
    assert messages[2] == "W&B: http://example.org/run"
    assert "secret" not in " ".join(messages)


def test_white_space_around_the_key_is_taken_off(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    settings = wandb.setup()
    monkeypatch.setattr(wandb, "setup", lambda: seen.append(os.environ.get("WANDB_API_KEY")) or settings)
    monkeypatch.setenv("WANDB_API_KEY", f" {KEY}\r\n")
    started(tmp_path / "run", [], "auto")
    assert wandb.inits[0]["settings"]["api_key"] == KEY
    # wandb reads the variable too, and does not start with white space in it.
    assert seen == [KEY]
    monkeypatch.setenv("WANDB_API_KEY", "\n")
    started(tmp_path / "run", [], "auto")
    assert wandb.inits[1]["mode"] == "offline"
    assert seen[1] is None


# Modes


@pytest.mark.parametrize("flag", ["auto", "offline"])
def test_an_empty_mode_is_like_none(
    wandb: FakeWandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", "")
    tracker = make_wandb_tracker(flag, "demo", None, notify=[].append)
    assert tracker is not None
    tracker.start(toy_run(tmp_path / "run"))
    # wandb reads the variable too, and does not start where it is empty.
    assert "WANDB_MODE" not in os.environ


@pytest.mark.parametrize(
    ("value", "disabled"), [("true", True), ("1", True), ("YES", True), ("", False), ("false", False), ("0", False)]
)
def test_the_old_variable_that_disables(monkeypatch: pytest.MonkeyPatch, value: str, disabled: bool) -> None:
    monkeypatch.setenv("WANDB_DISABLED", value)
    assert (make_wandb_tracker("auto", "demo", None, notify=pytest.fail) is None) == disabled
    monkeypatch.setenv("WANDB_MODE", "online")
    assert (make_wandb_tracker("auto", "demo", None, notify=pytest.fail) is None) == disabled
    assert make_wandb_tracker("offline", "demo", None, notify=pytest.fail) is not None


def test_disabled_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_wandb_tracker("disabled", "demo", None, notify=pytest.fail) is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert make_wandb_tracker("auto", "demo", None, notify=pytest.fail) is None
    assert make_wandb_tracker("offline", "demo", None, notify=pytest.fail) is not None


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
    tracker = make_wandb_tracker(flag, "demo", None, notify=[].append)
    assert tracker is not None
    tracker.start(toy_run(tmp_path / "run"))
    assert [options["mode"] for options in wandb.inits] == [expected]


def test_unknown_modes_are_usage_errors() -> None:
    with pytest.raises(ConfigError, match=r"wandb_mode.*auto, online, offline, disabled.*'of'"):
        make_wandb_tracker("of", "demo", None, notify=pytest.fail)
