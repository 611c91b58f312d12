"""The history of a training run: one record per epoch, kept as data."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from chainrule.core.errors import DataError
from chainrule.nn.objective import OBJECTIVES

__all__ = ["EpochRecord", "History", "record_names"]


_LARGEST = sys.float_info.max
# No record holds an infinite number.
_SCORES = {
    objective.score_name: tuple(max(min(bound, _LARGEST), -_LARGEST) for bound in objective.score_range)
    for objective in OBJECTIVES.values()
}


def record_names(score_name: str = "accuracy") -> tuple[str, ...]:
    """The names under which an epoch's values are recorded, for an objective with this score."""
    return ("epoch", "step", "train_loss", f"train_{score_name}", "val_loss", f"val_{score_name}")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch's outcome. Everything in it is a function of the configuration, so two equal runs have equal records.

    Attributes:
        epoch: 1 for the first.
        step: optimizer steps taken since training began.
        train_loss: mean loss of the epoch's samples, each measured as its batch was trained on (weights still moving).
        train_score: the objective's score of these samples, measured at the same moments.
        val_loss: mean loss on the validation set after the epoch; None without a validation set.
        val_score: the objective's score on the validation set; None without one.
        score_name: which score it is, such as "accuracy"; JSON has `train_accuracy` and `val_accuracy` then.
    """

    epoch: int
    step: int
    train_loss: float
    train_score: float
    val_loss: float | None
    val_score: float | None
    score_name: str = "accuracy"

    def as_dict(self) -> dict[str, int | float | None]:
        """The record as JSON has it: the scores under their name."""
        values = (self.epoch, self.step, self.train_loss, self.train_score, self.val_loss, self.val_score)
        return dict(zip(record_names(self.score_name), values, strict=True))

    @classmethod
    def from_json(cls, content: object) -> EpochRecord:
        """Restore the record from its JSON object.

        Raises:
            DataError: it is none, lacks a field, has one too many, or holds a value that no epoch can have.
        """
        keys = set(content) if isinstance(content, dict) else set()
        for score in _SCORES:
            names = record_names(score)
            if isinstance(content, dict) and keys == set(names):
                for name in names:
                    if allowed := _violated(name, content[name]):
                        raise DataError(f"{name} must be {allowed}, got {content[name]!r:.100}.")
                epoch, step, train_loss, train_score, val_loss, val_score = (content[name] for name in names)
                return cls(epoch, step, train_loss, train_score, val_loss, val_score, score)
        raise DataError(f"expected an object with {', '.join(names)}, got {content!r:.200}.")


def _violated(name: str, value: object) -> str:
    """What a field must be, where the value is not that; empty where it is."""
    if name in ("epoch", "step"):
        return "" if type(value) is int and 1 <= value < 2**63 else "a whole number of 1 or more"
    if value is None and name.startswith("val_"):
        return ""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    low, high = _SCORES.get(name.partition("_")[2], (-_LARGEST, _LARGEST))
    # Not isfinite, which fails for an integer that is larger than any float.
    if low <= number <= high:
        return ""
    return "a finite number" if low == -_LARGEST else f"a number from {low:g} to {high:g}"


class History(Sequence[EpochRecord]):
    """The records of a run, oldest first.

    >>> history = History([EpochRecord(1, 10, 0.5, 0.8, 0.6, 0.75)])
    >>> history.column("val_accuracy")
    [0.75]
    >>> History.from_jsonl(history.to_jsonl()) == history
    True
    """

    def __init__(self, records: Sequence[EpochRecord] = ()) -> None:
        self._records = list(records)

    def append(self, record: EpochRecord) -> None:
        """Add the record of the epoch just ended."""
        self._records.append(record)

    def column(self, name: str) -> list[float | None]:
        """One value of every record by its name in JSON, for example `column("val_accuracy")`."""
        rows = [record.as_dict() for record in self._records]
        known = rows[0] if rows else record_names()
        if name not in known:
            raise KeyError(f"{name!r} is not recorded; there are {', '.join(known)}.")
        return [row[name] for row in rows]

    def best(self) -> EpochRecord | None:
        """The record with the highest validation score (the first of equals); None without validation."""
        scored = [(record.val_score, record) for record in self._records if record.val_score is not None]
        return max(scored, key=lambda pair: pair[0])[1] if scored else None

    def to_jsonl(self) -> str:
        """One JSON object a line. Floats keep every bit: `from_jsonl` gives an equal history."""
        return "".join(json.dumps(record.as_dict(), allow_nan=False) + "\n" for record in self._records)

    @classmethod
    def from_jsonl(cls, text: str) -> History:
        """Read what `to_jsonl` wrote.

        Raises:
            DataError: a line is no record of an epoch.
        """
        records = []
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                records.append(EpochRecord.from_json(json.loads(line)))
            except (ValueError, RecursionError, DataError) as error:
                raise DataError(f"Line {number} of the history is no record of an epoch: {error}") from error
        return cls(records)

    @overload
    def __getitem__(self, index: int) -> EpochRecord: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> EpochRecord | History:
        return History(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self._records)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._records == other._records

    def __hash__(self) -> int:
        return hash(tuple(self._records))

    def __repr__(self) -> str:
        return f"History({self._records!r})"
