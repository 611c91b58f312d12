"""Run folders: finding one, telling what became of it, and keeping two processes out of the same one."""

from __future__ import annotations

import errno
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError, DataError, OutputError
from chainrule.core.files import exists, read_json, read_text
from chainrule.core.lock import is_locked
from chainrule.core.registry import did_you_mean
from chainrule.runs.config import TrainConfig
from chainrule.training.checkpoint import FILES
from chainrule.training.history import EpochRecord

__all__ = [
    "MAY_CHANGE",
    "RunFolder",
    "cannot_write",
    "configuration_hash",
    "differences",
    "find_run",
    "holding",
    "how_to_go_on",
    "list_runs",
    "lock_identity",
]

# What a resumed run may have otherwise than before: nothing of it changes a number but `epochs`, which adds some.
MAY_CHANGE = (
    *("epochs", "threads", "data_dir", "checkpoint_every", "run_name", "output_dir", "plugin", "quiet", "figures"),
    *("wandb_project", "wandb_entity", "wandb_mode"),
)
_LOCK = "checkpoints/lock"
_LARGEST = 64 * 1024 * 1024  # bytes of a history that is read


@dataclass(frozen=True)
class RunFolder:
    """What a run's folder tells.

    Attributes:
        path: the folder.
        status: "finished", "aborted", "pruned" (ended early by a sweep), "failed", "running", "interrupted" if nobody
            runs it any more, or "damaged".
        started: when, or None where the folder does not tell.
        epochs: finished ones.
        val_accuracy: the best, or None.
        test_accuracy: or None.
    """

    path: Path
    status: str
    started: datetime | None
    epochs: int
    val_accuracy: float | None
    test_accuracy: float | None

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Look at a folder. What cannot be read counts as not there."""
        journal, metrics = read_json(path / "run.json"), read_json(path / "metrics.json")
        status = journal.get("status")
        if status == "running" and not is_held(path):
            status = "interrupted"
        try:
            started = datetime.fromisoformat(str(journal.get("started")))
        except ValueError:
            started = None
        if started is not None and started.tzinfo is None:
            started = started.replace(tzinfo=UTC)
        accuracies = _validation_accuracies(path / "history.jsonl")
        return cls(
            path=path,
            status=status
            if status in ("finished", "aborted", "pruned", "failed", "running", "interrupted")
            else "damaged",
            started=started,
            epochs=len(accuracies),
            val_accuracy=max((value for value in accuracies if value is not None), default=None),
            test_accuracy=_share(metrics.get("test_accuracy")),
        )

    @property
    def can_be_resumed(self) -> bool:
        """Whether it ended before it was done."""
        return self.status in ("interrupted", "aborted", "failed")

    def config(self) -> TrainConfig:
        """Its configuration.

        Raises:
            ConfigError: it cannot be read, or is none.
        """
        file = self.path / "config.json"
        content = read_json(file)
        if not content:
            raise ConfigError(f"{file} is missing or damaged, so the run cannot be resumed.")
        try:
            return TrainConfig.from_mapping(content)
        except ConfigError as error:
            raise ConfigError(f"{file} is no configuration: {error}") from error


def _share(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 else None


def _validation_accuracies(file: Path) -> list[float | None]:
    """One for each record; those that cannot be read are left out."""
    try:
        lines = read_text(file, _LARGEST).splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        try:
            found.append(EpochRecord.from_json(json.loads(line)).val_score)
        except (ValueError, RecursionError, DataError):
            continue
    return found


def list_runs(output_dir: Path) -> list[RunFolder]:
    """The runs of a folder, those begun last first."""
    try:
        folders = [path for path in output_dir.iterdir() if exists(path / "run.json")]
    except OSError:
        return []
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(map(RunFolder.read, folders), key=lambda run: (run.started or never, run.path.name), reverse=True)


def find_run(name: str, output_dir: Path) -> RunFolder:
    """The run of this name, or in the folder of this path.

    Raises:
        ConfigError: there is none.
    """
    for path in (output_dir / name, Path(name)):
        if exists(path / "run.json"):
            return RunFolder.read(path)
    runs = [run.path.name for run in list_runs(output_dir)]
    raise ConfigError(
        f"There is no run {name!r} in {output_dir}.{did_you_mean(name, runs)} `chainrule runs` lists those there are."
    )


def configuration_hash(config: TrainConfig) -> str:
    """SHA-256 of all that determines the numbers of a run."""
    fixed = {name: value for name, value in config.to_dict().items() if name not in MAY_CHANGE}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR), "Put back what was there"),
}


def cannot_write(what: Path, error: OSError, then: str) -> OutputError:
    """A message on what could not be written, why, and what to do."""
    remedy = _REMEDIES.get(error.errno or 0, "Make it writable")
    return OutputError(f"Cannot write to {what}: {error.strerror or error}. {remedy}, {then}.")


def how_to_go_on(folder: Path) -> str:
    """What to do with a run that ended too early, as the end of a sentence.

    >>> how_to_go_on(Path("runs/never"))
    'then begin the run again'
    """
    if not (folder / "run.json").exists():
        return "then begin the run again"
    name = folder.name if folder.parent == Path(TrainConfig.output_dir.default) else str(folder)
    command = f"`chainrule train --resume {shlex.quote(name)}`"
    if any((folder / "checkpoints" / file).exists() for file in FILES):
        return f"then go on with {command}: the last checkpoint is whole"
    return f"then begin anew with {command}: no checkpoint was saved yet"


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """A block in which this process alone may write to a run's folder. Where the file system has locks, it lets go when
    the process dies.

    Raises:
        OutputError: another process holds it.
    """
    from filelock import FileLock, Timeout

    try:
        (folder / _LOCK).parent.mkdir(exist_ok=True)
        lock = FileLock(folder / _LOCK)
        # Whoever lists runs tries the lock, and holds it for a moment.
        lock.acquire(timeout=1, poll_interval=0.05)
    except Timeout:
        raise OutputError(f"{folder} is in use: another process trains this run. Wait for it, or stop it.") from None
    except OSError as error:
        raise cannot_write(folder, error, how_to_go_on(folder)) from error
    try:
        yield
    finally:
        lock.release()


def lock_identity(folder: Path) -> tuple[int, int] | None:
    """Tells a folder's lock from that of another folder that took its place; None where there is none.

    The folder's own number would not do: once it is removed, the next one may get the same.
    """
    try:
        found = (folder / _LOCK).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_held(folder: Path) -> bool:
    """Whether a process trains the run."""
    return is_locked(folder / _LOCK)


def differences(before: TrainConfig, now: TrainConfig) -> Mapping[str, tuple[Any, Any]]:
    """The settings that a resumed run must not change, and does, with their values before and now."""
    old, new = before.to_dict(), now.to_dict()
    names = [name for name in {**old, **new} if name not in MAY_CHANGE]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}
