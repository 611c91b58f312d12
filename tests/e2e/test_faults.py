"""Faults cost nothing: a write that fails is told in one message, and the run goes on to the same bits once it can.

The program runs in the process of the test, where every write can be counted and made to fail.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from e2e.faulty import QUICK, WRITTEN, Disk, Program
from tracking.wandb_fake import FakeRun, FakeWandb

from chainrule.runs.folder import RunFolder
from chainrule.training.checkpoint import FILES

# --- a disk without room


@pytest.mark.parametrize(
    ("event", "lasting"),
    [
        *(("create", False), ("create", True), ("write", False), ("write", True)),
        *(("flush", False), ("move", False), ("mkdir", False)),
    ],
)
def test_a_full_disk_in_each_write(program: Program, disk: Disk, event: str, lasting: bool) -> None:
    assert program.begin("whole") == 0
    whole, seen = program.results("whole"), []
    while True:
        name = f"run{len(seen) + 1}"
        disk.fail(event, len(seen) + 1, lasting=lasting)
        status = program.begin(name)
        disk.mend()
        if not disk.hit:
            break
        seen.append(disk.hit)
        assert status == 1, (disk.hit, program.out)
        assert "No space left on device" in program.message()
        assert f"Cannot write to runs/{name}" in program.err or event == "mkdir"
        run = program.run(name)
        assert not list(run.rglob(".*")), "half files"
        if (run / "run.json").exists():
            assert RunFolder.read(run).can_be_resumed, RunFolder.read(run).status
            saved = any((run / "checkpoints" / file).exists() for file in FILES)
            assert ("last checkpoint" in program.err) == saved
        assert program.follow(name) == 0, program.err
        assert program.results(name) == whole, disk.hit
    assert status == 0
    if event in ("create", "write", "move"):
        assert set(seen) == WRITTEN
    assert len(seen) == (3 if event == "mkdir" else 17)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_a_full_disk_in_each_write_of_a_resumed_run(program: Program, disk: Disk, lasting: bool) -> None:
    assert program.begin("whole") == 0
    whole, writes = program.results("whole"), 0
    while True:
        name = f"run{writes + 1}"
        disk.fail("move", 7)  # of the second epoch's model
        assert program.begin(name) == 1
        disk.fail("write", writes + 1, lasting=lasting)
        status = program("train", "--resume", name)
        disk.mend()
        if not disk.hit:
            break
        writes += 1
        assert status == 1, (disk.hit, program.out)
        assert RunFolder.read(program.run(name)).can_be_resumed
        assert program.follow(name) == 0, program.err
        assert program.results(name) == whole, disk.hit
    assert writes == 14


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_a_full_disk_while_a_finished_run_trains_on(program: Program, disk: Disk, lasting: bool) -> None:
    assert program.begin("whole", "-e", "3") == 0
    whole, writes = program.results("whole"), 0
    assert program.begin("short") == 0
    while True:
        name = f"run{writes + 1}"
        shutil.copytree(program.run("short"), program.run(name))
        disk.fail("write", writes + 1, lasting=lasting)
        status = program("train", "--resume", name, "-e", "3")
        disk.mend()
        if not disk.hit:
            break
        writes += 1
        assert status == 1, (disk.hit, program.out)
        program.message()
        # Still finished, with all that belongs to it, or to be resumed: nothing in between.
        if RunFolder.read(program.run(name)).status == "finished":
            assert program.results(name) == program.results("short")
            assert writes == 1
        assert program("train", "--resume", name, "-e", "3") == 0, program.err
        assert program.results(name) == whole, disk.hit
    assert writes == 14


def test_a_full_disk_leaves_wandb_out_and_nothing_else(program: Program, disk: Disk, monkeypatch) -> None:
    fake = FakeWandb(FakeRun(program.folder))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    online = ("--wandb_mode", "offline")
    assert program("train", *QUICK, *online, "--run_name", "whole") == 0
    disk.fail("write", 3)
    assert program("train", *QUICK, *online, "--run_name", "run") == 0
    assert disk.hit == "wandb.json"
    assert "epoch" in fake.run.of("log")[-3]
    assert fake.run.of("finish") == [0, 0]
    assert program.results("run").keys() == program.results("whole").keys()
    assert not (program.run("run") / "wandb.json").exists()
    # Where the results cannot be said to be finished, they are not called so elsewhere either.
    disk.fail("write", 18)
    assert program("train", *QUICK, *online, "--run_name", "last") == 1
    assert disk.hit == "run.json"
    assert fake.run.of("summary")[-1]["status"] == "failed"
    assert RunFolder.read(program.run("last")).status == "interrupted"


# --- a folder that goes away


@pytest.mark.parametrize("event", ["create", "move", "moved"])
@pytest.mark.parametrize("what", ["runs", "runs/NAME", "runs/NAME/checkpoints"])
@pytest.mark.parametrize("how", ["removed", "moved", "made a file"])
def test_a_folder_goes_away_while_the_run_goes_on(
    program: Program, disk: Disk, what: str, how: str, event: str
) -> None:
    assert program.begin("whole") == 0
    whole, away, kept = program.results("whole"), program.folder / "away", program.folder / "kept"
    for number in (1, 4, 11, 16):
        name = f"run{number}"
        folder = program.folder / what.replace("NAME", name)

        def lose(folder: Path = folder) -> None:
            folder.rename(away)
            if how == "made a file":
                folder.write_text("mine")

        if what == "runs":
            shutil.copytree(program.folder / "runs", kept)
        disk.fail(event, number, action=lose)
        assert program.begin(name) == 1, (number, program.out)
        disk.mend()
        assert disk.hit
        assert "was removed, moved or replaced" in program.message()
        assert folder.exists() == (how == "made a file"), "nothing is written there"
        folder.unlink(missing_ok=True)
        if how == "removed" and what != "runs/NAME":
            # Without its checkpoints a run cannot go on, and is not begun anew over the epochs that it has.
            shutil.rmtree(away)
            if what == "runs":
                kept.rename(folder)
            elif RunFolder.read(program.run(name)).epochs > 1:
                assert program("train", "--resume", name) == 1
                assert "finished epochs and no intact checkpoint" in program.message()
            continue
        if how == "removed":
            shutil.rmtree(away)
            assert program.begin(name) == 0, program.err
        else:
            away.rename(folder)
            shutil.rmtree(kept, ignore_errors=True)
            begun = (program.run(name) / "run.json").exists()
            assert (program("train", "--resume", name) if begun else program.begin(name)) == 0, program.err
        assert program.results(name) == whole, number


def test_a_run_does_not_write_to_the_one_that_took_its_place(program: Program, disk: Disk) -> None:
    assert program.begin("whole", "--seed", "1") == 0
    whole = program.results("whole")
    run = program.run("run")
    for number in range(2, 17):
        disk.fail("moved", number, action=lambda: (shutil.rmtree(run), program.begin("run", "--seed", "1")))
        assert program.begin("run") == 1, number
        assert disk.hit
        assert "was removed, moved or replaced" in program.message()
        assert program.results("run") == whole, number
        shutil.rmtree(run)


def test_figures_that_are_removed_while_they_are_drawn(program: Program, disk: Disk) -> None:
    assert program.begin("whole") == 0
    disk.fail("create", 14, action=lambda: shutil.rmtree(program.run("run") / "figures"))
    assert program.begin("run") == 1
    assert "Cannot write to runs/run/figures: No such file or directory" in program.message()
    assert program.follow("run") == 0
    assert program.results("run") == program.results("whole")
