"""Writes the parts of the documentation that follow from the code and from stored results.

    python scripts/update_docs.py            # rewrite them
    python scripts/update_docs.py --check    # only tell whether they are up to date

A part stands between `<!-- generated: NAME -->` and `<!-- end of generated: NAME -->` in one of PAGES. A part whose
results are not stored yet keeps the text that it has.
"""

from __future__ import annotations

import inspect
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chainrule import ACTIVATIONS, DATASETS, INITIALIZERS, LOSSES, OPTIMIZERS
from chainrule.cli.flags import plain
from chainrule.core.fields import Bool, Choice, Field, StrList
from chainrule.runs.config import TrainConfig, optimizer_fields

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from report import PARTS as MEASURED  # noqa: E402

PAGES = ("README.md", "docs/performance.md", "docs/sweeps.md")
_PART = re.compile(r"(<!-- generated: (\S+) -->\n)(.*?)(<!-- end of generated: \2 -->)", re.DOTALL)


def flags() -> str:
    """A table of all flags."""
    rows = ["| flag | default | meaning |", "| --- | --- | --- |"]
    for setting in TrainConfig.fields().values():
        rows.append(_flag_row(setting, setting.help))
    for uses in optimizer_fields().values():
        users = "every optimizer" if len(uses) == len(OPTIMIZERS) else ", ".join(name for name, _ in uses)
        rows.append(_flag_row(uses[0][1], f"{uses[0][1].help} ({users})"))
    rows.append("| `--config` | | YAML or JSON file of settings; flags override it |")
    rows.append("| `--resume` | | go on with an interrupted run: its name or folder, or `auto` |")
    rows.append("| `--from-sweep` `--trial` | | settings of a sweep's best trial, or of the one with this number |")
    rows.append("| `--print_config` | | print the resolved configuration as YAML and exit |")
    return "\n".join(rows)


def _flag_row(setting: Field[Any], text: str) -> str:
    names = " ".join(f"`{flag}`" for flag in (setting.flag, f"--{setting.name}") if flag)
    default = "" if setting.default is None or isinstance(setting, StrList | Bool) else f"`{plain(setting.default)}`"
    if isinstance(setting, Choice):
        text += f": {', '.join(f'`{choice}`' for choice in setting.choices)}"
    return f"| {names} | {default} | {text} |"


def parts() -> str:
    """A table of all registered parts."""
    rows = ["| part | name | what it is |", "| --- | --- | --- |"]
    for registry in (OPTIMIZERS, ACTIVATIONS, LOSSES, INITIALIZERS, DATASETS):
        for name, part in registry.items():
            summary = " ".join((inspect.getdoc(part) or "").split("\n\n")[0].split())
            rows.append(f"| {registry.kind} | `{name}` | {summary.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def accuracy() -> str:
    """The measured accuracies, from benchmarks/results/accuracy.json."""
    stored = json.loads((ROOT / "benchmarks" / "results" / "accuracy.json").read_text())
    rows = ["| configuration | test accuracy | seeds | published |", "| --- | --- | --- | --- |"]
    for name, entry in stored["results"].items():
        tests = [100 * run["test_accuracy"] for run in entry["runs"]]
        seeds = ", ".join(str(run["seed"]) for run in entry["runs"])
        measured = f"{statistics.mean(tests):.2f} % ± {statistics.stdev(tests):.2f}"
        rows.append(f"| {name} | {measured} | {seeds} | {100 * entry['published']:.2f} % |")
    return "\n".join(rows)


def results() -> str:
    """The best models of the report, from report/results."""
    answers = ROOT / "report" / "results"
    best, digits = (json.loads((answers / f"question{number}.json").read_text()) for number in (7, 10))
    mnist = next(entry for entry in digits["configurations"] if entry["name"] == digits["best"])
    rows = [
        "| data | model, chosen by validation accuracy | test accuracy | seeds | published |",
        "|---|---|---|---|---|",
    ]
    for name, entry, published in (("Fashion-MNIST", best, "87.96 %"), ("MNIST", mnist, "97.52 %")):
        settings, test = entry["settings"], entry["test_accuracy"]
        model = (
            f"{settings['num_layers']} x {settings['hidden_size']} {settings['activation']}, {settings['optimizer']}, "
            f"learning rate {settings['learning_rate']:g}, batch {settings['batch_size']}, {settings['epochs']} epochs"
        )
        accuracy = f"**{100 * test['mean']:.2f} %** ± {100 * test['std']:.2f}"
        rows.append(f"| {name} | {model} | {accuracy} | {len(test['values'])} | {published} |")
    return "\n".join(rows)


PARTS: dict[str, Callable[[], str]] = {
    "results": results,
    "flags": flags,
    "parts": parts,
    "accuracy": accuracy,
    **MEASURED,
}


def updated(text: str) -> str:
    """The text with every generated part written anew."""
    return _PART.sub(_anew, text)


def _anew(found: re.Match[str]) -> str:
    begin, name, old, end = found.groups()
    try:
        return f"{begin}{PARTS[name]()}\n{end}"
    except FileNotFoundError as error:
        print(f"{name}: left as it is, for {Path(error.filename).name} does not exist yet.")
        return begin + old + end


def main() -> int:
    """Update the pages, or check them."""
    outdated = False
    for page in PAGES:
        path = ROOT / page
        old = path.read_text(encoding="utf-8")
        new = updated(old)
        if "--check" in sys.argv:
            print(f"{page} is up to date." if new == old else f"{page} is out of date: run `make docs`.")
            outdated |= new != old
        elif new != old:
            path.write_text(new, encoding="utf-8")
    return int(outdated)


if __name__ == "__main__":
    sys.exit(main())
