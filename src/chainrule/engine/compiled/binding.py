"""Optimizers bound to kernels: the calls that hand a rule what it asks for by name.

Rules ask for arguments by name, kernels have arrays of numbers. The few lines of source generated here connect them,
and they are the compiled engine's one place for what all optimizers share: schedule, clipping, L2 and decoupled decay
(optim/optimizer.py has the formulas, and the reference engine's one place).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chainrule.engine.base import NotCompilableError
from chainrule.engine.compiled.scalar_source import define_function, scalar_source
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import SCHEDULES, compute_factor

# Among the names of constants, the factor by which all gradients are scaled down. No hyperparameter can have this name.
GRADIENT_FACTOR = "gradient factor"

__all__ = ["bind_scalars", "bind_update", "count_constants", "list_hyperparameters"]


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
    """The numbers that `step_scalars` gets: the hyperparameters, the span of the schedule and the factor besides it."""
    optimizer.schedule_factor()  # raises where the span is missing
    values = [float(getattr(optimizer, name)) for name in _name_numbers(type(optimizer))]
    return np.array([*values, *optimizer.schedule_span, optimizer.rate_factor], np.float64)


def _name_constants(optimizer: Optimizer) -> list[str]:
    """The numbers that `apply_rule` gets, in order: what the rule asks for, and what the base class needs."""
    rule = type(optimizer)
    names = [name for name in rule.update_arguments if name in rule.fields() or name in rule.scalars]
    shared = {
        "learning_rate": optimizer.decay_type == "decoupled",
        "clip_value": optimizer.clip_value > 0,
        "ema_decay": optimizer.ema_decay > 0,
    }
    # The factor by which gradients are scaled down is the last, where the step function writes it.
    return [
        *names,
        *(name for name, needed in shared.items() if needed and name not in names),
        *_list_gradient_factor(optimizer),
    ]


def _list_gradient_factor(optimizer: Optimizer) -> list[str]:
    return [GRADIENT_FACTOR] if optimizer.clip_norm else []


def count_constants(optimizer: Optimizer) -> int:
    """How many constants `update` gets; at least 1, so that there is an array."""
    return max(len(_name_constants(optimizer)), 1)


def bind_scalars(optimizer: Optimizer) -> str:
    """Source of `prepare`: the scheduled learning rate, the rule's scalars, the constants of its update."""
    rule = type(optimizer)
    names = _name_numbers(rule)
    sources = {name: f"hyperparameters_[{index}]" for index, name in enumerate(names)}
    scalars = {name: f"scalars_[{index}]" for index, name in enumerate(rule.scalars)}
    first, steps, rate_factor = (f"hyperparameters_[{len(names) + index}]" for index in range(3))
    text, factor = "", "1.0"
    if optimizer.schedule != "constant" or optimizer.warmup:
        text += scalar_source(SCHEDULES[optimizer.schedule], "schedule", wrap=False)
        text += scalar_source(compute_factor, "compute_factor", wrap=False)
        factor = f"compute_factor(schedule, t - 1 - {first}, {steps}, {sources['warmup']})"
    lines = [
        f"hyperparameters_ = carray(pointer(hyperparameters, np.float64), {len(names) + 3})",
        f"rate = {sources['learning_rate']} * ({rate_factor} * {factor})",
        f"scalars_ = carray(pointer(scalars, np.float64), {max(len(scalars), 1)})",
        f"constants_ = carray(pointer(constants, real), {count_constants(optimizer)})",
    ]
    sources |= {"learning_rate": "rate", GRADIENT_FACTOR: "1.0"}
    if scalars:
        text += scalar_source(rule.prepare, "compute", wrap=False)
        known = {**sources, **scalars, "t": "t", "loss": "loss"}
        new = [f"new_{index}" for index in range(len(scalars))]
        lines.append(f"{_list(new)} = compute({_list([f'{name}={known[name]}' for name in rule.prepare_arguments])})")
        lines += [f"{scalar} = {value}" for scalar, value in zip(scalars.values(), new, strict=True)]
    constants = enumerate(_name_constants(optimizer))
    lines += [f"constants_[{index}] = {(sources | scalars)[name]}" for index, name in constants]
    return text + define_function("prepare", "hyperparameters, scalars, t, loss, constants", lines)


def bind_update(optimizer: Optimizer) -> str:
    """Source of `open_slots`, `load_constants` and `apply_rule`, which the update kernel calls."""
    rule = type(optimizer)
    constants = {name: f"constants[{index}]" for index, name in enumerate(_name_constants(optimizer))}
    slots = {name: f"slots[{index}][i]" for index, name in enumerate(rule.slots)}
    count_slots = len(optimizer.kept_slots)
    known = {"weight": "weight", "gradient": "gradient", **slots, **constants}
    call = f"rule({_list([f'{name}={known[name]}' for name in rule.update_arguments])})"
    lines = []
    if optimizer.clip_norm:
        lines.append(f"gradient = gradient * {constants[GRADIENT_FACTOR]}")
    if optimizer.clip_value:
        limit = constants["clip_value"]
        # Comparisons instead of min and max, so that NaN stays NaN.
        lines.append(f"gradient = {limit} if gradient > {limit} else -{limit} if gradient < -{limit} else gradient")
    if optimizer.decay_type == "l2":
        lines.append("gradient = gradient + decay * weight")
    lines.append(f"{_list(['step', *slots.values()])} = {call}")
    factor = "factor * " if optimizer.has_factors else ""
    decoupled = (
        f" - {factor}{constants['learning_rate']} * decay * weight" if optimizer.decay_type == "decoupled" else ""
    )
    lines.append(f"weight = weight - {factor}step{decoupled}")
    if optimizer.ema_decay:
        kept, average = constants["ema_decay"], f"slots[{count_slots - 1}][i]"
        lines.append(f"{average} = {kept} * {average} + (real(1) - {kept}) * weight")
    lines.append("return weight")
    arrays = [f"carray(pointer(addresses_[{index}] + offset * width, real), n)" for index in range(count_slots)]
    opened = [
        f"addresses_ = carray(pointer(addresses, np.int64), {max(count_slots, 1)})",
        f"return ({''.join(f'{array}, ' for array in arrays) or 'addresses_,'})",
    ]
    count = count_constants(optimizer)
    loaded = [
        f"constants_ = carray(pointer(constants, real), {count})",
        f"return ({''.join(f'constants_[{index}], ' for index in range(count))})",
    ]
    return (
        scalar_source(rule.update, "rule", wrap=True)
        + define_function("open_slots", "addresses, offset, n", opened)
        + define_function("load_constants", "constants", loaded)
        + define_function("apply_rule", "i, weight, gradient, decay, factor, slots, constants", lines)
    )


def _list(parts: Sequence[str]) -> str:
    return ", ".join(parts)
