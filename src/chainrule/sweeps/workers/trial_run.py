"""One trial of a sweep, on a worker. It is an ordinary run with a run folder of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from chainrule.core.errors import ChainruleError, DataError, OutputError
from chainrule.core.files import read_json
from chainrule.data import Dataset, load_dataset, load_raw_dataset
from chainrule.runs.config import TrainConfig
from chainrule.runs.experiment import load_plugins, run_experiment
from chainrule.runs.folder import CHECKPOINTS, HISTORY, JOURNAL, MEMBERS, METRICS, RunFolder, is_running
from chainrule.sweeps.workers.protocol import Task, TrialResult
from chainrule.terminal.console import Console
from chainrule.training.history import History

__all__ = ["run_trial"]

_RELEASE_TIMEOUT = 300.0  # seconds
_SAVE_EVERY = 2.0  # seconds; an epoch of a small network is faster than saving a checkpoint


def run_trial(task: Task, report: Callable[[list[float]], bool]) -> TrialResult:
    """Train a trial, or resume it. Whatever goes wrong in the trial becomes its result.

    `report` is called with the metric after each epoch so far, and returns whether the trial is pruned.
    """
    curve: list[float] = []

    def watch(history: History) -> bool:
        curve[:] = _get_curve(history, task.metric)
        return report(list(curve))

    try:
        load_plugins(task.settings)
        config = TrainConfig(task.settings)
        folder = Path(config.output_dir) / str(config.run_name)
        if not _wait_for_release(folder):
            return TrialResult("aborted", curve)
        started = (folder / JOURNAL).exists()
        result = _read_result(folder, task.metric) if started else None
        if result is None:
            resumed = folder if started else None
            data = _load_dataset(str(config.dataset), config.seed, config.val_fraction, config.dtype, config.data_dir)
            outcome = run_experiment(
                config, Console(quiet=True), resumed, data=data, watch=watch, save_every=_SAVE_EVERY
            )
            value = outcome.metrics.get(task.metric)
            result = TrialResult(outcome.status, _get_curve(outcome.history, task.metric), value)
    except (OutputError, DataError) as error:
        return TrialResult("needs_attention", curve, reason=str(error))
    except (ChainruleError, MemoryError) as error:
        return TrialResult("failed", curve, reason=str(error) or "Not enough memory.")
    except Exception as error:  # in a plugin, perhaps: it costs the trial but not the sweep
        return TrialResult("failed", curve, reason=f"{type(error).__name__}: {error}")
    if result.is_final:
        # A checkpoint is five times the size of the model, and a trial that is over is never resumed.
        for run in (folder, *(folder / MEMBERS).glob("*")):
            shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)
    return result


def _wait_for_release(folder: Path) -> bool:
    """Wait for an abandoned worker to release the trial, which it does after its epoch; False if it does not."""
    deadline = time.monotonic() + _RELEASE_TIMEOUT
    while is_running(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _get_curve(history: History, metric: str) -> list[float]:
    """The metric after each epoch, NaN where it is missing."""
    return [float("nan") if value is None else value for value in history.column(metric)]


def _read_result(folder: Path, metric: str) -> TrialResult | None:
    """The result of a trial that was over before the coordinator heard of it, or None."""
    run = RunFolder.read(folder)
    metrics = read_json(folder / METRICS)
    if run.status not in ("finished", "pruned") or metrics.get("status") != run.status:
        return None
    history = History.from_jsonl((folder / HISTORY).read_text(encoding="utf-8"))
    return TrialResult(run.status, _get_curve(history, metric), metrics.get(metric))


@lru_cache(maxsize=1)
def _load_dataset(name: str, seed: int, val_fraction: float, dtype: str, data_dir: str | None) -> Dataset:
    """Load, split and scale a dataset once per worker, as long as its trials use the same one."""
    raw = _load_raw_dataset(name, data_dir)
    return load_dataset(name, seed=seed, val_fraction=val_fraction, dtype=dtype, raw=raw)


# Once per worker: reading the files takes longer than an epoch of a small network.
_load_raw_dataset = lru_cache(maxsize=2)(load_raw_dataset)
