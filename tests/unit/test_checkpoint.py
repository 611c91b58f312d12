"""Checkpoints: what goes in comes out, training goes on from one to the bit, and a file that was changed is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from chainrule import ENGINES, LOSSES, OPTIMIZERS, NeuralNetwork
from chainrule.core.errors import CheckpointError
from chainrule.training.callbacks import ReduceOnPlateau
from chainrule.training.checkpoint import Checkpoints, load_checkpoint, save_checkpoint
from chainrule.training.trainer import Trainer


def trainer(digits, *, optimizer="adam", engine="compiled", dtype="float32", batch=16, seed=5) -> Trainer:
    network = NeuralNetwork([64, 12, 10], seed=seed, dtype=dtype)
    optimizer = OPTIMIZERS[optimizer](learning_rate=0.003)
    return Trainer(network, digits, optimizer, batch_size=batch, engine=engine, seed=seed)


def state(run: Trainer) -> tuple:
    kept = run.optimizer.state
    slots = [kept.slots[slot].flat.tobytes() for slot in run.optimizer.kept_slots]
    return (run.network.parameters.flat.tobytes(), run.best_parameters.tobytes(), run.history, kept.scalars, slots)


def through_a_file(run: Trainer, path) -> Trainer:
    save_checkpoint(run.checkpoint({"data": "x"}), path)
    return load_checkpoint(path, run.checkpoint_shapes(), run.network.dtype)


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_on_to_the_bit(digits, tmp_path, monkeypatch, engine, optimizer, dtype) -> None:
    """From the middle of an epoch, between two epochs, and from before the first."""
    monkeypatch.setattr("chainrule.training.trainer._FIRST_CALL_SAMPLES", 200)
    whole = trainer(digits, optimizer=optimizer, engine=engine, dtype=dtype)
    list(whole.run(3))
    for looks in (1, 3, 10):
        first, left = trainer(digits, optimizer=optimizer, engine=engine, dtype=dtype), [looks]

        def enough(left=left) -> bool:
            left[0] -= 1
            return left[0] < 0

        list(first.run(3, should_stop=enough))
        checkpoint = through_a_file(first, tmp_path / "c")
        second = trainer(digits, optimizer=optimizer, engine=engine, dtype=dtype, seed=5)
        second.restore(checkpoint)
        assert len(first.history) + checkpoint.position > 0
        if len(second.history) < 3:
            list(second.run(3 - len(second.history)))
        assert state(second) == state(whole)


@pytest.mark.parametrize("engine", list(ENGINES))
def test_every_part_of_training_resumes_bit_exactly(digits, tmp_path, monkeypatch, engine) -> None:
    """Dropout, normalization, averaged weights, warm-up, clipping, weights of samples, a reduced learning rate."""
    monkeypatch.setattr("chainrule.training.trainer._FIRST_CALL_SAMPLES", 200)
    data = digits.weigh_classes({number: 1 + number for number in range(10)})

    def make() -> Trainer:
        loss = LOSSES["cross_entropy"](label_smoothing=0.1)
        network = NeuralNetwork([64, 12, 10], loss=loss, dropout=0.3, input_dropout=0.1, batch_norm=True, seed=5)
        optimizer = OPTIMIZERS["adam"](
            schedule="cosine", warmup=0.2, clip_norm=1.0, ema_decay=0.95, bias_factor=0.5, weight_decay=0.01
        )
        return Trainer(
            network,
            data,
            optimizer,
            batch_size=16,
            engine=engine,
            seed=5,
            epochs=4,
            callbacks=[ReduceOnPlateau(1, 0.5)],
        )

    whole = make()
    list(whole.run(4))
    for calls in (1, 2, 4):
        first, left = make(), [calls]

        def enough(left=left) -> bool:
            left[0] -= 1
            return left[0] < 0

        list(first.run(4, should_stop=enough))
        second = make()
        second.restore(through_a_file(first, tmp_path / "c"))
        assert len(second.history) < 4
        list(second.run(4 - len(second.history)))
        assert state(second) == state(whole)
        assert second.network.parameters.memory.tobytes() == whole.network.parameters.memory.tobytes()
        assert second.optimizer.rate_factor == whole.optimizer.rate_factor


def test_the_comparison_above_can_fail(digits, tmp_path) -> None:
    whole, other = trainer(digits), trainer(digits)
    list(whole.run(2))
    list(other.run(1))
    checkpoint = through_a_file(other, tmp_path / "c")
    checkpoint.arrays["slot.square" if "slot.square" in checkpoint.arrays else "slot.v"][-1] *= 1.001
    again = trainer(digits)
    again.restore(checkpoint)
    list(again.run(1))
    assert state(again) != state(whole)


def test_equal_states_make_equal_files(digits, tmp_path) -> None:
    for name in "ab":
        run = trainer(digits)
        list(run.run(1))
        save_checkpoint(run.checkpoint({"data": "x"}), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_cut_or_changed_anywhere_is_refused(digits, tmp_path, random) -> None:
    run = trainer(digits)
    list(run.run(1))
    path = tmp_path / "c"
    save_checkpoint(run.checkpoint({"data": "x"}), path)
    whole, shapes = path.read_bytes(), run.checkpoint_shapes()
    header = int.from_bytes(whole[:8], "little") + 8
    cuts = [0, 1, 7, 8, header - 1, header, len(whole) - 1, *random.integers(0, len(whole), 40)]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            load_checkpoint(path, shapes, "float32")
    places = [*range(0, header, 7), *random.integers(header, len(whole), 200)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            load_checkpoint(path, shapes, "float32")
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError):
        load_checkpoint(path, shapes, "float32")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("parameters", np.full(910, np.nan, np.float32), "checksum"),
        ("parameters", np.zeros(10, np.float32), "shapes"),
        ("parameters", np.zeros(910, np.float64), "checksum"),
        ("extra", np.zeros(3, np.float32), "shapes"),
        ("best", None, "shapes"),
    ],
)
def test_forged_arrays_are_refused(digits, tmp_path, name, value, message) -> None:
    run = trainer(digits)
    path = tmp_path / "c"
    save_checkpoint(run.checkpoint({}), path)
    with safe_open(path, framework="numpy") as file:
        arrays, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    arrays = {key: array for key, array in {**arrays, name: value}.items() if array is not None}
    save_file(arrays, path, metadata)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, run.checkpoint_shapes(), "float32")


def test_numbers_that_are_not_finite_are_refused_even_with_the_right_checksum(digits, tmp_path) -> None:
    run = trainer(digits)
    run.last_parameters[5] = np.inf
    with pytest.raises(CheckpointError, match="last holds numbers that are not finite"):
        through_a_file(run, tmp_path / "c")


@pytest.mark.parametrize(
    "change",
    [
        {"position": -1},
        {"position": 10**9},
        {"scalars": {}},
        {"scalars": {"a": 1.0}},
        {"shuffle_state": {"bit_generator": "MT19937"}},
        {"shuffle_state": {"bit_generator": "PCG64", "state": "x"}},
    ],
)
def test_what_does_not_fit_changes_nothing(digits, change) -> None:
    from dataclasses import replace

    run = trainer(digits, optimizer="eve")
    list(run.run(1))
    before = state(run)
    with pytest.raises(CheckpointError):
        run.restore(replace(run.checkpoint({}), **change))
    assert state(run) == before


def test_the_two_are_written_in_turn_and_the_newest_whole_one_counts(digits, tmp_path) -> None:
    run = trainer(digits)
    pair = Checkpoints(tmp_path, run.checkpoint_shapes(), "float32")
    assert pair.newest is None
    for _ in run.run(3):
        pair.save(run.checkpoint({}))
    again = Checkpoints(tmp_path, run.checkpoint_shapes(), "float32")
    assert len(again.newest.history) == 3
    assert not again.problems
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    again = Checkpoints(tmp_path, run.checkpoint_shapes(), "float32")
    assert len(again.newest.history) == 2
    assert "a.safetensors" in again.problems[0]
    again.save(run.checkpoint({}))
    assert len(Checkpoints(tmp_path, run.checkpoint_shapes(), "float32").newest.history) == 3
    # A clock that is set back does not make the older one the newer.
    import os

    os.utime(tmp_path / "b.safetensors", (10**10, 10**10))
    assert len(Checkpoints(tmp_path, run.checkpoint_shapes(), "float32").newest.history) == 3


def test_what_a_header_claims_is_not_believed(digits, tmp_path) -> None:
    run = trainer(digits)
    path = tmp_path / "c"
    save_checkpoint(run.checkpoint({}), path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    size = 1 << 45
    header = {"__metadata__": metadata, "parameters": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError):
        load_checkpoint(path, run.checkpoint_shapes(), "float32")
