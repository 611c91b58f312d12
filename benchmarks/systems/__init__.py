"""The systems compared, one file each, behind one protocol.

Each class trains in the fastest way that its library offers: batches are gathered from arrays in memory by the means
that suit it, the gather is part of the time, and its compiler, fused optimizer or thread pool is used.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Protocol

from problem import Data, Layers, Problem

__all__ = ["CHECKED_SYSTEMS", "PART_SYSTEMS", "SYSTEMS", "Entry", "System", "load_system"]


class System(Protocol):
    """One system in one process with one number of threads."""

    version: str

    def __init__(self, data: Data, threads: int | None) -> None:
        """Import the library and take the data. `threads` None: the system's own choice."""

    def prepare(self, problem: Problem) -> None:
        """Build the network with the common initial parameters, and compile it."""

    def steps(self, n: int) -> float:
        """Train for about n steps. Returns the steps taken: samples trained on, divided by the batch size."""

    def parameters(self) -> Layers:
        """Current weights (fan_in, fan_out) and biases (fan_out,); empty if the system trains nothing."""

    def close(self) -> None:
        """Free what `prepare` made."""


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        label: its name in the table.
        target: its class, as module:class.
        optimizers: the optimizers it is measured with.
        threads: the numbers of threads to measure: a number, "all" cores, or "own" for its own choice.
        headline: the thread settings considered for the table, which shows the best of them.
    """

    label: str
    target: str
    optimizers: tuple[str, ...] = ("rmsprop",)
    threads: tuple[str, ...] = ("1", "all")
    headline: tuple[str, ...] = ("1", "all")


# chainrule is reported with its own choice of threads, as a user gets it; every peer with its best.
SYSTEMS: dict[str, Entry] = {
    "compiled": Entry(
        "chainrule, compiled engine",
        "systems.chainrule_engines:Compiled",
        optimizers=("rmsprop", "adam"),
        threads=("own", "1", "all"),
        headline=("own",),
    ),
    "numpy": Entry(
        "chainrule, numpy engine", "systems.chainrule_engines:Numpy", threads=("own", "1"), headline=("own",)
    ),
    "jax": Entry("JAX, jit over a scan", "systems.jax_scan:JaxScan"),
    "keras": Entry("Keras on JAX, fit", "systems.keras_fit:KerasFit"),
    "torch": Entry("PyTorch, eager", "systems.pytorch:Eager"),
    "torch_compile": Entry("PyTorch, compiled step", "systems.pytorch:CompiledStep"),
    "sklearn": Entry("scikit-learn, MLPClassifier", "systems.sklearn_mlp:SklearnMLP", optimizers=("adam",)),
    "floor": Entry("floor: BLAS and memory alone", "systems.floor:Floor"),
}

# The same with all parts of training_parts.py.
PART_SYSTEMS: dict[str, Entry] = {
    "compiled": replace(SYSTEMS["compiled"], optimizers=("adam",), threads=("own",)),
    "jax": Entry("JAX, jit over a scan", "systems.jax_parts:JaxScan", ("adam",)),
    "torch": Entry("PyTorch, eager", "systems.pytorch_parts:Eager", ("adam",)),
    "torch_compile": Entry("PyTorch, compiled step", "systems.pytorch_parts:CompiledStep", ("adam",)),
}
CHECKED_SYSTEMS = {name: replace(entry, threads=("1",)) for name, entry in PART_SYSTEMS.items()}
CHECKED_SYSTEMS["compiled"] = replace(CHECKED_SYSTEMS["compiled"], target="systems.chainrule_engines:CompiledInOrder")


def load_system(target: str, data: Data, threads: int | None) -> System:
    """Construct the system `target`, given as module:class."""
    module, name = target.split(":")
    system: System = getattr(importlib.import_module(module), name)(data, threads)
    return system
