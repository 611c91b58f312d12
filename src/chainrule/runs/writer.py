"""Writing a run folder while the run trains."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chainrule.core.errors import OutputError
from chainrule.core.files import read_json, write_json, write_text
from chainrule.nn.model_file import save_model
from chainrule.nn.network import Network
from chainrule.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    FIGURES,
    HISTORY,
    JOURNAL,
    METRICS,
    MODEL,
    get_lock_identity,
    make_run_error,
)
from chainrule.runs.run import Run, Status
from chainrule.training.history import EpochRecord, History

__all__ = ["RunWriter"]


class RunWriter:
    """Writes the folder of a run whose lock this process holds.

    All methods raise OutputError if a file cannot be written, or if the folder was removed or replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = get_lock_identity(folder)
        self._is_started = False

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Run a block that writes a file of the folder; an OSError becomes an OutputError that says how to resume.

        Raises:
            OutputError: the file cannot be written, or the folder was removed or replaced.
        """
        self._check_folder()
        try:
            yield
        except OSError as error:
            self._check_folder()
            raise make_run_error(self._folder, self._folder / name, error) from error

    def _check_folder(self) -> None:
        # If the folder was removed, another process may have started a run of the same name.
        if get_lock_identity(self._folder) != self._lock:
            what = self._folder / CHECKPOINTS if self._folder.exists() else self._folder
            raise OutputError(
                f"{what} was removed, moved or replaced during the run, so nothing more is written there. If it was "
                "moved, move it back and resume the run; if it was removed, start a new run."
            )

    def start(self, run: Run) -> None:
        """Write the configuration and mark the run as running."""
        self._history = History(list(run.history))
        self._dataset = run.dataset
        self._start = self._epoch_start = time.perf_counter()
        self._journal: dict[str, Any] = {
            "name": run.name,
            "dataset": run.dataset.name,
            "status": "running",
            "started": _format_now(),
            "ended": None,
            "seconds": None,
            "epoch_seconds": [],
            "versions": _find_versions(),
        }
        _remove_temporary_files(self._folder)
        if run.resumed:
            before = read_json(self._folder / JOURNAL)
            self._journal["started"] = before.get("started", self._journal["started"])
            # Epochs that finished after the last checkpoint are trained again.
            self._journal["epoch_seconds"] = _as_list(before.get("epoch_seconds"))[: len(run.history)]
            self._journal["resumed"] = [*_as_list(before.get("resumed")), _format_now()]
            # First, so that a finished run that is trained further never claims to be finished without its results.
            self._write_journal()
            with self.guard(HISTORY):
                write_text(self._folder / HISTORY, self._history.to_jsonl())
            with self.guard(METRICS):
                # The metrics of a run that was stopped early are not its final ones.
                (self._folder / METRICS).unlink(missing_ok=True)
        self._write_json(CONFIG, run.config)
        if not run.resumed:
            # Last: from here on the run can be resumed, which needs its configuration.
            self._write_journal()

    def log(self, record: EpochRecord, network: Network | None = None) -> None:
        """Save the parameters, then the record: a record on disk implies that its parameters are there.

        Args:
            record: of a finished epoch.
            network: what has the parameters; None for an ensemble, whose members have run folders of their own.
        """
        now = time.perf_counter()
        self._journal["epoch_seconds"].append(round(now - self._epoch_start, 3))
        self._epoch_start = now
        self._history.append(record)
        if network is not None:
            self.save_model(network)
        with self.guard(HISTORY):
            write_text(self._folder / HISTORY, self._history.to_jsonl())
        self._write_journal()

    def save_model(self, network: Network | Sequence[Network]) -> Path:
        """Save the parameters of a network, or of the members of an ensemble; returns the model file."""
        with self.guard(MODEL):
            save_model(network, self._folder / MODEL, self._dataset.classes)
        return self._folder / MODEL

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the final metrics."""
        self._write_json(METRICS, metrics)

    def finish(self, status: Status, reason: str = "") -> None:
        """Record how the run ended.

        Raises:
            OutputError: a run that did not fail cannot be recorded as ended; on disk it counts as interrupted.
        """
        if not self._is_started:
            return
        self._journal |= {
            "status": status,
            "ended": _format_now(),
            "seconds": round(time.perf_counter() - self._start, 3),
        }
        if reason:
            self._journal["reason"] = reason
        try:
            self._write_journal()
        except OutputError:
            # A run that failed has most likely failed for the same reason, which is reported already.
            if status != "failed":
                raise

    def _write_journal(self) -> None:
        self._write_json(JOURNAL, self._journal)
        self._is_started = True

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        with self.guard(name):
            write_json(self._folder / name, dict(content))


def _remove_temporary_files(folder: Path) -> None:
    names = (JOURNAL, CONFIG, HISTORY, METRICS, MODEL)
    # Of writes during which the process was killed.
    for pattern in (*(f".{name}.*" for name in names), f"{FIGURES}/.*.png.*"):
        for leftover in folder.glob(pattern):
            with suppress(OSError):
                leftover.unlink()


def _as_list(value: object) -> list[Any]:
    """The value if it is a list, else (in a damaged journal) an empty list."""
    return list(value) if isinstance(value, list) else []


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _find_versions() -> dict[str, str]:
    """Versions of the software that affects the results."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("chainrule", "numpy", "scikit-learn", "wandb"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
