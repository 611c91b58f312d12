"""A training run as its writer and its tracker see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from chainrule.data import Dataset
from chainrule.training.history import History

__all__ = ["Run", "Status"]

Status = Literal["finished", "aborted", "pruned", "failed"]


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: name of the run and of its folder.
        folder: `<output_dir>/<name>`, existing when `start` is called, and empty unless the run is resumed.
        config: the complete configuration as JSON can represent it, without secrets.
        dataset: the data, with class names.
        resumed: whether the run was started before; a tracker then continues what it has of it.
        history: the epochs finished before.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    dataset: Dataset
    resumed: bool = False
    history: History = field(default_factory=History)
