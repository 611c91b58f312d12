"""Training from Python needs no extra, every import is declared in pyproject.toml, missing extras are reported."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from chainrule.core.errors import ConfigError
from chainrule.core.extras import missing_extra

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Packages of the extras and of downloads. Training on arrays of one's own imports none of them.
BLOCKED = (
    "distributed filelock jinja2 latex2mathml markdown_it optuna pandas PIL rich sklearn typst vl_convert wandb yaml"
)
TRAIN = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import numpy as np
from chainrule import Dataset, NeuralNetwork, OPTIMIZERS, load_model, save_model

x = np.random.default_rng(0).random((300, 4), dtype=np.float32)
y = (x.sum(axis=1) > 2).astype(np.int64)
indices = np.arange(300)
data = Dataset(
    name="own", classes=("small", "large"), image_shape=None, train_indices=indices[:200], val_indices=indices[200:250],
    x_train=x[:200], y_train=y[:200], x_val=x[200:250], y_val=y[200:250], x_test=x[250:], y_test=y[250:],
)
network = NeuralNetwork([4, 8, 2], activation="tanh", seed=0)
network.fit(data, optimizer=OPTIMIZERS["adam"](learning_rate=0.01), epochs=20)
save_model(network, sys.argv[2])
assert (load_model(sys.argv[2]).predict(x) == network.predict(x)).all()
print(network.evaluate(data.x_test, data.y_test).accuracy)
"""


def distribution(requirement: str) -> str:
    """`PyYAML>=6` -> `pyyaml`, as package indexes normalize names."""
    name = re.split(r"[\[<>=!~ ;]", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_training_from_python_needs_no_extra(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAIN, BLOCKED, str(tmp_path / "model.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.8


def test_the_test_above_can_fail(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAIN, f"{BLOCKED} safetensors", str(tmp_path / "model.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "No module named 'safetensors'" in done.stderr


def test_every_import_is_declared() -> None:
    dependencies = [*PROJECT["dependencies"], *(each for name in EXTRAS if name != "dev" for each in EXTRAS[name])]
    declared = {distribution(each) for each in dependencies} | {
        "llvmlite",  # numba's compiler, of numba's version
    }
    installed = packages_distributions()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            for module in {name.partition(".")[0] for name in modules} - {"chainrule", *sys.stdlib_module_names}:
                assert {distribution(each) for each in installed[module]} & declared, f"{path.name} imports {module}"


@pytest.mark.parametrize("extra", ["train", "sweeps", "report"])
def test_the_error_for_a_missing_extra_names_package_and_command(extra: str) -> None:
    assert extra in EXTRAS
    error = missing_extra("Sweeps", extra, "optuna")
    assert isinstance(error, ConfigError)
    assert all(fact in str(error) for fact in ("Sweeps", "optuna", f"pip install 'chainrule[{extra}]'"))
