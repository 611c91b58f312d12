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

import errno
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import OutputError
from chainrule.files import read_json, write_json, write_text
from chainrule.history import EpochRecord, History
from chainrule.model_file import save_model
from chainrule.tracking.base import Run, Status

if TYPE_CHECKING:
    from chainrule.metrics import Evaluation
    from chainrule.network import NeuralNetwork

__all__ = ["LocalTracker", "create_run_folder", "writing"]


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turn a failure to write into a message that says what is safe and what to do."""
    try:
        yield
    except OSError as error:
        remedy = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "Make it writable"
        raise OutputError(
            f"Cannot write to {what}: {error.strerror or error}. {remedy}, or give another --output_dir. "
            "Files that were written before are whole, and a run that has begun can go on with --resume."
        ) from error


def create_run_folder(output_dir: Path, name: str, *, unique: bool) -> Path:
    """Make an empty folder for a run.

    Args:
        output_dir: made too if missing.
        name: the folder's name.
        unique: whether a name that is taken gets a number added, or is refused.

    Raises:
        OutputError: the folder exists (and `unique` is False) or cannot be made.
    """
    with writing(output_dir):
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


def _never_began(folder: Path) -> bool:
    """Whether a folder is what is left of a run that was killed before its journal was there, and so cannot go on."""
    left = {path.name for path in folder.rglob("*") if path.name[0] != "."} if folder.is_dir() else {""}
    return left <= {"checkpoints", "lock", "config.json"}


class LocalTracker:
    """Writes the run folder. Raises OutputError where that fails."""

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
        if run.resumed:
            before = read_json(run.folder / "run.json")
            self._journal["started"] = before.get("started", self._journal["started"])
            # Epochs that were finished after the last checkpoint are trained again.
            self._journal["epoch_seconds"] = list(before.get("epoch_seconds", []))[: len(run.history)]
            self._journal["resumed"] = [*before.get("resumed", []), _now()]
            with writing(run.folder):
                write_text(run.folder / "history.jsonl", self._history.to_jsonl())
                # Those of a run that was stopped early are not those that it will have.
                (run.folder / "metrics.json").unlink(missing_ok=True)
        self._write("config.json", dict(run.config))
        self._write("run.json", self._journal)

    def log(self, record: EpochRecord, network: NeuralNetwork) -> None:
        """Save the parameters, then the record: a record on disk means that its parameters are there too."""
        now = time.perf_counter()
        self._journal["epoch_seconds"].append(round(now - self._epoch_began, 3))
        self._epoch_began = now
        self._history.append(record)
        with writing(self._run.folder):
            save_model(network, self._run.folder / "model.safetensors", self._run.dataset.classes)
            write_text(self._run.folder / "history.jsonl", self._history.to_jsonl())
        self._write("run.json", self._journal)

    def report(self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path) -> None:
        """Write the final numbers. Figures and model are in the folder already."""
        self._write("metrics.json", dict(metrics))

    def finish(self, status: Status, reason: str = "") -> None:
        """Note how the run ended, as far as the disk allows."""
        self._journal |= {
            "status": status,
            "ended": _now(),
            "seconds": round(time.perf_counter() - self._began, 3),
        }
        if reason:
            self._journal["reason"] = reason
        # Where this cannot be written, the run has failed for that reason, which is told already.
        with suppress(OutputError):
            self._write("run.json", self._journal)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        with writing(self._run.folder):
            write_json(self._run.folder / name, content)


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
