"""The bench command: time per training step of the compiled and of the NumPy engine on this machine.

The engines take turns, round by round, so that a temporary slowdown of the machine affects both. The samples are random
numbers without zeros, so no dataset is needed. On images the compiled engine is faster: it skips products with zeros.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.cli.flags import add_field, new_parser, parse_words
from chainrule.core.errors import ChainruleError, ConfigError, OutputError
from chainrule.core.fields import Bool, Configurable, Float, Int, OptionalStr
from chainrule.core.files import write_json
from chainrule.core.machine import describe
from chainrule.engine import ENGINES, make_engine
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.parameters import Array, Labels
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.terminal.console import Console, print_text
from chainrule.terminal.interrupt import stopping_on_interrupt

__all__ = ["run"]

NETWORKS: dict[str, tuple[int, ...]] = {
    "784-128-10": (784, 128, 10),
    "784-128x4-10": (784, 128, 128, 128, 128, 10),
    "784-512x3-10": (784, 512, 512, 512, 10),
}
BATCHES = (1, 16, 64, 256, 1024)
QUICK_NETWORK, QUICK_BATCHES = "784-128x4-10", (16, 256)
QUICK = {"seconds": 0.1, "rounds": 2}

_COMPARED = ("compiled", "numpy")
_OPTIMIZER = "rmsprop"
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
    """Measure and print; with `--json`, store the results.

    Args:
        words: flags and values.
        program: what the user typed before them.

    Returns:
        0, or 1 if the results could not be printed.

    Raises:
        ConfigError: a flag is unknown or its value invalid.
        OutputError: the results cannot be written.
        KeyboardInterrupt: Ctrl-C.
    """
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
    given = parse_words(parser, words)
    settings = BenchSettings(**given)
    if settings.quick:
        settings = BenchSettings(**{**QUICK, **given})
    # Checked before measuring.
    file = None if settings.json is None else Path(settings.json)
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise ConfigError(f"json must be a file in a folder that exists, got {settings.json!r}.")
    console = Console()
    with console.show_logs(), stopping_on_interrupt(console.note) as stop:
        results = _measure_all(settings, console, stop.is_set)
    machine = describe()
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    console.note(f"\n{versions}, Python {machine['python']}; {machine['processor']}; {machine['cores']} cores.")
    if file is not None:
        _store(file, machine, settings, results)
        console.note(f"Results in {file}")
    return int(console.lost)


class _EngineTimer:
    """Measures the engine `name` with a network of its own.

    Raises:
        ChainruleError: the engine cannot be used on this machine.
    """

    def __init__(self, name: str, sizes: Sequence[int], batch: int, threads: int, x: Array, y: Labels) -> None:
        network, optimizer = NeuralNetwork(sizes, seed=0), OPTIMIZERS[_OPTIMIZER]()
        self._engine = make_engine(name, network, optimizer, batch, threads)
        if name != "numpy" and type(self._engine) is ENGINES["numpy"]:
            # make_engine has fallen back to the other engine, and logged the reason.
            raise ChainruleError(f"The {name} engine cannot be used here, so there is nothing to compare.")
        self._x, self._y, self._batch = x, y, batch
        self._random = np.random.default_rng(0)
        self._steps = 1  # per call

    def measure(self, seconds: float, should_stop: Callable[[], bool]) -> float:
        """Train for about `seconds`; returns the time per step in seconds.

        Raises:
            KeyboardInterrupt: `should_stop` returned True.
        """
        time.sleep(_PAUSE_SECONDS)
        spent, steps = 0.0, 0
        while spent < seconds:
            if should_stop():
                raise KeyboardInterrupt
            order = self._random.integers(0, len(self._x), self._steps * self._batch)
            start = time.perf_counter()
            done = len(self._engine.train(self._x, self._y, order).losses)
            elapsed = max(time.perf_counter() - start, 1e-9)
            spent, steps = spent + elapsed, steps + done
            longest = min(_MAX_CALL_SECONDS, seconds / 2)
            self._steps = max(1, min(2 * self._steps, int(done * longest / elapsed)))
        return spent / steps


def _measure_all(settings: BenchSettings, console: Console, should_stop: Callable[[], bool]) -> list[dict[str, Any]]:
    """Measure every problem and print its row; returns an entry per problem and engine."""
    random = np.random.default_rng(0)
    x = random.random((_SAMPLES, 784), np.float32)
    y = random.integers(0, 10, _SAMPLES)
    console.note(
        f"Microseconds per training step with {_OPTIMIZER} on random samples, median of {settings.rounds}; samples per "
        "second (/s).\n"
    )
    row = "{:14}{:>6}{:>12}{:>12}{:>8}{:>14}{:>14}"
    console.note(row.format("network", "batch", "compiled", "numpy", "ratio", "compiled/s", "numpy/s"))
    names, batches = ([QUICK_NETWORK], QUICK_BATCHES) if settings.quick else (list(NETWORKS), BATCHES)
    results: list[dict[str, Any]] = []
    for network, batch in itertools.product(names, batches):
        timers = [_EngineTimer(name, NETWORKS[network], batch, settings.threads, x, y) for name in _COMPARED]
        # The first round is a warm-up: memory is touched for the first time, threads start, their number is tuned.
        rounds = [
            [1e6 * timer.measure(settings.seconds, should_stop) for timer in timers] for _ in range(1 + settings.rounds)
        ]
        times = list(zip(*rounds[1:], strict=True))
        compiled, numpy = medians = [statistics.median(found) for found in times]
        results += [
            {
                "network": network,
                "batch": batch,
                "engine": name,
                "microseconds": [round(value, 2) for value in found],
                "median_microseconds": round(median, 2),
                "samples_per_second": round(1e6 * batch / median),
            }
            for name, found, median in zip(_COMPARED, times, medians, strict=True)
        ]
        cells = [f"{compiled:,.1f}", f"{numpy:,.1f}", f"{numpy / compiled:.2f}"]
        cells += [f"{1e6 * batch / median:,.0f}" for median in medians]
        console.note(row.format(network, batch, *cells))
    return results


def _store(file: Path, machine: dict[str, Any], settings: BenchSettings, results: list[dict[str, Any]]) -> None:
    """Write the results as JSON; OutputError if the file cannot be written."""
    options = {**settings.as_dict(), "optimizer": _OPTIMIZER, "data": "random, float32"}
    del options["json"]
    date = datetime.now(UTC).date().isoformat()
    try:
        write_json(file, {"date": date, "machine": machine, "settings": options, "results": results})
    except OSError as error:
        raise OutputError(f"Cannot write to {file}: {error.strerror or error}. Make it writable.") from error
