"""The bench command: how long a training step takes here, with the compiled engine and with plain NumPy.

The engines take turns, round by round, so that whatever slows the machine for a while slows both alike. The samples are
random numbers without zeros, so no dataset is needed. Images take the compiled engine less time: it leaves out products
with pixels that are 0.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.cli.flags import add_field, new_parser, parse_words
from chainrule.core.errors import ChainruleError, ConfigError, OutputError
from chainrule.core.fields import Bool, Configurable, Float, Int, OptionalStr
from chainrule.core.files import write_json
from chainrule.core.machine import describe
from chainrule.engine import ENGINES, make_engine
from chainrule.neural_network import NeuralNetwork
from chainrule.nn.parameters import Array, Labels
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.terminal.console import Console, Output
from chainrule.terminal.interrupt import stopping_on_interrupt

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
_RULE = "rmsprop"
_SAMPLES = 16384  # 51 MB: like real datasets, more than a processor's cache holds
# The most that an engine is asked for at once, as in training; between two stretches Ctrl-C is noticed.
_SECONDS_A_STRETCH = 0.1
# Between two measurements: threads of BLAS look out for more work before they fall asleep, and would hold up the other.
_REST = 0.05


class BenchSettings(Configurable):
    """What to measure, and for how long."""

    quick = Bool(False, "one network, two batch sizes, short measurements")
    threads = Int(0, "processor cores for a step; 0 leaves the choice to the engine", ge=0, le=1024)
    seconds = Float(0.3, "length of a measurement", gt=0, le=3600)
    rounds = Int(3, "measurements of each engine; the median counts", ge=1, le=10_000)
    json = OptionalStr(None, "file that gets the results and a description of the machine")

    @property
    def problems(self) -> list[tuple[str, int]]:
        """Each network's name with each batch size."""
        names, batches = ([QUICK_NETWORK], QUICK_BATCHES) if self.quick else (list(NETWORKS), BATCHES)
        return [(name, batch) for name in names for batch in batches]


def run(words: Sequence[str], program: str) -> int:
    """Measure and print; with `--json`, store.

    Args:
        words: flags and values.
        program: what the user typed before them.

    Returns:
        0, or 1 when what was asked for could not be printed.

    Raises:
        ConfigError: a flag is unknown or its value not allowed.
        OutputError: the results cannot be written.
        KeyboardInterrupt: Ctrl-C.
    """
    parser = new_parser(
        program,
        "Measure how long a training step takes on this machine, with the compiled engine and with plain NumPy. The "
        "samples are random numbers: nothing is downloaded. It takes about a minute, in which nothing else should "
        "run: a product that BLAS shares among all cores waits for the busiest one.",
    )
    for setting in BenchSettings.fields().values():
        add_field(parser, setting, setting.help)
    if not {"-h", "--help"}.isdisjoint(words):
        output = Output()
        output.write(parser.format_help())
        return int(output.lost)
    settings = _settings(parse_words(parser, words))
    console = Console()
    with console.show_logs(), stopping_on_interrupt(console.note) as stop:
        results = _measure(settings, console, stop.is_set)
    machine = describe()
    console.note("\n" + _sentence(machine))
    if settings.json is not None:
        _store(Path(settings.json), machine, settings, results)
        console.note(f"Results in {settings.json}")
    return int(console.lost)


def _settings(given: dict[str, object]) -> BenchSettings:
    """The settings; `--quick` changes the defaults of others, so what is given beside it counts."""
    settings = BenchSettings(**given)
    if settings.quick:
        settings = BenchSettings(**{**QUICK, **given})
    # Found out now, and not after two minutes of measuring.
    file = None if settings.json is None else Path(settings.json)
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise ConfigError(f"json must be a file in a folder that exists, got {settings.json!r}.")
    return settings


class _Contestant:
    """One engine with a network of its own.

    Args:
        name: of the engine.
        sizes: width of each layer, inputs first.
        batch: samples a step.
        threads: 0 for its own choice.
        x: samples, (n, d).
        y: their classes, (n,).

    Raises:
        ChainruleError: the engine cannot be used on this machine.
    """

    def __init__(self, name: str, sizes: Sequence[int], batch: int, threads: int, x: Array, y: Labels) -> None:
        network, rule = NeuralNetwork(sizes, seed=0), OPTIMIZERS[_RULE]()
        self._engine = make_engine(name, network, rule, batch, threads)
        if type(self._engine) is not ENGINES[name]:
            # make_engine has logged the reason; the other engine's times under this one's name would be a lie.
            raise ChainruleError(f"The {name} engine cannot be used here, so there is nothing to compare.")
        self._x, self._y, self._batch = x, y, batch
        self._random = np.random.default_rng(0)
        self._stretch = 1

    def measure(self, seconds: float, should_stop: Callable[[], bool]) -> float:
        """Seconds a step, of about so many seconds of training.

        Raises:
            KeyboardInterrupt: `should_stop` says so.
        """
        time.sleep(_REST)
        spent, steps = 0.0, 0
        while spent < seconds:
            if should_stop():
                raise KeyboardInterrupt
            order = self._order(self._stretch)
            began = time.perf_counter()
            done = len(self._engine.train(self._x, self._y, order).losses)
            elapsed = max(time.perf_counter() - began, 1e-9)
            spent, steps = spent + elapsed, steps + done
            longest = min(_SECONDS_A_STRETCH, seconds / 2)
            self._stretch = max(1, min(2 * self._stretch, int(done * longest / elapsed)))
        return spent / steps

    def _order(self, steps: int) -> NDArray[np.int64]:
        """Positions of samples for so many steps."""
        return self._random.integers(0, len(self._x), steps * self._batch)


def _measure(settings: BenchSettings, console: Console, should_stop: Callable[[], bool]) -> list[dict[str, Any]]:
    """Measure every problem and print its row; an entry for each problem and engine."""
    random = np.random.default_rng(0)
    x = random.random((_SAMPLES, 784), np.float32)
    y = random.integers(0, 10, _SAMPLES)
    rounds = "one round" if settings.rounds == 1 else f"the median of {settings.rounds} rounds"
    console.note(f"Microseconds a training step with {_RULE} on random samples, {rounds}; samples a second (/s).\n")
    console.note(_row("network", "batch", *_COMPARED, "ratio", *(f"{name}/s" for name in _COMPARED)))
    results: list[dict[str, Any]] = []
    for network, batch in settings.problems:
        contestants = {name: _Contestant(name, NETWORKS[network], batch, settings.threads, x, y) for name in _COMPARED}
        # Not counted: memory is touched for the first time, threads start, and the engine finds out how many pay.
        for contestant in contestants.values():
            contestant.measure(settings.seconds, should_stop)
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(settings.rounds):
            for name, contestant in contestants.items():
                times[name].append(1e6 * contestant.measure(settings.seconds, should_stop))
        medians = {name: statistics.median(found) for name, found in times.items()}
        for name, found in times.items():
            results.append(
                {
                    "network": network,
                    "batch": batch,
                    "engine": name,
                    "microseconds": [round(value, 2) for value in found],
                    "median_microseconds": round(medians[name], 2),
                    "samples_per_second": round(1e6 * batch / medians[name]),
                }
            )
        console.note(
            _row(
                network,
                str(batch),
                *(f"{median:,.1f}" for median in medians.values()),
                f"{medians['numpy'] / medians['compiled']:.2f}",
                *(f"{1e6 * batch / median:,.0f}" for median in medians.values()),
            )
        )
    return results


def _row(network: str, batch: str, *cells: str) -> str:
    """A line of the table."""
    compiled, numpy, ratio, *samples = cells
    line = f"{network:14}{batch:>6}{compiled:>12}{numpy:>12}{ratio:>8}"
    return line + "".join(f"{cell:>14}" for cell in samples)


def _sentence(machine: dict[str, Any]) -> str:
    """Versions and machine in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    memory = "" if machine["memory_gib"] is None else f", {machine['memory_gib']} GiB"
    return f"{versions}, Python {machine['python']}; {machine['processor']}; {machine['cores']} cores{memory}."


def _store(file: Path, machine: dict[str, Any], settings: BenchSettings, results: list[dict[str, Any]]) -> None:
    """Write the results as JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    options = {name: value for name, value in settings.as_dict().items() if name != "json"}
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "settings": {**options, "optimizer": _RULE, "data": "random, float32"},
        "results": results,
    }
    try:
        write_json(file, content)
    except OSError as error:
        raise OutputError(
            f"Cannot write to {file}: {error.strerror or error}. Make room or make it writable, or give another --json."
        ) from error
