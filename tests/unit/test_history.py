import pytest

from chainrule.training.history import EpochRecord, History


def record(epoch: int, val_accuracy: float | None) -> EpochRecord:
    return EpochRecord(epoch, 10 * epoch, 0.5, 0.8, None if val_accuracy is None else 0.6, val_accuracy)


def test_the_best_is_the_first_of_equals() -> None:
    history = History([record(1, 0.5), record(2, 0.9), record(3, 0.9), record(4, 0.1)])
    assert history.best().epoch == 2
    assert History([record(1, None)]).best() is None
    assert History().best() is None


def test_lines_give_the_same_history_back() -> None:
    history = History([record(1, 1 / 3), record(2, None)])
    assert History.from_jsonl(history.to_jsonl()) == history
    assert history.to_jsonl().count("\n") == 2


def test_columns_and_slices() -> None:
    history = History([record(1, 0.5), record(2, 0.9)])
    assert history.column("epoch") == [1, 2]
    assert list(history[1:]) == [history[1]]
    with pytest.raises(KeyError, match="is not recorded"):
        history.column("val_acuracy")
