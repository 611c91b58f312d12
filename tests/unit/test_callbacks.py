"""Early stopping and the reduction of the learning rate, by the history alone."""

from types import SimpleNamespace

import pytest

from chainrule import Adam, NeuralNetwork
from chainrule.core.errors import ConfigError
from chainrule.training.callbacks import EarlyStopping, ReduceOnPlateau, count_stale_epochs
from chainrule.training.history import EpochRecord, History


def make_history(*scores: float | None) -> History:
    return History([EpochRecord(n, n, 1.0, 0.5, 1.0, score) for n, score in enumerate(scores, start=1)])


def make_trainer(*scores: float | None) -> SimpleNamespace:
    return SimpleNamespace(
        x_val=[0], history=make_history(*scores), stop=False, optimizer=SimpleNamespace(rate_factor=1.0)
    )


@pytest.mark.parametrize(
    ("scores", "stale"),
    [((), 0), ((0.5,), 0), ((0.5, 0.5), 1), ((0.5, 0.4, 0.6), 0), ((None, None), 0), ((0.6, 0.5, 0.5), 2)],
)
def test_stale_epochs_are_counted_from_the_best(scores, stale) -> None:
    assert count_stale_epochs(make_history(*scores)) == stale


@pytest.mark.parametrize(("scores", "stops"), [((0.5, 0.4), False), ((0.5, 0.4, 0.5), True), ((0.5, 0.4, 0.6), False)])
def test_training_stops_after_the_patience(scores, stops) -> None:
    for method in ("on_epoch_end", "on_train_start"):
        trainer = make_trainer(*scores)
        arguments = (trainer, trainer.history[-1]) if method == "on_epoch_end" else (trainer,)
        getattr(EarlyStopping(2), method)(*arguments)
        assert trainer.stop is stops


@pytest.mark.parametrize(
    ("scores", "reductions"),
    [
        ((0.5, 0.4), 0),
        ((0.5, 0.4, 0.4), 1),
        ((0.5, 0.4, 0.4, 0.4), 1),
        ((0.5, 0.4, 0.4, 0.4, 0.4), 2),
        ((0.5, 0.4, 0.6, 0.5), 0),
    ],
)
def test_the_learning_rate_is_reduced_on_each_plateau(scores, reductions) -> None:
    trainer = make_trainer(*scores)
    ReduceOnPlateau(2, 0.5).on_epoch_end(trainer, trainer.history[-1])
    assert trainer.optimizer.rate_factor == 0.5**reductions


@pytest.mark.parametrize("restore_best", [True, False])
def test_fit_stops_early_and_restores_the_best_parameters(digits, restore_best) -> None:
    network = NeuralNetwork([64, 32, 10])
    callbacks = [EarlyStopping(3, restore_best=restore_best)]
    history = network.fit(digits, optimizer="adam", epochs=200, batch_size=64, callbacks=callbacks)
    assert len(history) < 200
    assert count_stale_epochs(history) == 3
    kept = history.best() if restore_best else history[-1]
    assert network.evaluate(digits.x_val, digits.y_val).loss == pytest.approx(kept.val_loss, rel=1e-6)


@pytest.mark.parametrize("callback", [EarlyStopping(1), ReduceOnPlateau(1)])
def test_a_validation_set_is_needed(digits, callback) -> None:
    with pytest.raises(ConfigError, match="needs a validation set"):
        NeuralNetwork([64, 10]).fit(digits.x_train, digits.y_train, callbacks=[callback])


def test_a_reduced_learning_rate_does_not_outlive_its_training(digits) -> None:
    optimizer = Adam()
    optimizer.rate_factor = 1e-6
    NeuralNetwork([64, 10]).fit(digits, optimizer=optimizer, epochs=1)
    assert optimizer.rate_factor == 1.0


@pytest.mark.parametrize("patience", [0, -1, 1.5, True, "3"])
def test_bad_patience(patience) -> None:
    for callback in (EarlyStopping, ReduceOnPlateau):
        with pytest.raises(ConfigError, match=f"patience.*1 or more.*{patience}"):
            callback(patience)


@pytest.mark.parametrize("factor", [0, 1, -0.1, "half", float("nan")])
def test_bad_factors(factor) -> None:
    with pytest.raises(ConfigError, match=f"factor.*between 0 and 1.*{factor}"):
        ReduceOnPlateau(1, factor)
