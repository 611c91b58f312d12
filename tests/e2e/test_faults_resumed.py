"""Resuming with changed files: invalid data, checkpoints of other runs, a damaged journal."""

from __future__ import annotations

import shutil
import sys

import pytest
from e2e.faulty import QUICK, Disk, Program
from tracking.wandb_fake import FakeRun, FakeWandb

from chainrule import DATASETS, load_model
from chainrule.runs.folder import RunFolder
from chainrule.training.checkpoint import _FORMAT, FILES

# --- numbers that are none


def test_a_run_that_diverges_keeps_its_last_checkpoint_and_diverges_again(program: Program) -> None:
    words = ("-o", "sgd", "-lr", "0.5", "-a", "identity", "-nhl", "2", "-w_i", "Xavier", "-w_d", "0")
    assert program.train("short", *words, "-e", "1") == 0
    assert program.train("run", *words) == 1
    first = program.message()
    assert "Training diverged: the loss is nan in epoch 2" in first
    run = program.run("run")
    for _ in range(2):
        assert RunFolder.read(run).status == "failed"
        assert (run / "history.jsonl").read_bytes() == (program.run("short") / "history.jsonl").read_bytes()
        assert load_model(run / "model.safetensors").parameters.flat.tobytes() == (
            load_model(program.run("short") / "model.safetensors").parameters.flat.tobytes()
        )
        assert [file.name for file in (run / "checkpoints").glob("*.safetensors")] == [FILES[0]]
        assert program("train", "--resume", "run") == 1
        assert program.message() == first


LOADER = """
import os
import numpy as np
from sklearn.datasets import load_digits
from chainrule import DATASETS
from chainrule.data import RawDataset
@DATASETS.register("spoilt")
def load(folder):
    x, y = load_digits(return_X_y=True)
    x[7, 20] = float(os.environ["VALUE"])
    return RawDataset(x[:1400], y[:1400], x[1400:], y[1400:], tuple("0123456789"), scale=1 / 16)
"""


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_data_that_become_nan_before_a_run_is_resumed(program: Program, disk: Disk, monkeypatch, value: str) -> None:
    (program.folder / "spoilt.py").write_text(LOADER)
    words = ("--plugin", "spoilt.py", "-d", "spoilt")
    monkeypatch.setattr(DATASETS, "_parts", dict(DATASETS._parts))
    monkeypatch.setenv("VALUE", "3")
    disk.fail("move", 7)
    assert program.train("run", *words) == 1
    disk.repair()
    before = {path: path.read_bytes() for path in program.run("run").rglob("*") if path.is_file()}
    monkeypatch.setenv("VALUE", value)
    assert program("train", "--resume", "run") == 1
    assert all(words in program.message() for words in ("Dataset 'spoilt'", "x_train", "finite", value))
    assert {path: path.read_bytes() for path in before} == before
    monkeypatch.setenv("VALUE", "3")
    assert program("train", "--resume", "run") == 0, program.err


# --- checkpoints that are not this run's


@pytest.mark.parametrize("change", [False, True])
def test_the_newest_checkpoint_counts_whatever_its_place(program: Program, disk: Disk, change: bool) -> None:
    assert program.train("whole") == 0
    disk.fail("move", 11)
    assert program.train("run") == 1
    disk.repair()
    files = [program.run("run") / "checkpoints" / name for name in FILES]
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, reversed(contents) if change else contents, strict=True):
        file.write_bytes(content)
    assert program("train", "--resume", "run") == 0, program.err
    assert "Resuming run after epoch 2" in program.out
    assert program.results("run") == program.results("whole")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seed", "1"), "were made with other configuration"),
        (("-sz", "9"), "no intact checkpoint"),
        (("-o", "adam"), "no intact checkpoint"),
    ],
)
def test_checkpoints_of_another_run(program: Program, disk: Disk, words: tuple[str, ...], message: str) -> None:
    for name in ("run", "other"):
        disk.fail("move", 11)
        assert program.train(name, *(words if name == "other" else ())) == 1
        disk.repair()
    for name in FILES:
        shutil.copy(program.run("other") / "checkpoints" / name, program.run("run") / "checkpoints" / name)
    before = {path: path.read_bytes() for path in program.run("run").rglob("*") if path.is_file()}
    assert program("train", "--resume", "run") == 1
    assert message in program.message()
    assert {path: path.read_bytes() for path in before} == before


def test_checkpoints_of_a_later_version(program: Program, disk: Disk) -> None:
    disk.fail("move", 11)
    assert program.train("run") == 1
    disk.repair()
    before, other = [program.run("run") / "checkpoints" / name for name in FILES], f"{_FORMAT[:-1]}9"
    for path in before:
        path.write_bytes(path.read_bytes().replace(_FORMAT.encode(), other.encode()))
    assert program("train", "--resume", "run") == 1
    assert "no intact checkpoint" in program.message()
    for path in before:
        assert all(fact in program.err for fact in (str(path.relative_to(program.folder)), _FORMAT, other))


def test_a_journal_with_anything_in_it(program: Program, disk: Disk) -> None:
    assert program.train("whole") == 0
    disk.fail("move", 11)
    assert program.train("run") == 1
    disk.repair()
    (program.run("run") / "run.json").write_text('{"status": "failed", "epoch_seconds": 3, "resumed": {"a": null}}')
    assert program("train", "--resume", "run") == 0, program.err
    assert program.results("run") == program.results("whole")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"id": 3}', '{"id": "../../x y"}', '{"id": ""}', "\0" * 9, '{"id": "known", "x": 1}']
)
def test_a_note_of_the_wandb_run_with_anything_in_it(program: Program, disk: Disk, monkeypatch, content: str) -> None:
    fake = FakeWandb(FakeRun(program.folder))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    assert program.train("whole") == 0
    disk.fail("move", 12)
    assert program("train", *QUICK, "--wandb_mode", "offline", "--run_name", "run") == 1
    disk.repair()
    note = program.run("run") / "wandb.json"
    assert note.read_text() == '{\n  "id": "abc123"\n}\n'
    note.write_text(content)
    assert program("train", "--resume", "run") == 0, program.err
    same = {name: value for name, value in fake.inits[-1].items() if name in ("id", "resume")}
    if "known" in content:
        assert same == {"id": "known", "resume": "allow"}
    else:
        assert same == {}
    assert note.read_text() == '{\n  "id": "abc123"\n}\n'
    found, expected = program.results("run"), program.results("whole")
    assert {**found, "config.json": b""} == {**expected, "config.json": b""}
