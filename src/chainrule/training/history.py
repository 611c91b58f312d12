"""What a training run tells of itself: one record an epoch, kept as data."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import overload

from chainrule.core.errors import DataError

__all__ = ["EpochRecord", "History"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch's outcome. Everything in it is a function of the configuration, so two equal runs have equal records.

    Attributes:
        epoch: 1 for the first.
        step: optimizer steps taken since training began.
        train_loss: mean loss of the epoch's samples, each measured as its batch was trained on (weights still moving).
        train_accuracy: fraction of them that were classified correctly at that moment.
        val_loss: mean loss on the validation set after the epoch; None without a validation set.
        val_accuracy: fraction of the validation set classified correctly; None without one.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None

    @classmethod
    def from_json(cls, content: object) -> EpochRecord:
        """The record that became this JSON object.

        Raises:
            DataError: it is none, lacks a field, has one too many, or holds a value that no epoch can have.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(content, dict) or set(content) != set(names):
            raise DataError(f"expected an object with {', '.join(names)}, got {content!r:.200}.")
        for name, value in content.items():
            if allowed := _violated(name, value):
                raise DataError(f"{name} must be {allowed}, got {value!r:.100}.")
        return cls(**content)


def _violated(name: str, value: object) -> str:
    """What a field must be, where the value is not that; nothing where it is."""
    if name in ("epoch", "step"):
        return "" if type(value) is int and 1 <= value < 2**63 else "a whole number of 1 or more"
    if value is None and name.startswith("val_"):
        return ""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if name.endswith("accuracy"):
        return "" if 0 <= number <= 1 else "a number from 0 to 1"
    # Not isfinite, which fails for a whole number that is larger than any float.
    return "" if abs(number) <= sys.float_info.max else "a finite number"


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
        """One field of every record, for example `column("val_accuracy")`."""
        if name not in {field.name for field in fields(EpochRecord)}:
            raise KeyError(f"{name!r} is not recorded; there are {', '.join(f.name for f in fields(EpochRecord))}.")
        return [getattr(record, name) for record in self._records]

    def best(self) -> EpochRecord | None:
        """The record with the highest validation accuracy (the first of equals); None without validation."""
        scored = [record for record in self._records if record.val_accuracy is not None]
        return max(scored, key=lambda record: record.val_accuracy or 0.0, default=None)

    def to_jsonl(self) -> str:
        """One JSON object a line. Floats keep every bit: `from_jsonl` gives an equal history."""
        return "".join(json.dumps(asdict(record), allow_nan=False) + "\n" for record in self._records)

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
            except (ValueError, RecursionError) as error:
                raise DataError(f"Line {number} of the history is no JSON: {error}. Got {line!r:.100}.") from error
            except DataError as error:
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
