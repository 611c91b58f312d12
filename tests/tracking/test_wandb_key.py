"""Where a W&B key comes from, and which files it may not come from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from chainrule.core.errors import ConfigError
from chainrule.runs.tracking import wandb as tracking
from chainrule.runs.tracking.wandb_account import read_key_file, read_login_key

KEY = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A git repository with a key file that is neither tracked nor ignored."""
    place = tmp_path / "project"
    place.mkdir()
    git(place, "init")
    (place / "wandb_key.txt").write_text(f"{KEY}\n")
    return place


def test_an_ignored_file_is_used_without_a_word(folder: Path) -> None:
    (folder / ".gitignore").write_text("wandb_key.txt\n")
    messages: list[str] = []
    assert read_key_file(folder, messages.append) == KEY
    assert messages == []


def test_a_file_that_git_does_not_ignore_is_used_with_a_warning(folder: Path) -> None:
    messages: list[str] = []
    assert read_key_file(folder, messages.append) == KEY
    assert len(messages) == 1
    assert "add wandb_key.txt to .gitignore" in messages[0]
    assert KEY not in messages[0]


def test_a_file_outside_any_repository_is_used_without_a_word(folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    messages: list[str] = []
    assert read_key_file(folder, messages.append) == KEY
    assert messages == []


@pytest.mark.parametrize("ignored", [False, True])
def test_a_tracked_file_is_refused(folder: Path, ignored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    git(folder, "add", "wandb_key.txt")
    if ignored:  # an ignored file can be tracked nevertheless
        (folder / ".gitignore").write_text("wandb_key.txt\n")
    # As inside a hook of another repository: it is the file's own repository that counts.
    monkeypatch.setenv("GIT_DIR", str(folder / "elsewhere"))
    with pytest.raises(ConfigError) as caught:
        read_key_file(folder, pytest.fail)
    message = str(caught.value)
    assert "git tracks it" in message
    assert "Revoke it" in message
    assert "git rm --cached wandb_key.txt" in message
    assert KEY not in message


def test_a_tracked_file_is_refused_before_training_unless_offline(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(folder, "add", "wandb_key.txt")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_API_KEY", OTHER)
    with pytest.raises(ConfigError, match="git tracks it"):
        tracking.make_wandb_tracker("auto", "demo", None, notify=pytest.fail)
    assert tracking.make_wandb_tracker("offline", "demo", None, notify=pytest.fail) is not None


def test_a_repository_of_another_user_is_looked_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(folder, "add", "wandb_key.txt")
    pretender = folder / "git"
    pretender.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec "{shutil.which("git")}" "$@"\n')
    pretender.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    refused = subprocess.run(["git", "-C", str(folder), "ls-files"], capture_output=True, check=False)
    assert refused.returncode == 128  # otherwise this test shows nothing
    with pytest.raises(ConfigError, match="git tracks it"):
        read_key_file(folder, pytest.fail)


@pytest.mark.parametrize("content", [b"", b"two keys", f"{KEY}\n{OTHER}".encode(), b"\xff\xfe" + KEY.encode()])
def test_a_file_without_one_key_is_left_alone_with_a_warning(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wandb_key.txt").write_bytes(content)
    messages: list[str] = []
    assert read_key_file(tmp_path, messages.append) is None
    assert len(messages) == 1
    assert "is not used" in messages[0]
    assert KEY not in messages[0]


def test_a_byte_order_mark_is_no_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "wandb_key.txt").write_text(f"{KEY}\r\n", encoding="utf-8-sig")
    assert read_key_file(tmp_path, pytest.fail) == KEY


def test_no_file(tmp_path: Path) -> None:
    assert read_key_file(tmp_path, pytest.fail) is None


def test_a_current_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert tracking.make_wandb_tracker("auto", "demo", None, notify=pytest.fail) is not None


def test_git_is_not_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert read_key_file(folder, pytest.fail) == KEY


class TestLogin:
    """What `wandb login` leaves in a netrc file."""

    ENTRY = f"machine api.wandb.ai\n  login user\n  password {KEY}\n"

    def test_home(self, home: Path) -> None:
        assert read_login_key("https://api.wandb.ai") is None
        (home / ".netrc").write_text(self.ENTRY)
        assert read_login_key("https://api.wandb.ai") == KEY

    def test_the_public_server_has_two_names(self, home: Path) -> None:
        (home / ".netrc").write_text(self.ENTRY)
        assert read_login_key("https://api.forge.coreweave.com") == KEY

    def test_a_key_goes_to_its_own_server_only(self, home: Path) -> None:
        (home / ".netrc").write_text(self.ENTRY + f"default login me password {OTHER}\n")
        assert read_login_key("https://wandb.example.org") is None

    def test_a_port_is_part_of_the_name(self, home: Path) -> None:
        (home / ".netrc").write_text(f"machine 127.0.0.1:8080 login user password {KEY}\n")
        assert read_login_key("http://127.0.0.1:8080") == KEY
        assert read_login_key("http://127.0.0.1:8081") is None

    def test_netrc_variable_replaces_the_home_file(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (home / ".netrc").write_text(self.ENTRY)
        (home / "mine").write_text(f"machine api.wandb.ai login user password {OTHER}\n")
        monkeypatch.setenv("NETRC", "~/mine")
        assert read_login_key("https://api.wandb.ai") == OTHER
        monkeypatch.setenv("NETRC", str(home / "missing"))
        assert read_login_key("https://api.wandb.ai") is None

    def test_a_user_in_the_address_is_no_part_of_the_name(self, home: Path) -> None:
        (home / ".netrc").write_text(self.ENTRY)
        assert read_login_key("https://me:secret@api.wandb.ai") == KEY

    def test_a_broken_file_is_like_none(self, home: Path) -> None:
        (home / ".netrc").write_text("machine\n  what is this\n")
        assert read_login_key("https://api.wandb.ai") is None
