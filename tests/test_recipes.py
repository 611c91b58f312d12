"""Recipes are valid configurations, and their stored results are those of the files as they are."""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from chainrule.runs.config import TrainConfig

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "recipes").glob("*.yaml"))
RUNS: list[dict[str, Any]] = json.loads((ROOT / "benchmarks" / "results" / "recipes.json").read_text())["runs"]


@pytest.fixture(scope="module")
def script() -> Any:
    """benchmarks/recipes.py, which imports its neighbors."""
    folder = ROOT / "benchmarks"
    sys.path.insert(0, str(folder))
    try:
        specification = importlib.util.spec_from_file_location("benchmark_of_recipes", folder / "recipes.py")
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(folder))


def read(path: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return recipe


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_is_a_configuration_without_keys_that_it_does_not_use(path: Path) -> None:
    config = TrainConfig(read(path))
    assert not config.ignored
    assert path.read_text(encoding="utf-8").startswith("# "), "the first line is the recipe's title"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_results_are_those_of_the_recipe_as_it_is(path: Path, script: Any) -> None:
    recipe = read(path)
    for ingredient in ("", *script.find_ingredients(recipe)):
        TrainConfig(script.remove_ingredient(recipe, ingredient))
        seeds = [run["seed"] for run in script.select_runs(RUNS, path.stem, recipe, ingredient)]
        assert seeds == list(range(len(seeds)))
        assert ingredient or len(seeds) >= 3


def test_every_key_is_an_ingredient_or_part_of_the_frame(script: Any) -> None:
    recipe = {"dataset": "mnist", "weight_decay": 0.1, "decay_type": "decoupled", "epochs": 3, "dropout": 0.5}
    assert script.find_ingredients(recipe) == ["weight_decay, decay_type", "dropout"]
    assert script.remove_ingredient(recipe, "weight_decay, decay_type") == {
        "dataset": "mnist",
        "epochs": 3,
        "dropout": 0.5,
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_page_has_the_mean_of_the_stored_results(path: Path, script: Any) -> None:
    tests = [100 * run["test_accuracy"] for run in script.select_runs(RUNS, path.stem, read(path))]
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| [{path.stem}]")]
    assert f"{statistics.mean(tests):.2f} % ± {statistics.stdev(tests):.2f}" in row


def test_only_runs_without_a_result_are_measured(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[tuple[dict[str, Any], int]] = []

    def measure(config: dict[str, Any], seed: int, threads: int) -> dict[str, Any]:
        measured.append((config, seed))
        return {
            "val_accuracy": 0.5,
            "test_accuracy": 0.25,
            "kept_epoch": 1,
            "median_epoch_seconds": 1.0,
            "threads": threads,
        }

    (tmp_path / "tiny.yaml").write_text("# Tiny\ndataset: digits\nepochs: 2\ndropout: 0.1\n")
    for name, value in {"RECIPES": tmp_path, "FILE": tmp_path / "recipes.json", "measure": measure}.items():
        monkeypatch.setattr(script, name, value)
    script.main([])
    without = {"dataset": "digits", "epochs": 2}
    assert measured == [*(({**without, "dropout": 0.1}, seed) for seed in range(3)), (without, 0)]
    script.main(["tiny", "--seeds", "4"])
    assert measured[4:] == [({**without, "dropout": 0.1}, 3)]
    script.main(["--again"])
    assert len(measured) == 9
    (tmp_path / "tiny.yaml").write_text("# Tiny\ndataset: digits\nepochs: 2\ndropout: 0.2\n")
    script.main([])
    assert len(measured) == 12
    assert len(script.read_runs()) == 8, "the runs of the recipe as it was stay"
    with pytest.raises(SystemExit):
        script.main(["huge"])
    assert "huge" in capsys.readouterr().err
    assert "| [tiny](../recipes/tiny.yaml) | Tiny | 50.00 % ± 0.00 | **25.00 % ± 0.00** | 0, 1, 2 | 2.0 s |" in (
        script.format_recipes()
    )
    assert "| `dropout: 0.2` | 50.00 % | 25.00 % | +0.00 | 0 |" in script.format_ingredients()
