"""Distillation: the targets, what a student learns, runs with a teacher, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chainrule import Adam, Dataset, Ensemble, NeuralNetwork, distill, load_dataset, save_model, train
from chainrule.core.errors import CheckpointError, ConfigError
from chainrule.data import DATASETS

QUICK = {"dataset": "digits", "epochs": 2, "num_layers": 1, "hidden_size": 8, "figures": False}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def teacher(digits) -> Ensemble:
    ensemble = Ensemble([NeuralNetwork([64, 32, 10], seed=seed) for seed in range(3)])
    ensemble.fit(digits, epochs=5, optimizer=Adam(learning_rate=0.005))
    return ensemble


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_targets_by_hand(share, temperature, teacher, digits) -> None:
    found = distill(digits, teacher, share=share, temperature=temperature)
    p = teacher.predict_proba(digits.x_train).astype(np.float64) ** (1 / temperature)
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.y_train, (1 - share) * np.eye(10)[digits.y_train] + share * p, atol=1e-6)
    assert found.y_train.dtype == digits.x_train.dtype
    assert found.y_val is digits.y_val
    assert found.y_test is digits.y_test


def test_a_student_learns_from_the_teacher_alone(teacher, digits) -> None:
    student = NeuralNetwork([64, 32, 10], seed=9)
    student.fit(distill(digits, teacher, share=1.0), epochs=10, optimizer=Adam(learning_rate=0.005))
    same = (student.predict(digits.x_test) == teacher.predict(digits.x_test)).mean()
    assert same > 0.95


@pytest.mark.parametrize("kind", ["network", "ensemble", "run", "ensemble run"])
def test_runs_with_a_teacher(kind, teacher, digits) -> None:
    path = Path("teacher.safetensors")
    if "run" in kind:
        path = train({**QUICK, "members": 2 if "ensemble" in kind else 1}).folder
    else:
        save_model(teacher if kind == "ensemble" else teacher.members[0], path)
    result = train({**QUICK, "teacher": str(path), "teacher_share": 0.5, "run_name": "student"})
    assert result.history[-1].train_score > result.history[0].train_score
    assert json.loads((result.folder / "config.json").read_text())["teacher"] == str(path)
    plain = train({**QUICK, "run_name": "plain"})
    assert result.history != plain.history
    none = train({**QUICK, "teacher": str(path), "teacher_share": 0, "run_name": "none"})
    assert none.history.column("val_loss") == pytest.approx(plain.history.column("val_loss"), rel=1e-4)


def test_the_targets_are_those_of_distill(teacher, digits) -> None:
    save_model(teacher, "t.safetensors")
    settings = {**QUICK, "teacher": "t.safetensors", "teacher_share": 0.7, "temperature": 2.0}
    by_key, by_hand = train(settings), train(QUICK, data=distill(digits, teacher, share=0.7, temperature=2.0))
    assert by_key.history == by_hand.history
    assert by_key.model_path.read_bytes() == by_hand.model_path.read_bytes()


def test_an_ensemble_of_students(teacher) -> None:
    save_model(teacher, "t.safetensors")
    one, two = (train({**QUICK, "teacher": "t.safetensors", "members": members}) for members in (1, 2))
    assert (two.folder / "members/0/model.safetensors").read_bytes() == one.model_path.read_bytes()


def test_a_resumed_student_needs_the_same_teacher(teacher, digits) -> None:
    save_model(teacher, "t.safetensors")
    settings = {**QUICK, "teacher": "t.safetensors"}
    whole = train({**settings, "epochs": 4})
    train({**settings, "run_name": "short"})
    save_model(teacher.members[0], "t.safetensors")
    with pytest.raises(CheckpointError, match="other data"):
        train({"epochs": 4}, resume="short")
    save_model(teacher, "t.safetensors")
    further = train({"epochs": 4}, resume="short")
    assert further.model_path.read_bytes() == whole.model_path.read_bytes()
    Path("t.safetensors").unlink()
    with pytest.raises(ConfigError, match="no file"):
        train({"epochs": 5}, resume="short")


@pytest.mark.parametrize(
    ("network", "facts"),
    [
        (NeuralNetwork([63, 10]), "64 inputs.*10 outputs.*63"),
        (NeuralNetwork([64, 9]), "10 outputs.*9"),
        (NeuralNetwork([64, 10], loss="squared_error"), "softmax.*SquaredError"),
        (NeuralNetwork([64, 10], loss="binary_cross_entropy"), "softmax.*BinaryCrossEntropy"),
    ],
)
def test_a_teacher_that_does_not_fit(network, facts) -> None:
    save_model(network, "t.safetensors")
    with pytest.raises(ConfigError, match=facts):
        train({**QUICK, "teacher": "t.safetensors"})
    assert not Path("runs").exists()


def test_a_teacher_of_other_classes() -> None:
    save_model(NeuralNetwork([64, 10]), "t.safetensors", [f"class {number}" for number in range(10)])
    with pytest.raises(ConfigError, match=r"other classes.*class 0"):
        train({**QUICK, "teacher": "t.safetensors"})


def test_a_teacher_that_is_none() -> None:
    Path("text").write_text("no model")
    Path("folder").mkdir()
    for path, facts in (("missing", "missing"), ("text", "text"), ("folder", "folder.model")):
        with pytest.raises(ConfigError, match=f"teacher.*{facts}"):
            train({**QUICK, "teacher": path})


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"teacher_share": 1.5}, "teacher_share.*0 to 1.*1.5"),
        ({"teacher_share": -0.1}, "teacher_share.*0 to 1.*-0.1"),
        ({"temperature": 0}, "temperature.*above 0.*0"),
    ],
)
def test_bad_numbers(settings, facts) -> None:
    with pytest.raises(ConfigError, match=facts):
        train({**QUICK, "teacher": "t", **settings})


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"share": 2}, "share.*0 to 1.*2"),
        ({"share": np.nan}, "share.*nan"),
        ({"temperature": 0.0}, "temperature.*above 0"),
        ({"temperature": np.inf}, "temperature.*inf"),
    ],
)
def test_bad_arguments(arguments, facts, digits, teacher) -> None:
    with pytest.raises(ConfigError, match=facts):
        distill(digits, teacher, **arguments)


def test_what_cannot_be_distilled(digits) -> None:
    numbers = Dataset.from_arrays(np.zeros((4, 64)), np.zeros((4, 10)), classes=())
    with pytest.raises(ConfigError, match="classes"):
        distill(numbers, NeuralNetwork([64, 10]))
    with pytest.raises(ConfigError, match=r"teacher.*'net'"):
        distill(digits, "net")


def test_a_share_without_a_teacher_is_noted() -> None:
    config = train({**QUICK, "teacher_share": 0.5}).folder / "config.json"
    assert json.loads(config.read_text())["teacher_share"] == 0.5


def test_balanced_classes_with_a_teacher() -> None:
    train({**QUICK, "run_name": "t"})
    result = train({**QUICK, "teacher": "runs/t", "class_weight": "balanced"})
    assert result.status == "finished"


def test_all_datasets_have_their_classes_checked() -> None:
    """MNIST and Fashion-MNIST have networks of the same size."""
    assert {"mnist", "fashion_mnist"} <= set(DATASETS)
    save_model(NeuralNetwork([64, 10]), "t.safetensors", load_dataset("digits").classes)
    assert train({**QUICK, "teacher": "t.safetensors"}).status == "finished"
