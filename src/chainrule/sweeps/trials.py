"""A sweep's trials, kept in an SQLite file in Optuna's format, which Optuna's tools can read.

One process owns the file. It knows all that is in it, so it reads the file once.
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
from chainrule.sweeps.space.distributions import Stored
from chainrule.sweeps.space.sweep_file import Sweep

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage

__all__ = ["STATUSES", "Trial", "Trials", "storage_address"]

STATUSES = ("running", "finished", "pruned", "failed")
_FILE = "trials.db"


@dataclass
class Trial:
    """One configuration of a sweep.

    Attributes:
        number: from 0.
        stored: its parameters as the study stores them.
        status: "running" until it has ended, whether or not somebody works on it; then "finished", "pruned" (stopped
            early by the sweep's rule) or "failed".
        folder: the name of its run folder.
        curve: the metric after each epoch.
        value: the metric of the epoch whose parameters were kept, once it has ended and has not failed.
        reason: why it failed.
        started: when.
        seconds: how long it took, once it has ended; of one that was interrupted, since the sweep was taken up again.
    """

    number: int
    stored: Mapping[str, Stored]
    status: str
    folder: str
    curve: list[float] = field(default_factory=list)
    value: float | None = None
    reason: str = ""
    started: datetime | None = None
    seconds: float | None = None


class Trials(Sequence[Trial]):
    """The trials of one sweep, by number.

    Args:
        folder: of the sweep, which exists.
        sweep: the file; its space and metric must be those that the folder's trials were made with.
        begin: make the file of trials where it is missing. Whoever only looks must not.

    Raises:
        OutputError: the file of trials cannot be read or written.
    """

    def __init__(self, folder: Path, sweep: Sweep, *, begin: bool = True) -> None:
        self._sweep = sweep
        self._ids: list[int] = []
        self._trials: list[Trial] = []
        self._close = []
        if not begin and not (folder / _FILE).exists():
            return
        with _using(folder):
            self._storage, self._study = _open(folder, sweep)
            self._close = [self._storage.remove_session, self._storage.engine.dispose]
            self._distributions = {name: distribution.optuna() for name, distribution in sweep.drawn.items()}
            frozen = self._storage.get_all_trials(self._study, deepcopy=False)
            self._trials = [_trial(one) for one in frozen]
            self._ids = [
                self._storage.get_trial_id_from_study_id_trial_number(self._study, one.number) for one in frozen
            ]
            for trial in self._trials:
                if set(trial.stored) != set(sweep.space):
                    raise OutputError(f"Trial {trial.number} in {folder / _FILE} is none of this sweep's file.")
                self.values(trial.stored)
        self._folder = folder

    def begin(self, stored: Mapping[str, Stored], settings: Mapping[str, Any], folder: str) -> Trial:
        """Add a trial, on disk at once and whole.

        Args:
            stored: its parameters.
            settings: the same as they are used, to be read by people.
            folder: the name of its run folder.
        """
        from optuna.trial import TrialState, create_trial

        frozen = create_trial(
            state=TrialState.RUNNING,
            params=dict(stored),
            distributions=self._distributions,
            user_attrs={"folder": folder, "settings": dict(settings)},
        )
        with _using(self._folder):
            self._ids.append(self._storage.create_new_trial(self._study, frozen))
        frozen.number = len(self._trials)
        self._trials.append(_trial(frozen))
        return self._trials[-1]

    def report(self, trial: Trial, curve: Sequence[float]) -> None:
        """Note a trial's metric after each epoch so far. Epochs that are known stay as they are."""
        with _using(self._folder):
            for epoch in range(len(trial.curve), len(curve)):
                self._storage.set_trial_intermediate_value(self._ids[trial.number], epoch + 1, curve[epoch])
                trial.curve.append(curve[epoch])

    def end(self, trial: Trial, status: str, value: float | None, reason: str, seconds: float) -> None:
        """Note how a trial ended."""
        from optuna.trial import TrialState

        states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        if status != "failed" and (value is None or not math.isfinite(value)):
            status, value, reason = "failed", None, f"its {self._sweep.metric.name} is {value}"
        trial.status, trial.value, trial.reason, trial.seconds = status, value, reason, seconds
        with _using(self._folder):
            number = self._ids[trial.number]
            # Before the state: an ended trial takes no more.
            notes: dict[str, Any] = {"seconds": round(seconds, 3), **({"reason": reason} if reason else {})}
            if value is not None:
                notes["value"] = value
            for name, note in notes.items():
                self._storage.set_trial_user_attr(number, name, note)
            self._storage.set_trial_state_values(number, states[status], None if value is None else [value])

    @property
    def best(self) -> Trial | None:
        """The best finished trial, the first of equals."""
        done = [trial for trial in self._trials if trial.status == "finished" and trial.value is not None]
        return min(done, key=lambda trial: self._sweep.metric.cost(trial.value or 0.0), default=None)

    def values(self, stored: Mapping[str, Stored]) -> dict[str, Any]:
        """Parameters as they are used, from what is stored."""
        return {name: self._sweep.drawn[name].value(value) for name, value in stored.items()}

    def close(self) -> None:
        """Let go of the file."""
        for release in self._close:
            release()

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: Any) -> Any:
        return self._trials[index]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)


def storage_address(folder: Path) -> str:
    """How Optuna's tools call a sweep's file of trials."""
    # As a URI, in which a ? of the path does not begin the options. SQLAlchemy and SQLite each undo a quoting.
    return f"sqlite:///file:{quote(quote(str((folder / _FILE).resolve())))}?uri=true"


def _open(folder: Path, sweep: Sweep) -> tuple[RDBStorage, int]:
    """The storage, and the number of the sweep's study in it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = optuna.study.StudyDirection.MAXIMIZE if sweep.metric.maximize else optuna.study.StudyDirection.MINIMIZE
    storage = optuna.storages.RDBStorage(storage_address(folder))
    # There is one, whatever the sweep's folder was called when it was made.
    for study in storage.get_all_studies():
        return storage, storage.get_study_id_from_name(study.study_name)
    return storage, storage.create_new_study([direction], sweep.name)


@contextmanager
def _using(folder: Path) -> Iterator[None]:
    """A block that uses the file of trials; what goes wrong in it becomes an error that says what to do.

    A damaged file makes Optuna and SQLite raise errors of any kind.
    """
    try:
        yield
    except ChainruleError:
        raise
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        what = (str(root).splitlines() or [type(root).__name__])[0]
        raise OutputError(
            f"Cannot use {folder / _FILE}: {what:.300}. If the disk is full or read-only, make room and run the same "
            "command again: trials that have ended are kept. If the file is damaged, begin again under another --name."
        ) from error


def _trial(frozen: optuna.trial.FrozenTrial) -> Trial:
    """A trial as the file has it."""
    notes = frozen.user_attrs
    value, seconds = (_finite(notes.get(name)) for name in ("value", "seconds"))
    status = {"RUNNING": "running", "COMPLETE": "finished", "PRUNED": "pruned"}.get(frozen.state.name, "failed")
    return Trial(
        number=frozen.number,
        stored=dict(frozen.params),
        status=status,
        folder=str(notes.get("folder", "")),
        curve=[frozen.intermediate_values[epoch] for epoch in sorted(frozen.intermediate_values)],
        value=value,
        reason=str(notes.get("reason", "")),
        started=frozen.datetime_start,
        seconds=seconds,
    )


def _finite(note: object) -> float | None:
    """A note that is a finite number, or None."""
    return float(note) if isinstance(note, int | float) and math.isfinite(note) else None
