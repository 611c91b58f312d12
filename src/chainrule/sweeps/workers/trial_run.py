"""One trial of a sweep, run where a worker is. It is an ordinary run, with a run folder of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chainrule.core.errors import ChainruleError, DataError, OutputError
from chainrule.core.files import read_json
from chainrule.core.plugins import load_plugin
from chainrule.data import Dataset, RawDataset, load_dataset, load_raw_dataset
from chainrule.runs.config import TrainConfig
from chainrule.runs.experiment import run_experiment
from chainrule.runs.folder import RunFolder, is_running
from chainrule.terminal.console import Console
from chainrule.training.history import History

__all__ = ["Ended", "Task", "run_trial"]


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do.

    Attributes:
        number: of the trial.
        settings: its configuration, `run_name` and `output_dir` among it.
        metric: what to report after each epoch.
        rungs: the epochs after which to ask whether the trial ends there.
    """

    number: int
    settings: Mapping[str, Any]
    metric: str
    rungs: Sequence[int] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "settings": dict(self.settings), "rungs": list(self.rungs)}


@dataclass(frozen=True)
class Ended:
    """How a trial ended.

    Attributes:
        status: "finished", "pruned", "failed"; "aborted" where it is to go on later, and "halted" where that needs
            somebody to mend what is wrong outside of the trial: a full disk, missing data.
        curve: the metric after each epoch.
        value: the metric of the epoch whose parameters were kept.
        reason: why it failed or halted.
    """

    status: str
    curve: list[float]
    value: float | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def run_trial(task: Task, stops: Callable[[list[float]], bool]) -> Ended:
    """Train, or go on with, a trial. Whatever goes wrong in it is its result.

    Args:
        task: what to do.
        stops: told the metric after each epoch so far; whether the trial ends here, which is asked at a rung only.
    """
    curve: list[float] = []

    def watch(history: History) -> bool:
        curve[:] = _curve(history, task.metric)
        return stops(list(curve))

    try:
        for plugin in TrainConfig.fields()["plugin"].parse(task.settings.get("plugin")):
            load_plugin(Path(plugin))
        config = TrainConfig.from_mapping(task.settings)
        folder = Path(config.output_dir) / str(config.run_name)
        if not _left_alone(folder):
            return Ended("aborted", curve)
        begun = (folder / "run.json").exists()
        if begun and (done := _done(folder, task.metric)):
            return done
        data = _dataset(config.dataset, config.seed, config.val_fraction, config.dtype, config.data_dir)
        outcome = run_experiment(
            config,
            Console(quiet=True),
            folder if begun else None,
            data=data,
            watch=watch,
            save_every=_SAVE_EVERY,
        )
    except (OutputError, DataError) as error:
        return Ended("halted", curve, reason=str(error))
    except (ChainruleError, MemoryError) as error:
        return Ended("failed", curve, reason=str(error) or "Not enough memory.")
    except Exception as error:  # a plugin's, perhaps: it costs the trial and not the sweep
        return Ended("failed", curve, reason=f"{type(error).__name__}: {error}")
    curve[:] = _curve(outcome.history, task.metric)
    if outcome.status == "aborted":
        return Ended("aborted", curve)
    # A checkpoint is five times the model, and nobody goes on with the trial; whoever likes it trains it anew.
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return Ended(outcome.status, curve, outcome.metrics.get(task.metric))


def _left_alone(folder: Path) -> bool:
    """Wait while a worker that was given up is still in the middle of the trial; it ends at the end of its epoch."""
    patience = time.monotonic() + _PATIENCE
    while held := is_running(folder):
        if time.monotonic() > patience:
            break
        time.sleep(0.1)
    return not held


_PATIENCE = 300.0  # seconds
# Seconds. An epoch of a small network takes less time than it is worth to save it.
_SAVE_EVERY = 2.0


def _curve(history: History, metric: str) -> list[float]:
    return [float("nan") if value is None else value for value in history.column(metric)]


def _done(folder: Path, metric: str) -> Ended | None:
    """The result of a trial that had ended before it could be told."""
    run = RunFolder.read(folder)
    metrics = read_json(folder / "metrics.json")
    if run.status not in ("finished", "pruned") or metrics.get("status") != run.status:
        return None
    history = History.from_jsonl((folder / "history.jsonl").read_text(encoding="utf-8"))
    return Ended(run.status, _curve(history, metric), metrics.get(metric))


@lru_cache(maxsize=1)
def _dataset(name: str, seed: int, val_fraction: float, dtype: str, data_dir: str | None) -> Dataset:
    """A dataset, split and scaled once by each worker while trials ask for the same."""
    raw = _load_raw(name, data_dir)
    return load_dataset(name, seed=seed, val_fraction=val_fraction, dtype=dtype, raw=raw)


@lru_cache(maxsize=2)
def _load_raw(name: str, data_dir: str | None) -> RawDataset:
    """What a dataset's files hold, read once by each worker: reading takes longer than an epoch of a small network."""
    return load_raw_dataset(name, data_dir)
