"""A sweep file in W&B's format: reads it, and reports everything that is wrong with it at once."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import StrList
from chainrule.core.plugins import load_plugin
from chainrule.core.yaml_with_lines import ErrorCollector, KeyPath, parse_yaml_with_lines, read_yaml_with_lines
from chainrule.runs.config import TrainConfig
from chainrule.sweeps.search import Hyperband
from chainrule.sweeps.space.distributions import Categorical, Distribution, StorageValue
from chainrule.sweeps.space.parameters import (
    ANYTHING,
    NOT_SWEPT,
    NUMBER,
    Rule,
    check_keys,
    find_leaves,
    parse_parameters,
)

__all__ = ["METHODS", "METRICS", "Metric", "Sweep", "read_sweep"]

METHODS = ("grid", "random", "bayes")
METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
_TEXT = Rule("a text", lambda value: isinstance(value, str))
_COUNT = Rule("a whole number of 1 or more", lambda value: type(value) is int and value >= 1)
_SWEEP_RULES = {
    "program": Rule("train.py", lambda value: isinstance(value, str) and Path(value).name == "train.py"),
    "method": Rule(f"one of {', '.join(METHODS)}", METHODS.__contains__, required=True),
    **dict.fromkeys(("metric", "parameters", "early_terminate", "command"), ANYTHING),
    "run_cap": Rule(_COUNT.allowed, lambda value: value is None or _COUNT.is_valid(value)),
    **dict.fromkeys(("name", "description", "project", "entity", "apiVersion"), _TEXT),
    "kind": Rule("sweep", ("sweep",).__contains__),
}
_METRIC_RULES = {
    "name": Rule(
        f"one of {', '.join(METRICS)} (the test accuracy of a model that was chosen by its test accuracy is biased)",
        METRICS.__contains__,
        required=True,
    ),
    "goal": Rule("maximize or minimize", ("maximize", "minimize").__contains__),
    "target": Rule(NUMBER.allowed, lambda value: value is None or NUMBER.is_valid(value)),
}
_HYPERBAND_RULES = {
    "type": Rule("hyperband", ("hyperband",).__contains__, required=True),
    **dict.fromkeys(("min_iter", "max_iter", "s"), _COUNT),
    "eta": Rule("a number above 1", lambda value: NUMBER.is_valid(value) and 1 < value < 1e6),
    "strict": Rule("true or false", lambda value: isinstance(value, bool)),
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
        name: of the sweep; by default that in the file, or the file's own name, or for a mapping one with the time.
        plugin_base: the folder that the paths of plugins are relative to; by default the current one.

    Raises:
        ConfigError: the file cannot be read or is wrong; one message with all problems and their lines.
    """
    if not isinstance(source, Mapping | Path | str):
        raise ConfigError(f"A sweep must be a file, or a mapping with method and parameters, got {source!r:.80}.")
    if isinstance(source, Mapping):
        import yaml

        try:
            text = yaml.safe_dump(dict(source), sort_keys=False)
        except yaml.YAMLError as error:
            raise ConfigError(f"A sweep must hold numbers, texts, lists and mappings only: {error!s:.500}") from error
        label, default_name = "The sweep", f"sweep_{datetime.now():%Y%m%d-%H%M%S}"
        content, lines = parse_yaml_with_lines(text, label)
        lines.clear()  # lines of a text that the user has not seen
    else:
        label, default_name = str(source), Path(source).stem
        content, lines = read_yaml_with_lines(Path(source))
        text = Path(source).read_text(encoding="utf-8")
    if not isinstance(content, dict):
        raise ConfigError(f"{label} must hold a sweep as W&B's `method: ...`, `parameters: ...`, got no mapping.")
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
    check_keys(content, (), _SWEEP_RULES, errors)
    method = str(content.get("method"))
    parameters = parse_parameters(content.get("parameters"), method, errors)
    try:
        TrainConfig.fields()["run_name"].parse(name or ".")
    except ConfigError:
        errors.add(("name",), f"name must be {TrainConfig.run_name.allowed}, got {name!r}.")
    # All that determines the trials, which includes the order of the parameters.
    kept = {key: value for key, value in content.items() if key not in ("run_cap", "description", "name")}
    return Sweep(
        text=text,
        digest=hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest(),
        name=name,
        method=method,
        metric=_parse_metric(content, errors),
        parameters=parameters,
        fixed=_parse_fixed(content, parameters, errors),
        early_stopping=_parse_early_stopping(content, errors),
        run_cap=content.get("run_cap"),
    )


def _find_plugins(content: Mapping[str, Any]) -> list[str]:
    """The plugins in a sweep's parameters and command, to be loaded first because they may define settings."""
    found: list[str] = []
    # Errors are reported when all is parsed.
    with suppress(ConfigError):
        found += [value for flag, value in _parse_command(content) if flag == "--plugin"]
    for _, name, spec in find_leaves(content.get("parameters"), (), ErrorCollector("", {})):
        if name == "plugin":
            with suppress(ConfigError):
                found += StrList((), "").parse(spec.get("value"))
    return found


def _parse_command(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The flags after the program in `command`, which hold for all trials; ConfigError if it does anything else."""
    command = content.get("command", _DEFAULT_COMMAND)
    if not isinstance(command, list) or not command:
        raise ConfigError(f"command must be a list such as {_DEFAULT_COMMAND}.")
    words = [str(word) for word in command]
    if unknown := [word for word in words if "${" in word and word not in _DEFAULT_COMMAND]:
        raise ConfigError(f"{', '.join(unknown)} in command is not supported; use {_DEFAULT_COMMAND}.")
    programs = ("${program}", content.get("program", "train.py"))
    start = next((index for index, word in enumerate(words) if word in programs), len(words))
    others = [word for word in words[:start] if not re.fullmatch(r"\$\{\w+\}|(.*/)?(python[\d.]*|env)", word)]
    if start == len(words) or others or "${args}" not in words:
        usual = " ".join(_DEFAULT_COMMAND)
        raise ConfigError(f"command must run ${{program}} with ${{args}} and nothing else, as {usual} does.")
    found, remaining = [], iter(word for word in words[start + 1 :] if word != "${args}")
    for word in remaining:
        flag, equals, value = word.partition("=")
        if word.startswith("-"):
            found.append((flag, value if equals else next(remaining, "")))
        else:
            found.append((word, ""))
    return found


def _check_first_trial(sweep: Sweep, errors: ErrorCollector) -> None:
    """Check that a trial makes a valid configuration; each single value has been checked before."""
    first = {name: distribution.ppf(0.0) for name, distribution in sweep.search_space.items()}
    try:
        config = TrainConfig({**sweep.fixed, **first})
    except ConfigError as error:
        errors.add(("parameters",), str(error))
    else:
        if config.dataset is None:
            errors.add(("parameters",), "dataset must be the name of a dataset, got None.")
        if sweep.metric.name.startswith("val_") and config.val_fraction == 0:
            errors.add(("metric",), f"{sweep.metric.name} needs a validation set, and val_fraction is 0. Give it 0.1.")


def _parse_metric(content: Mapping[str, Any], errors: ErrorCollector) -> Metric:
    given = content.get("metric")
    if given is None:
        if content.get("method") == "bayes" or "early_terminate" in content:
            errors.add((), "bayes and early_terminate need a metric: `metric: {name: val_accuracy, goal: maximize}`.")
        return Metric()
    if not check_keys(given, ("metric",), _METRIC_RULES, errors):
        return Metric()
    name, goal = given["name"], given.get("goal")
    if goal is None and name.endswith("accuracy"):
        errors.add(("metric",), f"metric.goal is missing, and W&B would minimize {name}. Write `goal: maximize`.")
    return Metric(name, goal == "maximize", given.get("target"))


def _parse_early_stopping(content: Mapping[str, Any], errors: ErrorCollector) -> Hyperband | None:
    path: KeyPath = ("early_terminate",)
    given: Any = content.get("early_terminate")
    if "early_terminate" not in content or not check_keys(given, path, _HYPERBAND_RULES, errors):
        return None
    if ("min_iter" in given) == ("max_iter" in given) or ("max_iter" in given) != ("s" in given):
        errors.add(path, "early_terminate needs either min_iter, or max_iter and s.")
        return None
    hyperband = Hyperband.from_settings(given)
    if not hyperband.rungs:
        errors.add(path, "early_terminate has no rung: max_iter / eta is below 1. Use a larger max_iter.")
    return hyperband


def _parse_fixed(content: Mapping[str, Any], parameters: Mapping[str, Any], errors: ErrorCollector) -> dict[str, Any]:
    """The settings that `command`, `project` and `entity` give to all trials."""
    fixed = {f"wandb_{key}": content[key] for key in ("project", "entity") if isinstance(content.get(key), str)}
    try:
        flags = _parse_command(content)
    except ConfigError as error:
        errors.add(("command",), str(error))
        return fixed
    fields = TrainConfig.fields()
    names = {field.flag: name for name, field in fields.items() if field.flag}
    for flag, value in flags:
        name = names.get(flag, flag.removeprefix("--"))
        try:
            if name in NOT_SWEPT:
                raise ConfigError(f"{flag} cannot be given: the sweep chooses it.")
            if name in parameters:
                raise ConfigError(f"{name} is a parameter too. Remove one of the two.")
            TrainConfig({name: value})
        except ConfigError as error:
            errors.add(("command",), f"command: {error}")
        else:  # the canonical name of an alias
            fixed[name] = fields[name].parse(value) if name in fields and fields[name].choices else value
    return fixed
