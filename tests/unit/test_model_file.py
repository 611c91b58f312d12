import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from chainrule import LOSSES, NeuralNetwork, load_model, save_model
from chainrule.core.errors import ConfigError, ModelFileError, OutputError
from chainrule.core.fields import Float


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(tmp_path, random, dtype) -> None:
    network = NeuralNetwork([5, 4, 3], activation="tanh", loss="mean_squared_error", seed=4, dtype=dtype)
    save_model(network, tmp_path / "m.safetensors", ("a", "b", "c"))
    again = load_model(tmp_path / "m.safetensors")
    assert repr(again) == repr(network)
    np.testing.assert_array_equal(again.parameters.flat, network.parameters.flat)
    x = random.normal(size=(3, 5))
    np.testing.assert_array_equal(again.predict_proba(x), network.predict_proba(x))


def test_hyperparameters_of_the_loss_are_kept(tmp_path, monkeypatch) -> None:
    class Scaled(LOSSES["cross_entropy"]):
        scale = Float(1.0, "factor", gt=0)

        @staticmethod
        def value(y, p, log_p, scale):
            return -scale * y * log_p

        @staticmethod
        def derivative(y, p, log_p, scale):
            return -scale * y

    monkeypatch.setattr(LOSSES, "_parts", dict(LOSSES._parts))
    monkeypatch.setattr(LOSSES, "_aliases", dict(LOSSES._aliases))
    LOSSES.register("scaled")(Scaled)
    network = NeuralNetwork([5, 4, 3], loss=Scaled(scale=3))
    save_model(network, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert (again.loss, again.objective.loss.scale) == ("scaled", 3.0)
    assert "scale=3.0" in repr(again)
    assert again.evaluate(np.ones((1, 5)), [0]).loss == network.evaluate(np.ones((1, 5)), [0]).loss


def test_a_path_that_cannot_be_used_says_why(tmp_path) -> None:
    network = NeuralNetwork([5, 4, 3])
    with pytest.raises(OutputError, match=r"missing/m\.safetensors.*Create the folder"):
        save_model(network, tmp_path / "missing" / "m.safetensors")
    with pytest.raises(OutputError, match=r"Cannot write to .*directory"):
        save_model(network, tmp_path)
    with pytest.raises(ConfigError, match=r"a network and a path, got 'm.safetensors'"):
        save_model("m.safetensors", network)
    with pytest.raises(ModelFileError, match=r"is a folder.*model\.safetensors"):
        load_model(tmp_path)


def test_others_can_read_it(tmp_path) -> None:
    network = NeuralNetwork([5, 4, 3])
    save_model(network, tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    assert {name: t.shape for name, t in tensors.items()} == {n: p.shape for n, p in network.parameters.items()}
    np.testing.assert_array_equal(tensors["layer1.weights"], network.parameters["layer1.weights"])


def test_equal_networks_make_equal_files(tmp_path) -> None:
    for name in "ab":
        save_model(NeuralNetwork([5, 4, 3], seed=1), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_damaged_files_are_refused(tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(NeuralNetwork([5, 4, 3]), path)
    whole = path.read_bytes()
    for cut in (0, 4, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelFileError, match=r"m\.safetensors"):
            load_model(path)
    with pytest.raises(ModelFileError, match="Cannot read the model"):
        load_model(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [5, 4, 2]}, "describes"),
        ({"sizes": [5, 3]}, "holds"),
        ({"sizes": [10**6, 10**6]}, "describes"),
        ({"activation": "nonsense"}, "Unknown activation"),
        ({"sizes": "abc"}, "describes"),
        ({"dtype": "float64"}, "float64"),
        ({"extra": 1}, "extra"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(tmp_path, change, message) -> None:
    network = NeuralNetwork([5, 4, 3])
    description = {"sizes": network.sizes, "activation": "ReLU", "loss": "cross_entropy", "dtype": "float32"} | change
    metadata = {"chainrule model 1": json.dumps(description)}
    (tmp_path / "m").write_bytes(save(dict(network.parameters), metadata))
    with pytest.raises(ModelFileError, match=message):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("text", ["3", "null", '"x"', "[" * 100_000, "{"])
def test_descriptions_that_are_none_are_refused(tmp_path, text) -> None:
    (tmp_path / "m").write_bytes(save(dict(NeuralNetwork([5, 4, 3]).parameters), {"chainrule model 1": text}))
    with pytest.raises(ModelFileError):
        load_model(tmp_path / "m")


def test_paths_may_be_text(tmp_path) -> None:
    save_model(NeuralNetwork([5, 3]), str(tmp_path / "m"))
    assert load_model(str(tmp_path / "m")).sizes == (5, 3)


def test_strangers_and_nans_are_refused(tmp_path) -> None:
    (tmp_path / "m").write_bytes(save({"a": np.zeros(3)}))
    with pytest.raises(ModelFileError, match="is not a 'chainrule model 1' file"):
        load_model(tmp_path / "m")
    network = NeuralNetwork([5, 4, 3])
    network.parameters.flat[3] = np.nan
    save_model(network, tmp_path / "m")
    with pytest.raises(ModelFileError, match="must be finite"):
        load_model(tmp_path / "m")
