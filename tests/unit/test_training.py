import dataclasses
import warnings

import numpy as np
import pytest

from chainrule import ENGINES, OPTIMIZERS, NeuralNetwork
from chainrule.core.errors import ConfigError, DivergenceError
from chainrule.data import Dataset
from chainrule.engine.subnormals import subnormals_as_zero
from chainrule.optim.optimizers import Adam
from chainrule.training.callbacks import Callback
from chainrule.training.trainer import Trainer


def trainer(
    digits: Dataset, *, optimizer=None, seed=0, batch_size=16, hidden=(16,), engine="compiled", **network
) -> Trainer:
    net = NeuralNetwork([64, *hidden, 10], seed=seed, **network)
    optimizer = optimizer or OPTIMIZERS["adam"](learning_rate=0.005)
    return Trainer(net, digits, optimizer, batch_size=batch_size, engine=engine, seed=seed)


def test_learns(digits) -> None:
    run = trainer(digits)
    records = list(run.run(8))
    assert records == list(run.history)
    assert records[-1].val_score > 0.93
    assert records[-1].train_loss < records[0].train_loss / 3
    assert run.network.evaluate(digits.x_test, digits.y_test).accuracy > 0.9


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_same_history_to_the_bit(digits, engine, dtype) -> None:
    def once(seed: int):
        net = NeuralNetwork([64, 12, 10], seed=seed, dtype=dtype)
        history = net.fit(
            digits,
            optimizer=OPTIMIZERS["rmsprop"](learning_rate=0.001),
            epochs=2,
            batch_size=16,
            engine=engine,
            seed=seed,
        )
        return history, net.parameters.flat.tobytes()

    assert once(1) == once(1)
    assert once(1) != once(2)


def test_every_sample_is_seen_once_an_epoch_in_a_new_order(digits, monkeypatch) -> None:
    run, seen = trainer(digits, batch_size=100), []
    train = run.engine.train

    def watch(x, y, order, weights):
        seen.append(order.copy())
        return train(x, y, order)

    monkeypatch.setattr(run.engine, "train", watch)
    list(run.run(2))
    n = len(digits.x_train)
    order = np.concatenate(seen)
    assert len(order) == 2 * n
    assert sorted(order[:n]) == sorted(order[n:]) == list(range(n))
    assert order[:n].tolist() != order[n:].tolist()
    assert run.step == 2 * -(-n // 100)
    assert run.optimizer.state.step_count == run.step, "optimizer time goes on from epoch to epoch"


def test_one_epoch_by_hand(digits) -> None:
    """The loop against the public pieces: batches in the generator's order, the last one short."""
    from chainrule.core.seeding import generator

    run = trainer(digits, seed=5, batch_size=100, dtype="float64")
    (record,) = run.run(1)
    net, optimizer = NeuralNetwork([64, 16, 10], seed=5, dtype="float64"), OPTIMIZERS["adam"](learning_rate=0.005)
    order, loss_sum, correct = generator(5, "shuffling").permutation(len(digits.x_train)), 0.0, 0
    for start in range(0, len(order), 100):
        chosen = order[start : start + 100]
        x, y = digits.x_train[chosen], digits.y_train[chosen]
        correct += int((net.predict(x) == y).sum())
        loss, gradients = net.loss_and_gradients(x, y)
        optimizer.step(net.parameters, gradients, loss=loss)
        loss_sum += loss * len(chosen)
    assert len(order) % 100, "the last batch is short"
    np.testing.assert_allclose(run.network.parameters.flat, net.parameters.flat, rtol=1e-10, atol=1e-14)
    assert record.train_loss == pytest.approx(loss_sum / len(order), rel=1e-12)
    assert record.train_score == correct / len(order)
    assert record.val_score == net.evaluate(digits.x_val, digits.y_val).accuracy


def test_batches_larger_than_the_data(digits) -> None:
    run = trainer(digits, batch_size=10**6)
    list(run.run(2))
    assert run.step == 2


def test_single_sample_batches_and_no_hidden_layer(digits) -> None:
    run = trainer(digits, batch_size=1, hidden=(), optimizer=OPTIMIZERS["sgd"](learning_rate=0.05, weight_decay=0))
    (record,) = run.run(1)
    assert record.step == len(digits.x_train)
    assert record.val_score > 0.85


def test_without_validation(digits) -> None:
    data = dataclasses.replace(digits, x_val=digits.x_val[:0], y_val=digits.y_val[:0])
    run = trainer(data)
    (record,) = run.run(1)
    assert record.val_loss is None
    assert record.val_score is None
    assert run.history.best() is None
    np.testing.assert_array_equal(run.best_parameters, run.network.parameters.flat)


def test_best_parameters_are_those_of_the_best_epoch(digits) -> None:
    run, kept = trainer(digits, optimizer=OPTIMIZERS["adam"](learning_rate=0.2)), {}
    for record in run.run(6):
        kept[record.epoch] = run.network.parameters.flat.copy()
    best = run.history.best()
    assert best.val_score == max(run.history.column("val_accuracy"))
    np.testing.assert_array_equal(run.best_parameters, kept[best.epoch])


def test_divergence_names_the_place_and_restores_the_epoch_before(digits) -> None:
    run = trainer(
        digits,
        optimizer=OPTIMIZERS["sgd"](learning_rate=0.01, weight_decay=0),
        activation="identity",
        hidden=(64, 64, 64),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (record,) = run.run(1)
        before = run.network.parameters.flat.copy()
        run.optimizer.learning_rate = 1e6
        with pytest.raises(
            DivergenceError, match=r"epoch 2, batch \d+, with learning rate 1e\+06. Try a smaller"
        ) as error:
            list(run.run(1))
    assert "last finished epoch" in str(error.value)
    np.testing.assert_array_equal(run.network.parameters.flat, before)
    assert list(run.history) == [record]


def test_a_divergence_in_the_first_epoch_restores_the_initial_parameters(digits) -> None:
    run = trainer(digits, optimizer=OPTIMIZERS["sgd"](learning_rate=1e30, weight_decay=0))
    before = run.network.parameters.flat.copy()
    with pytest.raises(DivergenceError, match="the initial ones"):
        list(run.run(1))
    np.testing.assert_array_equal(run.network.parameters.flat, before)


@pytest.mark.parametrize("engine", list(ENGINES))
def test_the_step_of_a_loss_that_is_not_finite_is_not_taken(digits, engine) -> None:
    net, optimizer = NeuralNetwork([64, 8, 10], seed=1), OPTIMIZERS["momentum"]()
    made = ENGINES[engine](net, optimizer, 16, 0)
    net.parameters["layer2.biases"] = [np.inf] + [0] * 9
    before = net.parameters.flat.copy()
    result = made.train(digits.x_train, digits.y_train, np.arange(160))
    assert len(result.losses) == 1
    assert not np.isfinite(result.losses[0])
    assert result.score_sum == 0
    np.testing.assert_array_equal(net.parameters.flat, before)
    assert optimizer.state.step_count == 0


@pytest.mark.parametrize("val", [True, False])
def test_parameters_that_overflow_in_the_last_step_are_noticed(digits, val) -> None:
    data = digits if val else dataclasses.replace(digits, x_val=digits.x_val[:0], y_val=digits.y_val[:0])
    run = trainer(data, optimizer=OPTIMIZERS["sgd"](learning_rate=1e39, weight_decay=0), batch_size=10**6)
    before = run.network.parameters.flat.copy()
    with pytest.raises(DivergenceError):
        list(run.run(1))
    np.testing.assert_array_equal(run.network.parameters.flat, before)
    assert len(run.history) == 0


def test_a_validation_loss_that_is_not_finite_is_noticed(digits) -> None:
    """Answers that overflow on validation samples larger than any in training."""
    data = dataclasses.replace(digits, x_val=digits.x_val * np.float32(1e38))
    with pytest.raises(DivergenceError):
        list(trainer(data).run(1))


def test_fitting_in_two_threads_leaves_blas_as_it_was(digits) -> None:
    import threading

    from threadpoolctl import threadpool_info

    before = [pool["num_threads"] for pool in threadpool_info()]
    threads = [threading.Thread(target=lambda: list(trainer(digits).run(3))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize("optimizer", [None, 3, "adma"])
def test_what_is_no_optimizer_is_refused_by_name(digits, optimizer) -> None:
    with pytest.raises(ConfigError, match=repr(optimizer)):
        NeuralNetwork([64, 10]).fit(digits, optimizer=optimizer)


@pytest.mark.parametrize("optimizer", ["adam", "ADAM", Adam, Adam()])
def test_an_optimizer_is_an_object_a_class_or_a_name(digits, optimizer) -> None:
    history = NeuralNetwork([64, 10]).fit(digits, optimizer=optimizer, epochs=1)
    assert history == NeuralNetwork([64, 10]).fit(digits, optimizer=OPTIMIZERS["adam"](), epochs=1)


def test_arrays_train_as_the_dataset_that_they_come_from(digits) -> None:
    whole, parts = NeuralNetwork([64, 10]), NeuralNetwork([64, 10])
    history = whole.fit(digits, epochs=2)
    validation = digits.x_val.tolist(), digits.y_val
    assert parts.fit(digits.x_train.tolist(), digits.y_train, validation_data=validation, epochs=2) == history
    np.testing.assert_array_equal(parts.parameters.flat, whole.parameters.flat)


@pytest.mark.parametrize("threads", [-1, 1.5, "2", True])
def test_a_number_of_threads_that_is_none_is_refused(digits, threads) -> None:
    with pytest.raises(ConfigError, match=f"threads must be .* got {threads!r}"):
        NeuralNetwork([64, 10]).fit(digits, threads=threads)


def test_data_that_do_not_fit_are_named(digits) -> None:
    network = NeuralNetwork([64, 10])
    for given, words in [
        ((digits.x_train,), ("y", "fit(x, y)")),
        ((digits, digits.y_train), ("Dataset", "leave y")),
        ((digits.x_train, digits.y_train[:-1]), (str(len(digits.x_train)), str(len(digits.x_train) - 1))),
        ((digits.x_train[:, :3], digits.y_train), ("64",)),
        ((digits.x_train, digits.y_train + 1), ("10",)),
    ]:
        with pytest.raises(ConfigError) as error:
            network.fit(*given)
        assert all(word in str(error.value) for word in words), error.value


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_train_start(self, trainer) -> None:
        self.calls.append("start")

    def on_epoch_end(self, trainer, record) -> None:
        self.calls.append(f"epoch {record.epoch}")
        trainer.stop = record.epoch == 2

    def on_train_end(self, trainer) -> None:
        self.calls.append("end")


def test_callbacks_are_called_and_may_stop_training(digits) -> None:
    recorder, rates = Recorder(), []
    functions = [recorder, lambda trainer, record: rates.append(trainer.optimizer.learning_rate)]
    assert len(NeuralNetwork([64, 10]).fit(digits, epochs=5, callbacks=functions)) == 2
    assert recorder.calls == ["start", "epoch 1", "epoch 2", "end"]
    assert rates == [0.001, 0.001]


@pytest.mark.parametrize("callbacks", [print, None, [5], [Callback]])
def test_what_is_no_callback_is_refused_before_training(digits, callbacks) -> None:
    network = NeuralNetwork([64, 10])
    before = network.parameters.flat.copy()
    with pytest.raises(ConfigError, match="callback"):
        network.fit(digits, epochs=1, callbacks=callbacks)
    np.testing.assert_array_equal(network.parameters.flat, before)


def test_training_that_fails_to_start_is_ended_for_every_callback(digits) -> None:
    class Failing(Callback):
        def on_train_start(self, trainer) -> None:
            raise RuntimeError("no start")

    recorder = Recorder()
    with pytest.raises(RuntimeError, match="no start"):
        NeuralNetwork([64, 10]).fit(digits, callbacks=[recorder, Failing()])
    assert recorder.calls == ["start", "end"]


@pytest.mark.parametrize("engine", list(ENGINES))
def test_callbacks_may_change_the_learning_rate(digits, engine) -> None:
    def freeze(trainer, record) -> None:
        trainer.optimizer.learning_rate = 1e-30

    network, frozen = NeuralNetwork([64, 10]), NeuralNetwork([64, 10])
    network.fit(digits, optimizer="sgd", epochs=1, engine=engine)
    frozen.fit(digits, optimizer="sgd", epochs=3, engine=engine, callbacks=[freeze])
    np.testing.assert_array_equal(network.parameters.flat, frozen.parameters.flat)


def test_stopping_between_batches(digits) -> None:
    run, asked = trainer(digits, batch_size=2048), []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    before = run.network.parameters.flat.copy()
    assert len(list(run.run(10, should_stop=stop))) == 2
    assert (run.network.parameters.flat != before).any()


def test_progress_counts_samples(digits) -> None:
    run, told = trainer(digits), []
    list(run.run(1, progress=told.append))
    assert told == sorted(told)
    assert told[-1] == len(digits.x_train)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "16"])
def test_bad_counts(digits, value) -> None:
    with pytest.raises(ConfigError, match="batch_size must be"):
        trainer(digits, batch_size=value)
    with pytest.raises(ConfigError, match="epochs must be"):
        list(trainer(digits).run(value))


def test_bad_data(digits) -> None:
    broken = digits.x_train.copy()
    broken[3, 5] = np.nan
    with pytest.raises(ConfigError, match=r"x_train.*finite.*nan"):
        trainer(dataclasses.replace(digits, x_train=broken))
    with pytest.raises(ConfigError, match="x_val and y_val"):
        trainer(dataclasses.replace(digits, y_val=digits.y_val[:-1]))
    with pytest.raises(ConfigError, match="training set is empty"):
        trainer(dataclasses.replace(digits, x_train=digits.x_train[:0], y_train=digits.y_train[:0]))
    with pytest.raises(ConfigError, match="shape"):
        trainer(dataclasses.replace(digits, x_train=digits.x_train[:, :50]))


def test_unknown_engine(digits) -> None:
    with pytest.raises(ConfigError, match=r"Unknown engine 'nmpy'\. Did you mean 'numpy'"):
        NeuralNetwork([64, 10]).fit(digits, optimizer=OPTIMIZERS["sgd"](), engine="nmpy")


def test_subnormals_are_zero_inside_the_block_only() -> None:
    tiny = np.full(4, 1e-40, np.float32)
    with subnormals_as_zero():
        inside = (tiny * np.float32(1)).tolist()
    assert (tiny * np.float32(1)).tolist() != [0, 0, 0, 0], "put back"
    import platform

    if platform.machine() in ("x86_64", "aarch64") and platform.libc_ver()[0] == "glibc":
        assert inside == [0, 0, 0, 0]
