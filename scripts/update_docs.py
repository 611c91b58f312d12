"""Generate the parts of the documentation that follow from the code and from stored results.

    python scripts/update_docs.py              # rewrite the generated parts
    python scripts/update_docs.py --examples   # the output of the README's examples, too
    python scripts/update_docs.py --check      # exit with status 1 if a part is out of date

A part is the text between `<!-- generated: NAME -->` and `<!-- end of generated: NAME -->` in README.md or a page of
docs/. A part whose results are not stored is left unchanged.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

import chainrule
from chainrule.cli.flags import format_default
from chainrule.core.fields import Field
from chainrule.core.registry import Registry
from chainrule.optim.optimizer import Optimizer
from chainrule.runs.config import TrainConfig, find_hyperparameters

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from recipes import PARTS as RECIPES  # noqa: E402
from report import PARTS as MEASURED  # noqa: E402

QUICKSTART = ROOT / "recipes" / "fashion_mnist_fast.yaml"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_PART = re.compile(r"(<!-- generated: (\S+) -->\n)(.*?)(<!-- end of generated: \2 -->)", re.DOTALL)
_PUBLISHED = {"Fashion-MNIST": "87.96 %", "MNIST": "97.52 %"}


def format_flags() -> str:
    """Format the flags of `chainrule train` as one table per group."""
    groups: dict[str, list[str]] = {}
    for setting in TrainConfig.fields().values():
        groups.setdefault(setting.group, []).append(_format_flag(setting, setting.help))
    for found in find_hyperparameters().values():
        option = TrainConfig.fields()[found.option]
        shown = found.get_field(option.default)
        others = {user: field.default for user, field in found.fields.items() if field.default != shown.default}
        users = "all" if len(found.fields) == len(option.choices) else ", ".join(f"`{user}`" for user in found.fields)
        users += "".join(f"; `{user}`: `{format_default(default)}`" for user, default in others.items())
        row = _format_flag(shown, f"{shown.help} ({users})")
        groups.setdefault(f"{found.option} hyperparameters", []).append(row)
    head = ["| flag | default | meaning |", "| --- | --- | --- |"]
    return "\n\n".join(
        "\n".join([f"### {name[0].upper()}{name[1:]}", "", *head, *rows]) for name, rows in groups.items()
    )


def _format_flag(setting: Field[Any], text: str) -> str:
    """Format a row of the table of flags."""
    names = " ".join(f"`{flag}`" for flag in (setting.flag, f"--{setting.name}") if flag)
    default = "" if setting.default in (None, ()) else f"`{format_default(setting.default)}`"
    if setting.choices:
        text += f": {', '.join(f'`{choice}`' for choice in setting.choices)}"
    return f"| {names} | {default} | {text} |"


def format_help(command: str) -> str:
    """Format what `chainrule COMMAND --help` prints."""
    text = _run("-m", "chainrule", *command.split(), "--help", COLUMNS="100")
    return f"```text\n{text.rstrip()}\n```"


def format_parts() -> str:
    """Format a table for each public registry."""
    registries = [value for value in vars(chainrule).values() if isinstance(value, Registry)]
    return "\n\n".join(_format_registry(registry) for registry in sorted(registries, key=lambda found: found.kind))


def _format_registry(registry: Registry[Any]) -> str:
    """Format the parts of one kind: name, aliases, hyperparameters if a part has any, first paragraph of the docs."""
    plural = registry.kind + ("es" if registry.kind.endswith("s") else "s")
    rows = {name: (_format_hyperparameters(part), _summarize(part)) for name, part in registry.items()}
    has_hyperparameters = any(hyperparameters for hyperparameters, _ in rows.values())
    columns = ["name", "aliases", *(["hyperparameters"] if has_hyperparameters else []), "description"]
    lines = [f"## {plural[0].upper()}{plural[1:]}", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for name, (hyperparameters, summary) in rows.items():
        aliases = ", ".join(f"`{alias}`" for alias, target in registry.aliases.items() if target == name)
        cells = [f"`{name}`", aliases, *([hyperparameters] if has_hyperparameters else []), summary]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _format_hyperparameters(part: Any) -> str:
    """Format the names and defaults of a part's fields, but for those that all optimizers share."""
    fields: Mapping[str, Field[Any]] = part.fields() if hasattr(part, "fields") else {}
    shared = {name: field for name, field in Optimizer.fields().items() if name != "learning_rate"}
    own = {name: field for name, field in fields.items() if shared.get(name) is not field}
    return ", ".join(f"`{name}={format_default(field.default)}`" for name, field in own.items())


def _summarize(part: Any) -> str:
    """Return the first paragraph of a docstring, as the text of a table's cell."""
    return " ".join((inspect.getdoc(part) or "").split("\n\n")[0].split()).replace("|", "\\|")


def format_course_defaults() -> str:
    """Format the defaults of train.py that differ from those of `chainrule train`."""
    course, library = (
        yaml.safe_load(_run(*program, "--print_config")) for program in (("train.py",), ("-m", "chainrule", "train"))
    )
    rows = ["| setting | `python train.py` | `chainrule train` |", "| --- | --- | --- |"]
    for name in dict.fromkeys([*course, *library]):
        values = [f"`{format_default(found[name])}`" if name in found else "not used" for found in (course, library)]
        if values[0] != values[1]:
            rows.append(f"| `{name}` | {values[0]} | {values[1]} |")
    return "\n".join(rows)


def format_accuracy() -> str:
    """Format the measured accuracies of benchmarks/results/accuracy.json."""
    stored = json.loads((ROOT / "benchmarks" / "results" / "accuracy.json").read_text())
    rows = ["| configuration | test accuracy | seeds | published |", "| --- | --- | --- | --- |"]
    for name, entry in stored["results"].items():
        tests = [100 * run["test_accuracy"] for run in entry["runs"]]
        seeds = ", ".join(str(run["seed"]) for run in entry["runs"])
        measured = f"{statistics.mean(tests):.2f} % ± {statistics.stdev(tests):.2f}"
        rows.append(f"| {name} | {measured} | {seeds} | {100 * entry['published']:.2f} % |")
    return "\n".join(rows)


def format_results() -> str:
    """Format the best models of the ten questions, from report/results."""
    answers = ROOT / "report" / "results"
    best, digits = (json.loads((answers / f"question{number}.json").read_text()) for number in (7, 10))
    mnist = next(entry for entry in digits["configurations"] if entry["name"] == digits["best"])
    rows = [
        "| dataset | model, chosen by validation accuracy | test accuracy | seeds | published |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, entry in (("Fashion-MNIST", best), ("MNIST", mnist)):
        settings, test = entry["settings"], entry["test_accuracy"]
        model = (
            f"{settings['num_layers']} x {settings['hidden_size']} {settings['activation']}, {settings['optimizer']}, "
            f"learning rate {settings['learning_rate']:g}, batch {settings['batch_size']}, {settings['epochs']} epochs"
        )
        accuracy = f"**{100 * test['mean']:.2f} %** ± {100 * test['std']:.2f}"
        rows.append(f"| {name} | {model} | {accuracy} | {len(test['values'])} | {_PUBLISHED[name]} |")
    return "\n".join(rows)


def format_code_size() -> str:
    """Format files, lines, longest file and longest function of each folder."""
    script = ROOT / "scripts" / "measure_code.py"
    if not script.exists():
        raise FileNotFoundError(2, "missing", str(script))
    return _run("scripts/measure_code.py").rstrip()


def read_example() -> str:
    """Return the first Python example of the README."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found, "README.md has no Python example"  # noqa: S101
    return found[1]


def format_example() -> str:
    """Format what the README's example prints."""
    return f"```text\n{_run('-c', read_example()).rstrip()}\n```"


def format_transcript() -> str:
    """Format what `make train` prints, with the epochs between the second and the last left out."""
    with tempfile.TemporaryDirectory() as folder:
        lines = _run("-m", "chainrule", "train", "--config", str(QUICKSTART), cwd=Path(folder)).rstrip().splitlines()
    epochs = [position for position, line in enumerate(lines) if line.startswith("epoch")]
    shown = [*lines[: epochs[2]], "...", *lines[epochs[-1] :]]
    # The name of the run is long, and has the time in it.
    return "\n".join(["```text", *(re.sub(r"(runs/\S{16})\S+", r"\1...", line)[:120] for line in shown), "```"])


def _run(*words: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run Python and return what it prints."""
    # Compilation and a download, of which a first run reports, are no part of what the documentation shows.
    command = [sys.executable, *words]
    own = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(command, cwd=cwd, env=own, stdout=subprocess.PIPE, text=True, check=True).stdout


PARTS: dict[str, Callable[[], str]] = {
    "results": format_results,
    "flags": format_flags,
    "parts": format_parts,
    "course-defaults": format_course_defaults,
    "accuracy": format_accuracy,
    **{f"help-{command}": partial(format_help, command) for command in ("sweep", "runs", "report", "bench")},
    **MEASURED,
    **RECIPES,
}
# Not checked, because every change of the code changes it.
UNCHECKED: dict[str, Callable[[], str]] = {"code-size": format_code_size}
# Rewritten on request only, because they depend on the machine in the last digits and in time.
EXAMPLES: dict[str, Callable[[], str]] = {"example": format_example, "transcript": format_transcript}


def update_text(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """Return the text with these parts rewritten.

    Raises:
        KeyError: the text has a part of an unknown name.
    """

    def rewrite(found: re.Match[str]) -> str:
        begin, name, old, end = found.groups()
        if name not in parts and name in {*UNCHECKED, *EXAMPLES}:
            return found[0]
        try:
            return f"{begin}{parts[name]()}\n{end}"
        except FileNotFoundError as error:
            print(f"{name}: left unchanged, because {Path(error.filename).name} does not exist.")
            return f"{begin}{old}{end}"

    return _PART.sub(rewrite, text)


def main() -> int:
    """Update the pages, or check them."""
    is_check, is_outdated = "--check" in sys.argv, False
    parts = {**PARTS, **({} if is_check else UNCHECKED), **(EXAMPLES if "--examples" in sys.argv else {})}
    for path in PAGES:
        old = path.read_text(encoding="utf-8")
        new = update_text(old, parts)
        if is_check:
            page = path.relative_to(ROOT)
            print(f"{page} is up to date." if new == old else f"{page} is out of date: run `make docs`.")
            is_outdated |= new != old
        elif new != old:
            path.write_text(new, encoding="utf-8")
    return int(is_outdated)


if __name__ == "__main__":
    sys.exit(main())
