"""Kernels: the rules of a network and its optimizer, compiled into loops over arrays.

Each kernel is one C function made from one rule: an activation, its derivative, a loss, the scalars of an optimizer's
step, its update. They take addresses and lengths, so one compilation serves every depth, width and batch size, and the
step functions get them as arguments: a network with another activation needs one new kernel, and no new step.

The loops below are real functions. What they call (`function`, `derivative`, `value`, ...) is put beside them when they
are compiled: the rule's own source, by `scalar_source`, and for optimizers, whose rules ask for arguments by name, a
generated line that calls the rule with what it asks for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import carray, types

from chainrule.engine.compiled.binding import bind_scalars, bind_update
from chainrule.engine.compiled.compilation import compile_text
from chainrule.engine.compiled.intrinsics import ADDRESS, pointer
from chainrule.engine.compiled.losses import select_loss
from chainrule.engine.compiled.scalar_source import scalar_source
from chainrule.nn.activations import Activation
from chainrule.nn.objective import Objective
from chainrule.optim.optimizer import Optimizer

__all__ = ["SIGNATURES", "compile_activation", "compile_training"]

SIGNATURES = {
    # z, a, elements
    "activate": types.void(ADDRESS, ADDRESS, types.int64),
    # delta (n, c), its row stride in elements, z (n, c), a (n, c) after dropout, n, c, the probability of staying
    "activation_backward": types.void(ADDRESS, types.int64, ADDRESS, ADDRESS, types.int64, types.int64, types.float64),
    # z (n, k), targets, delta (n, k), n, k, samples in the whole batch, losses (n,), scores (n,), constants, weights
    "loss": types.void(ADDRESS, ADDRESS, ADDRESS, *[types.int64] * 3, *[ADDRESS] * 4),
    # hyperparameters, scalars (changed), t, loss, the constants of `update` (written)
    "step_scalars": types.void(ADDRESS, ADDRESS, types.int64, types.float64, ADDRESS),
    # weights, gradient, addresses of the slots, elements before these in the slots, elements, constants, weight decay,
    # factor of the learning rate
    "update": types.void(ADDRESS, ADDRESS, ADDRESS, types.int64, types.int64, ADDRESS, types.float64, types.float64),
}

# Placeholders for what is bound when a kernel is compiled: the precision and its size in bytes, the rule's own
# functions, and the functions that binding.py generates.
real: Any = np.float64
width = 8
function = derivative = prepare = open_slots = load_constants = apply_rule = lambda *arguments: NotImplemented


def activate(z, a, n):
    """a = f(z)."""
    z_, a_ = carray(pointer(z, real), n), carray(pointer(a, real), n)
    for i in range(n):
        a_[i] = function(z_[i])


def activation_backward(delta, stride, z, a, rows, columns, stays):
    """delta *= f'(z, a). What dropout divided a by is undone; where it left a unit out, delta is 0."""
    stays_ = real(stays)
    for row in range(rows):
        delta_ = carray(pointer(delta + row * stride * width, real), columns)
        z_ = carray(pointer(z + row * columns * width, real), columns)
        a_ = carray(pointer(a + row * columns * width, real), columns)
        for i in range(columns):
            delta_[i] *= derivative(z_[i], a_[i] * stays_)


def step_scalars(hyperparameters, scalars, t, loss, constants):
    """What an optimizer computes once a step: its learning rate, its scalars, the constants of `update`."""
    prepare(hyperparameters, scalars, t, loss, constants)


def update(weights, gradient, slots, offset, n, constants, decay, factor):
    """The fused loop over contiguous parameters: L2 term, the optimizer's rule, new slots, the step itself."""
    weights_, gradient_ = carray(pointer(weights, real), n), carray(pointer(gradient, real), n)
    slots_, constants_, decay_ = open_slots(slots, offset, n), load_constants(constants), real(decay)
    factor_ = real(factor)
    for i in range(n):
        weights_[i] = apply_rule(i, weights_[i], gradient_[i], decay_, factor_, slots_, constants_)


def compile_activation(activation: type[Activation], dtype: str) -> Any:
    """The `activate` kernel, which the forward pass needs.

    Raises:
        NotCompilableError: the activation cannot be compiled; the message says why.
    """
    return _compile(activate, scalar_source(activation.function, "function", wrap=True), dtype)


def compile_training(
    activation: type[Activation], objective: Objective, optimizer: Optimizer, dtype: str, *, soft: bool = False
) -> tuple[Any, ...]:
    """The kernels that a training step calls, in the order of `SIGNATURES`; `soft` as in `select_loss`.

    Raises:
        NotCompilableError: one of the parts cannot be compiled; the message says which and why.
    """
    loss, loss_source = select_loss(objective, soft=soft)
    return (
        compile_activation(activation, dtype),
        _compile(activation_backward, scalar_source(activation.derivative, "derivative", wrap=True), dtype),
        _compile(loss, loss_source, dtype, name="loss"),
        _compile(step_scalars, bind_scalars(optimizer), dtype),
        _compile(update, bind_update(optimizer), dtype),
    )


# Kernels that this process has, by their source.
_compiled: dict[tuple[str, str], Any] = {}


def _compile(kernel: Callable[..., None], bound: str, dtype: str, *, name: str = "") -> Any:
    """Compile a kernel together with the source of what it calls, for the signature `name`, by default its own."""
    # The precision is part of the text, because the name of the cache file is made from it.
    text = f"# {dtype}\n{bound}\n{inspect.getsource(kernel)}"
    if (kernel.__name__, text) not in _compiled:
        namespace = {"carray": carray, "pointer": pointer, "real": np.dtype(dtype).type}
        namespace |= {"width": np.dtype(dtype).itemsize}
        _compiled[kernel.__name__, text] = compile_text(
            kernel.__name__, text, numba.cfunc, SIGNATURES[name or kernel.__name__], namespace
        )
    return _compiled[kernel.__name__, text]
