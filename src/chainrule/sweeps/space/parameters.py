"""The `parameters` of a sweep file: a distribution for each setting, checked against the values the setting allows."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Field, suggest_field
from chainrule.core.registry import did_you_mean
from chainrule.core.yaml_with_lines import ErrorCollector, KeyPath
from chainrule.runs.config import CONFIGURABLE, Hyperparameter, TrainConfig, find_hyperparameters
from chainrule.sweeps.space.distributions import DISTRIBUTIONS, Categorical, Constant, Distribution

__all__ = ["ANYTHING", "NOT_SWEPT", "NUMBER", "Rule", "check_keys", "find_leaves", "parse_parameters"]

# Settings that the sweep chooses itself.
NOT_SWEPT = ("output_dir", "run_name", "quiet")
_CONSTANT_ONLY = ("plugin", "data_dir", "wandb_mode", "wandb_project", "wandb_entity")
_DEPRECATED = ("log_uniform", "q_log_uniform", "inv_log_uniform")
_MAX_ERRORS = 5  # of one parameter
_GRID = "constants, values, int_uniform and q_uniform"
# Keys of W&B's format that are refused by name.
_UNSUPPORTED = {
    "controller": "the search always runs locally",
    "scheduler": "the methods are grid, random and bayes",
    "metrics": "give one `metric`",
    **dict.fromkeys(("job", "image_uri"), "trials are runs of train.py"),
    **dict.fromkeys(("impute", "impute_while_running"), "trials that fail are left out of the search"),
}


class Rule(NamedTuple):
    """What a key of the file allows, in words and as a test, and whether it may be missing."""

    allowed: str
    is_valid: Callable[[Any], bool]
    required: bool = False


def _is_number(value: Any) -> bool:
    # Not isinstance: True is an int.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


ANYTHING = Rule("anything", lambda value: True)
NUMBER = Rule("a finite number", _is_number)
_RULES = {
    "value": ANYTHING,
    "values": Rule("a list", lambda value: isinstance(value, list)),
    "probabilities": Rule("a list of numbers", lambda value: isinstance(value, list) and all(map(_is_number, value))),
    "distribution": Rule("a name", lambda value: isinstance(value, str)),
    **dict.fromkeys(("min", "max", "mu", "sigma", "q", "a", "b"), NUMBER),
    "parameters": ANYTHING,  # of a group, which `find_leaves` has flattened
}


def check_keys(content: object, path: KeyPath, rules: Mapping[str, Rule], errors: ErrorCollector) -> bool:
    """Check the keys of the mapping at `path` and their values; returns whether all are right."""
    if not isinstance(content, dict):
        errors.add(path, f"{path[-1]} must be a mapping with {', '.join(rules)}, got {_shorten(content)}.")
        return False
    is_right = True
    missing = {key: None for key, rule in rules.items() if rule.required}
    for key, value in {**missing, **content}.items():
        name = f"{path[-1]}.{key}" if path else key
        if key in _UNSUPPORTED:
            text = f"{key} is not supported: {_UNSUPPORTED[key]}."
        elif key not in rules:
            text = f"unknown key {name!r}.{did_you_mean(key, rules)} Known: {', '.join(rules)}."
        elif not rules[key].is_valid(value):
            text = f"{name} must be {rules[key].allowed}, got {_shorten(value)}.{_suggest_number(value)}"
        else:
            continue
        errors.add((*path, key), text)
        is_right = False
    return is_right


def parse_parameters(content: object, method: str, errors: ErrorCollector) -> dict[str, Distribution]:
    """Parse the distribution of each setting, in the order of the file. Groups (nested `parameters`) are flattened."""
    found: dict[str, tuple[KeyPath, Distribution]] = {}
    for path, name, spec in find_leaves(content, ("parameters",), errors):
        if name in found:
            errors.add(path, f"{name} is given a second time, in another group. Remove one of the two.")
        elif distribution := _parse_distribution(spec, path, name, method, errors):
            found[name] = path, distribution
    _check_settings(found, method, errors)
    return {name: distribution for name, (_, distribution) in found.items()}


def find_leaves(content: object, path: KeyPath, errors: ErrorCollector) -> Iterator[tuple[KeyPath, str, Any]]:
    """Yield the path, name and specification of each parameter."""
    if not isinstance(content, dict) or not content:
        errors.add(path, "parameters must name at least one setting, such as `learning_rate: {values: [0.01, 0.001]}`.")
        return
    for name, spec in content.items():
        inner = (*path, name)
        if not isinstance(spec, dict):
            errors.add(inner, f"{name} must be a mapping, such as `{name}: {{value: {_shorten(spec)}}}`.")
        elif "parameters" in spec:
            for key in [key for key in spec if key != "parameters"]:
                errors.add((*inner, key), f"{name} has parameters of its own, and so cannot have {key}.")
            yield from find_leaves(spec["parameters"], (*inner, "parameters"), errors)
        else:
            yield inner, name, spec


def _parse_distribution(
    spec: dict[str, Any], path: KeyPath, name: str, method: str, errors: ErrorCollector
) -> Distribution | None:
    """Parse a parameter's specification; None if it is wrong."""
    if not check_keys(spec, path, _RULES, errors):
        return None
    arguments = {key: value for key, value in spec.items() if key != "distribution"}
    try:
        kind = _get_kind(spec.get("distribution"), arguments)
        cls = DISTRIBUTIONS[kind]
        known = {Constant: ["value"], Categorical: ["values", "probabilities"]}.get(cls) or list(cls.fields())
        if unknown := [key for key in arguments if key not in known]:
            raise ConfigError(f"the distribution {kind} has no {', '.join(unknown)}; it has {', '.join(known)}.")
        if missing := [key for key in ("value", "values", "min", "max") if key in known and key not in arguments]:
            raise ConfigError(f"the distribution {kind} needs {' and '.join(missing)}.")
        distribution = cls(**arguments)
        if method == "grid" and distribution.grid() is None:
            raise ConfigError(f"a grid cannot enumerate it, only {_GRID}. Use those, or the method random or bayes.")
        return distribution
    except ConfigError as error:
        errors.add(path, f"{name}: {error}")
        return None


def _get_kind(given: str | None, arguments: Mapping[str, Any]) -> str:
    """The name of the distribution. If it is not given, it follows from the arguments, as for W&B."""
    if given in _DEPRECATED:
        raise ConfigError(
            f"W&B has deprecated the distribution {given}, whose limits are logarithms. Use {given}_values, whose min "
            "and max are values."
        )
    if given is not None and given not in DISTRIBUTIONS:
        names = ", ".join(DISTRIBUTIONS)
        raise ConfigError(f"unknown distribution {given!r}.{did_you_mean(given, DISTRIBUTIONS)} Choose from: {names}.")
    natural = given
    if "value" in arguments:
        natural = "constant"
    elif "values" in arguments:
        natural = "categorical_w_probabilities" if "probabilities" in arguments else "categorical"
    elif given is None and {"min", "max"} <= set(arguments):
        natural = "int_uniform" if {type(arguments["min"]), type(arguments["max"])} == {int} else "uniform"
    if natural is None:
        raise ConfigError("it needs a value, values, min and max, or a distribution.")
    if given not in (None, natural):
        raise ConfigError(f"the distribution {given} does not go with {' and '.join(arguments)}; leave it out.")
    return natural


def _check_settings(found: dict[str, tuple[KeyPath, Distribution]], method: str, errors: ErrorCollector) -> None:
    """Check that each parameter is a setting that allows its values; replace aliases by canonical names."""
    options, hyperparameters = TrainConfig.fields(), find_hyperparameters()
    known = {**options, **{name: found.get_field() for name, found in hyperparameters.items()}}
    for name, (path, distribution) in found.items():
        if name in NOT_SWEPT:
            errors.add(path, f"{name} cannot be a parameter: the sweep chooses it.")
            continue
        if name not in known:
            errors.add(path, f"unknown setting {name!r}.{suggest_field(name, known)}")
            continue
        fields = [known[name]]
        if name in hyperparameters:
            fields = _select_fields(hyperparameters[name], found) or fields
        if name in _CONSTANT_ONLY and not isinstance(distribution, Constant):
            errors.add(path, f"{name} must be one `value` for the whole sweep.")
        values = ((method == "grid" and distribution.grid()) or distribution).examples()
        texts = (_find_problem(field, value) for field in fields for value in values)
        problems = [text for text in dict.fromkeys(texts) if text]
        # Of a range one problem is enough; in a list each may be a separate mistake.
        for text in problems[: _MAX_ERRORS if isinstance(distribution, Categorical) else 1]:
            errors.add(path, text)
        if fields[0].choices and isinstance(distribution, Categorical) and not problems:
            try:
                distribution.map_values(fields[0].parse)
            except ConfigError as error:
                errors.add(path, f"{name}: {error}")


def _select_fields(
    hyperparameter: Hyperparameter, found: Mapping[str, tuple[KeyPath, Distribution]]
) -> list[Field[Any]]:
    """The declarations of a hyperparameter in the optimizers, or losses, that the sweep tries."""
    option = TrainConfig.fields()[hyperparameter.option]
    names = map(str, found[option.name][1].examples() if option.name in found else [option.default])
    registry = CONFIGURABLE[option.name]
    chosen = {registry.canonical(name) for name in names if name in registry}
    return [field for user, field in hyperparameter.fields.items() if user in chosen]


def _find_problem(field: Field[Any], value: object) -> str:
    """What is wrong with a value, or ""."""
    if field.type in (float, int) and (hint := _suggest_number(value)):
        # W&B would treat it as text, also in its charts.
        return f"{field.name}:{hint}"
    if field.choices and isinstance(value, bool):
        return f"{field.name}: YAML reads this as {value}; put it into quotes."
    try:
        field.parse(value)
    except ConfigError as error:
        return str(error)
    return ""


def _suggest_number(value: object) -> str:
    """How to write a number that YAML reads as text, such as 1e-4; "" if the value is no such text."""
    found = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?)(\d+))?", value) if isinstance(value, str) else None
    if not found:
        return ""
    mantissa, sign, exponent = found.groups()
    power = f"{'' if '.' in mantissa else '.0'}e{sign or '+'}{exponent}" if exponent else ""
    return f" YAML reads {value} as text: write {mantissa}{power}."


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:60] + "..."
