"""The bench command: time per training step of the compiled and of the NumPy engine on this machine.

The engines take turns, round by round, so that a temporary slowdown of the machine affects both. The samples are random
numbers without zeros, so no dataset is needed. On images the compiled engine is faster: it skips products with zeros.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.cli.flags import add_field, new_parser, parse_words
from chainrule.core.errors import ChainruleError, ConfigError
from chainrule.core.fields import Bool, Configurable, Float, Int, OptionalStr
from chainrule.core.files import converting_write_errors, write_json
from chainrule.core.machine import describe
from chainrule.engine import ENGINES
from chainrule.engine.base import NotCompilableError
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.parameters import Array, Labels
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.terminal.console import Console, print_text

__all__ = ["run"]

NETWORKS: dict[str, tuple[int, ...]] = {
    "784-128-10": (784, 128, 10),
    "784-128x4-10": (784, 128, 128, 128, 128, 10),
    "784-512x3-10": (784, 512, 512, 512, 10),
}
BATCHES = (1, 16, 64, 256, 1024)
QUICK_NETWORK, QUICK_BATCHES = "784-128x4-10", (16, 256)
QUICK: dict[str, object] = {"seconds": 0.1, "rounds": 2}

_COMPARED = ("compiled", "numpy")
_OPTIMIZER = "rmsprop"
_ROW = "{:14}{:>6}{:>12}{:>12}{:>8}{:>14}{:>14}"
_SAMPLES = 16384  # 51 MB: like real datasets, larger than the caches
# Per call of an engine, as in training; Ctrl-C is handled between calls.
_MAX_CALL_SECONDS = 0.1
# Between two measurements: idle BLAS threads spin before they sleep, which would slow the next one.
_PAUSE_SECONDS = 0.05


class BenchSettings(Configurable):
    """The options of the command."""

    quick = Bool(False, "measure one network with two batch sizes, shortly")
    threads = Int(0, "threads per step; 0 selects the fastest number", ge=0, le=1024)
    seconds = Float(0.3, "seconds per measurement", gt=0, le=3600)
    rounds = Int(3, "measurements per engine, of which the median is reported", ge=1, le=10_000)
    json = OptionalStr(None, "file for the results and a description of the machine")


def run(words: Sequence[str], program: str) -> int:
    """Measure and print; with `--json`, store the results."""
    parser = new_parser(
        program,
        "Measure the time per training step on this machine, with the compiled engine and with plain NumPy, on random "
        "samples. It takes about a minute, during which nothing else should run: a product that BLAS shares among all "
        "cores waits for the busiest one.",
    )
    for field in BenchSettings.fields().values():
        add_field(parser, field)
    if not {"-h", "--help"}.isdisjoint(words):
        return print_text(parser.format_help())
    settings = _parse_settings(parse_words(parser, words))
    console = Console()
    with console.show_logs():
        results = _measure(settings, console)
    machine = describe()
    console.note("\n" + _format_machine(machine))
    if settings.json is not None:
        _store(Path(settings.json), machine, settings, results)
        console.note(f"Results in {settings.json}")
    return int(console.lost)


def _parse_settings(given: dict[str, object]) -> BenchSettings:
    """Parse the options; `--quick` changes the defaults of others."""
    settings = BenchSettings(**given)
    if settings.quick:
        settings = BenchSettings(**{**QUICK, **given})
    # Checked before measuring.
    file = None if settings.json is None else Path(settings.json)
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise ConfigError(f"json must be a file in a folder that exists, got {settings.json!r}.")
    return settings


class _EngineTimer:
    """Measures the engine called `name` with a network of its own.

    Raises:
        ChainruleError: the engine cannot be used on this machine.
    """

    def __init__(self, name: str, sizes: Sequence[int], batch: int, threads: int, x: Array, y: Labels) -> None:
        network, optimizer = NeuralNetwork(sizes, seed=0), OPTIMIZERS[_OPTIMIZER]()
        # Not make_engine, which falls back to the other engine.
        try:
            self._engine = ENGINES[name](network, optimizer, batch, threads)
        except (NotCompilableError, ImportError) as error:
            raise ChainruleError(f"The {name} engine cannot be used here: {error}.") from error
        self._x, self._y, self._batch = x, y, batch
        self._random = np.random.default_rng(0)
        self._steps = 1  # per call

    def measure(self, seconds: float) -> float:
        """Train for about `seconds`; returns the time per step in seconds."""
        time.sleep(_PAUSE_SECONDS)
        spent, steps = 0.0, 0
        while spent < seconds:
            order = self._random.integers(0, len(self._x), self._steps * self._batch)
            start = time.perf_counter()
            done = len(self._engine.train(self._x, self._y, order).losses)
            elapsed = max(time.perf_counter() - start, 1e-9)
            spent, steps = spent + elapsed, steps + done
            longest = min(_MAX_CALL_SECONDS, seconds / 2)
            self._steps = max(1, min(2 * self._steps, int(done * longest / elapsed)))
        return spent / steps


def _measure(settings: BenchSettings, console: Console) -> list[dict[str, Any]]:
    """Measure every problem and print its row; returns an entry per problem and engine."""
    random = np.random.default_rng(0)
    x = random.random((_SAMPLES, 784), np.float32)
    y = random.integers(0, 10, _SAMPLES)
    rounds = "one round" if settings.rounds == 1 else f"the median of {settings.rounds} rounds"
    console.note(
        f"Microseconds per training step with {_OPTIMIZER} on random samples, {rounds}; samples per second (/s).\n"
    )
    console.note(_ROW.format("network", "batch", *_COMPARED, "ratio", *(f"{name}/s" for name in _COMPARED)))
    results: list[dict[str, Any]] = []
    names, batches = ([QUICK_NETWORK], QUICK_BATCHES) if settings.quick else (NETWORKS, BATCHES)
    for network, batch in itertools.product(names, batches):
        timers = {name: _EngineTimer(name, NETWORKS[network], batch, settings.threads, x, y) for name in _COMPARED}
        # Warm-up: memory is touched for the first time, threads start, and their number is tuned.
        for timer in timers.values():
            timer.measure(settings.seconds)
        times: dict[str, list[float]] = {name: [] for name in timers}
        for _ in range(settings.rounds):
            for name, timer in timers.items():
                times[name].append(1e6 * timer.measure(settings.seconds))
        medians = {name: statistics.median(found) for name, found in times.items()}
        results += [
            {
                "network": network,
                "batch": batch,
                "engine": name,
                "microseconds": [round(value, 2) for value in found],
                "median_microseconds": round(medians[name], 2),
                "samples_per_second": round(1e6 * batch / medians[name]),
            }
            for name, found in times.items()
        ]
        cells = [f"{median:,.1f}" for median in medians.values()]
        cells += [f"{medians['numpy'] / medians['compiled']:.2f}"]
        cells += [f"{1e6 * batch / median:,.0f}" for median in medians.values()]
        console.note(_ROW.format(network, batch, *cells))
    return results


def _format_machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    memory = "" if machine["memory_gib"] is None else f", {machine['memory_gib']} GiB"
    return f"{versions}, Python {machine['python']}; {machine['processor']}; {machine['cores']} cores{memory}."


def _store(file: Path, machine: dict[str, Any], settings: BenchSettings, results: list[dict[str, Any]]) -> None:
    options = {name: value for name, value in settings.as_dict().items() if name != "json"}
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "settings": {**options, "optimizer": _OPTIMIZER, "data": "random, float32"},
        "results": results,
    }
    with converting_write_errors(file):
        write_json(file, content)
