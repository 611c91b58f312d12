"""Ensembles: what they predict, how they are trained, and that they are saved as one file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from chainrule import Adam, Dataset, EarlyStopping, Ensemble, NeuralNetwork, load_model, save_model
from chainrule.core.errors import ConfigError, DivergenceError, ModelFileError
from chainrule.engine.compiled.engine import CompiledEngine
from chainrule.nn.losses import LOSSES, CrossEntropy
from chainrule.training import concurrency


def make_members(k: int = 3, sizes: tuple[int, ...] = (64, 12, 10), **arguments) -> list[NeuralNetwork]:
    return [NeuralNetwork(sizes, seed=seed, **arguments) for seed in range(k)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error", "binary_cross_entropy"])
def test_probabilities_are_averaged(loss, dtype, random) -> None:
    members = make_members(4, (5, 8, 3), loss=loss, dtype=dtype)
    ensemble, x = Ensemble(members), 3 * random.normal(size=(50, 5))
    expected = np.mean([member.predict_proba(x) for member in members], axis=0)
    found = ensemble.predict_proba(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    if loss == "binary_cross_entropy":
        np.testing.assert_array_equal(ensemble.predict(x), expected > 0.5)
    else:
        np.testing.assert_array_equal(ensemble.predict(x), expected.argmax(axis=1))
        y = random.integers(0, 3, 50)
        evaluation = ensemble.evaluate(x, y)
        assert evaluation.accuracy == (expected.argmax(axis=1) == y).mean()
        if loss == "cross_entropy":
            assert evaluation.loss == pytest.approx(-np.log(expected[np.arange(50), y]).mean(), rel=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
def test_numbers_are_averaged(loss, random) -> None:
    members = make_members(4, (5, 8, 2), loss=loss, dtype="float64")
    ensemble, x, y = Ensemble(members), random.normal(size=(50, 5)), random.poisson(2, size=(50, 2))
    expected = np.mean([member.predict(x) for member in members], axis=0)
    np.testing.assert_allclose(ensemble.predict(x), expected, rtol=1e-12)
    residual, total = ((y - expected) ** 2).sum(axis=0), ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert ensemble.evaluate(x, y).score == pytest.approx((1 - residual / total).mean(), rel=1e-12)
    with pytest.raises(ConfigError, match="no classes"):
        ensemble.predict_proba(x)


def test_certain_members_give_finite_losses() -> None:
    members = make_members(2, (1, 2), dtype="float64")
    for member, size in zip(members, (1e4, -1e4), strict=True):
        member.parameters["layer1.weights"][...] = [[size, -size]]
    evaluation = Ensemble(members).evaluate([[1.0]], [0])
    assert evaluation.loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(evaluation.probabilities, [[0.5, 0.5]])


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_members_are_trained_as_if_alone(engine, threads, digits) -> None:
    parts = {"dropout": 0.1, "batch_norm": True, "loss": CrossEntropy(label_smoothing=0.1)}
    rule = Adam(learning_rate=0.003, schedule="cosine", ema_decay=0.9)
    ensemble = Ensemble(make_members(**parts))
    histories = ensemble.fit(digits, optimizer=rule, epochs=2, engine=engine, threads=threads, seeds=[7, 8, 9])
    for seed, member, alone, history in zip((7, 8, 9), ensemble.members, make_members(**parts), histories, strict=True):
        again = Adam(learning_rate=0.003, schedule="cosine", ema_decay=0.9)
        assert alone.fit(digits, optimizer=again, epochs=2, engine=engine, seed=seed) == history
        assert member.parameters.memory.tobytes() == alone.parameters.memory.tobytes()
    assert rule.state.step_count == 0


def test_arrays_and_callbacks(digits) -> None:
    ensemble, seen = Ensemble(make_members(2)), []
    histories = ensemble.fit(
        digits.x_train,
        digits.y_train,
        validation_data=(digits.x_val, digits.y_val),
        epochs=30,
        callbacks=[EarlyStopping(patience=1), lambda trainer, record: seen.append(record)],
    )
    assert all(len(history) < 30 for history in histories)
    assert sorted(seen, key=str) == sorted([record for history in histories for record in history], key=str)
    for member, history in zip(ensemble.members, histories, strict=True):
        assert member.evaluate(digits.x_val, digits.y_val).score == history.best().val_score
    scores = [member.evaluate(digits.x_test, digits.y_test).score for member in ensemble.members]
    assert ensemble.evaluate(digits.x_test, digits.y_test).score > np.mean(scores) - 0.02


def test_members_train_at_the_same_time(digits, monkeypatch) -> None:
    monkeypatch.setattr(concurrency, "cores", lambda: 3)
    together = threading.Barrier(3)

    def meet(trainer, record) -> None:
        if record.epoch == 1:
            together.wait(60)  # raises unless three are in their first epoch

    Ensemble(make_members(3)).fit(digits, epochs=2, callbacks=[meet])
    assert not together.broken


def test_the_last_member_gets_the_cores_of_the_others(digits, monkeypatch) -> None:
    monkeypatch.setattr(concurrency, "cores", lambda: 2)
    limits, limit = [], CompiledEngine.limit_threads

    def recorded(self, most) -> None:
        limits.append(most)
        limit(self, most)

    monkeypatch.setattr(CompiledEngine, "limit_threads", recorded)
    Ensemble(make_members(3)).fit(digits, epochs=3)
    assert limits[0] == 1
    assert limits[-1] == 2


def test_the_compiled_engine_trains_without_pythons_lock(digits) -> None:
    """Otherwise no other thread of Python would run during a call of the machine code."""
    network = NeuralNetwork([64, 64, 10])
    engine = CompiledEngine(network, Adam(), 4, 1)
    order = np.random.default_rng(0).integers(0, len(digits.x_train), 100_000)
    engine.train(digits.x_train, digits.y_train, order[:100])
    training = threading.Thread(target=engine.train, args=(digits.x_train, digits.y_train, order))
    training.start()
    ticks = 0
    while training.is_alive():
        time.sleep(0.005)
        ticks += 1
    assert ticks > 5


def test_one_diverges(digits) -> None:
    members = make_members(2)
    members[1].parameters.flat[...] = 1e30
    with pytest.raises(DivergenceError):
        Ensemble(members).fit(digits, epochs=3)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"seeds": [1]}, "2 networks.*1 seeds"),
        ({"seeds": [1, -2]}, "seed.*-2"),
        ({"threads": -1}, "threads.*-1"),
        ({"epochs": 0}, "epochs.*0"),
        ({"callbacks": 5}, "callbacks.*5"),
        ({"engine": "gpu"}, "gpu"),
    ],
)
def test_bad_arguments(arguments, facts, digits) -> None:
    with pytest.raises(ConfigError, match=facts):
        Ensemble(make_members(2)).fit(digits, **arguments)


@pytest.mark.parametrize(
    ("members", "facts"),
    [
        ([], "at least one"),
        ([1], "list of NeuralNetworks.*1"),
        (NeuralNetwork([2, 2]), "list of NeuralNetworks"),
        ([NeuralNetwork([2, 2]), NeuralNetwork([3, 2])], "inputs.*2.*3"),
        ([NeuralNetwork([2, 2]), NeuralNetwork([2, 4, 3])], "outputs.*2.*3"),
        ([NeuralNetwork([2, 2]), NeuralNetwork([2, 2], loss="squared_error")], "link.*softmax.*identity"),
        ([NeuralNetwork([2, 2]), NeuralNetwork([2, 2], dtype="float64")], "dtype.*float32.*float64"),
        ([NeuralNetwork([2, 2])] * 2, "twice"),
    ],
)
def test_members_that_do_not_fit(members, facts) -> None:
    with pytest.raises(ConfigError, match=facts):
        Ensemble(members)


def test_bad_samples(digits) -> None:
    ensemble = Ensemble(make_members(2))
    with pytest.raises(ConfigError, match=r"x.*\(n, 64\).*\(2, 3\)"):
        ensemble.predict(np.zeros((2, 3)))
    with pytest.raises(ConfigError, match=r"y.*missing"):
        ensemble.evaluate(digits.x_test)


def test_one_file_holds_all_members(digits, tmp_path: Path) -> None:
    members = [
        NeuralNetwork([64, 12, 10], batch_norm=True, loss=CrossEntropy(label_smoothing=0.1), dropout=0.2),
        NeuralNetwork([64, 8, 8, 10], "tanh", loss=LOSSES["mean_squared_error"]()),
    ]
    ensemble = Ensemble(members)
    ensemble.fit(digits, epochs=1)
    save_model(ensemble, tmp_path / "m.safetensors", digits.classes)
    loaded = load_model(tmp_path / "m.safetensors")
    assert isinstance(loaded, Ensemble)
    assert repr(loaded.members) == repr(ensemble.members)
    assert loaded.predict_proba(digits.x_test).tobytes() == ensemble.predict_proba(digits.x_test).tobytes()
    save_model(loaded, tmp_path / "again.safetensors", digits.classes)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"members', b'"mambers'),
        (b"member1.layer1.weights", b"member2.layer1.weights"),
        (b'\\"sizes\\": [64, 12, 10]', b'\\"sizes\\": [64, 12, 99]'),
        (b"chainrule ensemble 1", b"chainrule ensemble 2"),
        (b"[{", b"[["),
    ],
)
def test_a_damaged_file(old, new, digits, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    save_model(Ensemble(make_members(2)), file)
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))
    with pytest.raises(ModelFileError, match=r"m\.safetensors"):
        load_model(file)


def test_members_of_a_file_must_fit_together(tmp_path: Path) -> None:
    ensemble = Ensemble(make_members(2, (2, 2)))
    ensemble.members = (NeuralNetwork([2, 2]), NeuralNetwork([3, 2]))
    save_model(ensemble, tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match=r"m\.safetensors.*inputs"):
        load_model(tmp_path / "m.safetensors")


def test_a_dataset_has_its_labels() -> None:
    data = Dataset.from_arrays(np.zeros((4, 2)), [0, 1, 0, 1])
    with pytest.raises(ConfigError, match="leave y"):
        Ensemble(make_members(2, (2, 2))).fit(data, [0, 1, 0, 1])
