"""The results of a run: metrics on the test set, and figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.core.errors import DivergenceError
from chainrule.nn.metrics import make_class_report
from chainrule.runs.figures import draw_all
from chainrule.runs.folder import FIGURES

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.nn.metrics import Evaluation
    from chainrule.runs.tracking.base import Status
    from chainrule.runs.writer import RunWriter
    from chainrule.training.history import EpochRecord, History
    from chainrule.training.trainer import Trainer

__all__ = ["draw_figures", "make_metrics", "restore_kept_epoch"]


def restore_kept_epoch(trainer: Trainer, keep: str) -> EpochRecord | None:
    """Set the network to the parameters of the epoch that is kept; returns its record, None without any.

    Args:
        trainer: its unfinished epoch is dropped, so that the metrics belong to the parameters.
        keep: "best" on the validation set, or "last".
    """
    history = trainer.history
    if not len(history):
        return None
    best = history.best() if keep == "best" else None
    trainer.network.parameters.flat[...] = trainer.last_parameters if best is None else trainer.best_parameters
    return best or history[-1]


def make_metrics(
    status: Status, trainer: Trainer, kept: EpochRecord | None, test: Evaluation, classes: tuple[str, ...]
) -> dict[str, Any]:
    """The content of the metrics file.

    Raises:
        DivergenceError: the loss on the test set is infinite or NaN.
    """
    if not math.isfinite(test.loss):
        raise DivergenceError(f"The loss on the test set is {test.loss}: the outputs of the network overflow.")
    return {
        "status": status,
        "epochs": len(trainer.history),
        "steps": trainer.step,
        "parameters": trainer.network.parameters.flat.size,
        "kept_epoch": kept.epoch if kept else None,
        "train_loss": kept.train_loss if kept else None,
        "train_accuracy": kept.train_score if kept else None,
        "val_loss": kept.val_loss if kept else None,
        "val_accuracy": kept.val_score if kept else None,
        "test_loss": test.loss,
        "test_accuracy": test.score,
        **make_class_report(test, classes),
    }


def draw_figures(
    writer: RunWriter, folder: Path, *, history: History, data: Dataset, test: Evaluation, counts: list[list[int]]
) -> dict[str, Path]:
    """Draw the figures of a run into its folder; returns their paths by name."""
    with writer.guard(FIGURES):
        (folder / FIGURES).mkdir(exist_ok=True)
        return draw_all(folder / FIGURES, history=history, dataset=data, test=test, counts=counts)
