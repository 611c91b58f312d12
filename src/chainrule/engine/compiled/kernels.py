"""Kernels: the rules of a network, compiled into loops over arrays.

Each kernel is one C function made from one rule: an activation, its slope, a loss, an optimizer's numbers of a step,
its update. They take addresses and lengths, so one compilation serves every depth, width and batch size. The driver
gets them as arguments; a network with another activation needs one new kernel and not a new driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from chainrule.engine.compiled.compilation import compile_text
from chainrule.engine.compiled.scalar_source import portable_source
from chainrule.nn.activations import Activation
from chainrule.nn.losses import Loss
from chainrule.optim.optimizer import Optimizer

__all__ = ["ADDRESS", "SIGNATURES", "Kernels", "compile_kernels", "pointer"]

ADDRESS = types.intp

SIGNATURES = {
    # z, a, elements
    "activate": types.void(ADDRESS, ADDRESS, types.int64),
    # delta (n rows, c columns; multiplied by f'), elements from row to row, z (n, c), a (n, c), n, c
    "slope": types.void(ADDRESS, types.int64, ADDRESS, ADDRESS, types.int64, types.int64),
    # logits (n, k), labels (n,), delta (n, k), n, k, samples in the whole batch, where to put the number of right
    # answers, losses of the samples (n,)
    "loss": types.void(ADDRESS, ADDRESS, ADDRESS, types.int64, types.int64, types.int64, ADDRESS, ADDRESS),
    # settings, memory (changed), time, loss, the constants of `update` (written)
    "prepare": types.void(ADDRESS, ADDRESS, types.int64, types.float64, ADDRESS),
    # weights, gradients, addresses of the slots, elements to skip in the slots, elements, constants, weight decay
    "update": types.void(ADDRESS, ADDRESS, ADDRESS, types.int64, types.int64, ADDRESS, types.float64),
}


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any, dtype: Any) -> Any:
    """An address as a pointer to elements of a dtype, which `carray` makes an array of."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(dtype.dtype)(ADDRESS, dtype), generate


@dataclass(frozen=True)
class Kernels:
    """The compiled kernels of a network and its optimizer, as Numba's first-class functions."""

    activate: Any
    slope: Any
    loss: Any
    prepare: Any
    update: Any


# Kernels that this process has, by the classes that they were made from.
_compiled: dict[tuple[type, type, type, str], Kernels] = {}


def compile_kernels(activation: type[Activation], loss: type[Loss], rule: type[Optimizer], dtype: str) -> Kernels:
    """The kernels for these parts, compiled or from the cache.

    Raises:
        NotCompilableError: one of the parts cannot be compiled; the message says which and why.
    """
    key = (activation, loss, rule, dtype)
    if key in _compiled:
        return _compiled[key]
    texts = {
        "activate": portable_source(activation.function, "function", wrap=True) + _ACTIVATE,
        "slope": portable_source(activation.derivative, "derivative", wrap=True) + _SLOPE,
        "loss": portable_source(loss.value, "value", wrap=True)
        + portable_source(loss.derivative, "derivative", wrap=True)
        + _LOSS,
        "prepare": _prepare_text(rule),
        "update": _update_text(rule),
    }
    real = np.dtype(dtype).type
    namespace = {"carray": carray, "pointer": pointer, "real": real, "width": np.dtype(dtype).itemsize}
    # The precision stands in the text, because the name of the file is made from it.
    _compiled[key] = Kernels(
        **{
            name: compile_text(name, f"# {dtype}\n{text}", numba.cfunc, SIGNATURES[name], namespace)
            for name, text in texts.items()
        }
    )
    return _compiled[key]


_ACTIVATE = """
def activate(z, a, n):
    z_, a_ = carray(pointer(z, real), n), carray(pointer(a, real), n)
    for i in range(n):
        a_[i] = function(z_[i])
"""

_SLOPE = """
def slope(delta, step, z, a, rows, columns):
    for row in range(rows):
        delta_ = carray(pointer(delta + row * step * width, real), columns)
        z_ = carray(pointer(z + row * columns * width, real), columns)
        a_ = carray(pointer(a + row * columns * width, real), columns)
        for i in range(columns):
            delta_[i] *= derivative(z_[i], a_[i])
"""

# Sample by sample: log-softmax, the sum of `value` over the classes, and the chain rule as in losses.py.
_LOSS = """
def loss(logits, labels, delta, n, k, batch, correct, losses):
    z, d = carray(pointer(logits, real), (n, k)), carray(pointer(delta, real), (n, k))
    right = carray(pointer(labels, np.int64), n)
    losses_, hits = carray(pointer(losses, np.float64), n), 0
    for s in range(n):
        total, best = 0.0, 0
        for j in range(1, k):
            if z[s, j] > z[s, best]:
                best = j
        if best == right[s]:
            hits += 1
        largest, exponentials = z[s, best], real(0)
        for j in range(k):
            exponentials += np.exp(z[s, j] - largest)
        normalizer = np.log(exponentials)
        slopes = real(0)
        for j in range(k):
            log_p = z[s, j] - largest - normalizer
            p = np.exp(log_p)
            y = real(1) if j == right[s] else real(0)
            total += value(y, p, log_p)
            d[s, j] = derivative(y, p, log_p)
            slopes += d[s, j]
        for j in range(k):
            p = np.exp(z[s, j] - largest - normalizer)
            d[s, j] = (d[s, j] - p * slopes) / real(batch)
        losses_[s] = total
    carray(pointer(correct, np.int64), 1)[0] = hits
"""


def _constants(rule: type[Optimizer]) -> list[str]:
    """The settings and scalars that `update` asks for, in the order in which they are handed over."""
    return [name for name in rule.update_arguments if name in rule.fields() or name in rule.scalars]


def _prepare_text(rule: type[Optimizer]) -> str:
    """Computes the scalars of a step and lays out the constants of `update`."""
    sources = {name: f"settings_[{i}]" for i, name in enumerate(rule.fields())}
    scalars = {name: f"memory_[{i}]" for i, name in enumerate(rule.scalars)}
    lines = [
        "def prepare(settings, memory, time, loss, constants):",
        f"    settings_ = carray(pointer(settings, np.float64), {len(sources)})",
        f"    memory_ = carray(pointer(memory, np.float64), {max(len(scalars), 1)})",
        f"    constants_ = carray(pointer(constants, real), {max(len(_constants(rule)), 1)})",
    ]
    text = ""
    if scalars:
        text = portable_source(rule.prepare, "compute", wrap=False)
        known = {**sources, **scalars, "time": "time", "loss": "loss"}
        arguments = ", ".join(f"{name}={known[name]}" for name in rule.prepare_arguments)
        targets = [f"new_{i}" for i in range(len(scalars))]
        lines.append(f"    {', '.join(targets)} = compute({arguments})")
        lines += [f"    {place} = {target}" for place, target in zip(scalars.values(), targets, strict=True)]
    lines += [f"    constants_[{i}] = {(sources | scalars)[name]}" for i, name in enumerate(_constants(rule))]
    return text + "\n".join(lines) + "\n"


def _update_text(rule: type[Optimizer]) -> str:
    """The fused loop over a stretch of parameters: L2 term, update, new slots."""
    arguments = {"weight": "weight", "gradient": "gradient"}
    arguments |= {slot: f"slot_{i}[i]" for i, slot in enumerate(rule.slots)}
    arguments |= {name: f"constant_{i}" for i, name in enumerate(_constants(rule))}
    call = ", ".join(f"{name}={arguments[name]}" for name in rule.update_arguments)
    lines = [
        "def update(weights, gradients, slots, skip, n, constants, weight_decay):",
        "    weights_, gradients_ = carray(pointer(weights, real), n), carray(pointer(gradients, real), n)",
        f"    constants_ = carray(pointer(constants, real), {max(len(_constants(rule)), 1)})",
        f"    places = carray(pointer(slots, np.int64), {max(len(rule.slots), 1)})",
        "    decay = real(weight_decay)",
        *(f"    slot_{i} = carray(pointer(places[{i}] + skip * width, real), n)" for i in range(len(rule.slots))),
        *(f"    constant_{i} = constants_[{i}]" for i in range(len(_constants(rule)))),
        "    for i in range(n):",
        "        weight = weights_[i]",
        "        gradient = gradients_[i] + decay * weight",
        "        " + ", ".join(["weights_[i]", *(f"slot_{i}[i]" for i in range(len(rule.slots)))]) + f" = rule({call})",
    ]
    return portable_source(rule.update, "rule", wrap=True) + "\n".join(lines) + "\n"
