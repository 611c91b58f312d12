"""A sweep's folder: its file, its trials, their runs, and the rule that it belongs to one sweep and one process.

sweep.yaml      the sweep file, as it was
sweep.json      the search's seed, what the file's digest was, where the sweep was begun, how it ended
trials.db       the trials, for Optuna's tools
workers.log     what worker processes printed
0000_.../       the run folder of each trial
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chainrule.core.errors import ConfigError, OutputError
from chainrule.core.files import exists, read_json, write_json, write_text
from chainrule.core.lock import hold_lock, is_locked
from chainrule.core.registry import did_you_mean
from chainrule.sweeps.space.sweep_file import Sweep, read_sweep
from chainrule.sweeps.trials import Trials

__all__ = ["find_sweep", "list_sweeps", "note_state", "prepare", "seed_of", "state_of", "sweep_lock"]

_JOURNAL, _COPY, _LOCK = "sweep.json", "sweep.yaml", "sweep.lock"


def prepare(folder: Path, sweep: Sweep, seed: int) -> bool:
    """Make a sweep's folder, or see that the one there is belongs to this sweep. Hold it meanwhile (`sweep_lock`).

    Returns:
        Whether the sweep was begun before.

    Raises:
        ConfigError: it belongs to a sweep with another file or seed.
        OutputError: it cannot be written.
    """
    journal = read_json(folder / _JOURNAL)
    if journal:
        if journal.get("digest") != sweep.digest:
            raise ConfigError(
                f"{folder} was begun with another sweep file, kept as {folder / _COPY}. Go on with that one, or give "
                "the new sweep another --name. Only run_cap, the description and comments may change."
            )
        if journal.get("seed") != seed:
            raise ConfigError(
                f"{folder} was begun with seed {journal.get('seed')}, and was asked for {seed}. Leave --seed out to go "
                "on, or give the new sweep another --name."
            )
    try:
        write_text(folder / _COPY, sweep.text)
        began = str(journal.get("folder") or Path.cwd())
        write_json(
            folder / _JOURNAL,
            {"name": sweep.name, "seed": seed, "digest": sweep.digest, "folder": began, "state": "begun"},
        )
    except OSError as error:
        raise OutputError(
            f"Cannot write to {folder}: {error.strerror or error}. Make room or make it writable."
        ) from error
    return bool(journal)


def note_state(folder: Path, state: str) -> None:
    """Remember how the sweep in a folder ended, as far as the disk allows."""
    with suppress(OSError):
        write_json(folder / _JOURNAL, {**read_json(folder / _JOURNAL), "state": state})


def state_of(folder: Path) -> str:
    """What became of the sweep in a folder: "running", "done", or "stopped"."""
    if is_running(folder):
        return "running"
    return "done" if read_json(folder / _JOURNAL).get("state") == "done" else "stopped"


def seed_of(folder: Path) -> int | None:
    """The seed of the sweep that a folder holds; None where it holds none."""
    seed = read_json(folder / _JOURNAL).get("seed")
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


@contextmanager
def sweep_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a sweep's folder during a block; the folder is created if missing.

    Raises:
        OutputError: another process runs the sweep, or the folder cannot be written to.
    """

    def make_error(error: OSError) -> OutputError:
        return OutputError(f"Cannot write to {folder}: {error.strerror or error}. Make room or make it writable.")

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise make_error(error) from error
    busy = f"{folder} is in use: another process runs this sweep. Wait for it, or stop it."
    with hold_lock(folder / _LOCK, busy=busy, unwritable=make_error):
        yield


def is_running(folder: Path) -> bool:
    """Whether a process runs the sweep."""
    return is_locked(folder / _LOCK)


def list_sweeps(output_dir: Path) -> list[Path]:
    """The folders of sweeps, by name."""
    try:
        return sorted(path for path in output_dir.iterdir() if (path / _JOURNAL).is_file())
    except OSError:
        return []


def find_sweep(name: str, output_dir: Path) -> tuple[Path, Sweep, Trials]:
    """A sweep by its name or its folder: the folder, the file and the trials.

    Raises:
        ConfigError: there is none.
    """
    for folder in (output_dir / name, Path(name)):
        if exists(folder / _JOURNAL):
            journal = read_json(folder / _JOURNAL)
            began = journal.get("folder")
            called = journal.get("name")
            sweep = read_sweep(
                folder / _COPY,
                called if isinstance(called, str) else None,
                Path(began) if isinstance(began, str) else None,
            )
            return folder, sweep, Trials(folder, sweep, begin=False)
    known = [folder.name for folder in list_sweeps(output_dir)]
    raise ConfigError(
        f"There is no sweep {name!r} in {output_dir}.{did_you_mean(name, known)} `chainrule sweep list` lists them."
    )
