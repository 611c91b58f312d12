"""A sweep's trials, stored in an SQLite file in Optuna's format, which Optuna's tools can read.

One process owns the file and keeps all of it in memory, so it reads the file only once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from chainrule.core.errors import ChainruleError, OutputError
from chainrule.core.extras import needs_extra
from chainrule.sweeps.space.distributions import StorageValue
from chainrule.sweeps.space.sweep_file import Sweep

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage

__all__ = ["STATUSES", "Trial", "Trials", "get_storage_url", "require_optuna"]

_STATES = {"RUNNING": "running", "COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}  # as Optuna names them
STATUSES = tuple(_STATES.values())
_FILE = "trials.db"


@dataclass
class Trial:
    """One configuration of a sweep.

    Attributes:
        number: from 0.
        params: its parameters as they are stored.
        settings: its parameters as training uses them.
        status: "running" until it is over, whether or not a worker runs it now; then "finished", "pruned" (by early
            stopping) or "failed".
        folder: the name of its run folder.
        curve: the metric after each epoch.
        value: the metric of the epoch whose parameters were kept; None before the end and for failed trials.
        reason: why it failed.
        started: when it was created.
        seconds: its duration once it is over; for a resumed trial, since the sweep was last started.
    """

    number: int
    params: Mapping[str, StorageValue]
    settings: Mapping[str, Any]
    status: str
    folder: str
    curve: list[float] = field(default_factory=list)
    value: float | None = None
    reason: str = ""
    started: datetime | None = None
    seconds: float | None = None


class Trials(Sequence[Trial]):
    """The trials of one sweep, by number. Without `create`, a missing storage file means that there are none.

    Raises:
        ConfigError: Optuna is not installed.
        OutputError: the storage file cannot be read or written.
    """

    def __init__(self, folder: Path, sweep: Sweep, *, create: bool = True) -> None:
        self._sweep, self._folder = sweep, folder
        self._ids: list[int] = []
        self._trials: list[Trial] = []
        self._close = []
        if not create and not (folder / _FILE).exists():
            return
        require_optuna()
        with _wrap_errors(folder):
            self._storage, self._study = _open_storage(folder, sweep)
            self._close = [self._storage.remove_session, self._storage.engine.dispose]
            self._distributions = {name: distribution.to_optuna() for name, distribution in sweep.search_space.items()}
            for frozen in self._storage.get_all_trials(self._study, deepcopy=False):
                if set(frozen.params) != set(sweep.parameters):
                    raise OutputError(
                        f"Trial {frozen.number} in {folder / _FILE} does not have the parameters of this sweep's file."
                    )
                self._trials.append(self._from_frozen_trial(frozen))
                self._ids.append(self._storage.get_trial_id_from_study_id_trial_number(self._study, frozen.number))

    def create(self, params: Mapping[str, StorageValue], folder: str) -> Trial:
        """Store a new trial, whose run folder is named `folder`, in one transaction."""
        from optuna.trial import TrialState, create_trial

        frozen = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=self._distributions,
            user_attrs={"folder": folder, "settings": self._sweep.decode(params)},
        )
        with _wrap_errors(self._folder):
            self._ids.append(self._storage.create_new_trial(self._study, frozen))
        frozen.number = len(self._trials)
        self._trials.append(self._from_frozen_trial(frozen))
        return self._trials[-1]

    def report(self, trial: Trial, curve: Sequence[float]) -> None:
        """Store a trial's metric after each epoch so far. Epochs that are stored already do not change."""
        with _wrap_errors(self._folder):
            for epoch in range(len(trial.curve), len(curve)):
                self._storage.set_trial_intermediate_value(self._ids[trial.number], epoch + 1, curve[epoch])
                trial.curve.append(curve[epoch])

    def finish(self, trial: Trial, status: str, value: float | None, reason: str, seconds: float) -> None:
        """Store how a trial ended."""
        from optuna.trial import TrialState

        if status != "failed" and (value is None or not math.isfinite(value)):
            status, value, reason = "failed", None, f"its {self._sweep.metric.name} is {value}"
        trial.status, trial.value, trial.reason, trial.seconds = status, value, reason, round(seconds, 3)
        with _wrap_errors(self._folder):
            trial_id = self._ids[trial.number]
            # Attributes before the state: a trial that is over cannot change.
            for name, attribute in (("seconds", trial.seconds), ("reason", reason), ("value", value)):
                if attribute not in (None, ""):
                    self._storage.set_trial_user_attr(trial_id, name, attribute)
            state = next(TrialState[name] for name, known in _STATES.items() if known == status)
            self._storage.set_trial_state_values(trial_id, state, None if value is None else [value])

    @property
    def best(self) -> Trial | None:
        """The best finished trial, the first among equals."""
        finished = [trial for trial in self._trials if trial.status == "finished" and trial.value is not None]
        return min(finished, key=lambda trial: self._sweep.metric.cost(trial.value or 0.0), default=None)

    def close(self) -> None:
        """Close the storage file."""
        for release in self._close:
            release()

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: Any) -> Any:
        return self._trials[index]

    def _from_frozen_trial(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        attributes = frozen.user_attrs
        return Trial(
            number=frozen.number,
            params=dict(frozen.params),
            settings=self._sweep.decode(frozen.params),
            status=_STATES.get(frozen.state.name, "failed"),
            folder=str(attributes.get("folder", "")),
            curve=[frozen.intermediate_values[epoch] for epoch in sorted(frozen.intermediate_values)],
            value=attributes.get("value"),
            reason=str(attributes.get("reason", "")),
            started=frozen.datetime_start,
            seconds=attributes.get("seconds"),
        )


@needs_extra("Sweeps", "sweeps")
def require_optuna() -> None:
    """Raise ConfigError if Optuna is not installed."""
    import optuna  # noqa: F401


def get_storage_url(folder: Path) -> str:
    """The URL of a sweep's storage for Optuna's tools."""
    # As a URI, because a ? in a path would start the URL's options. SQLAlchemy and SQLite each unquote once.
    return f"sqlite:///file:{quote(quote(str((folder / _FILE).resolve())))}?uri=true"


def _open_storage(folder: Path, sweep: Sweep) -> tuple[RDBStorage, int]:
    """Open the storage, and find or create its one study, whose id is returned too."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = optuna.study.StudyDirection.MAXIMIZE if sweep.metric.maximize else optuna.study.StudyDirection.MINIMIZE
    storage = optuna.storages.RDBStorage(get_storage_url(folder))
    # The folder may have had another name when the study was created.
    for study in storage.get_all_studies():
        return storage, storage.get_study_id_from_name(study.study_name)
    return storage, storage.create_new_study([direction], sweep.name)


@contextmanager
def _wrap_errors(folder: Path) -> Iterator[None]:
    """Turn any error into an OutputError: with a damaged file, Optuna and SQLite raise errors of many types."""
    try:
        yield
    except ChainruleError:
        raise
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        what = str(root).partition("\n")[0] or type(root).__name__
        raise OutputError(
            f"Cannot use {folder / _FILE}: {what:.300}. If the disk is full or read-only, make room and run the sweep "
            "again: trials that are over are kept. If the file is damaged, start the sweep again under another name."
        ) from error
