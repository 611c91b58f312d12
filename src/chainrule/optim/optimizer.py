"""What an optimizer is: an elementwise rule, the state that it keeps, and what all rules share.

The optimizers themselves are in `optimizers.py`. Each is a class with

    hyperparameters   fields such as `beta = Float(0.9, "...", ge=0, lt=1)`; flags, config keys and help follow
    slots             names of arrays that it keeps for every parameter, 0 at first
    scalars           names of numbers that it computes once a step (a bias correction, say), 0 at first
    prepare           the function that computes the scalars
    update            the function that returns the step and the new value of each slot

`prepare` and `update` ask for what they need by the names of their arguments: `update` for `gradient`, `weight`,
`learning_rate`, any slot, scalar or hyperparameter; `prepare` for `t` (1 in the first step), `loss` (the batch's), any
hyperparameter, and any scalar as the step before left it. Both are plain functions of these arguments alone, so the
same function runs on whole arrays or, compiled, element by element.

The base class does the rest, the same for every rule:

    learning_rate <- learning_rate * rate_factor * schedule(progress)
    gradient      <- gradient * min(1, clip_norm / |all gradients|)       if clip_norm is not 0
    gradient      <- clip(gradient, -clip_value, clip_value)              if clip_value is not 0
    gradient      <- gradient + weight_decay * weight                     L2; weights only
    weight        <- weight - factor * step                               what `update` returned; the factor of biases,
                                                                          of the first or of the last layer
    weight        <- weight - factor * learning_rate * weight_decay * weight    instead of L2, if decay is decoupled
    average       <- ema_decay * average + (1 - ema_decay) * weight       if ema_decay is not 0

This file does it for the reference engine (`Optimizer.step`), engine/compiled/binding.py for the compiled one.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Choice, Configurable, Float
from chainrule.core.registry import Registry, did_you_mean
from chainrule.nn.parameters import Array, ParameterDict, takes_weight_decay
from chainrule.optim.schedules import SCHEDULES, compute_factor

__all__ = ["OPTIMIZERS", "Optimizer", "OptimizerState", "make_optimizer"]


@dataclass
class OptimizerState:
    """What an optimizer remembers from step to step.

    Attributes:
        step_count: steps taken; it keeps counting from epoch to epoch.
        scalars: the rule's scalars by name, as the last step left them.
        slots: for each slot, arrays with the names and shapes of the parameters.
    """

    step_count: int = 0
    scalars: dict[str, float] = field(default_factory=dict)
    slots: dict[str, MutableMapping[str, Array]] = field(default_factory=dict)


class Optimizer(Configurable):
    """Base of all optimizers: keeps their state and applies their rule to every parameter.

    Attributes:
        state: step count, scalars and slots.
        schedule_span: (first step, number of steps) over which the schedule runs; set by the training loop.
        rate_factor: a factor of the learning rate besides the schedule's, for callbacks that reduce it.
    """

    learning_rate = Float(0.001, "learning rate", flag="-lr", gt=0)
    weight_decay = Float(0.0, "weight decay of weights, not of biases", flag="-w_d", ge=0)
    decay_type = Choice(
        "l2", "l2 adds the decay to the gradient, decoupled shrinks the weights directly (AdamW)", ("l2", "decoupled")
    )
    schedule = Choice("constant", "learning rate schedule", SCHEDULES)
    warmup = Float(
        0.0, "fraction of the steps in which the learning rate rises from 0, before the schedule", ge=0, lt=1
    )
    clip_value = Float(0.0, "gradients are clipped to this absolute value, elementwise; 0 clips nothing", ge=0)
    clip_norm = Float(0.0, "all gradients together are scaled down to this Euclidean norm; 0 scales nothing", ge=0)
    bias_factor = Float(1.0, "factor of the learning rate for biases and scales", ge=0)
    first_factor = Float(1.0, "factor of the learning rate for the weights of the first layer", ge=0)
    last_factor = Float(1.0, "factor of the learning rate for the weights of the last layer", ge=0)
    ema_decay = Float(
        0.0,
        "decay of an exponential moving average of the weights, which predicts in their place; 0 for none",
        ge=0,
        le=0.9999999,
    )

    slots: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    update: ClassVar[Callable[..., Any]]
    prepare: ClassVar[Callable[..., Any]]
    update_arguments: ClassVar[tuple[str, ...]]
    prepare_arguments: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _check_names(cls)
        known = [*cls.fields(), *cls.scalars]
        cls.update_arguments = _read_arguments(cls, "update", ["weight", "gradient", *cls.slots, *known])
        cls.prepare_arguments = _read_arguments(cls, "prepare", ["t", "loss", *known]) if cls.scalars else ()

    def __init__(self, *positional: object, **values: object) -> None:
        super().__init__(*positional, **values)
        self.state = OptimizerState(scalars=dict.fromkeys(self.scalars, 0.0))
        self.schedule_span = (0, 0)
        self.rate_factor = 1.0
        self._changed = ("step", *self.slots)
        self._aligned: tuple[list[object], list[_Chunk]] = ([], [])

    def step(
        self, parameters: MutableMapping[str, Array], gradients: Mapping[str, Array], *, loss: float | None = None
    ) -> None:
        """Take one step, in place.

        Args:
            parameters: arrays by name, such as `network.parameters`; changed.
            gradients: arrays of the same names and shapes; left as they are.
            loss: the batch's mean loss; a few rules need it.

        Raises:
            ConfigError: the gradients do not fit the parameters, these have other shapes than those of the last step or
                hold no floating-point numbers, the rule needs the loss, or the rule's own functions fail.
        """
        if loss is None and "loss" in self.prepare_arguments:
            raise ConfigError(f"{type(self).__name__} needs the loss of each batch: step(..., loss=loss).")
        chunks = self._align(parameters, gradients)
        rate = self.learning_rate * (self.rate_factor * self.schedule_factor())
        t, scalars = self.state.step_count + 1, self.state.scalars
        numbers: dict[str, Any] = {
            **self.as_dict(),
            **dict.fromkeys(self.scalars, 0.0),
            **scalars,
            "learning_rate": rate,
            "t": t,
            "loss": loss,
        }
        if self.scalars:
            given = {name: numbers[name] for name in self.prepare_arguments}
            scalars = dict(zip(self.scalars, self._call("prepare", given, self.scalars), strict=True))
            numbers |= scalars
        constants = {name: numbers[name] for name in self.update_arguments if name in numbers}
        shrink = self._get_norm_factor([arrays["gradient"] for _, _, arrays in chunks])
        for name, factor, arrays in chunks:
            weight, gradient = arrays["weight"], arrays["gradient"]
            decay = self.weight_decay if takes_weight_decay(name) else 0.0
            if self.clip_norm:
                gradient = gradient * gradient.dtype.type(shrink)
            if self.clip_value:
                gradient = np.clip(gradient, -self.clip_value, self.clip_value)
            # The penalty is 1/2 * weight_decay * weight**2.
            if decay and self.decay_type == "l2":
                gradient = gradient + decay * weight
            roles = {**arrays, "gradient": gradient}
            given = {**constants, **{role: array for role, array in roles.items() if role in self.update_arguments}}
            new = self._call("update", given, self._changed)
            # An argument returned as it is (a slot that keeps the last weight, say) would change while it is copied.
            new = [np.array(value) if any(value is array for array in roles.values()) else value for value in new]
            for role, value in zip(self._changed, new, strict=True):
                if np.shape(value) != weight.shape:
                    raise ConfigError(
                        f"{type(self).__name__}.update must return a {role} of the shape that it got, {weight.shape}; "
                        f"got {np.shape(value)}."
                    )
            target = weight - (new[0] if factor == 1 else factor * new[0])
            if decay and self.decay_type == "decoupled":
                target = target - factor * rate * decay * weight
            weight[...] = target
            for slot, value in zip(self.slots, new[1:], strict=True):
                arrays[slot][...] = value
            if self.ema_decay:
                average, kept = arrays["average"], weight.dtype.type(self.ema_decay)
                average[...] = kept * average + (1 - kept) * weight
        # Only now: a step that failed was not taken.
        self.state.step_count, self.state.scalars = t, scalars

    @property
    def kept_slots(self) -> tuple[str, ...]:
        """The names of all slots: those of the rule, and the average of the weights if there is one."""
        return (*self.slots, "average") if self.ema_decay else self.slots

    @property
    def has_factors(self) -> bool:
        """Whether some parameters have a learning rate of their own."""
        return (self.bias_factor, self.first_factor, self.last_factor) != (1.0, 1.0, 1.0)

    def schedule_factor(self) -> float:
        """The factor of the schedule and of the warm-up for the next step.

        Raises:
            ConfigError: there is a schedule or a warm-up, and how many steps it is for is not known.
        """
        first, steps = self.schedule_span
        if self.schedule == "constant" and not self.warmup:
            return 1.0
        if steps < 1:
            what = f"schedule {self.schedule!r}" if self.schedule != "constant" else "warm-up"
            raise ConfigError(f"The {what} needs to know for how many steps: set schedule_span = (0, steps).")
        return compute_factor(SCHEDULES[self.schedule], self.state.step_count - first, steps, self.warmup)

    def averaged(self, name: str) -> Array:
        """The average of the weights, of one parameter, corrected for having started at 0.

        Raises:
            ConfigError: `ema_decay` is 0, or no step was taken.
        """
        if not self.ema_decay or not self.state.step_count:
            raise ConfigError("There is no average of the weights: set ema_decay, and take a step.")
        average = self.state.slots["average"][name]
        kept = float(average.dtype.type(self.ema_decay))
        return average / average.dtype.type(1 - kept**self.state.step_count)

    def _get_norm_factor(self, gradients: Sequence[Array]) -> float:
        """The factor that brings the Euclidean norm of all gradients down to `clip_norm`."""
        if not self.clip_norm:
            return 1.0
        norm = math.sqrt(sum(float(np.square(gradient, dtype=np.float64).sum()) for gradient in gradients))
        return min(1.0, self.clip_norm / norm) if norm > 0 else 1.0

    def _get_factor(self, name: str, last: str) -> float:
        """The factor of a parameter's learning rate; `last` is the name of the last layer."""
        layer = name.partition(".")[0]
        if not takes_weight_decay(name):
            return self.bias_factor
        return self.last_factor if layer == last else self.first_factor if layer == "layer1" else 1.0

    def __getstate__(self) -> dict[str, object]:
        """For copies, here or in another process: the chunks are views of arrays that a copy does not share."""
        return {**self.__dict__, "_aligned": ([], [])}

    def allocate(self, parameters: MutableMapping[str, Array]) -> None:
        """Make the slots for these parameters, unless the slots of earlier steps fit.

        Raises:
            ConfigError: earlier steps were taken on parameters of other shapes, or these are no floating-point numbers.
        """
        for name, array in parameters.items():
            if array.dtype.kind != "f":
                raise ConfigError(f"Parameters must be floating-point arrays; {name!r} holds {array.dtype}.")
        for slot in self.kept_slots:
            old = self.state.slots.get(slot)
            if slot == "average" and old is None and self.state.step_count:
                raise ConfigError(
                    "ema_decay must be set before the first step: there is no average of the steps so far."
                )
            if old is not None and _get_shapes(old) != _get_shapes(parameters):
                raise ConfigError(
                    f"This {type(self).__name__} has the state of parameters of other shapes; make a new one."
                )
            if isinstance(parameters, ParameterDict):
                if not isinstance(old, ParameterDict) or old.flat.dtype != parameters.flat.dtype:
                    self.state.slots[slot] = parameters.zeros_like()
                    self.state.slots[slot].update(old or {})
            elif old is None:
                self.state.slots[slot] = {name: np.zeros_like(array) for name, array in parameters.items()}

    def _call(self, function: str, given: Mapping[str, Any], wanted: Sequence[str]) -> Sequence[Any]:
        """Call `prepare` or `update`, and see that it returns one value for each name in `wanted`."""
        try:
            result = getattr(self, function)(**given)
        except Exception as error:
            raise ConfigError(f"{type(self).__name__}.{function} failed: {type(error).__name__}: {error}") from error
        values = result if isinstance(result, tuple) else (result,)
        if len(values) != len(wanted):
            raise ConfigError(
                f"{type(self).__name__}.{function} must return {len(wanted)} values ({', '.join(wanted)}), "
                f"got {len(values)}."
            )
        return values

    def _align(self, parameters: MutableMapping[str, Array], gradients: Mapping[str, Array]) -> list[_Chunk]:
        """Cut parameters, gradients and slots into the same chunks: large flat ones where all have flat buffers."""
        # The arrays of a ParameterDict are never reallocated, so the chunks of the last step are still valid.
        given = [parameters, gradients, *(self.state.slots.get(slot) for slot in self.kept_slots)]
        if (
            not self.has_factors
            and len(self._aligned[0]) == len(given)
            and all(map(operator.is_, given, self._aligned[0]))
        ):
            return self._aligned[1]
        if _get_shapes(gradients) != _get_shapes(parameters):
            raise ConfigError(
                f"The gradients do not fit: the parameters have {_get_shapes(parameters)}, "
                f"they have {_get_shapes(gradients)}."
            )
        self.allocate(parameters)
        groups = {"weight": parameters, "gradient": gradients}
        groups |= {slot: self.state.slots[slot] for slot in self.kept_slots}
        flat = [group for group in groups.values() if isinstance(group, ParameterDict)]
        if len(flat) == len(groups) and not self.has_factors:
            rows = zip(*(group.chunks() for group in flat), strict=True)
            chunks = [(row[0][0], 1.0, dict(zip(groups, (array for _, array in row), strict=True))) for row in rows]
            self._aligned = ([*groups.values()], chunks)
            return chunks
        last = max(parameters, key=lambda name: (len(name.partition(".")[0]), name)).partition(".")[0]
        return [
            (name, self._get_factor(name, last), {key: group[name] for key, group in groups.items()})
            for name in parameters
        ]


def _check_optimizer(optimizer: type[Optimizer]) -> None:
    """Check that a part to register is a subclass of Optimizer, which has checked the rest."""
    if not (isinstance(optimizer, type) and issubclass(optimizer, Optimizer)):
        raise ConfigError(
            f"An optimizer must be a class built on chainrule.optim.optimizer.Optimizer, got {optimizer!r}."
        )


OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer", _check_optimizer)

# A parameter's name, its factor of the learning rate, and its arrays by role: "weight", "gradient" and each slot.
_Chunk = tuple[str, float, dict[str, Array]]


def _get_shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _check_names(cls: type[Optimizer]) -> None:
    """Check that slots, scalars and hyperparameters have names of their own, which optimizers do not use themselves."""
    taken = {
        "weight",
        "gradient",
        "step",
        "t",
        "loss",
        "state",
        "schedule_span",
        "rate_factor",
        "average",
        *dir(Optimizer),
    } - set(Optimizer.fields())
    for kind in ("slots", "scalars"):
        if isinstance(getattr(cls, kind), str):
            raise ConfigError(f"{cls.__name__}.{kind} must be a tuple of names, such as ('mean',); mind the comma.")
    for name in (*cls.fields(), *cls.slots, *cls.scalars):
        if name in taken:
            raise ConfigError(f"{cls.__name__} uses the name {name!r} twice, or it is reserved; choose another.")
        taken.add(name)


def _read_arguments(cls: type[Optimizer], function: str, known: Sequence[str]) -> tuple[str, ...]:
    """Read the argument names of `update` or `prepare`, and check that the rule can be given each of them."""
    if not callable(getattr(cls, function, None)):
        raise ConfigError(f"{cls.__name__} needs a static method {function!r}; docs/adding-an-optimizer.md shows one.")
    if not isinstance(inspect.getattr_static(cls, function), staticmethod):
        raise ConfigError(f"{cls.__name__}.{function} must be a @staticmethod: it depends on its arguments alone.")
    names = tuple(inspect.signature(getattr(cls, function)).parameters)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{cls.__name__}.{function} asks for {name!r}.{did_you_mean(name, known)} "
                f"It can ask for: {', '.join(known)}."
            )
    return names


def make_optimizer(optimizer: Optimizer | type[Optimizer] | str) -> Optimizer:
    """An optimizer from itself, its class or its name; the latter two with default hyperparameters.

    Raises:
        ConfigError: it is none of these, or no optimizer has this name.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer()
    if isinstance(optimizer, str):
        return OPTIMIZERS[optimizer]()
    raise ConfigError(
        f"optimizer must be a name ({', '.join(OPTIMIZERS)}) or an Optimizer, such as Adam(learning_rate=0.001); "
        f"got {optimizer!r:.100}."
    )
