"""Run folders with hostile names or contents: no way out of the folder of runs, nothing that commands a terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fuzz.readers import READERS
from fuzz.samples import write

from chainrule.cli.runs import run as print_runs
from chainrule.core.errors import ChainruleError, ConfigError
from chainrule.core.files import read_json
from chainrule.core.yaml_with_lines import read_mapping
from chainrule.runs.config import TrainConfig
from chainrule.runs.folder import RunFolder, find_run, list_runs

HOSTILE = (
    "../x",
    "/etc/x",
    "a/../../x",
    "..",
    ".",
    ".x",
    "a\\b",
    "a\0b",
    "\x1b[31mred",
    "a\nb",
    "\u202egnp",
    "x" * 201,
    "\udcff",
)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_that_leads_elsewhere_or_commands_the_terminal_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="run_name must be a plain folder name") as caught:
        TrainConfig({"run_name": name})
    assert str(caught.value).isprintable()
    (tmp_path / "c.yaml").write_text(f"run_name: {json.dumps(name)}")
    with pytest.raises(ConfigError):
        TrainConfig(read_mapping(tmp_path / "c.yaml"))


@pytest.mark.parametrize("name", [*HOSTILE, "a" * 5000, "", "<b>"], ids=lambda name: ascii(name)[:20])
def test_a_run_that_does_not_exist_is_reported_harmlessly(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="There is no run") as caught:
        find_run(name, tmp_path / "runs")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("new\nline", "new\\nline"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff", "\\udcff"),
        ("<script>alert(1)</script>".replace("/", ""), "<script>alert(1)<script>"),
    ],
)
def test_a_folder_with_a_hostile_name_is_listed_harmlessly(tmp_path: Path, capsys, name: str, shown: str) -> None:
    journal = {"status": "\x1b[2J<b>", "started": "\x1b[2J", "name": "../../\x1b[2J"}
    write({"run.json": json.dumps(journal).encode(), "metrics.json": b'{"test_accuracy": "\\u001b"}'}, tmp_path / name)
    assert print_runs(["--output_dir", str(tmp_path)], "chainrule runs") == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"damaged  0       -           -     -    {shown}"]
    assert find_run(name, tmp_path).path == tmp_path / name


def test_messages_cannot_command_the_terminal() -> None:
    error = ChainruleError("a\x1b[31m\r\nb\u202e \N{GREEK SMALL LETTER ALPHA}")
    assert str(error) == "a\\x1b[31m\\r\nb\\u202e \N{GREEK SMALL LETTER ALPHA}"


def test_a_folder_that_may_not_be_looked_into_hides_no_other_run(tmp_path: Path, monkeypatch) -> None:
    write(READERS["run folder"].seeds()[2], tmp_path / "runs")
    stat = Path.stat

    def refused(path: Path, **options: bool) -> os.stat_result:
        if "/b/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refused)
    assert [run.path.name for run in list_runs(tmp_path / "runs")] == ["a"]


@pytest.mark.parametrize(
    "journal",
    [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"status": []}', b'{"status": {}, "started": {}}', b"\xff", b'"x"'],
    ids=lambda journal: journal[:20],
)
def test_a_damaged_journal_is_one(tmp_path: Path, journal: bytes) -> None:
    write({"run.json": journal}, tmp_path / "r")
    assert RunFolder.read(tmp_path / "r").status == "damaged"
    assert isinstance(read_json(tmp_path / "r" / "run.json"), dict)


@pytest.mark.parametrize("value", ["1e999", "NaN", "-1", "1.5", "true", '"0.5"', "9" * 400, "[0.5]"])
def test_a_share_that_is_none_is_not_shown(tmp_path: Path, value: str) -> None:
    record = f'{{"epoch": 1, "step": 1, "train_loss": 1, "train_accuracy": 1, "val_loss": 1, "val_accuracy": {value}}}'
    metrics = f'{{"test_accuracy": {value}}}'
    write({"run.json": b"{}", "history.jsonl": record.encode(), "metrics.json": metrics.encode()}, tmp_path / "r")
    run = RunFolder.read(tmp_path / "r")
    assert (run.epochs, run.val_accuracy, run.test_accuracy) == (0, None, None)
