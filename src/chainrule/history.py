"""What a training run tells of itself: one record an epoch, kept as data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import overload

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
        """Read what `to_jsonl` wrote."""
        return cls([EpochRecord(**json.loads(line)) for line in text.splitlines()])

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
