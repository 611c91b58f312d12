"""Run folders: the names of their files, creating, finding, reading and locking them.

    config.json         the complete configuration, which `TrainConfig` reads
    history.jsonl       one record per epoch
    metrics.json        final loss and score, scores per class, confusion matrix
    model.safetensors   the parameters, saved after every epoch
    figures/            PNG files
    checkpoints/        up to two checkpoints, and the run lock
    members/            of an ensemble: a run folder for each network
    run.json            the journal, with what differs between equal runs: status, times, versions

Except for the journal, equal runs write equal bytes.
"""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chainrule.core.errors import ConfigError, DataError, OutputError
from chainrule.core.files import (
    converting_write_errors,
    exists,
    hold_lock,
    is_locked,
    make_write_error,
    read_json,
    read_text,
)
from chainrule.core.registry import did_you_mean
from chainrule.runs.config import TrainConfig
from chainrule.training.checkpoint import FILES
from chainrule.training.history import History

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "FIGURES",
    "HISTORY",
    "JOURNAL",
    "MEMBERS",
    "METRICS",
    "MODEL",
    "RunFolder",
    "create_run_folder",
    "describe_resume",
    "find_folder",
    "find_run",
    "get_lock_identity",
    "is_running",
    "list_folders",
    "list_runs",
    "make_run_error",
    "make_run_name",
    "run_lock",
]

JOURNAL = "run.json"
CONFIG = "config.json"
HISTORY = "history.jsonl"
METRICS = "metrics.json"
MODEL = "model.safetensors"
FIGURES = "figures"
CHECKPOINTS = "checkpoints"
MEMBERS = "members"
_LOCK = f"{CHECKPOINTS}/lock"

_STATUSES = ("finished", "aborted", "pruned", "failed", "running", "interrupted")
_MAX_HISTORY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class RunFolder:
    """The state of a run, read from its folder.

    Attributes:
        path: the folder.
        status: "finished", "aborted", "pruned" (ended early by a sweep), "failed", "running", "interrupted" if no
            process runs it any more, or "damaged".
        started: time of the start, or None if unknown.
        epochs: number of finished epochs.
        val_accuracy: the best, or None; that of the averaged probabilities for an ensemble that was tested.
        test_accuracy: None if it was not tested.
    """

    path: Path
    status: str
    started: datetime | None
    epochs: int
    val_accuracy: float | None
    test_accuracy: float | None

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Read a run folder. Unreadable files count as missing."""
        journal, metrics = read_json(path / JOURNAL), read_json(path / METRICS)
        status = journal.get("status")
        if status == "running" and not is_running(path):
            status = "interrupted"
        try:
            started = datetime.fromisoformat(str(journal.get("started")))
        except ValueError:
            started = None
        if started is not None and started.tzinfo is None:
            started = started.replace(tzinfo=UTC)
        try:
            history = History.from_jsonl(read_text(path / HISTORY, _MAX_HISTORY_BYTES))
        except (OSError, ValueError, DataError):
            history = History()
        best = history.best()
        return cls(
            path=path,
            status=status if status in _STATUSES else "damaged",
            started=started,
            epochs=len(history),
            val_accuracy=_as_fraction(metrics.get("val_accuracy"))
            if "members" in metrics
            else best.val_score
            if best
            else None,
            test_accuracy=_as_fraction(metrics.get("test_accuracy")),
        )

    @property
    def can_be_resumed(self) -> bool:
        """Whether it ended before it was finished."""
        return self.status in ("interrupted", "aborted", "failed")

    def read_config(self) -> TrainConfig:
        """Read the configuration.

        Raises:
            ConfigError: it is missing, damaged or invalid.
        """
        file = self.path / CONFIG
        content = read_json(file)
        if not content:
            raise ConfigError(f"{file} is missing or damaged, so the run cannot be resumed.")
        try:
            return TrainConfig(content)
        except ConfigError as error:
            raise ConfigError(f"{file} is not a valid configuration: {error}") from error


def _as_fraction(value: object) -> float | None:
    return value if isinstance(value, float) and 0 <= value <= 1 else None


def list_runs(output_dir: Path) -> list[RunFolder]:
    """The runs in a folder, latest start first."""
    never = datetime.min.replace(tzinfo=UTC)
    runs = map(RunFolder.read, list_folders(output_dir, JOURNAL))
    return sorted(runs, key=lambda run: (run.started or never, run.path.name), reverse=True)


def find_run(name: str, output_dir: Path) -> RunFolder:
    """The run with a name, or in the folder with this path.

    Raises:
        ConfigError: there is none.
    """
    return RunFolder.read(find_folder("run", name, output_dir, JOURNAL))


def list_folders(parent: Path, journal: str) -> list[Path]:
    """The folders in a folder that hold a file with this name, by name."""
    try:
        return sorted(path for path in parent.iterdir() if exists(path / journal))
    except OSError:
        return []


def find_folder(kind: str, name: str, output_dir: Path, journal: str) -> Path:
    """The folder with a name in `output_dir`, or with this path, that holds a file called `journal`.

    Raises:
        ConfigError: there is none.
    """
    for path in (output_dir / name, Path(name)):
        if exists(path / journal):
            return path
    known = [path.name for path in list_folders(output_dir, journal)]
    raise ConfigError(f"There is no {kind} {name!r} in {output_dir}.{did_you_mean(name, known)}")


def make_run_name(config: TrainConfig) -> str:
    """A name made from the main hyperparameters: `hl_4_bs_16_ac_ReLU_opt_rmsprop_...`."""
    size = config.hidden_size
    parts = {
        "hl": config.num_layers,
        "bs": config.batch_size,
        "ac": config.activation,
        "opt": config.optimizer,
        "lr": f"{config.hyperparameters['learning_rate']:g}",
        "wd": f"{config.hyperparameters['weight_decay']:g}",
        "sz": "-".join(map(str, size)) if isinstance(size, tuple) else size,
        "init": config.weight_init,
        "loss": {"cross_entropy": "ce", "mean_squared_error": "mse"}.get(config.loss, config.loss),
        "ep": config.epochs,
        "data": config.dataset or "own",
        "seed": config.seed,
        **({"members": config.members} if config.members > 1 else {}),
    }
    name = "_".join(f"{key}_{value}" for key, value in parts.items())
    # File systems limit names to 255 bytes, and a list of widths may be long.
    return name[:150]


def create_run_folder(output_dir: Path, name: str, *, unique: bool) -> Path:
    """Create an empty run folder, and `output_dir` if needed; with `unique`, a name that is taken gets a number.

    Raises:
        OutputError: the folder exists (and `unique` is False) or cannot be created.
    """
    with converting_write_errors(output_dir, "or choose another output_dir"):
        output_dir.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = output_dir / (name if number == 1 else f"{name}_{number}")
            try:
                folder.mkdir()
                break
            except FileExistsError:
                if _was_never_started(folder):
                    break
                if not unique:
                    raise OutputError(f"{folder} exists already; choose another run_name or remove it.") from None
    return folder


def _was_never_started(folder: Path) -> bool:
    """Whether a folder is left from a run that was killed before it had a journal, and so cannot be resumed."""
    left = {path.name for path in folder.rglob("*") if path.name[0] != "."} if folder.is_dir() else {""}
    return left <= {CHECKPOINTS, Path(_LOCK).name, CONFIG}


def run_lock(folder: Path) -> AbstractContextManager[None]:
    """Hold the lock of a run folder during a block: only one process at a time writes to it.

    Raises:
        OutputError: another process holds it.
    """
    return hold_lock(
        folder / _LOCK,
        busy=f"{folder} is in use: another process trains this run. Wait for it, or stop it.",
        unwritable=lambda error: make_run_error(folder, folder, error),
    )


def is_running(folder: Path) -> bool:
    """Whether a process holds the run lock."""
    return is_locked(folder / _LOCK)


def get_lock_identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode of the lock file, which change if the folder is replaced; None if there is no lock file.

    The folder's own inode may be reused by the next folder once it is removed.
    """
    try:
        found = (folder / _LOCK).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_run_error(folder: Path, path: Path, error: OSError) -> OutputError:
    """The error for a file of a run folder that could not be written: why, and how the run continues."""
    raised = make_write_error(path, error, describe_resume(folder))
    raised.run_folder = folder if (folder / JOURNAL).exists() else None
    return raised


def describe_resume(folder: Path) -> str:
    """How a run that ended too early continues, as the end of a sentence.

    >>> describe_resume(Path("runs/never"))
    'then start the run again'
    """
    if not (folder / JOURNAL).exists():
        return "then start the run again"
    if any((folder / CHECKPOINTS / file).exists() for file in FILES):
        return "then resume the run: the last checkpoint is intact"
    return "then resume the run, from its start: no checkpoint was saved yet"
