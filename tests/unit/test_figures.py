import numpy as np
import pytest

from chainrule.data import Dataset
from chainrule.nn.metrics import Evaluation
from chainrule.runs.figures import draw_all
from chainrule.training.history import History


def dataset(classes: tuple[str, ...], image_shape=(2, 2)) -> Dataset:
    x, y, none = np.zeros((4, 4), "float32"), np.array([0, 1, 0, 1]), np.arange(0)
    return Dataset("tiny", x, y, x[:0], none, x, y, classes, image_shape, np.arange(4), none)


def draw(folder, data: Dataset) -> list[str]:
    k = len(data.classes)
    p = np.full((4, k), 1 / k)
    test = Evaluation(1.0, 0.5, data.y_test, np.zeros(4, int), p)
    counts = np.zeros((k, k), int)
    counts[0, 0] = counts[1, 0] = 2
    return sorted(draw_all(folder, history=History(), dataset=data, test=test, counts=counts.tolist()))


@pytest.mark.parametrize("classes", [("a$x_{$", "b\\frac$"), tuple(f"class {i}" for i in range(1000)), ("über", "日")])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_class_names_can_be_drawn(tmp_path, classes) -> None:
    assert draw(tmp_path, dataset(classes)) == ["confusion_matrix", "samples", "worst_mistakes"]
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 3_000_000


def test_what_is_no_image_is_not_drawn_as_one(tmp_path) -> None:
    assert draw(tmp_path, dataset(("a", "b"), image_shape=None)) == ["confusion_matrix"]
