"""The results of a run: the parameters that are kept, and their metrics on the test set."""

from __future__ import annotations

import math
from typing import Any

from chainrule.core.errors import DivergenceError
from chainrule.nn.metrics import Evaluation, make_class_report
from chainrule.runs.tracking.base import Status
from chainrule.training.history import EpochRecord, record_names
from chainrule.training.trainer import Trainer

__all__ = ["make_metrics", "restore_kept_epoch"]


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
    trainer.network.parameters.memory[...] = trainer.last_parameters if best is None else trainer.best_parameters
    return best or history[-1]


def make_metrics(
    status: Status, trainer: Trainer, kept: EpochRecord | None, test: Evaluation, classes: tuple[str, ...]
) -> dict[str, Any]:
    """The content of the metrics file.

    Raises:
        DivergenceError: the loss on the test set is infinite or NaN.
    """
    if not math.isfinite(test.loss):
        raise DivergenceError(
            f"The loss on the test set is {test.loss}: the outputs of the network overflow. Lower the learning rate."
        )
    record = kept.as_dict() if kept else {}
    return {
        "status": status,
        "epochs": len(trainer.history),
        "steps": trainer.step,
        "parameters": trainer.network.parameters.flat.size,
        "kept_epoch": kept.epoch if kept else None,
        **{name: record.get(name) for name in record_names(test.score_name)[2:]},
        "test_loss": test.loss,
        f"test_{test.score_name}": test.score,
        **(make_class_report(test, classes) if classes else {}),
    }
