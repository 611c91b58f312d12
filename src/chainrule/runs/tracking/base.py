"""What a tracker is: something that is told about a run while it happens.

The run folder is written by one tracker (`local.py`), Weights & Biases is fed by another (`wandb.py`). The training
loop knows neither; it calls these four methods, and `finish` is called exactly once whatever happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from chainrule.training.history import History

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.nn.metrics import Evaluation
    from chainrule.nn.network import Network
    from chainrule.training.history import EpochRecord

__all__ = ["Run", "Status", "Tracker"]

Status = Literal["finished", "aborted", "pruned", "failed"]


@dataclass(frozen=True)
class Run:
    """One training run, as its trackers see it.

    Attributes:
        name: the run's name, also that of its folder.
        folder: `<output_dir>/<name>`, existing when `start` is called, and empty unless the run is resumed.
        config: the resolved configuration as JSON can hold it: only what the run uses, and no secrets.
        dataset: the data, with class names.
        resumed: whether the run was begun before; trackers go on with what they have of it.
        history: the epochs finished before.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    dataset: Dataset
    resumed: bool = False
    history: History = field(default_factory=History)


class Tracker(Protocol):
    """The four calls, in order: `start`, `log` after each epoch, `report` if testing was reached, `finish`."""

    def start(self, run: Run) -> None:
        """The run begins."""

    def log(self, record: EpochRecord, network: Network) -> None:
        """An epoch ended; `network` holds its parameters."""

    def report(self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path) -> None:
        """Training is over and the test set was looked at.

        Args:
            metrics: numbers by name as in `metrics.json`: `test_loss`, `test_accuracy`, `val_accuracy`, ... as
                fractions, `per_class` (class name to precision, recall, f1, support) and `confusion_matrix` (k rows of
                k counts).
            test: the predictions on the test set.
            figures: PNG files by name: `learning_curves`, `confusion_matrix`, `worst_mistakes`, `samples`.
            model: the saved parameters.
        """

    def finish(self, status: Status, reason: str = "") -> None:
        """The run is over.

        Raises:
            OutputError: a run that did not fail cannot be recorded as over. Nothing else may be raised.
        """
