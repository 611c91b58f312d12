"""Checkpoints: the whole state of a run at one moment, in a file from which training resumes bit-exactly.

A checkpoint is a safetensors file: arrays and a short description, no code. The description holds a SHA-256 of itself
and of every array; a file that was cut or changed anywhere is refused. Two are kept and written in turn, so the
previous one is intact until the next one is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import CheckpointError, DataError
from chainrule.core.files import exists, size_of, write_bytes
from chainrule.nn.parameters import check_memory
from chainrule.training.history import EpochRecord, History

__all__ = ["FILES", "Checkpoint", "Checkpoints", "load_checkpoint", "save_checkpoint"]

_FORMAT = "chainrule checkpoint 2"
FILES = ("a.safetensors", "b.safetensors")
# Raised by parsing a description that is none.
_UNFIT = (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two batches.

    Attributes:
        arrays: `parameters`, `best` and `last` (those of the best and of the last finished epoch), `slot.<name>` of the
            optimizer, and `losses`, those of the unfinished epoch's batches: each one-dimensional.
        step: batches trained on since training began.
        optimizer_step: steps that the optimizer took.
        scalars: the optimizer's scalars.
        position: samples of the unfinished epoch that were trained on; 0 between epochs.
        score_sum: the sum of their scores.
        shuffle_state: state of the shuffling generator before the epoch that position is in.
        history: the finished epochs.
        fingerprint: what the checkpoint depends on, by name, such as a hash of the configuration.
    """

    arrays: Mapping[str, NDArray[Any]]
    step: int
    optimizer_step: int
    scalars: Mapping[str, float]
    position: int
    score_sum: float
    shuffle_state: Mapping[str, Any]
    history: History
    fingerprint: Mapping[str, str]

    @property
    def progress(self) -> tuple[int, int]:
        """Finished epochs and batches: greater for the newer of two checkpoints of a run."""
        return len(self.history), self.step


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint.

    Raises:
        OSError: it could not be written; an existing file is intact.
    """
    from safetensors.numpy import save

    description = {
        "step": checkpoint.step,
        "optimizer_step": checkpoint.optimizer_step,
        # As hexadecimal text, which keeps every bit, and infinity, which JSON cannot express.
        "scalars": {name: float(value).hex() for name, value in checkpoint.scalars.items()},
        "position": checkpoint.position,
        "score_sum": float(checkpoint.score_sum).hex(),
        "shuffle_state": checkpoint.shuffle_state,
        "history": [record.as_dict() for record in checkpoint.history],
        "fingerprint": dict(checkpoint.fingerprint),
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
    content = {"description": description, "sha256": _digest(description, arrays)}
    check_memory(2 * sum(array.nbytes for array in arrays.values()))
    write_bytes(path, save(arrays, {_FORMAT: json.dumps(content, allow_nan=False)}))


def load_checkpoint(path: Path, shapes: Mapping[str, tuple[int, ...] | None], dtype: str) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: the file.
        shapes: the expected arrays with their shapes; None for any length.
        dtype: of all arrays but `losses`.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or does not hold what it must.
    """
    from safetensors import SafetensorError, safe_open

    try:
        size = size_of(path)
        with safe_open(path, framework="numpy") as file:
            check_memory(size)
            metadata: dict[str, str] = file.metadata() or {}
            if _FORMAT not in metadata:
                other = next((name for name in metadata if name.startswith(_FORMAT[:-1])), "")
                but = f", but {other!r:.50}, of another version of chainrule" if other else ""
                raise CheckpointError(f"{path} is not a {_FORMAT!r} file{but}.")
            content: Any = json.loads(metadata[_FORMAT])
            description, digest = content["description"], content["sha256"]
            # Before anything of this size is allocated: the header may be wrong.
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            if set(found) != set(shapes) or any(shape not in (None, found[name]) for name, shape in shapes.items()):
                raise CheckpointError(f"{path} holds arrays of shapes {found!s:.500}; this run has {dict(shapes)}.")
            arrays = {name: file.get_tensor(name) for name in found}
        if digest != _digest(description, arrays):
            raise CheckpointError(f"{path} is damaged: its contents do not have the checksum that it gives.")
        for name, array in arrays.items():
            if array.dtype != ("float64" if name == "losses" else dtype) or array.ndim != 1:
                raise CheckpointError(f"{path}: {name} must be a row of {dtype}, got {array.dtype} {array.shape}.")
            # An optimizer's squares may overflow without harm; the parameters that a run returns to may not.
            if np.isnan(array).any() or (name in ("best", "last", "losses") and not np.isfinite(array).all()):
                raise CheckpointError(f"{path}: {name} holds numbers that are not finite.")
        for name in ("step", "optimizer_step", "position"):
            if type(description[name]) is not int or not 0 <= description[name] < 2**63:
                raise CheckpointError(f"{path}: {name} must be a number of 0 or more, got {description[name]!r:.100}.")
        return Checkpoint(
            arrays=arrays,
            scalars={name: float.fromhex(value) for name, value in description["scalars"].items()},
            score_sum=float.fromhex(description["score_sum"]),
            history=History([EpochRecord.from_json(record) for record in description["history"]]),
            shuffle_state=dict(description["shuffle_state"]),
            fingerprint=dict(description["fingerprint"]),
            **{name: description[name] for name in ("step", "optimizer_step", "position")},
        )
    except (OSError, SafetensorError, *_UNFIT) as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}: {error!s:.500}") from error


class Checkpoints:
    """The two checkpoint files of a run.

    Args:
        folder: their folder, which exists.
        shapes: see `load_checkpoint`.
        dtype: see `load_checkpoint`.

    Attributes:
        newest: the newest intact checkpoint, or None.
        problems: an error message for each damaged one.
    """

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[int, ...] | None], dtype: str) -> None:
        self._folder = folder
        self.newest: Checkpoint | None = None
        self.problems: list[str] = []
        self._next = FILES[0]
        for name, other in (FILES, FILES[::-1]):
            for leftover in folder.glob(f".{name}.*"):  # of a process that was killed while it wrote
                with suppress(OSError):
                    leftover.unlink()
            if exists(folder / name):
                try:
                    found = load_checkpoint(folder / name, shapes, dtype)
                except CheckpointError as error:
                    self.problems.append(str(error))
                    continue
                # Not by the files' times: a clock can be set back.
                if self.newest is None or found.progress > self.newest.progress:
                    self.newest, self._next = found, other

    def save(self, checkpoint: Checkpoint) -> None:
        """Overwrite the older of the two.

        Raises:
            OSError: it could not be written; the existing ones are intact.
        """
        save_checkpoint(checkpoint, self._folder / self._next)
        self._next = FILES[1 - FILES.index(self._next)]

    def remove_older(self) -> None:
        """Remove the older of the two, once the run is finished."""
        with suppress(OSError):
            (self._folder / self._next).unlink()


def _digest(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of a description and of the arrays with their names, types and shapes."""
    total = hashlib.sha256(json.dumps(description, sort_keys=True, allow_nan=False).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(array.tobytes())
    return total.hexdigest()
