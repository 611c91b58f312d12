"""The runs that a report is about, read from their folders and from the storage of sweeps."""

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

__all__ = ["Record", "best", "find_records", "sign", "varied"]

# Of what a resumed run may have otherwise, only the epochs change results.
_NO_MATTER = set(NON_IDENTITY_KEYS) - {"epochs"}
_LARGEST = 64 * 1024 * 1024  # bytes of a history that is read


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        name: of the run.
        folder: of the run; what is missing in it could not be told.
        group: the sweep that it belongs to; "" without one.
        status: as `RunFolder` has it.
        settings: the configuration.
        metrics: numbers by name, as in `metrics.json`; of a run without that file, those of its best epoch.
        history: the epochs.
        started: when, or None where that is not known.
        seconds: how long it took, or None.
    """

    name: str
    folder: Path
    group: str
    status: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    history: History
    started: datetime | None
    seconds: float | None

    def number(self, metric: str) -> float | None:
        """A metric, or None where the run has none."""
        return _number(self.metrics.get(metric))


def find_records(names: Sequence[str], output_dir: Path) -> list[Record]:
    """The runs of these names, in the order in which they began.

    Args:
        names: of runs, sweeps, or folders with runs; none at all means all that `output_dir` holds.
        output_dir: where runs and sweeps are.

    Raises:
        ConfigError: there is nothing of one of the names, or there are no runs at all.
    """
    found: dict[Path, Record] = {}
    for record in _all(names or [str(output_dir)], output_dir):
        found[record.folder.resolve()] = record
    if not found:
        raise ConfigError(
            f"There are no runs in {', '.join(names) or output_dir}. `chainrule train` and `chainrule sweep` make some."
        )
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(found.values(), key=lambda record: (record.started or never, record.name))


def _all(names: Iterable[str], output_dir: Path) -> Iterable[Record]:
    for name in names:
        places = [path for path in (output_dir / name, Path(name)) if path.is_dir()]
        if not places:
            raise ConfigError(
                f"There is no run, sweep or folder {name!r} in {output_dir} or here. `chainrule runs` and `chainrule "
                "sweep list` tell what there is."
            )
        folder = places[0]
        if exists(folder / "run.json"):
            yield _of_run(RunFolder.read(folder), "")
        elif exists(folder / "sweep.json"):
            yield from _of_sweep(folder)
        else:
            for run in list_runs(folder):
                yield _of_run(run, "")
            for sweep in list_sweeps(folder):
                yield from _of_sweep(sweep)


def _of_sweep(folder: Path) -> Iterable[Record]:
    """A sweep's trials; those without a run folder are known from its storage."""
    try:
        path, sweep, trials = find_sweep(str(folder.resolve()), folder.parent)
    except ChainruleError:
        # Whatever is wrong with its file or its storage, the trials' run folders are there.
        yield from (_of_run(run, folder.name) for run in list_runs(folder))
        return
    try:
        for trial in trials:
            if exists(path / trial.folder / "run.json"):
                yield _of_run(RunFolder.read(path / trial.folder), sweep.name)
                continue
            yield Record(
                name=trial.folder,
                folder=path / trial.folder,
                group=sweep.name,
                status=trial.status,
                settings={**sweep.fixed, **trial.settings},
                metrics={} if trial.value is None else {sweep.metric.name: trial.value},
                history=History(),
                started=_aware(trial.started),
                seconds=trial.seconds,
            )
    finally:
        trials.close()


def _of_run(run: RunFolder, group: str) -> Record:
    try:
        history = History.from_jsonl(read_text(run.path / "history.jsonl", _LARGEST))
    except (OSError, ValueError, DataError):
        history = History()
    metrics = read_json(run.path / "metrics.json")
    kept = history.best()
    if not metrics and kept is not None:
        metrics = {"val_accuracy": kept.val_score, "val_loss": kept.val_loss, "kept_epoch": kept.epoch}
    return Record(
        name=run.path.name,
        folder=run.path,
        group=group,
        status=run.status,
        # As it was written: a plugin's parts are not known here, and need not be.
        settings=read_json(run.path / "config.json"),
        metrics=metrics,
        history=history,
        started=_aware(run.started),
        seconds=_number(read_json(run.path / "run.json").get("seconds")),
    )


def _number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A whole number may be larger than any float.
    return float(value) if abs(value) <= sys.float_info.max else None


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def sign(metric: str) -> float:
    """1 where more of a metric is better, -1 where less is."""
    return -1.0 if metric.endswith("loss") else 1.0


def varied(records: Sequence[Record]) -> dict[str, list[Any]]:
    """The settings in which runs differ and which may change their results, with the different values in order.

    A setting that only some of the runs have, such as the beta of one optimizer, is left out. Runs whose settings
    cannot be read do not count.
    """
    records = [record for record in records if record.settings]
    names = [name for name in records[0].settings if name not in _NO_MATTER] if records else []
    found = {}
    for name in names:
        if not all(name in record.settings for record in records):
            continue
        values: dict[str, Any] = {str(record.settings[name]): record.settings[name] for record in records}
        if len(values) > 1:
            ordered = all(isinstance(value, int | float) for value in values.values())
            found[name] = sorted(values.values(), key=None if ordered else str)
    return found


def best(records: Sequence[Record], metric: str = "val_accuracy") -> Record | None:
    """The run with the best metric, the first of equals; None without one.

    One that a sweep ended early counts too: the parameters of its best epoch were kept and tested like any others.
    """
    done = [r for r in records if r.status in ("finished", "pruned") and r.number(metric) is not None]
    return max(done, key=lambda record: sign(metric) * (record.number(metric) or 0.0), default=None)
