"""PyTorch: eager, as most people write it, and a whole step compiled by `torch.compile`.

Both turn subnormal numbers to 0 (`torch.set_flush_denormal`), without which L2 on weights of empty pixels slows any
float32 training after some thousand steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from problem import HYPERPARAMETERS, WEIGHT_DECAY, Data, Layers, Order, Problem, initial_parameters
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CompiledStep", "Eager", "make_model", "make_optimizer", "set_up"]


def set_up(threads: int | None) -> None:
    """Flush subnormals in this thread and in those that it will start, then set their number."""
    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)


class _Torch:
    def __init__(self, data: Data, threads: int | None) -> None:
        set_up(threads)
        self.version = torch.__version__
        self._x, self._y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        self._order = Order(len(data.y))


class Eager(_Torch):
    """`nn.Sequential`, autograd and `torch.optim`; the fastest of its optimizer's implementations is kept."""

    def prepare(self, problem: Problem) -> None:
        """Build the model; try the plain, the foreach and (Adam alone has one on a CPU) the fused optimizer."""
        self._batch = problem.batch
        choices: list[dict[str, bool]] = [{"foreach": False}, {"foreach": True}]
        if problem.optimizer == "adam":
            choices.append({"fused": True})
        seconds = []
        for choice in choices:
            self._build(problem, choice)
            self.steps(10)
            start = time.perf_counter()
            self.steps(40)
            seconds.append(time.perf_counter() - start)
        self._build(problem, choices[seconds.index(min(seconds))])

    def _build(self, problem: Problem, choice: dict[str, bool]) -> None:
        self._model = make_model(problem.sizes)
        for layer, (weights, biases) in zip(self._linear(), initial_parameters(problem.sizes), strict=True):
            layer.weight.data.copy_(torch.from_numpy(weights).T)
            layer.bias.data.copy_(torch.from_numpy(biases))
        self._optimizer = make_optimizer(self._model, problem.optimizer, WEIGHT_DECAY, **choice)

    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self._model if isinstance(layer, nn.Linear)]

    def steps(self, n: int) -> float:
        """The usual loop."""
        x, y, model, optimizer = self._x, self._y, self._model, self._optimizer
        for chosen in torch.from_numpy(self._order.batches(n, self._batch)):
            optimizer.zero_grad()
            functional.cross_entropy(model(x.index_select(0, chosen)), y.index_select(0, chosen)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return n

    def parameters(self) -> Layers:
        """Copies as NumPy arrays, (fan_in, fan_out)."""
        return [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
                for layer in self._linear()]  # fmt: skip

    def close(self) -> None:
        """Free the model."""
        del self._model, self._optimizer


class CompiledStep(_Torch):
    """Gather, forward, backward and update in one compiled function.

    Compiling a model and `torch.optim` separately leaves their overhead between the parts and is slower here. The C++
    wrapper spares a part of the calling overhead that is left.
    """

    def prepare(self, problem: Problem) -> None:
        """Compile and run once, then set the parameters."""
        torch.compiler.reset()
        self._batch, self._sizes = problem.batch, problem.sizes
        self._reset(problem)
        step = _rmsprop_step if problem.optimizer == "rmsprop" else _adam_step
        self._step: Callable[..., Tensor] = torch.compile(
            step, fullgraph=True, dynamic=False, options={"cpp_wrapper": True}
        )
        self.steps(2)
        self._reset(problem)

    def _reset(self, problem: Problem) -> None:
        self._weights = [torch.from_numpy(w.T.copy()) for w, _ in initial_parameters(problem.sizes)]
        self._biases = [torch.from_numpy(b) for _, b in initial_parameters(problem.sizes)]
        slots = 1 if problem.optimizer == "rmsprop" else 2
        self._slots = [[torch.zeros_like(p) for p in self._weights + self._biases] for _ in range(slots)]
        self._time = torch.zeros(())

    def steps(self, n: int) -> float:
        """One call a step."""
        step, fixed = self._step, (self._weights, self._biases, self._slots, self._time, self._x, self._y)
        with torch.no_grad():
            for chosen in torch.from_numpy(self._order.batches(n, self._batch)):
                step(*fixed, chosen)
        return n

    def parameters(self) -> Layers:
        """Copies as NumPy arrays, (fan_in, fan_out)."""
        return [(w.numpy().T.copy(), b.numpy().copy()) for w, b in zip(self._weights, self._biases, strict=True)]

    def close(self) -> None:
        """Free parameters and machine code."""
        del self._weights, self._biases, self._slots, self._step
        torch.compiler.reset()


def make_model(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def make_optimizer(model: nn.Module, optimizer: str, weight_decay: float, **choice: Any) -> torch.optim.Optimizer:
    """RMSprop or Adam with L2 on the weights only."""
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if name.endswith("weight")], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0},
    ]
    options = {"lr": 1e-4, **choice}
    if optimizer == "rmsprop":
        settings = HYPERPARAMETERS["rmsprop"]
        return torch.optim.RMSprop(groups, alpha=settings["beta"], eps=settings["epsilon"], **options)
    settings = HYPERPARAMETERS["adam"]
    return torch.optim.Adam(groups, betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"], **options)


def _loss(weights: list[Tensor], biases: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), start=1):
        x = functional.linear(x, weight, bias)
        if number < len(weights):
            x = torch.relu(x)
    return functional.cross_entropy(x, y)


def _gradients(weights: list[Tensor], biases: list[Tensor], x: Tensor, y: Tensor, chosen: Tensor) -> Any:
    batch = x.index_select(0, chosen), y.index_select(0, chosen)
    (for_weights, for_biases), loss = torch.func.grad_and_value(_loss, argnums=(0, 1))(weights, biases, *batch)
    for_weights = [g + WEIGHT_DECAY * w for g, w in zip(for_weights, weights, strict=True)]
    return [*for_weights, *for_biases], loss


def _rmsprop_step(
    weights: list[Tensor], biases: list[Tensor], slots: list[list[Tensor]], time: Tensor, x: Tensor, y: Tensor,
    chosen: Tensor,
) -> Any:  # fmt: skip
    gradients, loss = _gradients(weights, biases, x, y, chosen)
    beta, epsilon = HYPERPARAMETERS["rmsprop"]["beta"], HYPERPARAMETERS["rmsprop"]["epsilon"]
    for p, s, g in zip(weights + biases, slots[0], gradients, strict=True):
        s.mul_(beta).addcmul_(g, g, value=1 - beta)
        p.sub_(HYPERPARAMETERS["rmsprop"]["learning_rate"] * g / (s.sqrt() + epsilon))
    return loss


def _adam_step(
    weights: list[Tensor], biases: list[Tensor], slots: list[list[Tensor]], time: Tensor, x: Tensor, y: Tensor,
    chosen: Tensor,
) -> Any:  # fmt: skip
    gradients, loss = _gradients(weights, biases, x, y, chosen)
    beta1, beta2 = HYPERPARAMETERS["adam"]["beta1"], HYPERPARAMETERS["adam"]["beta2"]
    time.add_(1)
    for_mean, for_square = 1 - beta1**time, 1 - beta2**time
    for p, m, v, g in zip(weights + biases, *slots, gradients, strict=True):
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        step = (m / for_mean) / ((v / for_square).sqrt() + HYPERPARAMETERS["adam"]["epsilon"])
        p.sub_(HYPERPARAMETERS["adam"]["learning_rate"] * step)
    return loss
