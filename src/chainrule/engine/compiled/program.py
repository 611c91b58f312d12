"""Programs: a network's training step, or its evaluation, laid out as tables of operations, one table a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.compiled.driver import STORE
from chainrule.engine.compiled.layouts import by_neurons, by_samples, keeps_neurons
from chainrule.engine.compiled.table import Learning, Space, Thread
from chainrule.nn.parameters import Array, ParameterDict

__all__ = ["Program", "evaluation_program", "training_program"]


@dataclass
class Program:
    """Tables for the driver, and the arrays that they point into.

    Attributes:
        tables: for each thread its operations, (operations, 14) int64.
        rows: samples that a step takes.
        meeting: the counter of the threads' barriers, and whether one of them failed.
        transposes: pairs of weights and their transpose, which must be right when steps begin.
        owners: what must stay in memory as long as the program does.
    """

    tables: list[NDArray[np.int64]]
    rows: int
    meeting: NDArray[np.int64]
    transposes: list[tuple[Array, Array]]
    owners: list[Any] = field(repr=False)

    def logits_to(self, logits: Array) -> None:
        """Let an evaluation put the logits of all its steps here, (n, k) in unbroken memory."""
        for table in self.tables:
            table[table[:, 0] == STORE, 2] = logits.ctypes.data

    @classmethod
    def of(cls, space: Space, threads: list[Thread], learning: Learning | None) -> Program:
        """The program that the threads have written down."""
        tables = [thread.table.finished() for thread in threads]
        transposes = learning.transposes if learning else []
        return cls(tables, space.rows, space.meeting, transposes, [threads, learning])


def training_program(
    parameters: ParameterDict, slots: Sequence[Array], rows: int, threads: int, *, zeros: bool
) -> Program:
    """The program of a training step.

    Args:
        parameters: read and updated.
        slots: the optimizer's arrays, flat.
        rows: samples a step.
        threads: how many tables to make.
        zeros: whether the samples hold many zeros; it matters to the time alone.
    """
    space, learning = Space(parameters, rows, threads, zeros=zeros), Learning(parameters, slots)
    layout = by_neurons if keeps_neurons(space) else by_samples
    return Program.of(space, layout(space, learning), learning)


def evaluation_program(parameters: ParameterDict, rows: int, threads: int, *, zeros: bool) -> Program:
    """The program that computes the logits of so many samples a step."""
    space = Space(parameters, rows, threads, zeros=zeros)
    return Program.of(space, by_samples(space, None), None)
