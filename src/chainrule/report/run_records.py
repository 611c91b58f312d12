"""The runs that a report covers, read from run folders and from the trial storage of sweeps."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chainrule.core.errors import ChainruleError, ConfigError, DataError
from chainrule.core.files import exists, read_json, read_text
from chainrule.runs.config import NON_IDENTITY_KEYS
from chainrule.runs.folder import RunFolder, list_runs
from chainrule.sweeps.folder import find_sweep, list_sweeps
from chainrule.training.history import History

__all__ = ["RunRecord", "find_run_records", "find_varied_hyperparameters", "get_metric_sign", "select_best"]

# Of the keys that may differ between a run and its resumption, only the number of epochs changes results.
_IRRELEVANT = set(NON_IDENTITY_KEYS) - {"epochs"}
_MAX_HISTORY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        name: name of the run.
        folder: the run folder. A trial whose folder is lost is known from the sweep's storage alone.
        sweep: name of the sweep it is a trial of; "" for a single run.
        status: as in `RunFolder`.
        config: the configuration.
        metrics: metrics by name, as in `metrics.json`; of an unfinished run, those of its best epoch.
        history: the finished epochs.
        started: start time, or None if unknown.
        seconds: duration, or None if unknown.
    """

    name: str
    folder: Path
    sweep: str
    status: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    history: History
    started: datetime | None
    seconds: float | None

    def get_metric(self, metric: str) -> float | None:
        """A metric, or None if the run does not have it."""
        return _to_float(self.metrics.get(metric))


def find_run_records(sources: Iterable[Path | str]) -> list[RunRecord]:
    """Read runs, ordered by start time. A run that occurs in several sources is listed once.

    Args:
        sources: run folders, sweep folders, and folders that hold either.

    Raises:
        ConfigError: a source does not exist, or there are no runs at all.
    """
    paths = [Path(source) for source in sources]
    found = {record.folder.resolve(): record for path in paths for record in _read_source(path)}
    if not found:
        raise ConfigError(f"There are no runs in {', '.join(map(str, paths)) or 'an empty list of sources'}.")
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(found.values(), key=lambda record: (record.started or never, record.name))


def _read_source(folder: Path) -> Iterable[RunRecord]:
    if not folder.is_dir():
        raise ConfigError(f"There is no run, sweep or folder of runs {str(folder)!r}.")
    if exists(folder / "run.json"):
        yield _read_run(RunFolder.read(folder), "")
    elif exists(folder / "sweep.json"):
        yield from _read_sweep(folder)
    else:
        yield from (_read_run(run, "") for run in list_runs(folder))
        for sweep in list_sweeps(folder):
            yield from _read_sweep(sweep)


def _read_sweep(folder: Path) -> Iterable[RunRecord]:
    """Read a sweep's trials. Those without a run folder are taken from its storage."""
    try:
        path, sweep, trials = find_sweep(str(folder.resolve()), folder.parent)
    except ChainruleError:
        # The sweep file or the storage is damaged; the trials' run folders are still there.
        yield from (_read_run(run, folder.name) for run in list_runs(folder))
        return
    try:
        for trial in trials:
            if exists(path / trial.folder / "run.json"):
                yield _read_run(RunFolder.read(path / trial.folder), sweep.name)
                continue
            yield RunRecord(
                name=trial.folder,
                folder=path / trial.folder,
                sweep=sweep.name,
                status=trial.status,
                config={**sweep.fixed, **trial.settings},
                metrics={} if trial.value is None else {sweep.metric.name: trial.value},
                history=History(),
                started=_to_utc(trial.started),
                seconds=trial.seconds,
            )
    finally:
        trials.close()


def _read_run(run: RunFolder, sweep: str) -> RunRecord:
    try:
        history = History.from_jsonl(read_text(run.path / "history.jsonl", _MAX_HISTORY_BYTES))
    except (OSError, ValueError, DataError):
        history = History()
    metrics = read_json(run.path / "metrics.json")
    best = history.best()
    if not metrics and best is not None:
        metrics = {"val_accuracy": best.val_score, "val_loss": best.val_loss, "kept_epoch": best.epoch}
    return RunRecord(
        name=run.path.name,
        folder=run.path,
        sweep=sweep,
        status=run.status,
        # Not validated: the plugins that the run used are not loaded here.
        config=read_json(run.path / "config.json"),
        metrics=metrics,
        history=history,
        started=_to_utc(run.started),
        seconds=_to_float(read_json(run.path / "run.json").get("seconds")),
    )


def _to_float(value: object) -> float | None:
    """A finite number as a float; None for anything else, including integers beyond the range of floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None


def _to_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def get_metric_sign(metric: str) -> float:
    """1 for a metric to maximize, -1 for one to minimize."""
    return -1.0 if metric.endswith("loss") else 1.0


def find_varied_hyperparameters(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """The configuration keys in which runs differ and that may change results, with their sorted distinct values.

    A key that only some of the runs have, such as the beta of one optimizer, is left out. Runs without a readable
    configuration are skipped.
    """
    configs = [record.config for record in records if record.config]
    found = {}
    for name in configs[0] if configs else ():
        if name in _IRRELEVANT or not all(name in config for config in configs):
            continue
        values: dict[str, Any] = {str(config[name]): config[name] for config in configs}
        if len(values) > 1:
            is_numeric = all(isinstance(value, int | float) for value in values.values())
            found[name] = sorted(values.values(), key=None if is_numeric else str)
    return found


def select_best(records: Sequence[RunRecord], metric: str = "val_accuracy") -> RunRecord | None:
    """The run with the best metric, the first of equals; None if no run has it.

    Pruned trials take part: they too were tested with the parameters of their best epoch.
    """
    done = [r for r in records if r.status in ("finished", "pruned") and r.get_metric(metric) is not None]
    return max(done, key=lambda record: get_metric_sign(metric) * (record.get_metric(metric) or 0.0), default=None)
