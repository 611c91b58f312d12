"""The compiled engine where callers, threads and data are not as one hopes."""

from __future__ import annotations

import multiprocessing
import os
import threading

import numpy as np
import pytest

from chainrule import OPTIMIZERS, NeuralNetwork
from chainrule.core.fields import Choice
from chainrule.engine.compiled import runtime
from chainrule.engine.compiled.engine import CompiledEngine
from chainrule.engine.reference import ReferenceEngine
from chainrule.optim.optimizer import OptimizerState


def engines(sizes, *, batch=16, threads=1, optimizer="adam", dtype="float64"):
    made = []
    for engine in (CompiledEngine, ReferenceEngine):
        network = NeuralNetwork(sizes, seed=1, dtype=dtype)
        made.append((network, engine(network, OPTIMIZERS[optimizer](learning_rate=0.01), batch, threads)))
    return made


@pytest.mark.parametrize("threads", [3, 8])
@pytest.mark.parametrize("sizes", [[2, 2], [2, 5, 3], [1, 1, 2]])
def test_more_threads_than_neurons(sizes, threads, random) -> None:
    x, y = random.normal(size=(64, sizes[0])), random.integers(0, sizes[-1], 64)
    (network, compiled), (twin, reference) = engines(sizes, threads=threads)
    for engine in (compiled, reference):
        engine.train(x, y, np.arange(64))
    np.testing.assert_allclose(network.parameters.flat, twin.parameters.flat, rtol=1e-11, atol=1e-14)


def test_labels_and_samples_with_gaps(digits) -> None:
    (network, compiled), (twin, reference) = engines([64, 8, 10])
    x, y = digits.x_train.astype("float64")[::2], digits.y_train[::-2]
    assert not y.flags.c_contiguous
    for engine in (compiled, reference):
        engine.train(x, y[: len(x)], np.arange(640))
    np.testing.assert_allclose(network.parameters.flat, twin.parameters.flat, rtol=1e-9, atol=1e-12)


def test_samples_of_another_precision_or_width(digits) -> None:
    (network, compiled), (twin, reference) = engines([64, 8, 10])
    compiled.train(digits.x_train, digits.y_train, np.arange(64))  # float32 for a float64 network
    reference.train(digits.x_train.astype("float64"), digits.y_train, np.arange(64))
    np.testing.assert_allclose(network.parameters.flat, twin.parameters.flat, rtol=1e-10, atol=1e-13)
    with pytest.raises(ValueError, match="shape"):
        compiled.train(digits.x_train[:, :60], digits.y_train, np.arange(64))


def test_no_samples_at_all(digits) -> None:
    ((_, compiled), _) = engines([64, 8, 10])
    result = compiled.train(digits.x_train, digits.y_train, np.arange(0))
    assert len(result.losses) == result.score_sum == 0


def test_one_rule_for_engines_of_two_precisions(digits) -> None:
    """The optimizer's arrays are made anew for each; programs of before must not write into them."""
    optimizer = OPTIMIZERS["adam"](learning_rate=0.01)
    x, order = digits.x_train, np.arange(160)
    made = [
        CompiledEngine(NeuralNetwork([64, 8, 10], seed=1, dtype=dtype), optimizer, 16, 1)
        for dtype in ("float64", "float32")
    ]
    seen = np.zeros_like(made[0]._network.parameters.flat)
    for engine in (made[0], made[1], made[0], made[1]):
        engine.train(x, digits.y_train, order)
        flat = next(iter(optimizer.state.slots.values())).flat
        assert np.isfinite(flat).all()
        # Steps that were written into the arrays of before would leave these as they were copied.
        assert not np.array_equal(flat.astype("float32"), seen.astype("float32"))
        seen = flat.copy()
    assert optimizer.state.step_count == 40


def test_predictions_from_several_threads_at_once(digits) -> None:
    network = NeuralNetwork([64, 30, 10], seed=1)
    large = np.tile(digits.x_train, (20, 1))
    parts = {n: network.predict_proba(large[:n]) for n in (1024, 5000, len(large))}
    wrong = []

    def work(n: int) -> None:
        for _ in range(15):
            if not np.array_equal(network.predict_proba(large[:n]), parts[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in [*parts] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_thread_that_fails_ends_the_others(digits, monkeypatch) -> None:
    """They wait for it at a barrier in machine code, where nothing else would reach them."""
    ((network, compiled), _) = engines([64, 200, 10], threads=3)
    compile_steps = runtime.compile_steps
    calls = []

    def failing(function, dtype):
        train = compile_steps(function, dtype)

        def run(*arguments):
            calls.append(threading.get_ident())
            if threading.current_thread() is not threading.main_thread() and len(set(calls)) > 1:
                raise MemoryError("no room")
            return train(*arguments)

        return run

    monkeypatch.setattr(runtime, "compile_steps", failing)
    with pytest.raises(MemoryError, match="no room"):
        compiled.train(digits.x_train.astype("float64"), digits.y_train, np.arange(640))
    monkeypatch.undo()
    compiled.train(digits.x_train.astype("float64"), digits.y_train, np.arange(640))
    assert np.isfinite(network.parameters.flat).all()


def test_a_thread_that_cannot_be_started_leaves_nothing_behind(digits, monkeypatch) -> None:
    """Its work must not run inside of the next call."""
    (network, compiled), (twin, reference) = engines([64, 200, 10], threads=3)
    start, calls = threading.Thread.start, []

    def fail_second(thread) -> None:
        calls.append(thread)
        if len(calls) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    x, order = digits.x_train.astype("float64"), np.arange(640)
    monkeypatch.setattr(threading.Thread, "start", fail_second)
    with pytest.raises(RuntimeError, match="new thread"):
        compiled.train(x, digits.y_train, order)
    monkeypatch.undo()
    network.parameters.flat[...] = twin.parameters.flat
    compiled._optimizer.state = type(compiled._optimizer.state)(scalars=compiled._optimizer.state.scalars)
    compiled.train(x, digits.y_train, order)
    reference.train(x, digits.y_train, order)
    np.testing.assert_allclose(network.parameters.flat, twin.parameters.flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("engine", [CompiledEngine, ReferenceEngine])
@pytest.mark.parametrize("name", ["adam", "eve"])
def test_a_state_that_was_reset_starts_anew(digits, engine, name) -> None:
    """Machine code writes the scalars of a step wherever it is told to."""
    ends = []
    for used in (False, True):
        network, optimizer = NeuralNetwork([64, 8, 10], seed=1, dtype="float64"), OPTIMIZERS[name]()
        made = engine(network, optimizer, 16, 1)
        if used:
            made.train(digits.x_train.astype("float64"), digits.y_train, np.arange(64))
            optimizer.state = OptimizerState()
            network.parameters.update(NeuralNetwork([64, 8, 10], seed=1, dtype="float64").parameters)
        made.train(digits.x_train.astype("float64"), digits.y_train, np.arange(160))
        ends.append(network.parameters.flat)
    np.testing.assert_array_equal(*ends)


def _train_in_child(compiled, digits, answers) -> None:
    compiled.train(digits.x_train, digits.y_train, np.arange(640))
    answers.put(os.getpid())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_can_train_on(digits) -> None:
    ((_, compiled), _) = engines([64, 200, 10], threads=2, dtype="float32")
    compiled.train(digits.x_train, digits.y_train, np.arange(640))
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_train_in_child, args=(compiled, digits, answers))
    child.start()
    try:
        assert answers.get(timeout=60) == child.pid
    finally:
        child.kill()
        child.join()


def test_a_rule_with_a_setting_that_is_no_number_is_left_to_the_numpy_engine(digits, caplog) -> None:
    from chainrule.engine import make_engine
    from chainrule.optim.optimizer import Optimizer

    class Wordy(Optimizer):
        kind = Choice("plain", "how", ("plain", "fancy"))

        @staticmethod
        def update(gradient, learning_rate):
            return learning_rate * gradient

    engine = make_engine("compiled", NeuralNetwork([64, 10]), Wordy(), 16)
    assert isinstance(engine, ReferenceEngine)
    assert "kind of Wordy is no number" in caplog.text
    engine.train(digits.x_train, digits.y_train, np.arange(64))
