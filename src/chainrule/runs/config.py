"""The configuration of a training run: every setting with its default, range, flag and help, and the one validator.

Command line, YAML file, sweep and estimator all end in `TrainConfig.from_mapping`. The settings of the optimizers are
not repeated here: they are read from the registered classes.
"""

from __future__ import annotations

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

__all__ = ["WANDB_MODES", "TrainConfig", "optimizer_fields"]

WANDB_MODES = ("auto", "online", "offline", "disabled")
# Told at once. A file may have a million, and each takes time for a suggestion.
_MOST_PROBLEMS = 20

_TRAINING, _MODEL, _DATA, _OUTPUT, _WANDB = "training", "network", "data", "output", "Weights & Biases"


class TrainConfig(Configurable):
    """Everything that determines a run, validated and read-only.

    Attributes:
        hyperparameters: the settings of the chosen optimizer, complete.
        ignored: settings that were given but that this run does not use, with the reason.
    """

    dataset = Choice("fashion_mnist", "what to learn", DATASETS, flag="-d", group=_DATA)
    data_dir = OptionalStr(
        None, "folder with the dataset's files; without it they are looked for and fetched", group=_DATA
    )
    val_fraction = Float(0.1, "share of the training set held out for validation", ge=0, lt=1, group=_DATA)
    weight_init = Choice("Xavier", "how the first weights are drawn", INITIALIZERS, flag="-w_i", group=_MODEL)
    num_layers = Int(4, "hidden layers; 0 makes softmax regression", flag="-nhl", ge=0, le=1000, group=_MODEL)
    hidden_size = LayerWidths(
        128,
        "width of every hidden layer, or a list with the width of each, which sets their number",
        flag="-sz",
        group=_MODEL,
    )
    activation = Choice("ReLU", "what a hidden neuron does with its sum", ACTIVATIONS, flag="-a", group=_MODEL)
    dtype = Choice("float32", "precision", ("float32", "float64"), group=_MODEL)
    epochs = Int(10, "passes over the training set", flag="-e", ge=1, group=_TRAINING)
    batch_size = Int(16, "samples a step", flag="-b", ge=1, group=_TRAINING)
    loss = Choice("cross_entropy", "what to minimise", LOSSES, flag="-l", group=_TRAINING)
    optimizer = Choice("rmsprop", "how to step", OPTIMIZERS, flag="-o", group=_TRAINING)
    seed = Int(
        0,
        "of all random numbers: initial weights, order of samples, validation split",
        ge=0,
        le=2**63 - 1,
        group=_TRAINING,
    )
    keep = Choice(
        "best",
        "which epoch's parameters are kept and tested: the best on the validation set, or the last",
        ("best", "last"),
        group=_TRAINING,
    )
    engine = Choice("compiled", "what runs the steps: machine code, or plain NumPy", ENGINES, group=_TRAINING)
    threads = Int(0, "processor cores for a step; 0 chooses by what is fastest", ge=0, le=1024, group=_TRAINING)
    run_name = FolderName(None, "name of the run; without it one is made from the settings", group=_OUTPUT)
    output_dir = Str("runs", "folder that gets a folder for each run", group=_OUTPUT)
    plugin = StrList((), "Python file that registers parts of your own, such as an optimizer", group=_OUTPUT)
    checkpoint_every = Float(
        10,
        "minutes between two checkpoints within an epoch; one after each epoch is always saved",
        gt=0,
        group=_OUTPUT,
    )
    figures = Bool(True, "draw learning curves, confusion matrix and samples at the end", group=_OUTPUT)
    quiet = Bool(False, "print errors only", group=_OUTPUT)
    wandb_project = Str("DA6401_A1", "project that the run is filed under", flag="-wp", group=_WANDB)
    wandb_entity = OptionalStr(None, "user or team; without it the logged-in account's own", flag="-we", group=_WANDB)
    wandb_mode = Choice(
        "auto", "auto goes online where a login and a network are found, else offline", WANDB_MODES, group=_WANDB
    )

    def __init__(self, **values: object) -> None:
        super().__init__(**values)
        self.__dict__["hyperparameters"] = OPTIMIZERS[self.optimizer]().as_dict()
        self.__dict__["ignored"] = {}

    hyperparameters: dict[str, Any]
    ignored: dict[str, str]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"A TrainConfig is read-only; make a new one to change {name!r}.")

    @classmethod
    def from_mapping(cls, given: Mapping[str, object]) -> TrainConfig:
        """Check and complete a mapping from setting names to values or to text.

        Args:
            given: keys as in `--<key>`. Keys of optimizers other than the chosen one are checked and set aside.

        Raises:
            ConfigError: unknown keys, wrong types, values out of range: all of them in one message.
        """
        rules = {name: dict(uses) for name, uses in optimizer_fields().items()}
        chosen = given.get("optimizer", cls.fields()["optimizer"].default)
        if isinstance(chosen, str) and chosen in OPTIMIZERS:
            chosen = OPTIMIZERS.canonical(chosen)
        # A rule's own declaration counts for the chosen rule; for settings that are only set aside, any rule's does.
        known = {name: uses.get(str(chosen), next(iter(uses.values()))) for name, uses in rules.items()}
        known |= cls.fields()
        checked: dict[str, Any] = {}
        problems: list[str] = []
        for name, value in given.items():
            if len(problems) == _MOST_PROBLEMS:
                break
            try:
                if name not in known:
                    raise ConfigError(f"Unknown setting {name!r:.100}.{did_you_mean(str(name), known)}")
                checked[name] = known[name].parse(value)
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            more = " or more" if len(problems) == _MOST_PROBLEMS else ""
            raise ConfigError(
                problems[0] if len(problems) == 1 else "\n".join([f"{len(problems)} problems{more}:", *problems])
            )
        config = cls(**{name: value for name, value in checked.items() if name not in rules})
        rule = OPTIMIZERS[config.optimizer]
        wanted = {name: value for name, value in checked.items() if name in rule.fields()}
        config.__dict__["hyperparameters"] = rule(**wanted).as_dict()
        config.__dict__["ignored"] = {
            name: f"the optimizer {config.optimizer} does not use it"
            for name in checked
            if name in rules and name not in rule.fields()
        }
        if isinstance(config.hidden_size, tuple):
            if "num_layers" in checked and config.num_layers != len(config.hidden_size):
                config.ignored["num_layers"] = f"hidden_size lists {len(config.hidden_size)} layers"
            config.__dict__["num_layers"] = len(config.hidden_size)
        elif config.num_layers == 0 and "hidden_size" in checked:
            config.ignored["hidden_size"] = "there is no hidden layer"
        return config

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """The width of each hidden layer."""
        size = self.hidden_size
        return size if isinstance(size, tuple) else (size,) * self.num_layers

    def to_dict(self) -> dict[str, Any]:
        """The complete configuration, by setting, as JSON and YAML can hold it. `from_mapping` takes it back."""
        values = {**self.as_dict(), **self.hyperparameters}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def optimizer_fields() -> dict[str, list[tuple[str, Field[Any]]]]:
    """The settings of all registered optimizers: name to (optimizer, setting) for each optimizer that has it.

    Raises:
        ConfigError: an optimizer's setting has the name or the flag of another setting.
    """
    found: dict[str, list[tuple[str, Field[Any]]]] = {}
    for optimizer, rule in OPTIMIZERS.items():
        for name, setting in rule.fields().items():
            found.setdefault(name, []).append((optimizer, setting))
    flags = {setting.flag: name for name, setting in TrainConfig.fields().items() if setting.flag} | {"-h": "help"}
    for name, uses in found.items():
        for optimizer, setting in uses:
            if name in TrainConfig.fields() or name in ("config", "print_config", "help"):
                raise ConfigError(f"The optimizer {optimizer!r} calls a setting {name!r}, which training uses already.")
            if setting.flag and not re.fullmatch("-[a-z][a-z0-9_]*", setting.flag):
                raise ConfigError(f"The flag {setting.flag!r} of {optimizer!r} must look like -x: - and small letters.")
            if setting.flag and flags.setdefault(setting.flag, name) != name:
                raise ConfigError(
                    f"The optimizer {optimizer!r} gives {name!r} the flag {setting.flag}, which is that of "
                    f"{flags[setting.flag]!r}; choose another or none."
                )
    return found
