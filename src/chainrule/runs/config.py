"""The configuration of a training run: every option with its default, range, flag and help, and the one validator.

Command line, configuration file, sweep and Python API all end in `TrainConfig`. The hyperparameters of optimizers and
losses are not repeated here: they are read from the registered classes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
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
    OptionalChoice,
    OptionalStr,
    Str,
    StrList,
    suggest_field,
)
from chainrule.core.registry import Registry
from chainrule.data import DATASETS
from chainrule.engine import ENGINES
from chainrule.nn.activations import ACTIVATIONS
from chainrule.nn.augmentation import Augmentation
from chainrule.nn.initializers import INITIALIZERS
from chainrule.nn.losses import LOSSES
from chainrule.nn.views import Views
from chainrule.optim.optimizers import OPTIMIZERS

__all__ = [
    "CONFIGURABLE",
    "NON_IDENTITY_KEYS",
    "WANDB_MODES",
    "Hyperparameter",
    "TrainConfig",
    "check_mapping",
    "find_hyperparameters",
]

WANDB_MODES = ("auto", "online", "offline", "disabled")

# Keys that may change when a run is resumed, `epochs` only without schedule and warm-up (`TrainConfig.variable_keys`).
# No other one affects the results.
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
            chosen optimizer and loss lack are dropped silently.
        values: the same as `given`, as keywords.

    Attributes:
        hyperparameters: all hyperparameters of the chosen optimizer, by name.
        loss_hyperparameters: those of the chosen loss.
        ignored: given keys that this run does not use, with the reason. They are validated all the same.

    Raises:
        ConfigError: unknown keys, wrong types, values out of range: all of them in one message.
    """

    dataset = OptionalChoice("fashion_mnist", "dataset", DATASETS, flag="-d", group=_DATA)
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
    dropout = Float(0.0, "probability that a hidden unit is left out of a training step", ge=0, lt=1, group=_MODEL)
    input_dropout = Float(0.0, "probability that an input is left out of a training step", ge=0, lt=1, group=_MODEL)
    batch_norm = Bool(False, "normalize the hidden layers over the batch", group=_MODEL)
    dtype = Choice("float32", "floating-point type", ("float32", "float64"), group=_MODEL)
    shift, flip, rotation = Augmentation.shift, Augmentation.flip, Augmentation.rotation
    zoom, elastic, cutout = Augmentation.zoom, Augmentation.elastic, Augmentation.cutout
    mixup = Augmentation.mixup
    view_shift, view_flip = Views.view_shift, Views.view_flip
    epochs = Int(10, "passes over the training set", flag="-e", ge=1, group=_TRAINING)
    batch_size = Int(64, "samples per step", flag="-b", ge=1, group=_TRAINING)
    loss = Choice("cross_entropy", "loss", LOSSES, flag="-l", group=_TRAINING)
    class_weight = Choice(
        "none",
        "weights of samples; balanced gives every class the same total weight",
        ("none", "balanced"),
        group=_TRAINING,
    )
    members = Int(
        1,
        "networks to train with seeds of their own, as many at a time as there are cores, and to average",
        ge=1,
        le=1000,
        group=_TRAINING,
    )
    teacher = OptionalStr(
        None, "model file or run folder whose probabilities of the training samples become targets", group=_TRAINING
    )
    teacher_share = Float(0.9, "weight of the teacher's probabilities in the targets", ge=0, le=1, group=_TRAINING)
    temperature = Float(1.0, "above 1, evens out the teacher's probabilities", gt=0, group=_TRAINING)
    patience = Int(
        0,
        "epochs without a better validation score after which training stops; 0 trains to the end",
        ge=0,
        group=_TRAINING,
    )
    plateau_patience = Int(
        0,
        "epochs without a better validation score after which the learning rate is reduced; 0 keeps it",
        ge=0,
        group=_TRAINING,
    )
    plateau_factor = Float(0.1, "what the learning rate is multiplied by then", gt=0, lt=1, group=_TRAINING)
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
    loss_hyperparameters: Mapping[str, Any]
    ignored: Mapping[str, str]

    def __init__(
        self,
        given: Mapping[str, object] | None = None,
        defaults: Mapping[str, object] | None = None,
        /,
        **values: object,
    ) -> None:
        vars(self).update(_resolve({**check_mapping(given), **values}, defaults or {}))

    def __reduce__(self) -> tuple[Any, ...]:
        return TrainConfig, (self.to_dict(),)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"A TrainConfig is read-only; create a new one to change {name!r}.")

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training images."""
        return Augmentation(**{name: getattr(self, name) for name in Augmentation.fields()})

    @property
    def views(self) -> Views:
        """Of which views of an image the answers are averaged at the end of a run."""
        return Views(**{name: getattr(self, name) for name in Views.fields()})

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """The width of each hidden layer."""
        size = self.hidden_size
        return size if isinstance(size, tuple) else (size,) * self.num_layers

    def to_dict(self) -> dict[str, Any]:
        """The complete configuration by key, as JSON and YAML can represent it; `TrainConfig` takes it."""
        values = {**self.as_dict(), **self.hyperparameters, **self.loss_hyperparameters}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def recorded(self) -> dict[str, Any]:
        """What a run folder records: the same configuration can be trained again under another name."""
        return {name: value for name, value in self.to_dict().items() if name != "run_name"}

    def of_member(self, seed: int) -> TrainConfig:
        """The configuration of a member of an ensemble: a run of one network with a seed of its own."""
        changed = {"members": 1, "seed": seed, "figures": False, "wandb_mode": "disabled"}
        return TrainConfig({**self.to_dict(), **changed})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything in the configuration that determines the results of a run."""
        identity = {name: value for name, value in self.to_dict().items() if name not in self.variable_keys}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @property
    def variable_keys(self) -> tuple[str, ...]:
        """The keys that may change when a run is resumed; with a schedule, which spans all epochs, `epochs` may not."""
        has_schedule = self.hyperparameters["schedule"] != "constant" or self.hyperparameters["warmup"] > 0
        return tuple(name for name in NON_IDENTITY_KEYS if not (has_schedule and name == "epochs"))

    def find_differences(self, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
        """The keys that must agree for one run to resume the other but do not, with both values."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {
            name: (mine.get(name), theirs.get(name))
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name) and name not in self.variable_keys
        }


def check_mapping(given: Any) -> Mapping[str, object]:
    """Return a configuration as it was given, or an empty one for None; raise ConfigError if it is no mapping."""
    if not isinstance(given, Mapping | None):
        raise ConfigError(f'A configuration must be a mapping such as {{"dataset": "digits"}}, got {given!r:.100}.')
    return given or {}


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter of registered optimizers or losses.

    Attributes:
        option: the option that chooses among them, "optimizer" or "loss".
        fields: its declaration in each optimizer or loss that has it, by their names.
    """

    option: str
    fields: dict[str, Field[Any]]

    def get_field(self, chosen: Any = None) -> Field[Any]:
        """Its declaration in the chosen optimizer or loss, or in the first that has it."""
        registry = CONFIGURABLE[self.option]
        name = registry.canonical(chosen) if chosen in registry else ""
        return self.fields.get(name) or next(iter(self.fields.values()))


# The options that choose a class with hyperparameters.
CONFIGURABLE: Mapping[str, Registry[Any]] = {"optimizer": OPTIMIZERS, "loss": LOSSES}


def find_hyperparameters() -> dict[str, Hyperparameter]:
    """The hyperparameters of all registered optimizers and losses, by name.

    Raises:
        ConfigError: a hyperparameter has the name or the flag of another option, or one of a loss that of an optimizer.
    """
    found: dict[str, Hyperparameter] = {}
    flags = {field.flag: name for name, field in TrainConfig.fields().items() if field.flag} | {"-h": "help"}
    for option, registry in CONFIGURABLE.items():
        for user, part in registry.items():
            for name, field in part.fields().items():
                if name in (*TrainConfig.fields(), "config", "print_config", "help"):
                    taken = "an option"
                else:
                    other = found.setdefault(name, Hyperparameter(option, {}))
                    taken = "" if other.option == option else f"a hyperparameter of the {other.option}"
                    other.fields[user] = field
                if taken:
                    raise ConfigError(
                        f"The {option} {user!r} has a hyperparameter {name!r}, which is the name of {taken}."
                    )
                if field.flag and not re.fullmatch("-[a-z][a-z0-9_]*", field.flag):
                    raise ConfigError(
                        f"The flag {field.flag!r} of {user!r} must look like -x: a hyphen and lowercase letters."
                    )
                if field.flag and flags.setdefault(field.flag, name) != name:
                    raise ConfigError(
                        f"The {option} {user!r} gives {name!r} the flag {field.flag}, which is that of "
                        f"{flags[field.flag]!r}; choose another or none."
                    )
    return found


def _resolve(given: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, Any]:
    """Validate and complete a configuration: the attributes of a TrainConfig."""
    options, hyperparameters = TrainConfig.fields(), find_hyperparameters()
    chosen = {name: given.get(name, defaults.get(name, options[name].default)) for name in CONFIGURABLE}
    # Optimizers may declare the same hyperparameter differently; those the chosen one lacks are checked by any of them.
    known = {name: found.get_field(chosen[found.option]) for name, found in hyperparameters.items()}
    parsed = _parse_all(given, {**options, **known})

    values = {name: field.parse(defaults.get(name, field.default)) for name, field in options.items()}
    values |= {name: value for name, value in parsed.items() if name in options}
    used = {
        option: {
            name: parsed[name] if name in parsed else _parse_default(field, defaults.get(name, field.default))
            for name, field in registry[values[option]].fields().items()
        }
        for option, registry in CONFIGURABLE.items()
    }
    ignored = {
        name: f"the {option} {values[option]} does not use it"
        for name in parsed
        if name in hyperparameters and name not in used[option := hyperparameters[name].option]
    }
    widths, depth = values["hidden_size"], values["num_layers"]
    if isinstance(widths, tuple):
        if "num_layers" in parsed and depth != len(widths):
            ignored["num_layers"] = f"hidden_size lists {len(widths)} layers"
        values["num_layers"] = len(widths)
    elif depth == 0 and "hidden_size" in parsed:
        ignored["hidden_size"] = "there is no hidden layer"
    if values["teacher"] is None:
        unused = (name for name in ("teacher_share", "temperature") if values[name] != options[name].default)
        ignored |= dict.fromkeys(unused, "there is no teacher")
    read_only = {"hyperparameters": used["optimizer"], "loss_hyperparameters": used["loss"], "ignored": ignored}
    return {**values, **{name: MappingProxyType(mapping) for name, mapping in read_only.items()}}


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
                raise ConfigError(f"Unknown option {name!r:.100}.{suggest_field(str(name), known)}")
            parsed[name] = known[name].parse(value)
        except ConfigError as error:
            errors.append(str(error))
    if len(errors) > 1:
        more = " or more" if len(errors) == _MAX_ERRORS else ""
        errors.insert(0, f"{len(errors)} errors{more}:")
    if any(error.startswith("Unknown option") and error.endswith(".") for error in errors):  # without a suggestion
        errors.append(f"The options are {', '.join(known)}.")
    if errors:
        raise ConfigError("\n".join(errors))
    return parsed


def _parse_default(field: Field[Any], value: object) -> Any:
    """A default as the field's value, or the field's own where an optimizer's range excludes it."""
    try:
        return field.parse(value)
    except ConfigError:
        return field.parse(field.default)
