"""The run folder: the one record of a run that is always written. Other trackers only mirror it.

    config.json         the resolved configuration; `--config` takes it again
    history.jsonl       one record an epoch
    metrics.json        final numbers, scores by class, confusion matrix
    model.safetensors   the parameters, saved after every epoch
    figures/            PNG files
    run.json            what differs between equal runs: status, times, versions

Apart from run.json, equal runs write equal bytes.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import OutputError
from chainrule.core.files import read_json, write_json, write_text
from chainrule.nn.model_file import save_model
from chainrule.runs.folder import cannot_write, how_to_go_on, lock_identity
from chainrule.runs.tracking.base import Run, Status
from chainrule.training.history import EpochRecord, History

if TYPE_CHECKING:
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.network import Network

__all__ = ["LocalTracker", "Writing", "create_run_folder"]


class Writing:
    """What writes to the folder of a run that this process holds.

    Args:
        folder: of the run; `holding` has its lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = lock_identity(folder)

    @property
    def lost(self) -> bool:
        """Whether the folder, or its lock, is no longer the one that this process holds."""
        return lock_identity(self._folder) != self._lock

    @contextmanager
    def to(self, name: str) -> Iterator[None]:
        """A block that writes a file of the folder.

        Raises:
            OutputError: it cannot be written, or the folder was removed; the message says what is safe and what to do.
        """
        # Where the folder was removed, another process may have begun a run of the same name.
        self._check()
        try:
            yield
        except OSError as error:
            self._check()
            raise cannot_write(self._folder / name, error, how_to_go_on(self._folder)) from error

    def _check(self) -> None:
        if self.lost:
            what = self._folder / "checkpoints" if self._folder.exists() else self._folder
            raise OutputError(
                f"{what} was removed, moved or replaced while the run was going on, so nothing more is written there. "
                "If it was moved, move it back and go on with --resume; if it was removed, begin a new run."
            )


def create_run_folder(output_dir: Path, name: str, *, unique: bool) -> Path:
    """Make an empty folder for a run.

    Args:
        output_dir: made too if missing.
        name: the folder's name.
        unique: whether a name that is taken gets a number added, or is refused.

    Raises:
        OutputError: the folder exists (and `unique` is False) or cannot be made.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = output_dir / (name if number == 1 else f"{name}_{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                if _never_began(folder):
                    return folder
                if not unique:
                    raise OutputError(f"{folder} exists already; choose another --run_name or remove it.") from None
                number += 1
    except OSError as error:
        raise cannot_write(output_dir, error, "or give another --output_dir") from error


def _never_began(folder: Path) -> bool:
    """Whether a folder is what is left of a run that was killed before its journal was there, and so cannot go on."""
    left = {path.name for path in folder.rglob("*") if path.name[0] != "."} if folder.is_dir() else {""}
    return left <= {"checkpoints", "lock", "config.json"}


class LocalTracker:
    """Writes the run folder. Raises OutputError where that fails.

    Args:
        writing: what writes to it.
    """

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._marked = False  # as running

    def start(self, run: Run) -> None:
        """Write the configuration and mark the run as running."""
        self._run, self._history = run, History(list(run.history))
        self._began = self._epoch_began = time.perf_counter()
        self._journal: dict[str, Any] = {
            "name": run.name,
            "status": "running",
            "started": _now(),
            "ended": None,
            "seconds": None,
            "epoch_seconds": [],
            "versions": _versions(),
        }
        _remove_leftovers(run.folder)
        if run.resumed:
            before = read_json(run.folder / "run.json")
            self._journal["started"] = before.get("started", self._journal["started"])
            # Epochs that were finished after the last checkpoint are trained again.
            self._journal["epoch_seconds"] = _list(before.get("epoch_seconds"))[: len(run.history)]
            self._journal["resumed"] = [*_list(before.get("resumed")), _now()]
            # First, so that a run which was finished, and shall train on, never says so of results that are gone.
            self._write("run.json", self._journal)
            self._marked = True
            with self._writing.to("history.jsonl"):
                write_text(run.folder / "history.jsonl", self._history.to_jsonl())
            with self._writing.to("metrics.json"):
                # Those of a run that was stopped early are not those that it will have.
                (run.folder / "metrics.json").unlink(missing_ok=True)
        self._write("config.json", dict(run.config))
        if not run.resumed:
            # Last: a run can be resumed from here on, and needs its configuration for it.
            self._write("run.json", self._journal)
            self._marked = True

    def log(self, record: EpochRecord, network: Network) -> None:
        """Save the parameters, then the record: a record on disk means that its parameters are there too."""
        now = time.perf_counter()
        self._journal["epoch_seconds"].append(round(now - self._epoch_began, 3))
        self._epoch_began = now
        self._history.append(record)
        with self._writing.to("model.safetensors"):
            save_model(network, self._run.folder / "model.safetensors", self._run.dataset.classes)
        with self._writing.to("history.jsonl"):
            write_text(self._run.folder / "history.jsonl", self._history.to_jsonl())
        self._write("run.json", self._journal)

    def report(self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path) -> None:
        """Write the final numbers. Figures and model are in the folder already."""
        self._write("metrics.json", dict(metrics))

    def finish(self, status: Status, reason: str = "") -> None:
        """Note how the run ended.

        Raises:
            OutputError: a run that has not failed cannot say so; on disk it counts as interrupted.
        """
        if not self._marked:
            return
        self._journal |= {
            "status": status,
            "ended": _now(),
            "seconds": round(time.perf_counter() - self._began, 3),
        }
        if reason:
            self._journal["reason"] = reason
        try:
            self._write("run.json", self._journal)
        except OutputError:
            # A run that failed has most likely failed for that reason, which is told already.
            if status != "failed":
                raise

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        with self._writing.to(name):
            write_json(self._run.folder / name, content)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writes during which the process was killed."""
    names = ("run.json", "config.json", "history.jsonl", "metrics.json", "model.safetensors")
    for pattern in (*(f".{name}.*" for name in names), "figures/.*.png.*"):
        for leftover in folder.glob(pattern):
            with suppress(OSError):
                leftover.unlink()


def _list(value: object) -> list[Any]:
    """The value if it is a list; an empty one if a damaged file gave something else."""
    return list(value) if isinstance(value, list) else []


def _now() -> str:
    """The time as ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    """What the run was made with."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("chainrule", "numpy", "scikit-learn", "wandb"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
