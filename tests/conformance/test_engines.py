"""Every engine does the same: step for step the same results for every registered part, whatever the shapes."""

from __future__ import annotations

import inspect
import itertools
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest

from chainrule import ACTIVATIONS, ENGINES, LOSSES, OPTIMIZERS, NeuralNetwork
from chainrule.core.fields import Float
from chainrule.engine import make_engine
from chainrule.engine.base import BatchResults
from chainrule.engine.compiled.engine import CompiledEngine
from chainrule.engine.compiled.scalar_source import scalar_source
from chainrule.engine.reference import ReferenceEngine
from chainrule.nn.losses import Loss
from chainrule.nn.metrics import Evaluation
from chainrule.optim.optimizer import Optimizer

STEPS, BATCH = 7, 12
SOFTMAX = [name for name in LOSSES if LOSSES[name].link == "softmax"]
N = STEPS * BATCH - 5  # the last batch is short


class Trained(NamedTuple):
    """A network after some steps with an engine, and what the engine returned."""

    network: NeuralNetwork
    optimizer: Optimizer
    result: BatchResults
    evaluation: Evaluation


def trained(
    engine,
    digits,
    *,
    dtype="float64",
    optimizer="rmsprop",
    activation="ReLU",
    loss="cross_entropy",
    hidden=(9, 7),
    batch=BATCH,
    n=N,
    threads=1,
    wide=1,
):
    network = NeuralNetwork([64 * wide, *hidden, 10], activation, loss=loss, seed=3, dtype=dtype)
    optimizer = OPTIMIZERS[optimizer](learning_rate=0.003, weight_decay=0.01)
    x, x_test = (np.tile(x.astype(dtype), wide) for x in (digits.x_train, digits.x_test))
    made = engine(network, optimizer, batch, threads)
    result = made.train(x, digits.y_train, np.arange(n))
    return Trained(network, optimizer, result, made.evaluate(x_test, digits.y_test))


def assert_same(one: Trained, other: Trained, *, rtol: float) -> None:
    scale = np.abs(other.network.parameters.flat).max()
    ours, theirs = one.network.parameters.flat, other.network.parameters.flat
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(one.result.losses, other.result.losses, rtol=rtol)
    assert one.optimizer.state.step_count == other.optimizer.state.step_count == len(one.result.losses)
    assert one.result.score_sum == other.result.score_sum
    for name, value in one.optimizer.state.scalars.items():
        assert value == pytest.approx(other.optimizer.state.scalars[name], rel=rtol)
    for slot in one.optimizer.slots:
        ours, theirs = (made.optimizer.state.slots[slot].flat for made in (one, other))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=rtol * max(np.abs(theirs).max(), 1e-30))
    assert one.evaluation.loss == pytest.approx(other.evaluation.loss, rel=rtol)
    assert one.evaluation.accuracy == other.evaluation.accuracy


@pytest.mark.parametrize(
    ("optimizer", "activation", "loss"),
    [
        *((optimizer, "ReLU", "cross_entropy") for optimizer in OPTIMIZERS),
        *(
            ("eve", activation, loss)
            for activation, loss in itertools.product(ACTIVATIONS, ("cross_entropy", "mean_squared_error"))
        ),
    ],
)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 2e-5)])
def test_every_optimizer_activation_and_loss(digits, optimizer, activation, loss, dtype, rtol) -> None:
    parts = {"optimizer": optimizer, "activation": activation, "loss": loss, "dtype": dtype}
    assert_same(trained(CompiledEngine, digits, **parts), trained(ReferenceEngine, digits, **parts), rtol=rtol)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("hidden", "batch"),
    [
        *[((), 1), ((), 30), ((5,), 2), ((1,), 16), ((130, 3), 64), ((40, 30, 20, 10), 300), ((600,), 70)],
        *[((256,), 1), ((210, 250), 16), ((101,), 64), ((256, 512), 65)],
    ],
)
@pytest.mark.parametrize("wide", [1, 4])
def test_every_shape_and_number_of_threads(digits, hidden, batch, threads, wide) -> None:
    """Among them narrow and wide ones, which share the work in different ways, and widths that fill no vector."""
    shape = {"hidden": hidden, "batch": batch, "n": 3 * batch + batch // 2, "wide": wide}
    compiled = trained(CompiledEngine, digits, threads=threads, **shape)
    assert_same(compiled, trained(ReferenceEngine, digits, **shape), rtol=1e-11)


def test_the_comparison_above_can_fail(digits) -> None:
    """An optimizer that differs in the sixth digit is noticed."""
    one, other = trained(CompiledEngine, digits), trained(ReferenceEngine, digits)
    other[0].parameters.flat[5] *= 1 + 1e-6
    with pytest.raises(AssertionError):
        assert_same(one, other, rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_repeatable_to_the_bit(digits, threads) -> None:
    one, other = (trained(CompiledEngine, digits, dtype="float32", batch=64, n=640, threads=threads) for _ in range(2))
    assert one[0].parameters.flat.tobytes() == other[0].parameters.flat.tobytes()
    assert one[2].losses.tobytes() == other[2].losses.tobytes()


def test_engines_can_take_turns(digits) -> None:
    """The optimizer's memory is the same for all, so one engine goes on where another stopped."""

    def run(first, second):
        network, optimizer = NeuralNetwork([64, 8, 10], seed=1, dtype="float64"), OPTIMIZERS["eve"](learning_rate=0.01)
        for engine in (first, second):
            engine(network, optimizer, 16, 1).train(digits.x_train.astype("float64"), digits.y_train, np.arange(160))
        assert optimizer.state.step_count == 20
        return network.parameters.flat

    np.testing.assert_allclose(
        run(CompiledEngine, ReferenceEngine), run(ReferenceEngine, CompiledEngine), rtol=1e-10, atol=1e-13
    )


def test_a_changed_learning_rate_counts_from_the_next_stretch(digits) -> None:
    ends = []
    for engine in (CompiledEngine, ReferenceEngine):
        network, optimizer = NeuralNetwork([64, 8, 10], seed=1, dtype="float64"), OPTIMIZERS["sgd"](learning_rate=0.1)
        made = engine(network, optimizer, 16, 1)
        made.train(digits.x_train.astype("float64"), digits.y_train, np.arange(160))
        optimizer.learning_rate = 0.01
        made.train(digits.x_train.astype("float64"), digits.y_train, np.arange(160))
        ends.append(network.parameters.flat)
    np.testing.assert_allclose(*ends, rtol=1e-11, atol=1e-14)


def test_read_only_samples(digits) -> None:
    x = digits.x_train.copy()
    x.flags.writeable = False
    for engine in ENGINES.values():
        made = engine(NeuralNetwork([64, 8, 10]), OPTIMIZERS["sgd"](), 16, 1)
        made.train(x, digits.y_train, np.arange(32))


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("position", [10**6, -(10**6)])
def test_positions_outside_of_the_samples_are_refused(digits, engine, position) -> None:
    """Machine code would read whatever lies there."""
    network = NeuralNetwork([64, 8, 10])
    before = network.parameters.flat.copy()
    with pytest.raises(IndexError):
        ENGINES[engine](network, OPTIMIZERS["sgd"](), 16, 1).train(
            digits.x_train, digits.y_train, np.array([0, 1, position])
        )
    np.testing.assert_array_equal(network.parameters.flat, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("hidden", "batch"), [((), 30), ((), 1), ((230, 256), 1), ((230, 256), 16), ((40, 30), 64), ((150,), 200)]
)
def test_the_number_of_threads_shows_nowhere(digits, hidden, batch, dtype) -> None:
    """It may change in the middle of training, so it must not change a bit."""
    runs = [
        trained(
            CompiledEngine,
            digits,
            hidden=hidden,
            batch=batch,
            n=4 * batch + batch // 2,
            dtype=dtype,
            threads=threads,
            wide=4,
        )
        for threads in (1, 2, 3)
    ]
    for network, optimizer, result, evaluation in runs[1:]:
        assert network.parameters.flat.tobytes() == runs[0].network.parameters.flat.tobytes()
        assert optimizer.state.slots["square"].flat.tobytes() == runs[0].optimizer.state.slots["square"].flat.tobytes()
        assert result.losses.tobytes() == runs[0].result.losses.tobytes()
        assert result.score_sum == runs[0].result.score_sum
        assert evaluation.probabilities.tobytes() == runs[0].evaluation.probabilities.tobytes()


@pytest.mark.parametrize(("hidden", "batch", "threads"), [((130,), 16, 1), ((230, 256), 16, 2), ((40, 30), 70, 2)])
def test_looking_for_zeros_shows_nowhere(digits, monkeypatch, hidden, batch, threads) -> None:
    ends = []
    for looking in (True, False):
        for module in ("engine", "prediction"):
            monkeypatch.setattr(
                f"chainrule.engine.compiled.{module}.has_many_zeros", lambda x, looking=looking: looking
            )
        run = trained(CompiledEngine, digits, hidden=hidden, batch=batch, threads=threads, wide=4)
        ends.append((run[0].parameters.flat.tobytes(), run[2].losses.tobytes(), run[3].probabilities.tobytes()))
    assert ends[0] == ends[1]


def test_samples_without_anything_but_zeros() -> None:
    network, twin = (NeuralNetwork([200, 30, 4], seed=3) for _ in range(2))
    x, y = np.zeros((40, 200), np.float32), np.arange(40) % 4
    x[7] = 1
    for engine, net in ((CompiledEngine, network), (ReferenceEngine, twin)):
        engine(net, OPTIMIZERS["sgd"](learning_rate=0.1), 8, 1).train(x, y, np.arange(40))
    np.testing.assert_allclose(network.parameters.flat, twin.parameters.flat, atol=1e-6)


def test_the_length_of_a_stretch_shows_nowhere(digits) -> None:
    ends = []
    for pieces in (1, 5):
        network, optimizer = NeuralNetwork([64, 130, 10], seed=3), OPTIMIZERS["eve"]()
        engine = CompiledEngine(network, optimizer, 16, 0)
        losses = [
            engine.train(digits.x_train, digits.y_train, part).losses for part in np.arange(800).reshape(pieces, -1)
        ]
        ends.append((network.parameters.flat.tobytes(), np.concatenate(losses).tobytes()))
    assert ends[0] == ends[1]


# --- parts of one's own -----------------------------------------------------------------------------------------------

HALF = 0.5


def halved(x):
    return HALF * x


class Shrink(Optimizer):
    """Uses a global constant, a function of its own, np.where and np.abs."""

    slots = ("largest",)
    scalars = ("factor",)

    @staticmethod
    def prepare(t, factor):
        return 1.0 if t == 1 else halved(factor) + 0.5

    @staticmethod
    def update(gradient, largest, learning_rate, factor):
        largest = np.maximum(halved(largest), np.abs(gradient))
        return factor * learning_rate * np.where(largest > 0, gradient / (largest + 1e-8), 0.0), largest


def schedule(t):
    return 1 / (1 + t)


class OwnSchedule(Optimizer):
    """Its helper has the name of a function of the engine."""

    scalars = ("factor",)

    @staticmethod
    def prepare(t):
        return schedule(t)

    @staticmethod
    def update(gradient, learning_rate, factor):
        return factor * learning_rate * gradient


def test_helpers_of_a_rule_replace_no_function_of_the_engine(digits) -> None:
    ends = []
    for engine in (CompiledEngine, ReferenceEngine):
        network, optimizer = NeuralNetwork([64, 10], seed=1, dtype="float64"), OwnSchedule(schedule="cosine")
        optimizer.schedule_span = (0, 30)
        engine(network, optimizer, 16, 1).train(digits.x_train.astype("float64"), digits.y_train, np.arange(320))
        ends.append(network.parameters.flat)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-11, atol=1e-14)


class NotElementwise(Optimizer):
    """Cannot be compiled for single elements: it looks at all of them."""

    @staticmethod
    def update(gradient, learning_rate):
        return learning_rate * gradient / np.linalg.norm(gradient)


class PowerError(Loss):
    """scale |p - y|**exponent: two hyperparameters, taken in another order than they are declared."""

    exponent = Float(2.0, "exponent", ge=1)
    scale = Float(0.5, "factor", gt=0)

    @staticmethod
    def value(y, p, log_p, scale, exponent):
        return scale * np.abs(p - y) ** exponent

    @staticmethod
    def derivative(y, p, log_p, scale, exponent):
        return scale * exponent * np.abs(p - y) ** (exponent - 1) * np.sign(p - y) * p


@pytest.fixture
def power_error(monkeypatch):
    """The class above, registered for one test."""
    for attribute in ("_parts", "_aliases"):
        monkeypatch.setattr(LOSSES, attribute, dict(getattr(LOSSES, attribute)))
    return LOSSES.register("power_error")(PowerError)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 2e-5)])
def test_a_loss_with_hyperparameters_is_compiled(digits, power_error, dtype, rtol) -> None:
    ends = {}
    for hyperparameters in ((2.0, 0.5), (3.0, 0.5), (3.0, 2.0)):
        loss = power_error(exponent=hyperparameters[0], scale=hyperparameters[1])
        compiled, reference = (
            trained(engine, digits, loss=loss, optimizer="sgd", dtype=dtype)
            for engine in (CompiledEngine, ReferenceEngine)
        )
        assert_same(compiled, reference, rtol=rtol)
        ends[hyperparameters] = reference[0].parameters.flat
    squared = trained(ReferenceEngine, digits, loss="mean_squared_error", optimizer="sgd", dtype=dtype)
    np.testing.assert_allclose(ends[2.0, 0.5], squared[0].parameters.flat, rtol=1e-5, atol=1e-8)
    for one, other in itertools.combinations(ends.values(), 2):
        assert np.abs(one - other).max() > 1e-6, "each hyperparameter has an effect"


def test_a_rule_of_ones_own_is_compiled(digits) -> None:
    ends = []
    for engine in (CompiledEngine, ReferenceEngine):
        network, optimizer = NeuralNetwork([64, 8, 10], seed=1, dtype="float64"), Shrink(learning_rate=0.01)
        engine(network, optimizer, 16, 1).train(digits.x_train.astype("float64"), digits.y_train, np.arange(320))
        ends.append((network.parameters.flat, optimizer.state.scalars["factor"]))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-11, atol=1e-14)
    assert ends[0][1] == ends[1][1]


@pytest.mark.parametrize(
    "function",
    [
        *[getattr(activation, part) for activation in ACTIVATIONS.values() for part in ("function", "derivative")],
        *[optimizer.update for optimizer in (*OPTIMIZERS.values(), Shrink)],
    ],
    ids=lambda function: function.__qualname__,
)
def test_compiled_functions_allocate_no_memory(function) -> None:
    """np.where of two numbers, left to Numba, makes arrays: a sigmoid took 14 times as long as a ReLU."""
    scope = {"np": np, "math": math, "njit": numba.njit, "real": np.float32}
    exec(scalar_source(function, "compiled", wrap=True), scope)
    scope["compiled"](*[np.float32(0.5)] * len(inspect.signature(function).parameters))
    (code,) = scope["compiled"].inspect_llvm().values()
    assert "NRT_Allocate" not in code
    assert "NRT_MemInfo" not in code


def test_one_that_cannot_be_compiled_runs_on_numpy_and_says_why(digits, caplog) -> None:
    with caplog.at_level(logging.WARNING, "chainrule"):
        made = make_engine("compiled", NeuralNetwork([64, 8, 10]), NotElementwise(), 16)
    assert isinstance(made, ReferenceEngine)
    assert "Using the numpy engine" in caplog.text
    assert "update" in caplog.text
    made.train(digits.x_train, digits.y_train, np.arange(32))


def test_one_without_source_runs_on_numpy_and_says_why(caplog) -> None:
    scope: dict = {}
    exec("def update(gradient, learning_rate):\n    return learning_rate * gradient", scope)
    optimizer = type("Typed", (Optimizer,), {"update": staticmethod(scope["update"])})()
    with caplog.at_level(logging.WARNING, "chainrule"):
        assert isinstance(make_engine("compiled", NeuralNetwork([64, 8, 10]), optimizer, 16), ReferenceEngine)
    assert "source" in caplog.text


# --- the cache of machine code ----------------------------------------------------------------------------------------

PROGRAM = """
import logging, sys, numpy as np
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from chainrule import NeuralNetwork, OPTIMIZERS
from chainrule.engine.compiled.engine import CompiledEngine
network = NeuralNetwork([6, int(sys.argv[1]), 3], seed=1)
engine = CompiledEngine(network, OPTIMIZERS["adam"](), int(sys.argv[2]))
engine.train(np.ones((40, 6), "float32"), np.arange(40) % 3, np.arange(40))
print(float(network.parameters.flat.sum()))
"""


def in_a_process(cache: Path, width: int = 5, batch: int = 4) -> str:
    environment = {"CHAINRULE_CACHE_DIR": str(cache), "PATH": "/usr/bin:/bin", "HOME": str(cache)}
    command = [sys.executable, "-c", PROGRAM, str(width), str(batch)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=200).stdout


def test_machine_code_is_made_once(tmp_path) -> None:
    first = in_a_process(tmp_path)
    assert first.count("Compiling to machine code, once") == 1
    again = in_a_process(tmp_path)
    assert "Compiling" not in again
    assert again.splitlines()[-1] == first.splitlines()[-1]
    assert "Compiling" not in in_a_process(tmp_path, width=9, batch=7), "not once a shape"


def test_damaged_machine_code_is_made_again(tmp_path) -> None:
    first = in_a_process(tmp_path)
    kept = [*(tmp_path / "kernels" / "__pycache__").iterdir()]
    for number, path in enumerate(kept):
        path.write_bytes(path.read_bytes()[: 10 + 90 * (number % 2)])
    damaged = in_a_process(tmp_path)
    assert "for this run only" in damaged
    assert damaged.splitlines()[-1] == first.splitlines()[-1]
    in_a_process(tmp_path)
    assert "Compiling" not in in_a_process(tmp_path), "mended"


def test_a_cache_that_cannot_be_written_to_does_no_harm(tmp_path) -> None:
    (tmp_path / "kernels").write_text("a file where the folder should be")
    assert "for this run only" in in_a_process(tmp_path)
