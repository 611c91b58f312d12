"""The `parameters` of a sweep file: a distribution for each setting, checked against the values the setting allows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Field, Float
from chainrule.core.registry import did_you_mean
from chainrule.core.yaml_with_lines import ErrorCollector, KeyPath
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.runs.config import TrainConfig, optimizer_fields
from chainrule.sweeps.space.distributions import DISTRIBUTIONS, Categorical, Constant, Distribution

__all__ = ["NOT_SWEPT", "parse_parameters"]

_KEYS = ("value", "values", "probabilities", "min", "max", "distribution", "mu", "sigma", "q", "a", "b", "parameters")
# Settings that the sweep chooses itself.
NOT_SWEPT = ("output_dir", "run_name", "quiet")
_CONSTANT_ONLY = ("plugin", "data_dir", "wandb_mode", "wandb_project", "wandb_entity")
_DEPRECATED = {name: f"{name}_values" for name in ("log_uniform", "q_log_uniform", "inv_log_uniform")}
_MAX_ERRORS = 5  # of one parameter
_GRID = "constants, values, int_uniform and q_uniform"


def parse_parameters(content: object, method: str, errors: ErrorCollector) -> dict[str, Distribution]:
    """Parse the distribution of each setting, in the order of the file. Groups (nested `parameters`) are flattened.

    Args:
        content: the `parameters` of the file.
        method: of the search; a grid needs distributions with a finite number of values.
        errors: collects what is wrong.
    """
    found: dict[str, tuple[KeyPath, Distribution]] = {}
    for path, name, spec in _find_leaves(content, ("parameters",), errors):
        if name in found:
            errors.add(path, f"{name} is given a second time, in another group. Remove one of the two.")
            continue
        distribution = _parse_distribution(spec, path, name, errors)
        if distribution is None:
            continue
        try:
            is_infinite = method == "grid" and distribution.grid() is None
        except ConfigError as error:
            errors.add(path, f"{name}: {error}")
            continue
        if is_infinite:
            errors.add(path, f"a grid cannot enumerate {name}, only {_GRID}. Use those, or the method random or bayes.")
        found[name] = path, distribution
    _check_settings(found, method, errors)
    return {name: distribution for name, (_, distribution) in found.items()}


def _find_leaves(
    content: object, path: KeyPath, errors: ErrorCollector
) -> Iterator[tuple[KeyPath, str, Mapping[str, Any]]]:
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
            yield from _find_leaves(spec["parameters"], (*inner, "parameters"), errors)
        else:
            yield inner, name, spec


def _parse_distribution(
    spec: Mapping[str, Any], path: KeyPath, name: str, errors: ErrorCollector
) -> Distribution | None:
    """Parse a parameter's specification; None if it is wrong."""
    unknown = [key for key in spec if key not in _KEYS]
    for key in unknown:
        errors.add(
            (*path, key), f"{name} has an unknown key {key!r}.{did_you_mean(key, _KEYS)} Known: {', '.join(_KEYS)}."
        )
    if unknown:
        return None
    try:
        kind, values = _infer_kind(spec)
        cls = DISTRIBUTIONS[kind]
        if cls is Constant:
            distribution: Distribution = Constant(values["value"])
        elif cls is Categorical:
            if not isinstance(values["values"], list):
                raise ConfigError(f"values must be a list, got {_shorten(values['values'])}.")
            distribution = Categorical(values["values"], _parse_probabilities(values.get("probabilities")))
        else:
            _check_keys(kind, cls, values)
            distribution = cls(**values)
        distribution.check()
        return distribution
    except ConfigError as error:
        errors.add(path, f"{name}: {error}")
        return None


def _infer_kind(spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The distribution's name and arguments. If missing, the name follows from the other keys, as for W&B."""
    values = {key: value for key, value in spec.items() if key != "distribution"}
    asked = spec.get("distribution")
    if "value" in values:
        natural, alone = "constant", {"value"}
    elif "values" in values:
        natural, alone = "categorical", {"values", "probabilities"}
    elif {"min", "max"} <= set(values):
        whole = all(isinstance(values[end], int) and not isinstance(values[end], bool) for end in ("min", "max"))
        natural, alone = ("int_uniform" if whole else "uniform"), set(values)
    elif asked is None:
        raise ConfigError("it needs a value, values, min and max, or a distribution.")
    else:
        natural, alone = "", set(values)
    if set(values) - alone:
        raise ConfigError(f"{', '.join(sorted(set(values) - alone))} does not go with {' and '.join(sorted(alone))}.")
    if asked is None:
        return natural, values
    if not isinstance(asked, str):
        raise ConfigError(f"distribution must be a name, got {_shorten(asked)}.")
    if asked in _DEPRECATED:
        raise ConfigError(
            f"W&B has deprecated the distribution {asked}, whose limits are logarithms. Use {_DEPRECATED[asked]}, "
            "whose min and max are values."
        )
    weighted = "probabilities" in values
    if asked == "categorical_w_probabilities" and weighted:
        return natural, values
    if natural in ("constant", "categorical"):
        if asked == natural and not weighted:
            return natural, values
        raise ConfigError(f"the distribution {asked} does not go with {' and '.join(values)}; leave it out.")
    # By its exact name, as W&B takes it.
    if asked not in tuple(DISTRIBUTIONS) or asked in ("constant", "categorical"):
        known = [kind for kind in DISTRIBUTIONS if kind not in _DEPRECATED]
        if asked in known:
            raise ConfigError(f"the distribution {asked} needs {'value' if asked == 'constant' else 'values'}.")
        raise ConfigError(
            f"unknown distribution {asked!r}.{did_you_mean(asked, known)} Choose from: {', '.join(known)}."
        )
    return asked, values


def _check_keys(kind: str, cls: type[Distribution], values: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the keys are those of the distribution and the values are numbers."""
    known = cls.fields()
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"the distribution {kind} has no {key}; it has {', '.join(known)}.")
        whole = known[key].type is int
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            text = _to_yaml_number(value)
            raise ConfigError(
                f"{key} must be a {'whole ' if whole else ''}number, got {_shorten(value)}."
                + (f" YAML reads {value} as text: write {text}." if text else "")
            )
    missing = [key for key in ("min", "max") if key in known and key not in values]
    if missing:
        raise ConfigError(f"the distribution {kind} needs {' and '.join(missing)}.")


def _parse_probabilities(given: object) -> list[float] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(p, int | float) and not isinstance(p, bool) for p in given):
        raise ConfigError(f"probabilities must be a list of numbers, got {_shorten(given)}.")
    return [Float(0.0, "").parse(probability) for probability in given]


def _check_settings(found: dict[str, tuple[KeyPath, Distribution]], method: str, errors: ErrorCollector) -> None:
    """Check that each parameter is a setting that allows its values; replace aliases by canonical names."""
    of_optimizers = optimizer_fields()
    known = [*TrainConfig.fields(), *of_optimizers]
    chosen = found["optimizer"][1].examples() if "optimizer" in found else [TrainConfig.optimizer.default]
    chosen = [OPTIMIZERS.canonical(name) if name in OPTIMIZERS else name for name in map(str, chosen)]
    for name, (path, distribution) in found.items():
        if name in NOT_SWEPT:
            errors.add(path, f"{name} cannot be a parameter: the sweep chooses it.")
            continue
        if name in TrainConfig.fields():
            fields: list[Field[Any]] = [TrainConfig.fields()[name]]
        elif name in of_optimizers:
            uses = of_optimizers[name]
            fields = [field for optimizer, field in uses if optimizer in chosen] or [uses[0][1]]
        else:
            errors.add(path, f"unknown setting {name!r}.{did_you_mean(name, known)}")
            continue
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
                found[name] = path, distribution.map_values(fields[0].parse)
            except ConfigError as error:
                errors.add(path, f"{name}: {error}")


def _find_problem(field: Field[Any], value: object) -> str:
    """What is wrong with a value, or ""."""
    if field.type in (float, int) and isinstance(value, str) and (text := _to_yaml_number(value)):
        # W&B would treat it as text, also in its charts.
        return f"{field.name}: YAML reads {value} as text: write {text}."
    if field.choices and isinstance(value, bool):
        return f"{field.name}: YAML reads this as {value}; put it into quotes."
    try:
        field.parse(value)
    except ConfigError as error:
        return str(error)
    return ""


def _to_yaml_number(value: object) -> str:
    """How to write a number that YAML read as text; "" if the value is no such text."""
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
        return ""
    mantissa, has_exponent, exponent = value.lower().partition("e")
    if not has_exponent:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent if exponent[0] in '+-' else '+' + exponent}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:60] + "..."
