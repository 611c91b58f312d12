"""The tracker protocol: four calls that report the events of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from chainrule.data import Dataset
from chainrule.nn.metrics import Evaluation
from chainrule.nn.network import Network
from chainrule.training.history import EpochRecord, History

__all__ = ["Run", "Status", "Tracker"]

Status = Literal["finished", "aborted", "pruned", "failed"]


@dataclass(frozen=True)
class Run:
    """One training run, as reported to trackers.

    Attributes:
        name: name of the run and of its folder.
        folder: `<output_dir>/<name>`, existing when `start` is called, and empty unless the run is resumed.
        config: the complete configuration as JSON can represent it, without secrets.
        dataset: the data, with class names.
        resumed: whether the run was started before; trackers then continue what they have of it.
        history: the epochs finished before.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    dataset: Dataset
    resumed: bool = False
    history: History = field(default_factory=History)


class Tracker(Protocol):
    """Receives, in this order: `start`, `log` after each epoch, `report` if testing was reached, `finish` (once)."""

    def start(self, run: Run) -> None:
        """The run starts."""

    def log(self, record: EpochRecord, network: Network) -> None:
        """An epoch is finished; `network` holds its parameters."""

    def report(self, metrics: Mapping[str, Any], test: Evaluation, figures: Mapping[str, Path], model: Path) -> None:
        """The network was evaluated on the test set.

        Args:
            metrics: the content of `metrics.json`.
            test: the predictions on the test set.
            figures: PNG files by name: `learning_curves`, `confusion_matrix`, `worst_mistakes`, `samples`.
            model: the model file.
        """

    def finish(self, status: Status, reason: str = "") -> None:
        """The run has ended. Must not raise."""
