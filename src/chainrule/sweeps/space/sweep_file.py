"""A sweep file in W&B's format: reads it, and reports everything that is wrong with it at once."""

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
from chainrule.core.yaml_with_lines import ErrorCollector, KeyPath, parse_yaml_with_lines, read_yaml_with_lines
from chainrule.runs.config import TrainConfig
from chainrule.sweeps.early_stopping import Hyperband
from chainrule.sweeps.space.distributions import Categorical, Distribution, StorageValue
from chainrule.sweeps.space.parameters import NOT_SWEPT, parse_parameters

__all__ = ["METHODS", "METRICS", "Metric", "Sweep", "read_sweep"]

METHODS = ("grid", "random", "bayes")
METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
_KEYS = (
    *("program", "method", "metric", "parameters", "early_terminate", "run_cap", "command", "name", "description"),
    *("project", "entity", "apiVersion", "kind"),
)
# Keys of W&B's format that are refused by name.
_UNSUPPORTED = {
    "controller": "the search always runs locally",
    "scheduler": "the methods are grid, random and bayes",
    "metrics": "give one `metric`",
    "job": "trials are runs of train.py",
    "image_uri": "trials are runs of train.py",
}
_DEFAULT_COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]


@dataclass(frozen=True)
class Metric:
    """What a sweep optimizes.

    Attributes:
        name: of a number in each epoch's record.
        maximize: whether more is better.
        target: the sweep ends once a trial has reached this value; None for no target.
    """

    name: str = "val_accuracy"
    maximize: bool = True
    target: float | None = None

    def cost(self, value: float) -> float:
        """The value as something to minimize."""
        return -value if self.maximize else value

    def is_reached(self, value: float) -> bool:
        """Whether the value is as good as the target."""
        return self.target is not None and self.cost(value) <= self.cost(self.target)


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file.

    Attributes:
        text: the file.
        digest: SHA-256 of everything in the file that determines the trials.
        name: of the sweep and its folder.
        method: grid, random or bayes.
        metric: what it optimizes.
        parameters: the distribution of each parameter.
        fixed: settings from the file's `command`, `project` and `entity`, the same for all trials.
        early_stopping: when trials are pruned, or None.
        run_cap: the maximum number of trials, or None.
    """

    text: str
    digest: str
    name: str
    method: str
    metric: Metric
    parameters: Mapping[str, Distribution]
    fixed: Mapping[str, Any]
    early_stopping: Hyperband | None
    run_cap: int | None

    @cached_property
    def grids(self) -> list[Categorical]:
        """The grid points of each parameter, if the method is grid."""
        return [grid for distribution in self.parameters.values() if (grid := distribution.grid())]

    @cached_property
    def search_space(self) -> Mapping[str, Distribution]:
        """The distributions to sample from: `parameters`, or for a grid their grid points."""
        return dict(zip(self.parameters, self.grids, strict=True)) if self.method == "grid" else self.parameters

    @property
    def size(self) -> int | None:
        """The number of trials; None if it is unlimited."""
        points = math.prod(len(grid.values) for grid in self.grids) if self.method == "grid" else None
        return min((limit for limit in (points, self.run_cap) if limit is not None), default=None)

    def decode(self, params: Mapping[str, StorageValue]) -> dict[str, Any]:
        """Convert stored parameters to the values that training uses."""
        return {name: self.search_space[name].decode(stored) for name, stored in params.items()}


def read_sweep(
    source: Path | str | Mapping[str, object], name: str | None = None, plugin_base: Path | None = None
) -> Sweep:
    """Read a sweep file.

    Args:
        source: the file, or its content.
        name: of the sweep; by default that in the file, or the file's own name.
        plugin_base: the folder that the paths of plugins are relative to; by default the current one.

    Raises:
        ConfigError: the file cannot be read or is wrong; one message with all problems and their lines.
    """
    if isinstance(source, Mapping):
        import yaml

        try:
            text = yaml.safe_dump(dict(source), sort_keys=False)
        except yaml.YAMLError as error:
            raise ConfigError(f"A sweep must hold numbers, texts, lists and mappings only: {error!s:.500}") from error
        label: object = "The sweep"
        content, lines = parse_yaml_with_lines(text, label)
        lines.clear()  # lines of a text that the user has not seen
    else:
        label = path = Path(source)
        content, lines = read_yaml_with_lines(path)
        text = path.read_text(encoding="utf-8")
    if not isinstance(content, dict):
        raise ConfigError(f"{label} must hold a sweep as W&B's `method: ...`, `parameters: ...`, got no mapping.")
    default_name = "sweep" if isinstance(source, Mapping) else Path(source).stem
    errors = ErrorCollector(label, lines)
    for plugin in _find_plugins(content):
        load_plugin((plugin_base or Path()) / plugin)
    sweep = _parse_sweep(content, text, content.get("name", default_name) if name is None else name, errors)
    errors.raise_if_any()
    _check_first_trial(sweep, errors)
    errors.raise_if_any()
    return sweep


def _parse_sweep(content: Mapping[str, Any], text: str, name: str, errors: ErrorCollector) -> Sweep:
    """Parse all of the file; of no use if there are errors."""
    for key in content:
        if key in _UNSUPPORTED:
            errors.add((key,), f"{key} is not supported: {_UNSUPPORTED[key]}.")
        elif key not in _KEYS:
            errors.add((key,), f"unknown key {key!r}.{did_you_mean(key, _KEYS)} Known: {', '.join(_KEYS)}.")
    method = content.get("method")
    if method not in METHODS:
        errors.add(("method",), f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    parameters = parse_parameters(content.get("parameters"), str(method), errors)
    run_cap = content.get("run_cap")
    if run_cap is not None and (isinstance(run_cap, bool) or not isinstance(run_cap, int) or run_cap < 1):
        errors.add(("run_cap",), f"run_cap must be a whole number of 1 or more, got {run_cap!r}.")
    for key in ("name", "description", "project", "entity", "program", "apiVersion"):
        if key in content and not isinstance(content[key], str):
            errors.add((key,), f"{key} must be a text, got {content[key]!r}.")
    if content.get("kind", "sweep") != "sweep":
        errors.add(("kind",), f"kind must be sweep, got {content['kind']!r}.")
    try:
        TrainConfig.fields()["run_name"].parse(name or ".")
    except ConfigError:
        errors.add(("name",), f"name must be {TrainConfig.run_name.allowed}, got {name!r}.")
    return Sweep(
        text=text,
        digest=_compute_digest(content),
        name=name,
        method=str(method),
        metric=_parse_metric(content, errors),
        parameters=parameters,
        fixed=_parse_fixed(content, parameters, errors),
        early_stopping=_parse_early_stopping(content, errors),
        run_cap=run_cap,
    )


def _compute_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of what determines the trials, which includes the order of the parameters."""
    kept = {key: value for key, value in content.items() if key not in ("run_cap", "description", "name")}
    return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()


def _find_plugins(content: Mapping[str, Any]) -> list[str]:
    """The plugins in a sweep's parameters and command, to be loaded first because they may define settings."""
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
                with suppress(ConfigError):  # reported when the parameters are parsed
                    found += StrList((), "").parse(spec.get("value"))
    return found


def _check_first_trial(sweep: Sweep, errors: ErrorCollector) -> None:
    """Check that a trial makes a valid configuration; each single value has been checked before."""
    first = {name: distribution.ppf(0.0) for name, distribution in sweep.search_space.items()}
    try:
        config = TrainConfig.from_mapping({**sweep.fixed, **first})
    except ConfigError as error:
        errors.add(("parameters",), str(error))
    else:
        if sweep.metric.name.startswith("val_") and config.val_fraction == 0:
            errors.add(("metric",), f"{sweep.metric.name} needs a validation set, and val_fraction is 0. Give it 0.1.")


def _parse_metric(content: Mapping[str, Any], errors: ErrorCollector) -> Metric:
    path: KeyPath = ("metric",)
    given = content.get("metric")
    if given is None:
        if content.get("method") == "bayes" or "early_terminate" in content:
            errors.add((), "bayes and early_terminate need a metric: `metric: {name: val_accuracy, goal: maximize}`.")
        return Metric()
    if not isinstance(given, dict):
        errors.add(path, f"metric must be a mapping with a name and a goal, got {given!r}.")
        return Metric()
    for key in given:
        if key in ("impute", "impute_while_running"):
            errors.add((*path, key), f"{key} is not supported: trials that fail are left out of the search.")
        elif key not in ("name", "goal", "target"):
            errors.add(
                (*path, key), f"metric has an unknown key {key!r}.{did_you_mean(key, ('name', 'goal', 'target'))}"
            )
    name, goal, target = given.get("name"), given.get("goal", "minimize"), given.get("target")
    if name not in METRICS:
        hint = did_you_mean(name, METRICS) if isinstance(name, str) else ""
        errors.add(
            (*path, "name"),
            f"metric.name must be one of {', '.join(METRICS)}, got {name!r}.{hint} (The test accuracy of a model "
            "that was chosen by its test accuracy is biased.)",
        )
    if goal not in ("maximize", "minimize"):
        errors.add((*path, "goal"), f"metric.goal must be maximize or minimize, got {goal!r}.")
    elif str(name).endswith("accuracy") and "goal" not in given:
        errors.add(path, f"metric.goal is missing, and W&B would minimize {name}. Write `goal: maximize`.")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float) or math.isnan(target)):
        errors.add((*path, "target"), f"metric.target must be a number, got {target!r}.")
        target = None
    return Metric(str(name), goal == "maximize", None if target is None else float(target))


_EARLY_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")


def _parse_early_stopping(content: Mapping[str, Any], errors: ErrorCollector) -> Hyperband | None:
    path: KeyPath = ("early_terminate",)
    if "early_terminate" not in content:
        return None
    given = content["early_terminate"]
    if not isinstance(given, dict) or given.get("type") != "hyperband":
        errors.add(path, "early_terminate must be a mapping with `type: hyperband`, the only type.")
        return None
    is_wrong = False
    for key, value in given.items():
        inner = (*path, key)
        if key not in _EARLY_KEYS:
            errors.add(inner, f"early_terminate has an unknown key {key!r}.{did_you_mean(key, _EARLY_KEYS)}")
        elif key == "strict":
            if not isinstance(value, bool):
                errors.add(inner, f"early_terminate.strict must be true or false, got {value!r}.")
        elif key == "eta":
            if isinstance(value, bool) or not isinstance(value, int | float) or not 1 < value < 1e6:
                is_wrong = True
                errors.add(inner, f"early_terminate.eta must be a number above 1, got {value!r}.")
        elif key != "type" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            is_wrong = True
            errors.add(inner, f"early_terminate.{key} must be a whole number of 1 or more, got {value!r}.")
    if ("min_iter" in given) == ("max_iter" in given) or ("max_iter" in given) != ("s" in given):
        errors.add(path, "early_terminate needs either min_iter, or max_iter and s.")
        return None
    if is_wrong:
        return None
    hyperband = Hyperband.from_settings({key: value for key, value in given.items() if key != "type"})
    if not hyperband.rungs:
        errors.add(path, "early_terminate has no rung: max_iter / eta is below 1. Use a larger max_iter.")
    return hyperband


def _parse_fixed(content: Mapping[str, Any], parameters: Mapping[str, Any], errors: ErrorCollector) -> dict[str, Any]:
    """The settings that `command`, `project` and `entity` give to all trials; checks `program`."""
    program = content.get("program", "train.py")
    if isinstance(program, str) and Path(program).name != "train.py":
        errors.add(("program",), f"program must be train.py, got {program!r}.")
    fixed = {f"wandb_{key}": content[key] for key in ("project", "entity") if isinstance(content.get(key), str)}
    command = content.get("command", _DEFAULT_COMMAND)
    macros = ("${env}", "${interpreter}", "${program}", "${args}")
    if not isinstance(command, list) or not command:
        errors.add(("command",), f"command must be a list such as {_DEFAULT_COMMAND}.")
        return fixed
    words = [str(word) for word in command]
    unknown = [index for index, word in enumerate(words) if "${" in word and word not in macros]
    for index in unknown:
        errors.add(("command", index), f"{words[index]} in command is not supported; use {', '.join(macros)}.")
    if unknown:
        return fixed
    start = next((index for index, word in enumerate(words) if word in ("${program}", program)), None)
    before = [] if start is None else words[:start]
    others = [word for word in before if word not in macros and not re.fullmatch(r"(.*/)?(python[\d.]*|env)", word)]
    if start is None or others or "${args}" not in words:
        errors.add(
            ("command",),
            f"command must run ${{program}} with ${{args}} and nothing else, as {' '.join(_DEFAULT_COMMAND)} does.",
        )
        return fixed
    # Flags after the program hold for all trials: `-d mnist`.
    given = [word for word in words[start + 1 :] if word != "${args}"]
    return fixed | _parse_flags(given, parameters, errors)


def _parse_flags(words: list[str], parameters: Mapping[str, Any], errors: ErrorCollector) -> dict[str, Any]:
    """The settings in flags such as `--dataset=mnist` or `-d mnist`."""
    names = {flag: name for name, setting in TrainConfig.fields().items() for flag in (setting.flag, f"--{name}")}
    found: dict[str, Any] = {}
    index = 0
    while index < len(words):
        flag, equals, value = words[index].partition("=")
        name = names.get(flag) or (flag[2:] if flag.startswith("--") else "")
        if not equals and index + 1 < len(words):
            index += 1
            value = words[index]
        index += 1
        try:
            if name in NOT_SWEPT:
                raise ConfigError(f"{flag} cannot be given: the sweep chooses it.")
            TrainConfig.from_mapping({name or flag: value})
        except ConfigError as error:
            errors.add(("command",), f"command: {error}")
            continue
        if name in parameters:
            errors.add(("command",), f"command gives {name}, which is a parameter too. Remove one of the two.")
        field = TrainConfig.fields().get(name)
        found[name] = field.parse(value) if field and field.choices else value  # the canonical name of an alias
    return found
