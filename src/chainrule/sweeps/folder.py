"""A sweep's folder, which belongs to one sweep and is used by one process at a time.

sweep.yaml      copy of the sweep file
sweep.json      name, seed, digest of the sweep file, current folder at the start, state
trials.db       the trials, in Optuna's format
workers.log     output of worker processes
0000_.../       the run folder of each trial
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError
from chainrule.core.files import (
    converting_write_errors,
    exists,
    hold_lock,
    is_locked,
    make_write_error,
    read_json,
    write_json,
    write_text,
)
from chainrule.runs.config import NON_IDENTITY_KEYS
from chainrule.runs.folder import CONFIG, find_folder, list_folders
from chainrule.sweeps.space.sweep_file import Sweep, read_sweep
from chainrule.sweeps.trials import Trial, Trials

__all__ = [
    "create_or_check_folder",
    "find_sweep",
    "list_sweeps",
    "read_state",
    "read_trial_config",
    "sweep_lock",
    "write_state",
]

_JOURNAL, _COPY, _LOCK = "sweep.json", "sweep.yaml", "sweep.lock"


def create_or_check_folder(folder: Path, sweep: Sweep, seed: int | None) -> tuple[int, bool]:
    """Write a sweep's files into its folder, or check that those there belong to this sweep. Hold `sweep_lock`.

    Args:
        seed: of the search; None for that of the sweep which is resumed, or 0.

    Returns:
        The seed, and whether the sweep was started before.

    Raises:
        ConfigError: the folder belongs to a sweep with another file or seed.
        OutputError: it cannot be written to.
    """
    journal = read_json(folder / _JOURNAL)
    new = {"name": sweep.name, "seed": seed or 0, "digest": sweep.digest, "folder": str(Path.cwd())}
    known = {**new, **journal}
    if known["digest"] != sweep.digest:
        raise ConfigError(
            f"{folder} belongs to a sweep that was started with another sweep file, kept as {folder / _COPY}. Resume "
            "that one, or give the new sweep another name. Only run_cap, the description and comments may change."
        )
    if seed not in (None, known["seed"]):
        raise ConfigError(
            f"The sweep in {folder} was started with seed {known['seed']}, got {seed}. Leave the seed out to resume "
            "it, or give the new sweep another name."
        )
    with converting_write_errors(folder):
        write_text(folder / _COPY, sweep.text)
        write_json(folder / _JOURNAL, {**known, "state": "started"})
    return int(known["seed"]), bool(journal)


def write_state(folder: Path, state: str) -> None:
    """Record how the sweep in a folder ended, unless the disk is full."""
    with suppress(OSError):
        write_json(folder / _JOURNAL, {**read_json(folder / _JOURNAL), "state": state})


def read_state(folder: Path) -> str:
    """The state of the sweep in a folder: "running", "done" or "stopped"."""
    if is_locked(folder / _LOCK):
        return "running"
    return "done" if read_json(folder / _JOURNAL).get("state") == "done" else "stopped"


@contextmanager
def sweep_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a sweep's folder, which is created if missing.

    Raises:
        ConfigError: the folder holds something else, such as a training run.
        OutputError: another process runs the sweep, or the folder cannot be written to.
    """
    with converting_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        others = {path.name for path in folder.iterdir() if path.name[0] != "."} - {_COPY, _LOCK}
    if others and not exists(folder / _JOURNAL):
        raise ConfigError(f"{folder} holds {min(others)!r} but no sweep. Give the sweep another name or output_dir.")
    busy = f"{folder} is in use: another process runs this sweep. Wait for it, or stop it."
    with hold_lock(folder / _LOCK, busy=busy, unwritable=partial(make_write_error, folder)):
        yield


def list_sweeps(output_dir: Path) -> list[Path]:
    """The sweeps' folders in a folder, by name."""
    return list_folders(output_dir, _JOURNAL)


def find_sweep(name: str, output_dir: Path) -> tuple[Path, Sweep, Trials]:
    """Open a sweep by its name or the path of its folder.

    Returns:
        The folder, the sweep file and the trials; close these after use.

    Raises:
        ConfigError: there is no such sweep, or its file cannot be read.
    """
    folder = find_folder("sweep", name, output_dir, _JOURNAL)
    journal = read_json(folder / _JOURNAL)
    sweep = read_sweep(folder / _COPY, journal.get("name"), Path(str(journal.get("folder", ""))))
    return folder, sweep, Trials(folder, sweep, create=False)


def read_trial_config(folder: Path, sweep: Sweep, trial: Trial) -> dict[str, Any]:
    """The configuration of a trial: what the sweep file sets, and once it was started, all that affects the results."""
    recorded = read_json(folder / trial.folder / CONFIG)
    determining = {key: recorded[key] for key in recorded if key not in NON_IDENTITY_KEYS or key == "epochs"}
    return {**determining, **sweep.fixed, **trial.settings}
