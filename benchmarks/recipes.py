"""Measure recipes/*.yaml: each recipe with several seeds, and with each of its ingredients left out.

    python benchmarks/recipes.py                  # measure what is missing
    python benchmarks/recipes.py mnist            # of one recipe, or of several
    python benchmarks/recipes.py mnist --seeds 5 --ablation_seeds 3
    python benchmarks/recipes.py mnist --again    # measure it again

Every run is stored with its configuration in benchmarks/results/recipes.json. When a recipe changes, it is measured
again, and its old runs stay there. `python scripts/update_docs.py` writes the tables of docs/recipes.md. Recipes are
chosen by validation accuracy, never by test accuracy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from machine import RESULTS, describe

__all__ = ["PARTS", "RECIPES", "find_ingredients", "read_recipes", "read_runs", "remove_ingredient"]

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "recipes"
FILE = RESULTS / "recipes.json"

# Keys that every training has in some form; all other keys of a recipe are ingredients, and one is left out by removing
# its key, which leaves the library's default.
_FRAME = ("dataset", "num_layers", "hidden_size", "epochs", "batch_size", "learning_rate", "keep")
# Keys that only work together are left out together.
_GROUPS = (("schedule", "warmup"), ("weight_decay", "decay_type"))


def read_recipes() -> dict[str, dict[str, Any]]:
    """Read all recipes, by the name of the file."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RECIPES.glob("*.yaml"))}


def read_runs() -> list[dict[str, Any]]:
    """Read the stored runs."""
    runs: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["runs"]
    return runs


def find_ingredients(recipe: Mapping[str, Any]) -> list[str]:
    """The ingredients of a recipe, in its order; the name of one is that of its keys."""
    names = []
    for key in recipe:
        group = next((group for group in _GROUPS if key in group), (key,))
        name = ", ".join(member for member in group if member in recipe)
        if key not in _FRAME and name not in names:
            names.append(name)
    return names


def remove_ingredient(recipe: Mapping[str, Any], ingredient: str) -> dict[str, Any]:
    """A recipe without the keys of an ingredient; "" removes none."""
    return {key: value for key, value in recipe.items() if key not in ingredient.split(", ")}


def select_runs(
    runs: Iterable[Mapping[str, Any]], name: str, recipe: Mapping[str, Any], left_out: str = ""
) -> list[Mapping[str, Any]]:
    """The runs of a recipe as it is now, without an ingredient, by seed."""
    key = {"recipe": name, "left_out": left_out, "config": remove_ingredient(recipe, left_out)}
    return sorted((run for run in runs if key.items() <= run.items()), key=lambda run: run["seed"])


def measure(config: Mapping[str, Any], seed: int, threads: int = 2) -> dict[str, Any]:
    """Train once with `chainrule train --config`, and read the run folder."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        flags = {"config": file, "seed": seed, "threads": threads, "output_dir": folder, "run_name": "run"}
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "chainrule", "train", *words, "--figures", "false", "--quiet"]
        subprocess.run(command, cwd=ROOT, check=True)
        run = Path(folder) / "run"
        metrics = json.loads((run / "metrics.json").read_text())
        seconds = json.loads((run / "run.json").read_text())["epoch_seconds"]
    return {
        **{name: metrics.get(name) for name in ("val_accuracy", "test_accuracy", "kept_epoch")},
        "training_seconds": round(sum(seconds), 2),
        "median_epoch_seconds": round(statistics.median(seconds), 3),
        "threads": threads,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is missing, and store each run."""
    parser = argparse.ArgumentParser(description="Measure the recipes, each with its ingredients left out in turn.")
    parser.add_argument("names", nargs="*", metavar="RECIPE", help="recipes to measure (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds of a recipe (default: 3)")
    parser.add_argument("--ablation_seeds", type=int, default=1, help="seeds of a left-out ingredient (default: 1)")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads; the accuracies do not depend on them (default: 2)"
    )
    parser.add_argument("--again", action="store_true", help="measure stored runs of these recipes again")
    arguments = parser.parse_args(words)
    recipes = read_recipes()
    if unknown := set(arguments.names) - set(recipes):
        parser.error(f"no such recipe: {', '.join(sorted(unknown))}; recipes: {', '.join(recipes)}")
    runs = read_runs() if FILE.exists() else []
    for name in arguments.names or recipes:
        for left_out in ("", *find_ingredients(recipes[name])):
            config = remove_ingredient(recipes[name], left_out)
            for seed in range(arguments.ablation_seeds if left_out else arguments.seeds):
                key = {"recipe": name, "left_out": left_out, "seed": seed, "config": config}
                others = [run for run in runs if not key.items() <= run.items()]
                if len(others) < len(runs) and not arguments.again:
                    continue
                run = {**key, **measure(config, seed, arguments.threads)}
                runs = [*others, run]
                _store(runs)
                val, test = (_format_accuracies([run[f"{part}_accuracy"]]) for part in ("val", "test"))
                print(f"{name}{left_out and f' without {left_out}'}, seed {seed}: validation {val}, test {test}")


def _store(runs: list[dict[str, Any]]) -> None:
    """Write the runs, one a line, with the machine of the last."""
    lines = ",\n".join("  " + json.dumps(run) for run in runs)
    machine = json.dumps(describe(), indent=1)
    FILE.write_text(f'{{\n"machine": {machine},\n"runs": [\n{lines}\n]\n}}\n', encoding="utf-8")


def format_recipes() -> str:
    """Format a row per recipe: what it trains, accuracies over the seeds, time."""
    runs = read_runs()
    rows = [
        "| recipe | trains | validation | test | seeds | training |",
        "| --- | --- | ---: | ---: | --- | ---: |",
    ]
    for name, recipe in read_recipes().items():
        title = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").split("\n")[0].lstrip("# ").rstrip(".")
        found = select_runs(runs, name, recipe)
        if not found:
            continue
        seeds = ", ".join(str(run["seed"]) for run in found)
        shown = _format_time([run["median_epoch_seconds"] * recipe["epochs"] for run in found if run["threads"] == 2])
        val, test = (_format_accuracies([run[f"{part}_accuracy"] for run in found]) for part in ("val", "test"))
        rows.append(f"| [{name}](../recipes/{name}.yaml) | {title} | {val} | **{test}** | {seeds} | {shown} |")
    return "\n".join(rows)


def format_ingredients() -> str:
    """Format a table per recipe: its accuracies with each ingredient left out."""
    runs = read_runs()
    parts = []
    for name, recipe in read_recipes().items():
        rows = [
            f"### {name}",
            "",
            "| left out | validation | test | change | seeds |",
            "| --- | ---: | ---: | ---: | --- |",
        ]
        for ingredient in ("", *find_ingredients(recipe)):
            found = select_runs(runs, name, recipe, ingredient)
            rows.append(_format_ingredient(recipe, ingredient, found, select_runs(runs, name, recipe)))
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _format_ingredient(
    recipe: Mapping[str, Any], ingredient: str, found: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]]
) -> str:
    """Format a row; the change of test accuracy is that of the same seeds of the whole recipe."""
    label = ", ".join(f"`{key}: {recipe[key]}`" for key in ingredient.split(", ")) if ingredient else "nothing"
    if not found:
        return f"| {label} | not measured | | | |"
    seeds = [run["seed"] for run in found]
    val, test = (_format_accuracies([run[f"{part}_accuracy"] for run in found]) for part in ("val", "test"))
    with_it = {run["seed"]: run["test_accuracy"] for run in whole}
    changes = [run["test_accuracy"] - with_it[run["seed"]] for run in found if run["seed"] in with_it]
    change = f"{100 * statistics.mean(changes):+.2f}" if ingredient and changes else ""
    return f"| {label} | {val} | {test} | {change} | {', '.join(map(str, seeds))} |"


def _format_time(seconds: Sequence[float]) -> str:
    """Format the shortest time; "" if there is none."""
    if not seconds:
        return ""
    return f"{min(seconds):.1f} s" if min(seconds) < 60 else f"{min(seconds) / 60:.1f} min"


def _format_accuracies(values: Sequence[float | None]) -> str:
    """Format mean and standard deviation in percent; "none" for the validation of training on all samples."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "none"
    spread = f" ± {100 * statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{100 * statistics.mean(known):.2f} %{spread}"


PARTS = {"recipes": format_recipes, "recipe-ingredients": format_ingredients}

if __name__ == "__main__":
    main()
