"""The `parameters` of a sweep file: a distribution for each setting, checked against what the setting takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Choice, Field, Float, Int
from chainrule.core.registry import did_you_mean
from chainrule.core.yaml_with_lines import Part, Problems
from chainrule.runs.config import TrainConfig, optimizer_fields
from chainrule.sweeps.space.distributions import DISTRIBUTIONS, Categorical, Constant, Distribution

__all__ = ["NOT_SWEPT", "read_parameters"]

_KEYS = ("value", "values", "probabilities", "min", "max", "distribution", "mu", "sigma", "q", "a", "b", "parameters")
# The sweep decides these, or they belong to no single trial.
NOT_SWEPT = ("output_dir", "run_name", "quiet")
_CONSTANT_ONLY = ("plugin", "data_dir", "wandb_mode", "wandb_project", "wandb_entity")
_DEPRECATED = {name: f"{name}_values" for name in ("log_uniform", "q_log_uniform", "inv_log_uniform")}
_MOST_TOLD = 5  # problems of one parameter
_GRID = "constants, values, int_uniform and q_uniform"


def read_parameters(content: object, method: str, problems: Problems) -> dict[str, Distribution]:
    """The distributions by setting, in the order of the file. Groups (nested `parameters`) only order them.

    Args:
        content: what the file has under `parameters`.
        method: of the search: a grid needs distributions with an end.
        problems: gets what is wrong.
    """
    found: dict[str, tuple[Part, Distribution]] = {}
    for part, name, spec in _leaves(content, ("parameters",), problems):
        if name in found:
            problems.add(part, f"{name} is given a second time, in another group. Remove one of the two.")
            continue
        distribution = _distribution(spec, part, name, problems)
        if distribution is None:
            continue
        try:
            endless = method == "grid" and distribution.grid() is None
        except ConfigError as error:
            problems.add(part, f"{name}: {error}")
            continue
        if endless:
            problems.add(
                part, f"a grid cannot run through {name}: it takes {_GRID}. Use those, or the method random or bayes."
            )
        found[name] = part, distribution
    _check_settings(found, method, problems)
    return {name: distribution for name, (_, distribution) in found.items()}


def _leaves(content: object, part: Part, problems: Problems) -> Iterator[tuple[Part, str, Mapping[str, Any]]]:
    """Each parameter with its place, name and specification."""
    if not isinstance(content, dict) or not content:
        problems.add(
            part, "parameters must name at least one setting, such as `learning_rate: {values: [0.01, 0.001]}`."
        )
        return
    for name, spec in content.items():
        here = (*part, name)
        if not isinstance(spec, dict):
            problems.add(here, f"{name} must be a mapping, such as `{name}: {{value: {_shown(spec)}}}`.")
        elif "parameters" in spec:
            for key in [key for key in spec if key != "parameters"]:
                problems.add((*here, key), f"{name} has parameters of its own, and so cannot have {key}.")
            yield from _leaves(spec["parameters"], (*here, "parameters"), problems)
        else:
            yield here, name, spec


def _distribution(spec: Mapping[str, Any], part: Part, name: str, problems: Problems) -> Distribution | None:
    """What a parameter's specification says, or None where it says nothing that can be used."""
    unknown = [key for key in spec if key not in _KEYS]
    for key in unknown:
        problems.add(
            (*part, key), f"{name} has an unknown key {key!r}.{did_you_mean(key, _KEYS)} Known: {', '.join(_KEYS)}."
        )
    if unknown:
        return None
    try:
        kind, values = _kind(spec)
        rule = DISTRIBUTIONS[kind]
        if rule is Constant:
            distribution: Distribution = Constant(values["value"])
        elif rule is Categorical:
            if not isinstance(values["values"], list):
                raise ConfigError(f"values must be a list, got {_shown(values['values'])}.")
            distribution = Categorical(values["values"], _probabilities(values.get("probabilities")))
        else:
            _check_keys(kind, rule, values)
            distribution = rule(**values)
        distribution.check()
        return distribution
    except ConfigError as error:
        problems.add(part, f"{name}: {error}")
        return None


def _kind(spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The distribution's name, and its settings. Left out, the name follows from the other keys, as for W&B."""
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
        raise ConfigError("say what it can be: value, values, min and max, or a distribution.")
    else:
        natural, alone = "", set(values)
    if set(values) - alone:
        raise ConfigError(f"{', '.join(sorted(set(values) - alone))} does not go with {' and '.join(sorted(alone))}.")
    if asked is None:
        return natural, values
    if not isinstance(asked, str):
        raise ConfigError(f"distribution must be a name, got {_shown(asked)}.")
    if asked in _DEPRECATED:
        raise ConfigError(
            f"W&B has given up the distribution {asked}, whose limits are logarithms. Use {_DEPRECATED[asked]}, whose "
            "min and max are values."
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


def _check_keys(kind: str, rule: type[Distribution], values: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the keys are those of the distribution, and hold numbers."""
    known = rule.fields()
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"the distribution {kind} has no {key}; it has {', '.join(known)}.")
        whole = isinstance(known[key], Int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            text = _number_as_text(value)
            raise ConfigError(
                f"{key} must be a {'whole ' if whole else ''}number, got {_shown(value)}."
                + (f" YAML reads {value} as text: write {text}." if text else "")
            )
    missing = [key for key in ("min", "max") if key in known and key not in values]
    if missing:
        raise ConfigError(f"the distribution {kind} needs {' and '.join(missing)}.")


def _probabilities(given: object) -> list[float] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(p, int | float) and not isinstance(p, bool) for p in given):
        raise ConfigError(f"probabilities must be a list of numbers, got {_shown(given)}.")
    return [Float(0.0, "").parse(probability) for probability in given]


def _check_settings(found: Mapping[str, tuple[Part, Distribution]], method: str, problems: Problems) -> None:
    """Check that each parameter is a setting, and that the setting takes its values."""
    of_rules = optimizer_fields()
    known = [*TrainConfig.fields(), *of_rules]
    optimizer = found["optimizer"][1].examples() if "optimizer" in found else [TrainConfig.optimizer.default]
    used = {str(name).lower() for name in optimizer}
    for name, (part, distribution) in found.items():
        settings: list[Field[Any]]
        if name in NOT_SWEPT:
            problems.add(part, f"{name} cannot be a parameter: the sweep chooses it. Give it to `chainrule sweep`.")
            continue
        if name in TrainConfig.fields():
            settings = [TrainConfig.fields()[name]]
        elif name in of_rules:
            settings = [setting for rule, setting in of_rules[name] if rule in used] or [of_rules[name][0][1]]
        else:
            problems.add(
                part, f"unknown setting {name!r}.{did_you_mean(name, known)} `chainrule train --help` lists all."
            )
            continue
        if name in _CONSTANT_ONLY and not isinstance(distribution, Constant):
            problems.add(part, f"{name} must be one `value` for the whole sweep.")
        values = ((method == "grid" and distribution.grid()) or distribution).examples()
        texts = dict.fromkeys(_complaint(setting, value) for setting in settings for value in values)
        # Of a range, one is enough; of a list, each may be a slip of its own.
        for text in [text for text in texts if text][: _MOST_TOLD if isinstance(distribution, Categorical) else 1]:
            problems.add(part, text)


def _complaint(setting: Field[Any], value: object) -> str:
    """What is wrong with a value, or nothing."""
    numeric = isinstance(setting, Float | Int)
    if numeric and isinstance(value, str) and (text := _number_as_text(value)):
        # W&B would take it for a text, and show its charts so.
        return f"{setting.name}: YAML reads {value} as text: write {text}."
    if isinstance(setting, Choice) and isinstance(value, bool):
        return f"{setting.name}: YAML reads this as {value}; put it into quotes."
    try:
        setting.parse(value)
    except ConfigError as error:
        return str(error)
    return ""


def _number_as_text(value: object) -> str:
    """How YAML wants a number that was read as text; nothing where it is none."""
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
        return ""
    mantissa, letter, exponent = value.lower().partition("e")
    if not letter:
        return mantissa
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent if exponent[0] in '+-' else '+' + exponent}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:60] + "..."
