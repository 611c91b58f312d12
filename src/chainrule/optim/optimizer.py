"""What an optimizer is: an elementwise update, the arrays and numbers that it remembers, and its settings.

The optimizers themselves are in `optimizers.py`; this file holds what they share. A rule is a class with

    settings    attributes such as `beta = Float(0.9, "...", ge=0, lt=1)`: flags, config keys, help follow
    slots       names of arrays that it keeps for every parameter, 0 at first
    scalars     names of numbers that it computes once a step (a bias correction, say), 0 at first
    prepare     the function that computes them
    update      the function that gives the new weight and the new value of each slot

`prepare` and `update` ask for what they need by the names of their arguments: `update` for `weight`, `gradient`, any
slot, scalar or setting; `prepare` for `time` (1 in the first step), `loss` (the batch's), any setting, and any scalar
as the step before left it. Both are plain functions of these arguments alone, so the same function can run on whole
arrays or, compiled, element by element.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import numpy as np

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Configurable, Float
from chainrule.core.registry import Registry, did_you_mean
from chainrule.nn.parameters import Array, ParameterDict, takes_weight_decay

__all__ = ["OPTIMIZERS", "Optimizer"]


class Optimizer(Configurable):
    """Base of all optimizers: keeps their memory and applies their update to every parameter.

    Attributes:
        time: steps taken so far; it goes on counting from epoch to epoch.
        memory: the scalars by name, as the last step left them.
        state: for each slot, arrays with the names and shapes of the parameters.
    """

    learning_rate = Float(0.0001, "step size", flag="-lr", gt=0)
    weight_decay = Float(0.0005, "L2 penalty: this times the weight joins its gradient", flag="-w_d", ge=0)

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
        cls.update_arguments = _arguments(cls, "update", ["weight", "gradient", *cls.slots, *known])
        cls.prepare_arguments = _arguments(cls, "prepare", ["time", "loss", *known]) if cls.scalars else ()

    def __init__(self, **values: object) -> None:
        super().__init__(**values)
        self.time = 0
        self.memory = dict.fromkeys(self.scalars, 0.0)
        self.state: dict[str, MutableMapping[str, Array]] = {}
        self._changed = ("weight", *self.slots)
        self._aligned: tuple[list[object], list[_Piece]] = ([], [])

    def step(self, parameters: MutableMapping[str, Array], gradients: Mapping[str, Array], *, loss: float) -> None:
        """Take one step, in place.

        Args:
            parameters: arrays by name, such as `network.parameters`; changed.
            gradients: arrays of the same names and shapes; left as they are.
            loss: the batch's mean loss, which a few rules look at.

        Raises:
            ConfigError: the gradients do not fit the parameters, these have other shapes than those of the last step or
                hold no floating-point numbers, or the rule's own functions fail.
        """
        pieces = self._align(parameters, gradients)
        self.time += 1
        numbers: dict[str, Any] = {**self.as_dict(), **self.memory, "time": self.time, "loss": float(loss)}
        if self.scalars:
            given = {name: numbers[name] for name in self.prepare_arguments}
            self.memory = dict(zip(self.scalars, self._call("prepare", given, self.scalars), strict=True))
            numbers |= self.memory
        constants = {name: numbers[name] for name in self.update_arguments if name in numbers}
        for name, arrays in pieces:
            weight, gradient = arrays["weight"], arrays["gradient"]
            # The one place where the L2 penalty, 1/2 * weight_decay * weight**2, joins the gradient.
            if self.weight_decay and takes_weight_decay(name):
                gradient = gradient + self.weight_decay * weight
            roles = {**arrays, "gradient": gradient}
            given = {**constants, **{role: array for role, array in roles.items() if role in self.update_arguments}}
            new = self._call("update", given, self._changed)
            # An argument handed back as it is (a slot that keeps the last weight, say) would change under our hands.
            new = [np.array(value) if any(value is array for array in roles.values()) else value for value in new]
            for role, value in zip(self._changed, new, strict=True):
                if np.shape(value) != weight.shape:
                    raise ConfigError(
                        f"{type(self).__name__}.update must return a {role} of the shape that it got, {weight.shape}; "
                        f"got {np.shape(value)}."
                    )
                arrays[role][...] = value

    def __getstate__(self) -> dict[str, object]:
        """For copies, here or in another process: the pieces are views of arrays that a copy does not share."""
        return {**self.__dict__, "_aligned": ([], [])}

    def allocate(self, parameters: MutableMapping[str, Array]) -> None:
        """Make the slots for these parameters, unless the slots of earlier steps fit.

        Raises:
            ConfigError: earlier steps were taken on parameters of other shapes, or these are no floating-point numbers.
        """
        for name, array in parameters.items():
            if array.dtype.kind != "f":
                raise ConfigError(f"Parameters must be floating-point arrays; {name!r} holds {array.dtype}.")
        for slot in self.slots:
            old = self.state.get(slot)
            if old is not None and _shapes(old) != _shapes(parameters):
                raise ConfigError(
                    f"This {type(self).__name__} remembers steps on parameters of other shapes; make a new one."
                )
            if isinstance(parameters, ParameterDict):
                if not isinstance(old, ParameterDict) or old.flat.dtype != parameters.flat.dtype:
                    self.state[slot] = parameters.zeros_like()
                    self.state[slot].update(old or {})
            elif old is None:
                self.state[slot] = {name: np.zeros_like(array) for name, array in parameters.items()}

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

    def _align(self, parameters: MutableMapping[str, Array], gradients: Mapping[str, Array]) -> list[_Piece]:
        """Cut parameters, gradients and slots into the same pieces: large flat ones where all lie in flat buffers."""
        # The arrays in a ParameterDict never change their place, so those of the last step still stand.
        given = [parameters, gradients, *(self.state.get(slot) for slot in self.slots)]
        if len(self._aligned[0]) == len(given) and all(map(operator.is_, given, self._aligned[0])):
            return self._aligned[1]
        if _shapes(gradients) != _shapes(parameters):
            raise ConfigError(
                f"The gradients do not fit: the parameters have {_shapes(parameters)}, they have {_shapes(gradients)}."
            )
        self.allocate(parameters)
        groups = {"weight": parameters, "gradient": gradients, **self.state}
        flat = [group for group in groups.values() if isinstance(group, ParameterDict)]
        if len(flat) == len(groups):
            rows = zip(*(group.pieces() for group in flat), strict=True)
            pieces = [(row[0][0], dict(zip(groups, (array for _, array in row), strict=True))) for row in rows]
            self._aligned = ([*groups.values()], pieces)
            return pieces
        return [(name, {key: group[name] for key, group in groups.items()}) for name in parameters]


def _check_rule(rule: type[Optimizer]) -> None:
    """A registered optimizer must be a class built on Optimizer, which has checked the rest."""
    if not (isinstance(rule, type) and issubclass(rule, Optimizer)):
        raise ConfigError(f"An optimizer must be a class built on chainrule.optim.optimizer.Optimizer, got {rule!r}.")


OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer", _check_rule)

# A parameter's name and its aligned arrays by role: "weight", "gradient" and each slot.
_Piece = tuple[str, dict[str, Array]]


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _check_names(cls: type[Optimizer]) -> None:
    """Slots, scalars and settings must not answer to one name, nor to one that optimizers use themselves."""
    taken = {"weight", "gradient", "time", "loss", "memory", "state", *dir(Optimizer)} - set(Optimizer.fields())
    for kind in ("slots", "scalars"):
        if isinstance(getattr(cls, kind), str):
            raise ConfigError(f"{cls.__name__}.{kind} must be a tuple of names, such as ('mean',); mind the comma.")
    for name in (*cls.fields(), *cls.slots, *cls.scalars):
        if name in taken:
            raise ConfigError(f"{cls.__name__} uses the name {name!r} twice, or it is taken; choose another.")
        taken.add(name)


def _arguments(cls: type[Optimizer], function: str, known: Sequence[str]) -> tuple[str, ...]:
    """The argument names of `update` or `prepare`, each of which must be one that the rule can be given."""
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
