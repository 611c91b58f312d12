"""The configuration of a training run: every option with its default, range, flag and help, and the one validator.

Command line, configuration file, sweep and Python API all end in `TrainConfig`. The hyperparameters of optimizers are
not repeated here: they are read from the registered classes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from chainrule.core.errors import ConfigError
from chainrule.core.fields import (
    Bool,
    Choice,
    Configurable,
    Field,
    Float,
    FolderName,
    Int,
    LayerWidths,
    OptionalStr,
    Str,
    StrList,
)
from chainrule.core.registry import did_you_mean
from chainrule.data import DATASETS
from chainrule.engine import ENGINES
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.initializers import INITIALIZERS
from chainrule.nn.losses import LOSSES
from chainrule.optim.optimizers import OPTIMIZERS

__all__ = ["NON_IDENTITY_KEYS", "WANDB_MODES", "TrainConfig", "optimizer_fields"]

WANDB_MODES = ("auto", "online", "offline", "disabled")

# Keys that may change when a run is resumed. None of them changes a result, except `epochs`, which adds some.
NON_IDENTITY_KEYS = (
    *("epochs", "threads", "data_dir", "checkpoint_every", "run_name", "output_dir", "plugin", "quiet", "figures"),
    *("wandb_project", "wandb_entity", "wandb_mode"),
)

# A file may hold a million errors, and each takes time for a suggestion.
_MAX_ERRORS = 20

_TRAINING, _MODEL, _DATA, _OUTPUT, _WANDB = "training", "network", "data", "output", "Weights & Biases"


class TrainConfig(Configurable):
    """Everything that determines a run: validated, complete and read-only.

    >>> config = TrainConfig(dataset="mnist", optimizer="adam", learning_rate=0.01)
    >>> config.hyperparameters["learning_rate"]
    0.01

    Args:
        given: values by key, as in a configuration file. Values may be text.
        defaults: used for keys that are not given, in place of this class's own defaults. Hyperparameters that the
            chosen optimizer lacks are dropped silently.
        values: the same as `given`, as keywords.

    Attributes:
        hyperparameters: all hyperparameters of the chosen optimizer, by name.
        ignored: given keys that this run does not use, with the reason. They are validated all the same.

    Raises:
        ConfigError: unknown keys, wrong types, values out of range: all of them in one message.
    """

    dataset = Choice("fashion_mnist", "dataset", DATASETS, flag="-d", group=_DATA)
    data_dir = OptionalStr(
        None, "folder of the dataset files; by default they are searched for and downloaded", group=_DATA
    )
    val_fraction = Float(0.1, "fraction of the training set held out for validation", ge=0, lt=1, group=_DATA)
    weight_init = Choice("He", "weight initializer", INITIALIZERS, flag="-w_i", group=_MODEL)
    num_layers = Int(2, "number of hidden layers; 0 is softmax regression", flag="-nhl", ge=0, le=1000, group=_MODEL)
    hidden_size = LayerWidths(
        256,
        "width of every hidden layer, or a list of the width of each, which also sets their number",
        flag="-sz",
        group=_MODEL,
    )
    activation = Choice("ReLU", "hidden-layer activation", ACTIVATIONS, flag="-a", group=_MODEL)
    dtype = Choice("float32", "floating-point type", ("float32", "float64"), group=_MODEL)
    epochs = Int(10, "passes over the training set", flag="-e", ge=1, group=_TRAINING)
    batch_size = Int(64, "samples per step", flag="-b", ge=1, group=_TRAINING)
    loss = Choice("cross_entropy", "loss", LOSSES, flag="-l", group=_TRAINING)
    optimizer = Choice("adam", "optimizer", OPTIMIZERS, flag="-o", group=_TRAINING)
    seed = Int(
        0,
        "seed of all random numbers: initial weights, shuffling, validation split",
        ge=0,
        le=2**63 - 1,
        group=_TRAINING,
    )
    keep = Choice(
        "best",
        "epoch whose parameters are kept and tested: the best on the validation set, or the last",
        ("best", "last"),
        group=_TRAINING,
    )
    engine = Choice("compiled", "compute engine", ENGINES, group=_TRAINING)
    threads = Int(0, "threads per step; 0 selects the fastest number", ge=0, le=1024, group=_TRAINING)
    run_name = FolderName(None, "name of the run; by default made from the configuration", group=_OUTPUT)
    output_dir = Str("runs", "folder of the run folders", group=_OUTPUT)
    plugin = StrList((), "Python file that registers more parts, such as an optimizer", group=_OUTPUT)
    checkpoint_every = Float(
        10,
        "minutes between checkpoints within an epoch; one is saved after each epoch in any case",
        gt=0,
        group=_OUTPUT,
    )
    figures = Bool(True, "draw learning curves, confusion matrix and sample images at the end", group=_OUTPUT)
    quiet = Bool(False, "print errors only", group=_OUTPUT)
    wandb_project = Str("chainrule", "W&B project of the run", flag="-wp", group=_WANDB)
    wandb_entity = OptionalStr(None, "W&B user or team; by default that of the login", flag="-we", group=_WANDB)
    wandb_mode = Choice(
        "disabled",
        "W&B mode; auto is online if a login and a connection are found, else offline",
        WANDB_MODES,
        group=_WANDB,
    )

    hyperparameters: Mapping[str, Any]
    ignored: Mapping[str, str]

    def __init__(
        self,
        given: Mapping[str, object] | None = None,
        defaults: Mapping[str, object] | None = None,
        /,
        **values: object,
    ) -> None:
        vars(self).update(_resolve({**(given or {}), **values}, defaults or {}))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"A TrainConfig is read-only; create a new one to change {name!r}.")

    @classmethod
    def from_mapping(cls, given: Mapping[str, object], defaults: Mapping[str, object] | None = None) -> TrainConfig:
        """Build a configuration from a mapping. Arguments and errors are those of the constructor."""
        return cls(given, defaults)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """The width of each hidden layer."""
        size = self.hidden_size
        return size if isinstance(size, tuple) else (size,) * self.num_layers

    def to_dict(self) -> dict[str, Any]:
        """The complete configuration by key, as JSON and YAML can represent it; `from_mapping` reads it."""
        values = {**self.as_dict(), **self.hyperparameters}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything in the configuration that determines the results of a run."""
        return hashlib.sha256(json.dumps(self._get_identity(), sort_keys=True).encode()).hexdigest()

    def find_differences(self, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
        """The keys that must agree for one run to resume the other but do not, with both values."""
        mine, theirs = self._get_identity(), other._get_identity()
        return {
            name: (mine.get(name), theirs.get(name))
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        }

    def _get_identity(self) -> dict[str, Any]:
        # A schedule runs over all epochs, so with another number of them it is another run.
        ignored = set(NON_IDENTITY_KEYS) - ({"epochs"} if self.hyperparameters["schedule"] != "constant" else set())
        return {name: value for name, value in self.to_dict().items() if name not in ignored}


def optimizer_fields() -> dict[str, list[tuple[str, Field[Any]]]]:
    """The hyperparameters of all registered optimizers: name to (optimizer, field) for each optimizer that has it.

    Raises:
        ConfigError: a hyperparameter has the name or the flag of another option.
    """
    found: dict[str, list[tuple[str, Field[Any]]]] = {}
    for optimizer, optimizer_class in OPTIMIZERS.items():
        for name, field in optimizer_class.fields().items():
            found.setdefault(name, []).append((optimizer, field))
    flags = {field.flag: name for name, field in TrainConfig.fields().items() if field.flag} | {"-h": "help"}
    for name, uses in found.items():
        for optimizer, field in uses:
            if name in TrainConfig.fields() or name in ("config", "print_config", "help"):
                raise ConfigError(
                    f"The optimizer {optimizer!r} has a hyperparameter {name!r}, which is the name of an option."
                )
            if field.flag and not re.fullmatch("-[a-z][a-z0-9_]*", field.flag):
                raise ConfigError(
                    f"The flag {field.flag!r} of {optimizer!r} must look like -x: a hyphen and lowercase letters."
                )
            if field.flag and flags.setdefault(field.flag, name) != name:
                raise ConfigError(
                    f"The optimizer {optimizer!r} gives {name!r} the flag {field.flag}, which is that of "
                    f"{flags[field.flag]!r}; choose another or none."
                )
    return found


def _resolve(given: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, Any]:
    """Validate and complete a configuration: the attributes of a TrainConfig."""
    options = TrainConfig.fields()
    by_optimizer = {name: dict(uses) for name, uses in optimizer_fields().items()}
    chosen = given.get("optimizer", defaults.get("optimizer", options["optimizer"].default))
    if isinstance(chosen, str) and chosen in OPTIMIZERS:
        chosen = OPTIMIZERS.canonical(chosen)
    # Optimizers may declare the same hyperparameter differently; those the chosen one lacks are checked by any of them.
    known = {name: uses.get(str(chosen), next(iter(uses.values()))) for name, uses in by_optimizer.items()}
    known.update(options)
    parsed = _parse_all(given, known)

    values = {name: field.parse(defaults.get(name, field.default)) for name, field in options.items()}
    values |= {name: value for name, value in parsed.items() if name in options}
    optimizer = values["optimizer"]
    hyperparameters = {
        name: parsed[name] if name in parsed else _parse_default(field, defaults.get(name, field.default))
        for name, field in OPTIMIZERS[optimizer].fields().items()
    }
    ignored = {
        name: f"the optimizer {optimizer} does not use it"
        for name in parsed
        if name in by_optimizer and name not in hyperparameters
    }
    widths, depth = values["hidden_size"], values["num_layers"]
    if isinstance(widths, tuple):
        if "num_layers" in parsed and depth != len(widths):
            ignored["num_layers"] = f"hidden_size lists {len(widths)} layers"
        values["num_layers"] = len(widths)
    elif depth == 0 and "hidden_size" in parsed:
        ignored["hidden_size"] = "there is no hidden layer"
    return {**values, "hyperparameters": hyperparameters, "ignored": ignored}


def _parse_all(given: Mapping[str, object], known: Mapping[str, Field[Any]]) -> dict[str, Any]:
    """Parse each value by its field.

    Raises:
        ConfigError: with all errors in one message.
    """
    parsed: dict[str, Any] = {}
    errors: list[str] = []
    for name, value in given.items():
        if len(errors) == _MAX_ERRORS:
            break
        try:
            if name not in known:
                raise ConfigError(f"Unknown option {name!r:.100}.{did_you_mean(str(name), known)}")
            parsed[name] = known[name].parse(value)
        except ConfigError as error:
            errors.append(str(error))
    if len(errors) > 1:
        more = " or more" if len(errors) == _MAX_ERRORS else ""
        errors.insert(0, f"{len(errors)} errors{more}:")
    if errors:
        raise ConfigError("\n".join(errors))
    return parsed


def _parse_default(field: Field[Any], value: object) -> Any:
    """A default as the field's value, or the field's own where an optimizer's range excludes it."""
    try:
        return field.parse(value)
    except ConfigError:
        return field.parse(field.default)
