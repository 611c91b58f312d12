"""Kernels of losses: each sample's loss and score, and the derivative with respect to the output layer's z."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray
from numpy.typing import NDArray

from chainrule.engine.base import NotCompilableError
from chainrule.engine.compiled.intrinsics import pointer
from chainrule.engine.compiled.scalar_source import define_function, scalar_source
from chainrule.nn.losses import Loss
from chainrule.nn.objective import MultilabelClassification, Objective, Regression, SoftmaxClassification

__all__ = ["list_loss_constants", "select_loss"]

# Placeholders for what is bound when a kernel is compiled: the precision, the loss's own functions, what the targets
# are while training, and how a sample is scored.
real: Any = np.float64
value = derivative = smooth = score = answer = lambda *arguments: NotImplemented
open_targets = find_class = read_target = lambda *arguments: NotImplemented


def softmax_loss(logits, targets, delta, n, k, batch, losses, scores, constants, weights):
    """Sample by sample: log-softmax, the sum of `value` over the classes, and the chain rule as in nn/losses.py."""
    z, d = carray(pointer(logits, real), (n, k)), carray(pointer(delta, real), (n, k))
    targets_ = open_targets(targets, n, k)
    losses_, scores_ = carray(pointer(losses, np.float64), n), carray(pointer(scores, np.float64), n)
    constants_ = carray(pointer(constants, real), k)
    right, wrong = smooth(real(1), constants_, real(k)), smooth(real(0), constants_, real(k))
    for s in range(n):
        total, best = 0.0, 0
        for j in range(1, k):
            if z[s, j] > z[s, best]:
                best = j
        label = find_class(targets_, s, k)
        scores_[s] = 1.0 if best == label else 0.0
        largest, exponentials = z[s, best], real(0)
        for j in range(k):
            exponentials += np.exp(z[s, j] - largest)
        normalizer = np.log(exponentials)
        slopes = real(0)
        for j in range(k):
            log_p = z[s, j] - largest - normalizer
            p = np.exp(log_p)
            y = read_target(targets_, s, j, label, right, wrong, constants_, k)
            total += value(y, p, log_p, constants_)
            slopes += derivative(y, p, log_p, constants_)
            # Kept for the next loop: a derivative takes less time than an exponential.
            d[s, j] = p
        for j in range(k):
            p, log_p = d[s, j], z[s, j] - largest - normalizer
            y = read_target(targets_, s, j, label, right, wrong, constants_, k)
            d[s, j] = (derivative(y, p, log_p, constants_) - p * slopes) / real(batch)
        losses_[s] = total
        if weights:
            weigh(d[s], losses_, scores_, s, k, weights)


def open_labels(targets, n, k):
    """Class numbers, (n,)."""
    return carray(pointer(targets, np.int64), n)


def get_label(labels, sample, k):
    """The class of a sample."""
    return labels[sample]


def read_label(labels, sample, j, label, right, wrong, constants, k):
    """The target of class j: `right` for the sample's own class, else `wrong`."""
    return right if j == label else wrong


def open_probabilities(targets, n, k):
    """Probabilities of the classes, (n, k)."""
    return carray(pointer(targets, real), (n, k))


def find_largest(targets, sample, k):
    """The class with the largest probability, the first of equals."""
    best = 0
    for j in range(1, k):
        if targets[sample, j] > targets[sample, best]:
            best = j
    return best


def read_probability(targets, sample, j, label, right, wrong, constants, k):
    """The probability of class j, smoothed."""
    return smooth(targets[sample, j], constants, real(k))


def elementwise_loss(outputs, targets, delta, n, k, batch, losses, scores, constants, weights):
    """Sample by sample: the sum of `value` over the outputs, and `derivative`."""
    z, d = carray(pointer(outputs, real), (n, k)), carray(pointer(delta, real), (n, k))
    y = carray(pointer(targets, real), (n, k))
    losses_, scores_ = carray(pointer(losses, np.float64), n), carray(pointer(scores, np.float64), n)
    # The loss's own constants, and then k numbers that scores depend on.
    constants_ = carray(pointer(constants, real), k)
    for s in range(n):
        total = 0.0
        for j in range(k):
            target = smooth(y[s, j], constants_, real(2))
            total += value(target, z[s, j], constants_)
            d[s, j] = derivative(target, z[s, j], constants_) / real(batch)
        losses_[s], scores_[s] = total, score(y[s], z[s], k, constants_)
        if weights:
            weigh(d[s], losses_, scores_, s, k, weights)


def weigh(delta, losses, scores, sample, k, weights):
    """Multiply a sample's loss, score and derivative by its weight."""
    weight = carray(pointer(weights, real), sample + 1)[sample]
    losses[sample] *= weight
    scores[sample] *= weight
    for j in range(k):
        delta[j] *= weight


def score_numbers(y, z, k, constants):
    """1 - the mean of squared error / variance (`Regression.compute_scores`)."""
    total = 0.0
    for j in range(k):
        error = np.float64(answer(z[j]) - y[j])
        total += error * error * np.float64(constants[FIRST + j])
    return 1.0 - total / k


def score_labels(y, z, k, constants):
    """1 if all labels are right, else 0."""
    for j in range(k):
        if (z[j] > 0) != (y[j] > 0.5):
            return 0.0
    return 1.0


# Bound to the index of the first number that scores depend on.
FIRST = 0


def identity(z):
    """The answer where the link is the identity."""
    return z


def exponential(z):
    """The answer where the link is the exponential function."""
    return np.exp(z)


_ANSWERS = {"identity": identity, "exp": exponential}


def list_loss_constants(objective: Objective, dtype: str) -> NDArray[np.floating[Any]]:
    """The numbers that a loss kernel gets: the loss's hyperparameters, then what scores depend on; at least one."""
    loss = objective.loss
    for name, field in loss.fields().items():
        if field.type not in (float, int, bool):
            raise NotCompilableError(f"the hyperparameter {name} of {type(loss).__name__} is no number")
    with np.errstate(over="ignore"):
        constants = np.array([*loss.as_dict().values(), *objective.score_constants, 0.0]).astype(dtype)
    finite: NDArray[np.floating[Any]] = np.nan_to_num(constants)
    return finite


def select_loss(objective: Objective, *, soft: bool = False) -> tuple[Callable[..., None], str]:
    """The kernel of an objective, and the source of the functions that it calls.

    Args:
        objective: its loss is compiled.
        soft: whether the targets of a classification are probabilities of the classes instead of class numbers.

    Raises:
        NotCompilableError: there is none, or the loss's functions cannot be compiled.
    """
    loss = type(objective.loss)
    bound = _bind_loss(loss) + _bind(weigh, "weigh")
    if isinstance(objective, SoftmaxClassification):
        functions: dict[str, Callable[..., Any]] = (
            {"open_targets": open_probabilities, "find_class": find_largest, "read_target": read_probability}
            if soft
            else {"open_targets": open_labels, "find_class": get_label, "read_target": read_label}
        )
        return softmax_loss, bound + "".join(_bind(function, name) for name, function in functions.items())
    if isinstance(objective, MultilabelClassification):
        return elementwise_loss, bound + _bind(score_labels, "score")
    if isinstance(objective, Regression):
        first = f"FIRST = {len(loss.fields())}\n"
        answer = _bind(_ANSWERS[loss.link], "answer")
        return elementwise_loss, bound + first + answer + _bind(score_numbers, "score")
    raise NotCompilableError(f"there is no kernel for {type(objective).__name__}")


def _bind(function: Callable[..., Any], name: str) -> str:
    """Source of a function under a name."""
    source = inspect.getsource(function).replace(f"def {function.__name__}(", f"def {name}(", 1)
    return f'@njit(error_model="numpy")\n{source}\n'


def _bind_loss(loss: type[Loss]) -> str:
    """Source of `value` and `derivative`, which get the loss's constants, and of `smooth`: targets while training."""
    indices = {name: index for index, name in enumerate(loss.fields())}
    inputs, text = ", ".join(loss.inputs), ""
    for function in ("value", "derivative"):
        arguments = [*loss.inputs, *(f"{name}=constants[{indices[name]}]" for name in loss.arguments(function))]
        text += scalar_source(getattr(loss, function), f"loss_{function}", wrap=True)
        lines = [f"return loss_{function}({', '.join(arguments)})"]
        text += define_function(function, f"{inputs}, constants", lines)
    line = "return y"
    if "label_smoothing" in indices:
        share = f"constants[{indices['label_smoothing']}]"
        line = f"return y * (real(1) - {share}) + {share} / k"
    return text + define_function("smooth", "y, constants, k", [line])
