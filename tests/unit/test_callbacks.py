"""Early stopping and the reduction of the learning rate, by the history alone."""

from types import SimpleNamespace

import pytest

from chainrule import NeuralNetwork
from chainrule.core.errors import ConfigError
from chainrule.training.callbacks import EarlyStopping, ReduceOnPlateau, count_stale_epochs
from chainrule.training.history import EpochRecord, History


def make_history(*scores: float | None) -> History:
    return History([EpochRecord(n, n, 1.0, 0.5, 1.0, score) for n, score in enumerate(scores, start=1)])


def make_trainer(*scores: float | None) -> SimpleNamespace:
    return SimpleNamespace(history=make_history(*scores), stop=False, optimizer=SimpleNamespace(rate_factor=1.0))


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


def test_fit_stops_early_and_keeps_its_records(digits) -> None:
    network = NeuralNetwork([64, 32, 10])
    history = network.fit(digits, optimizer="adam", epochs=200, batch_size=64, callbacks=[EarlyStopping(3)])
    assert len(history) < 200
    assert count_stale_epochs(history) == 3


@pytest.mark.parametrize("patience", [0, -1, 1.5, True, "3"])
def test_bad_patience(patience) -> None:
    for callback in (EarlyStopping, ReduceOnPlateau):
        with pytest.raises(ConfigError, match=f"patience.*1 or more.*{patience}"):
            callback(patience)


@pytest.mark.parametrize("factor", [0, 1, -0.1, "half", float("nan")])
def test_bad_factors(factor) -> None:
    with pytest.raises(ConfigError, match=f"factor.*between 0 and 1.*{factor}"):
        ReduceOnPlateau(1, factor)
