"""PyTorch with the parts of training_parts.py: eager, and a whole step compiled by `torch.compile`."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from problem import HYPERPARAMETERS, Data, Layers, Order, Problem, initial_parameters
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn
from training_parts import PARTS, Parts

from chainrule.nn.normalization import EPSILON, MOMENTUM, fold
from systems.pytorch import set_up

__all__ = ["CompiledStep", "Eager"]

_ADAM = HYPERPARAMETERS["adam"]


class _Torch:
    def __init__(self, data: Data, threads: int | None) -> None:
        set_up(threads)
        self.version = torch.__version__
        self._x, self._y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        self._order = Order(len(data.y))


class Eager(_Torch):
    """`nn.Sequential`, autograd and `torch.optim.AdamW`; the fastest of its implementations is kept.

    The learning rate is set directly, which is faster than a scheduler's `step` and the same. The average of the
    weights is one call of the function that `AveragedModel` uses.
    """

    def prepare(self, problem: Problem) -> None:
        """Build the model; try the plain, the foreach and the fused optimizer."""
        self._batch, self._parts = problem.batch, PARTS[problem.parts]
        choices: list[dict[str, bool]] = [{"foreach": False}, {"foreach": True}, {"fused": True}]
        seconds = []
        for choice in choices:
            self._build(problem, choice)
            self.steps(10)
            start = time.perf_counter()
            self.steps(40)
            seconds.append(time.perf_counter() - start)
        self._order = Order(len(self._y))
        self._build(problem, choices[seconds.index(min(seconds))])

    def _build(self, problem: Problem, choice: dict[str, bool]) -> None:
        parts, layers, last = self._parts, [], len(problem.sizes) - 1
        self._linear: list[nn.Linear] = []
        self._norms: list[nn.BatchNorm1d] = []
        for number, (weights, biases) in enumerate(initial_parameters(problem.sizes), start=1):
            is_normalized = parts.batch_norm and number < last
            linear = nn.Linear(*weights.shape, bias=not is_normalized)
            linear.weight.data.copy_(torch.from_numpy(weights).T)
            if not is_normalized:
                linear.bias.data.copy_(torch.from_numpy(biases))
            self._linear.append(linear)
            layers.append(linear)
            if is_normalized:
                self._norms.append(nn.BatchNorm1d(weights.shape[1], eps=EPSILON, momentum=MOMENTUM))
                layers.append(self._norms[-1])
            if number < last:
                layers.append(nn.ReLU())
                if parts.dropout:
                    layers.append(nn.Dropout(parts.dropout))
        self._model = nn.Sequential(*layers)
        self._parameters = list(self._model.parameters())
        decayed = [layer.weight for layer in self._linear]
        others = [p for p in self._parameters if all(p is not weight for weight in decayed)]
        groups = [
            {"params": decayed, "weight_decay": parts.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        betas, rate, epsilon = (_ADAM["beta1"], _ADAM["beta2"]), _ADAM["learning_rate"], _ADAM["epsilon"]
        self._optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, **choice)
        self._averages = [p.detach().clone() for p in self._parameters] if parts.ema_decay else []
        self._count = 0

    def steps(self, n: int) -> float:
        """The usual loop."""
        x, y, model, optimizer, parts = self._x, self._y, self._model, self._optimizer, self._parts
        average = get_ema_multi_avg_fn(parts.ema_decay) if parts.ema_decay else None
        for chosen in torch.from_numpy(self._order.batches(n, self._batch)):
            optimizer.zero_grad()
            z = model(x.index_select(0, chosen))
            functional.cross_entropy(z, y.index_select(0, chosen), label_smoothing=parts.label_smoothing).backward()  # type: ignore[no-untyped-call]
            if parts.clip_norm:
                nn.utils.clip_grad_norm_(self._parameters, parts.clip_norm)
            if parts.cosine_steps:
                for group in optimizer.param_groups:
                    group["lr"] = _ADAM["learning_rate"] * parts.compute_rate_factor(self._count)
            optimizer.step()
            if average:
                with torch.no_grad():
                    average(self._averages, self._parameters, None)
            self._count += 1
        return n

    def parameters(self) -> Layers:
        """Copies as NumPy arrays, (fan_in, fan_out), with the normalization folded into them."""
        layers: Layers = []
        for number, layer in enumerate(self._linear):
            weights = layer.weight.detach().numpy().T.copy()
            if number < len(self._norms):
                norm = self._norms[number]
                mean, variance = norm.running_mean, norm.running_var
                assert mean is not None and variance is not None  # noqa: S101, PT018
                # It divides a batch's sum of squares by n - 1, and the running variance starts at 1.
                start = (1 - MOMENTUM) ** self._count
                variance = start + (variance - start) * (1 - 1 / self._batch)
                arrays = [value.detach().numpy() for value in (norm.bias, norm.weight, mean, variance)]
                layers.append(fold(weights, *arrays))
            else:
                layers.append((weights, layer.bias.detach().numpy().copy()))
        return layers

    def close(self) -> None:
        """Free the model."""
        del self._model, self._optimizer, self._linear, self._norms, self._parameters, self._averages


class CompiledStep(_Torch):
    """Gather, forward, backward and update in one compiled function, as in systems/pytorch.py."""

    def prepare(self, problem: Problem) -> None:
        """Compile and run once, then set the parameters."""
        torch.compiler.reset()
        self._batch, self._problem, self._parts = problem.batch, problem, PARTS[problem.parts]
        self._reset()
        self._step: Callable[..., Tensor] = torch.compile(
            _step, fullgraph=True, dynamic=False, options={"cpp_wrapper": True}
        )
        self.steps(2)
        self._order = Order(len(self._y))
        self._reset()

    def _reset(self) -> None:
        layers = [
            (torch.from_numpy(w.T.copy()), torch.from_numpy(b)) for w, b in initial_parameters(self._problem.sizes)
        ]
        self._weights, self._biases = [w for w, _ in layers], [b for _, b in layers]
        hidden = self._biases[:-1] if self._parts.batch_norm else []
        self._scales = [torch.ones_like(b) for b in hidden]
        self._statistics = [(torch.zeros_like(b), torch.ones_like(b)) for b in hidden]
        trained = self._weights + self._biases + self._scales
        self._slots = [[torch.zeros_like(p) for p in trained] for _ in range(3 if self._parts.ema_decay else 2)]
        self._time = torch.zeros(())
        self._rate = torch.zeros(())
        self._count = 0

    def steps(self, n: int) -> float:
        """One call a step."""
        step, parts = self._step, self._parts
        fixed = (self._weights, self._biases, self._scales, self._statistics, self._slots, self._time, self._rate)
        with torch.no_grad():
            for chosen in torch.from_numpy(self._order.batches(n, self._batch)):
                self._rate.fill_(_ADAM["learning_rate"] * parts.compute_rate_factor(self._count))
                step(parts, *fixed, self._x, self._y, chosen)
                self._count += 1
        return n

    def parameters(self) -> Layers:
        """Copies as NumPy arrays, (fan_in, fan_out), with the normalization folded into them."""
        layers = [(w.numpy().T.copy(), b.numpy().copy()) for w, b in zip(self._weights, self._biases, strict=True)]
        for number, (scales, statistics) in enumerate(zip(self._scales, self._statistics, strict=True)):
            weights, biases = layers[number]
            layers[number] = fold(weights, biases, *(value.numpy() for value in (scales, *statistics)))
        return layers

    def close(self) -> None:
        """Free parameters and machine code."""
        del self._weights, self._biases, self._scales, self._statistics, self._slots, self._step
        torch.compiler.reset()


def _loss(
    trained: tuple[list[Tensor], list[Tensor], list[Tensor]], x: Tensor, y: Tensor, parts: Parts
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The loss, and mean and variance of each normalized layer."""
    weights, biases, scales = trained
    statistics = []
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if number < len(scales):
            z = functional.linear(x, weight)
            mean, variance = z.mean(0), z.var(0, unbiased=False)
            statistics.append((mean.detach(), variance.detach()))
            z = (z - mean) * (scales[number] * torch.rsqrt(variance + EPSILON)) + bias
        else:
            z = functional.linear(x, weight, bias)
        x = z
        if number < len(weights) - 1:
            x = torch.relu(z)
            if parts.dropout:
                x = functional.dropout(x, parts.dropout)
    return functional.cross_entropy(x, y, label_smoothing=parts.label_smoothing), statistics


def _step(
    parts: Parts, weights: list[Tensor], biases: list[Tensor], scales: list[Tensor],
    statistics: list[tuple[Tensor, Tensor]], slots: list[list[Tensor]], time: Tensor, rate: Tensor, x: Tensor,
    y: Tensor, chosen: Tensor,
) -> Tensor:  # fmt: skip
    batch = x.index_select(0, chosen), y.index_select(0, chosen)
    function = torch.func.grad_and_value(_loss, has_aux=True)
    slopes, (loss, new) = function((weights, biases, scales), *batch, parts)
    for (mean, variance), (new_mean, new_variance) in zip(statistics, new, strict=True):
        mean.lerp_(new_mean, MOMENTUM)
        variance.lerp_(new_variance, MOMENTUM)
    gradients = [gradient for group in slopes for gradient in group]
    if parts.clip_norm:
        norm = torch.sqrt(torch.stack([(gradient * gradient).sum() for gradient in gradients]).sum())
        shrink = torch.clamp(parts.clip_norm / norm, max=1.0)
        gradients = [gradient * shrink for gradient in gradients]
    beta1, beta2 = _ADAM["beta1"], _ADAM["beta2"]
    time.add_(1)
    for_mean, for_square = 1 - beta1**time, 1 - beta2**time
    for number, (p, g) in enumerate(zip(weights + biases + scales, gradients, strict=True)):
        m, v = slots[0][number], slots[1][number]
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        step = (m / for_mean) / ((v / for_square).sqrt() + _ADAM["epsilon"])
        decay = parts.weight_decay if number < len(weights) else 0.0
        p.sub_(rate * (step + decay * p) if decay else rate * step)
        if parts.ema_decay:
            slots[2][number].lerp_(p, 1 - parts.ema_decay)
    return loss
