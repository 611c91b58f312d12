"""A sweep file in W&B's format: reading it, and telling everything that is wrong with it at once."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import StrList
from chainrule.core.plugins import load_plugin
from chainrule.core.registry import did_you_mean
from chainrule.core.yaml_with_lines import Part, Problems, read_lined_yaml
from chainrule.runs.config import TrainConfig
from chainrule.sweeps.early_stopping import Hyperband
from chainrule.sweeps.space.distributions import Categorical, Distribution
from chainrule.sweeps.space.parameters import NOT_SWEPT, read_parameters
from chainrule.training.history import EpochRecord

__all__ = ["METHODS", "Metric", "Sweep", "read_sweep"]

METHODS = ("grid", "random", "bayes")
METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
_KEYS = (
    *("program", "method", "metric", "parameters", "early_terminate", "run_cap", "command", "name", "description"),
    *("project", "entity", "apiVersion", "kind"),
)
# Of W&B's format, but not of ours; refused by name.
_ELSEWHERE = {
    "controller": "the search always runs here",
    "scheduler": "the methods are grid, random and bayes",
    "metrics": "give one `metric`",
    "job": "trials are runs of train.py",
    "image_uri": "trials are runs of train.py",
}
_DEFAULT_COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]


@dataclass(frozen=True)
class Metric:
    """What a sweep looks for.

    Attributes:
        name: a number of each epoch's record.
        maximize: whether more is better.
        target: the sweep ends once a trial has reached it; None to go on.
    """

    name: str = "val_accuracy"
    maximize: bool = True
    target: float | None = None

    def of(self, record: EpochRecord) -> float:
        """Its value after an epoch."""
        value = record.as_dict()[self.name]
        return math.nan if value is None else float(value)

    def cost(self, value: float) -> float:
        """A value as something to be minimised."""
        return -value if self.maximize else value

    def reached(self, value: float) -> bool:
        """Whether a value is as good as the target."""
        return self.target is not None and self.cost(value) <= self.cost(self.target)


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        text: the file.
        digest: SHA-256 of all in the file that decides what a trial is.
        name: of the sweep, and of its folder.
        method: grid, random or bayes.
        metric: what it looks for.
        space: a distribution for each setting.
        fixed: settings from the file's `command` and `project`, the same for all trials.
        early: the rule for ending trials early, or None.
        run_cap: no more trials than this, or None.
    """

    text: str
    digest: str
    name: str
    method: str
    metric: Metric
    space: Mapping[str, Distribution]
    fixed: Mapping[str, Any]
    early: Hyperband | None
    run_cap: int | None

    @cached_property
    def grids(self) -> list[Categorical]:
        """The values of each setting of a grid."""
        return [grid for distribution in self.space.values() if (grid := distribution.grid())]

    @cached_property
    def drawn(self) -> Mapping[str, Distribution]:
        """The distributions that trials are drawn from: for a grid, lists of values."""
        return dict(zip(self.space, self.grids, strict=True)) if self.method == "grid" else self.space

    @property
    def size(self) -> int | None:
        """How many trials there are; None if there is no end."""
        every = math.prod(len(grid.values) for grid in self.grids) if self.method == "grid" else None
        return min((limit for limit in (every, self.run_cap) if limit is not None), default=None)


def read_sweep(path: Path, name: str | None = None, base: Path | None = None) -> Sweep:
    """Read a sweep file.

    Args:
        path: the file.
        name: of the sweep; without it that in the file, or else the file's.
        base: the folder that its plugins' paths begin from; None for the current one.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong; all problems in one message, with their lines.
    """
    content, lines = read_lined_yaml(path)
    problems = Problems(path, lines)
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a sweep as W&B's `method: ...`, `parameters: ...`, got no mapping.")
    for key in content:
        if key in _ELSEWHERE:
            problems.add((key,), f"{key} is not supported: {_ELSEWHERE[key]}.")
        elif key not in _KEYS:
            problems.add((key,), f"unknown key {key!r}.{did_you_mean(key, _KEYS)} Known: {', '.join(_KEYS)}.")
    method = content.get("method")
    if method not in METHODS:
        problems.add(("method",), f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    for plugin in _plugins(content):
        load_plugin((base or Path()) / plugin)
    space = read_parameters(content.get("parameters"), str(method), problems)
    metric = _metric(content, problems)
    early = _early(content, problems)
    run_cap = content.get("run_cap")
    if run_cap is not None and (isinstance(run_cap, bool) or not isinstance(run_cap, int) or run_cap < 1):
        problems.add(("run_cap",), f"run_cap must be a whole number of 1 or more, got {run_cap!r}.")
    for key in ("name", "description", "project", "entity", "program", "apiVersion"):
        if key in content and not isinstance(content[key], str):
            problems.add((key,), f"{key} must be a text, got {content[key]!r}.")
    if content.get("kind", "sweep") != "sweep":
        problems.add(("kind",), f"kind must be sweep, got {content['kind']!r}.")
    fixed = _fixed(content, space, problems)
    name = content.get("name", path.stem) if name is None else name
    try:
        TrainConfig.fields()["run_name"].parse(name or ".")
    except ConfigError:
        problems.add(("name",), f"name must be {TrainConfig.run_name.allowed}, got {name!r}.")
    problems.settle()
    sweep = Sweep(
        text=path.read_text(encoding="utf-8"),
        digest=_digest(content),
        name=name,
        method=str(method),
        metric=metric,
        space=space,
        fixed=fixed,
        early=early,
        run_cap=run_cap,
    )
    _try(sweep, problems)
    return sweep


def _digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of what decides what a trial is. The order of parameters does: it is that of a grid."""
    kept = {key: value for key, value in content.items() if key not in ("run_cap", "description", "name")}
    return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()


def _plugins(content: Mapping[str, Any]) -> list[str]:
    """The plugins that a sweep's parameters and command name; they bring settings of their own."""
    words = content.get("command")
    texts = [str(word) for word in words] if isinstance(words, list) else []
    found = [word.partition("=")[2] for word in texts if word.startswith("--plugin=")]
    found += [after for word, after in pairwise(texts) if word == "--plugin"]
    groups = [content.get("parameters")]
    while groups:
        group = groups.pop()
        if not isinstance(group, dict):
            continue
        for name, spec in group.items():
            if isinstance(spec, dict) and "parameters" in spec:
                groups.append(spec["parameters"])
            elif isinstance(spec, dict) and name == "plugin":
                with suppress(ConfigError):  # told when the parameters are read
                    found += StrList((), "").parse(spec.get("value"))
    return found


def _try(sweep: Sweep, problems: Problems) -> None:
    """Each value has been checked; now whether a whole trial makes a configuration."""
    first = {name: distribution.at(0.0) for name, distribution in sweep.drawn.items()}
    try:
        config = TrainConfig.from_mapping({**sweep.fixed, **first})
    except ConfigError as error:
        problems.add(("parameters",), str(error))
    else:
        if sweep.metric.name.startswith("val_") and config.val_fraction == 0:
            problems.add(
                ("metric",), f"{sweep.metric.name} needs a validation set, and val_fraction is 0. Give it 0.1."
            )
    problems.settle()


def _metric(content: Mapping[str, Any], problems: Problems) -> Metric:
    part: Part = ("metric",)
    given = content.get("metric")
    if given is None:
        if content.get("method") == "bayes" or "early_terminate" in content:
            problems.add((), "bayes and early_terminate need a metric: `metric: {name: val_accuracy, goal: maximize}`.")
        return Metric()
    if not isinstance(given, dict):
        problems.add(part, f"metric must be a mapping with a name and a goal, got {given!r}.")
        return Metric()
    for key in given:
        if key in ("impute", "impute_while_running"):
            problems.add((*part, key), f"{key} is not supported: trials that fail are left out of the search.")
        elif key not in ("name", "goal", "target"):
            problems.add(
                (*part, key), f"metric has an unknown key {key!r}.{did_you_mean(key, ('name', 'goal', 'target'))}"
            )
    name, goal, target = given.get("name"), given.get("goal", "minimize"), given.get("target")
    if name not in METRICS:
        hint = did_you_mean(name, METRICS) if isinstance(name, str) else ""
        problems.add(
            (*part, "name"),
            f"metric.name must be one of {', '.join(METRICS)}, got {name!r}.{hint} (A model that is chosen by its test "
            "accuracy has none that could be believed.)",
        )
    if goal not in ("maximize", "minimize"):
        problems.add((*part, "goal"), f"metric.goal must be maximize or minimize, got {goal!r}.")
    elif str(name).endswith("accuracy") and "goal" not in given:
        problems.add(part, f"metric.goal is missing, and W&B would minimize {name}. Write `goal: maximize`.")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float) or math.isnan(target)):
        problems.add((*part, "target"), f"metric.target must be a number, got {target!r}.")
        target = None
    return Metric(str(name), goal == "maximize", None if target is None else float(target))


_EARLY = {"type": str, "min_iter": int, "max_iter": int, "s": int, "eta": float, "strict": bool}


def _early(content: Mapping[str, Any], problems: Problems) -> Hyperband | None:
    part: Part = ("early_terminate",)
    if "early_terminate" not in content:
        return None
    given = content["early_terminate"]
    if not isinstance(given, dict) or given.get("type") != "hyperband":
        problems.add(part, "early_terminate must be a mapping with `type: hyperband`, the one type there is.")
        return None
    wrong = False
    for key, value in given.items():
        here = (*part, key)
        if key not in _EARLY:
            problems.add(here, f"early_terminate has an unknown key {key!r}.{did_you_mean(key, _EARLY)}")
        elif key == "strict":
            if not isinstance(value, bool):
                problems.add(here, f"early_terminate.strict must be true or false, got {value!r}.")
        elif key == "eta":
            if isinstance(value, bool) or not isinstance(value, int | float) or not 1 < value < 1e6:
                wrong = True
                problems.add(here, f"early_terminate.eta must be a number above 1, got {value!r}.")
        elif key != "type" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            wrong = True
            problems.add(here, f"early_terminate.{key} must be a whole number of 1 or more, got {value!r}.")
    if ("min_iter" in given) == ("max_iter" in given) or ("max_iter" in given) != ("s" in given):
        problems.add(part, "early_terminate needs either min_iter, or max_iter and s.")
        return None
    if wrong:
        return None
    rule = Hyperband.from_settings({key: value for key, value in given.items() if key != "type"})
    if not rule.rungs:
        problems.add(part, "early_terminate has no rung: max_iter / eta is below 1. Use a larger max_iter.")
    return rule


def _fixed(content: Mapping[str, Any], space: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The settings that `program`, `command`, `project` and `entity` stand for."""
    program = content.get("program", "train.py")
    if isinstance(program, str) and Path(program).name != "train.py":
        problems.add(
            ("program",), f"program must be train.py, which a sweep runs without starting it anew; got {program!r}."
        )
    fixed = {f"wandb_{key}": content[key] for key in ("project", "entity") if isinstance(content.get(key), str)}
    command = content.get("command", _DEFAULT_COMMAND)
    macros = ("${env}", "${interpreter}", "${program}", "${args}")
    if not isinstance(command, list) or not command:
        problems.add(("command",), f"command must be a list such as {_DEFAULT_COMMAND}.")
        return fixed
    words = [str(word) for word in command]
    foreign = [position for position, word in enumerate(words) if "${" in word and word not in macros]
    for position in foreign:
        problems.add(("command", position), f"{words[position]} in command is not supported; use {', '.join(macros)}.")
    if foreign:
        return fixed
    start = next((position for position, word in enumerate(words) if word in ("${program}", program)), None)
    before = [] if start is None else words[:start]
    unlike = [word for word in before if word not in macros and not re.fullmatch(r"(.*/)?(python[\d.]*|env)", word)]
    if start is None or unlike or "${args}" not in words:
        problems.add(
            ("command",),
            f"command must run ${{program}} with ${{args}} and nothing else, as {' '.join(_DEFAULT_COMMAND)} does.",
        )
        return fixed
    # What stands after the program holds for all trials: `-d mnist`.
    given = [word for word in words[start + 1 :] if word != "${args}"]
    return fixed | _flags(given, space, problems)


def _flags(words: list[str], space: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The settings in words such as `--dataset=mnist` or `-d mnist`."""
    names = {flag: name for name, setting in TrainConfig.fields().items() for flag in (setting.flag, f"--{name}")}
    found: dict[str, Any] = {}
    position = 0
    while position < len(words):
        flag, equals, value = words[position].partition("=")
        name = names.get(flag) or (flag[2:] if flag.startswith("--") else "")
        if not equals and position + 1 < len(words):
            position += 1
            value = words[position]
        position += 1
        try:
            if name in NOT_SWEPT:
                raise ConfigError(f"{flag} cannot be given: the sweep chooses it.")
            TrainConfig.from_mapping({name or flag: value})
        except ConfigError as error:
            problems.add(("command",), f"command: {error}")
            continue
        if name in space:
            problems.add(("command",), f"command gives {name}, which is a parameter too. Remove one of the two.")
        found[name] = value
    return found
