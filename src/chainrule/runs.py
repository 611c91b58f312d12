"""Run folders: finding one, telling what became of it, and keeping two processes out of the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chainrule.config import TrainConfig
from chainrule.errors import ConfigError, OutputError
from chainrule.files import read_json
from chainrule.registry import did_you_mean

__all__ = ["MAY_CHANGE", "RunFolder", "configuration_hash", "differences", "find_run", "holding", "list_runs"]

# What a resumed run may have otherwise than before: nothing of it changes a number but `epochs`, which adds some.
MAY_CHANGE = (
    *("epochs", "threads", "data_dir", "checkpoint_every", "run_name", "output_dir", "plugin", "quiet"),
    *("wandb_project", "wandb_entity", "wandb_mode"),
)
_LOCK = "checkpoints/lock"
_LARGEST = 64 * 1024 * 1024  # bytes of a history that is read


@dataclass(frozen=True)
class RunFolder:
    """What a run's folder tells.

    Attributes:
        path: the folder.
        status: "finished", "aborted", "failed", "running", "interrupted" if nobody runs it any more, or "damaged".
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
            status=status if status in ("finished", "aborted", "failed", "running", "interrupted") else "damaged",
            started=started,
            epochs=len(accuracies),
            val_accuracy=max((value for value in accuracies if value is not None), default=None),
            test_accuracy=_number(metrics.get("test_accuracy")),
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


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _validation_accuracies(file: Path) -> list[float | None]:
    """One for each record; those that cannot be read are left out."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.stat().st_size <= _LARGEST else []
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(_number(record.get("val_accuracy")))
    return found


def list_runs(output_dir: Path) -> list[RunFolder]:
    """The runs of a folder, those begun last first."""
    try:
        folders = [path for path in output_dir.iterdir() if (path / "run.json").exists()]
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
        if (path / "run.json").exists():
            return RunFolder.read(path)
    runs = [run.path.name for run in list_runs(output_dir)]
    raise ConfigError(
        f"There is no run {name!r} in {output_dir}.{did_you_mean(name, runs)} `chainrule runs` lists those there are."
    )


def configuration_hash(config: TrainConfig) -> str:
    """SHA-256 of all that determines the numbers of a run."""
    fixed = {name: value for name, value in config.to_dict().items() if name not in MAY_CHANGE}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


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
        raise OutputError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process trains the run."""
    from filelock import FileLock, Timeout

    if not (folder / _LOCK).exists():
        return False
    try:
        with FileLock(folder / _LOCK).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def differences(before: TrainConfig, now: TrainConfig) -> Mapping[str, tuple[Any, Any]]:
    """The settings that a resumed run must not change, and does, with their values before and now."""
    old, new = before.to_dict(), now.to_dict()
    names = [name for name in {**old, **new} if name not in MAY_CHANGE]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}
