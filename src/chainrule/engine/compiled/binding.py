"""Optimizers and losses bound to kernels: the calls that hand a rule what it asks for by name.

Rules ask for arguments by name, kernels have arrays of numbers. The few lines of source generated here connect them,
and they are the compiled engine's one place for what all optimizers share: schedule, clipping, L2 and decoupled decay
(optim/optimizer.py has the formulas, and the reference engine's one place).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.base import NotCompilableError
from chainrule.engine.compiled.scalar_source import scalar_source
from chainrule.nn.losses import Loss
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import SCHEDULES

__all__ = ["bind_loss", "bind_scalars", "bind_update", "count_constants", "list_hyperparameters", "list_loss_constants"]


def _name_numbers(optimizer: type[Optimizer]) -> list[str]:
    """The hyperparameters that are numbers, in the order of `list_hyperparameters`."""
    numbers = []
    for name, field in optimizer.fields().items():
        if field.type in (float, int, bool):
            numbers.append(name)
        elif name not in Optimizer.fields():
            raise NotCompilableError(f"the hyperparameter {name} of {optimizer.__name__} is no number")
    return numbers


def list_hyperparameters(optimizer: Optimizer) -> NDArray[np.float64]:
    """The numbers that `step_scalars` gets: the hyperparameters, and the span of the schedule."""
    optimizer.schedule_factor()  # raises where the span is missing
    values = [float(getattr(optimizer, name)) for name in _name_numbers(type(optimizer))]
    return np.array([*values, *optimizer.schedule_span], np.float64)


def list_loss_constants(loss: Loss, dtype: str) -> NDArray[np.floating]:
    """The numbers that the loss kernel gets: the hyperparameters of the loss, and one more, so that there is one."""
    for name, field in loss.fields().items():
        if field.type not in (float, int, bool):
            raise NotCompilableError(f"the hyperparameter {name} of {type(loss).__name__} is no number")
    return np.array([*loss.as_dict().values(), 0.0], dtype)


def bind_loss(loss: type[Loss]) -> str:
    """Source of `value` and `derivative` of y, p, log p and the loss's constants."""
    text = ""
    for function in ("value", "derivative"):
        indices = {name: index for index, name in enumerate(loss.fields())}
        arguments = [f"{name}=constants[{indices[name]}]" for name in loss.arguments(function)]
        text += scalar_source(getattr(loss, function), f"loss_{function}", wrap=True)
        text += _define(
            function, "y, p, log_p, constants", [f"return loss_{function}({_list(['y', 'p', 'log_p', *arguments])})"]
        )
    return text


def _name_constants(optimizer: Optimizer) -> list[str]:
    """The numbers that `apply_rule` gets, in order: what the rule asks for, and what the base class needs."""
    rule = type(optimizer)
    names = [name for name in rule.update_arguments if name in rule.fields() or name in rule.scalars]
    shared = {"learning_rate": optimizer.decay_type == "decoupled", "clip_value": optimizer.clip_value > 0}
    return names + [name for name, needed in shared.items() if needed and name not in names]


def count_constants(optimizer: Optimizer) -> int:
    """How many constants `step_scalars` writes; at least 1, so that there is an array."""
    return max(len(_name_constants(optimizer)), 1)


def bind_scalars(optimizer: Optimizer) -> str:
    """Source of `prepare`: the scheduled learning rate, the rule's scalars, the constants of its update."""
    rule = type(optimizer)
    names = _name_numbers(rule)
    sources = {name: f"hyperparameters_[{index}]" for index, name in enumerate(names)} | {"learning_rate": "rate"}
    scalars = {name: f"scalars_[{index}]" for index, name in enumerate(rule.scalars)}
    rate, first, steps = (
        f"hyperparameters_[{index}]" for index in (names.index("learning_rate"), len(names), len(names) + 1)
    )
    text, factor = "", ""
    if optimizer.schedule != "constant":
        text += scalar_source(SCHEDULES[optimizer.schedule], "schedule", wrap=False)
        factor = f" * schedule(min((t - 1 - {first}) / {steps}, 1.0))"
    lines = [
        f"hyperparameters_ = carray(pointer(hyperparameters, np.float64), {len(names) + 2})",
        f"rate = {rate}{factor}",
        f"scalars_ = carray(pointer(scalars, np.float64), {max(len(scalars), 1)})",
        f"constants_ = carray(pointer(constants, real), {count_constants(optimizer)})",
    ]
    if scalars:
        text += scalar_source(rule.prepare, "compute", wrap=False)
        known = {**sources, **scalars, "t": "t", "loss": "loss"}
        new = [f"new_{index}" for index in range(len(scalars))]
        lines.append(f"{_list(new)} = compute({_list([f'{name}={known[name]}' for name in rule.prepare_arguments])})")
        lines += [f"{scalar} = {value}" for scalar, value in zip(scalars.values(), new, strict=True)]
    constants = enumerate(_name_constants(optimizer))
    lines += [f"constants_[{index}] = {(sources | scalars)[name]}" for index, name in constants]
    return text + _define("prepare", "hyperparameters, scalars, t, loss, constants", lines)


def bind_update(optimizer: Optimizer) -> str:
    """Source of `open_slots`, `load_constants` and `apply_rule`, which the update kernel calls."""
    rule = type(optimizer)
    constants = {name: f"constants[{index}]" for index, name in enumerate(_name_constants(optimizer))}
    slots = {name: f"slots[{index}][i]" for index, name in enumerate(rule.slots)}
    known = {"weight": "weight", "gradient": "gradient", **slots, **constants}
    call = f"rule({_list([f'{name}={known[name]}' for name in rule.update_arguments])})"
    lines = []
    if optimizer.clip_value:
        limit = constants["clip_value"]
        # Comparisons instead of min and max, so that NaN stays NaN.
        lines.append(f"gradient = {limit} if gradient > {limit} else -{limit} if gradient < -{limit} else gradient")
    if optimizer.decay_type == "l2":
        lines.append("gradient = gradient + decay * weight")
    lines.append(f"{_list(['step', *slots.values()])} = {call}")
    decoupled = f" - {constants['learning_rate']} * decay * weight" if optimizer.decay_type == "decoupled" else ""
    lines.append(f"return weight - step{decoupled}")
    arrays = [f"carray(pointer(addresses_[{index}] + offset * width, real), n)" for index in range(len(slots))]
    opened = [
        f"addresses_ = carray(pointer(addresses, np.int64), {max(len(slots), 1)})",
        f"return ({''.join(f'{array}, ' for array in arrays) or 'addresses_,'})",
    ]
    count = count_constants(optimizer)
    loaded = [
        f"constants_ = carray(pointer(constants, real), {count})",
        f"return ({''.join(f'constants_[{index}], ' for index in range(count))})",
    ]
    return (
        scalar_source(rule.update, "rule", wrap=True)
        + _define("open_slots", "addresses, offset, n", opened)
        + _define("load_constants", "constants", loaded)
        + _define("apply_rule", "i, weight, gradient, decay, slots, constants", lines)
    )


def _list(parts: Sequence[str]) -> str:
    return ", ".join(parts)


def _define(name: str, arguments: str, lines: Sequence[str]) -> str:
    """Source of a function that Numba inlines."""
    body = "".join(f"    {line}\n" for line in lines)
    return f'\n@njit(error_model="numpy")\ndef {name}({arguments}):\n{body}\n'
