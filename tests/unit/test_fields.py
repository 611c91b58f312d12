import copy
import pickle

import numpy as np
import pytest

from chainrule.core.errors import ConfigError
from chainrule.core.fields import Bool, Configurable, Float, Int, LayerWidths, Str
from chainrule.optim.optimizers import OPTIMIZERS
from chainrule.runs.config import TrainConfig, find_hyperparameters


def named(setting, name="x"):
    setting.name = name
    return setting


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1e-4", 1e-4), (".5", 0.5), (2, 2.0), (np.float32(0.5), 0.5), (np.int64(3), 3.0), (" 1 ", 1.0)],
)
def test_numbers(value, expected) -> None:
    got = named(Float(1.0, "", gt=0)).parse(value)
    assert got == expected
    assert type(got) is float


@pytest.mark.parametrize("value", ["abc", "", None, True, [1], "nan", "inf", float("nan"), 0, -1, "1e999", {}])
def test_bad_numbers(value) -> None:
    with pytest.raises(ConfigError, match="x must be a number above 0, got"):
        named(Float(1.0, "", gt=0)).parse(value)


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({}, "a finite number"),
        ({"gt": 0}, "a number above 0"),
        ({"ge": 0, "lt": 1}, "a number of at least 0 and below 1"),
        ({"ge": 0, "le": 1}, "a number from 0 to 1"),
    ],
)
def test_limits_are_told(limits, allowed) -> None:
    assert Float(0.5, "", **limits).allowed == allowed


@pytest.mark.parametrize(("value", "ok"), [(0, True), (1, False), (0.999, True), (-0.001, False)])
def test_limits_hold(value, ok) -> None:
    setting = named(Float(0.5, "", ge=0, lt=1))
    if ok:
        assert setting.parse(value) == value
    else:
        with pytest.raises(ConfigError):
            setting.parse(value)


@pytest.mark.parametrize(
    ("value", "expected"), [("16", 16), (16.0, 16), ("1e3", 1000), (np.int32(2), 2), ("999999999", 999999999)]
)
def test_whole_numbers(value, expected) -> None:
    assert named(Int(1, "", ge=1)).parse(value) == expected


@pytest.mark.parametrize("value", ["1.5", 0, -3, "x", None, False, [2], "inf", "1e30", 10**9 + 1])
def test_bad_whole_numbers(value) -> None:
    with pytest.raises(ConfigError, match="x must be a whole number from 1 to 1000000000"):
        named(Int(1, "", ge=1)).parse(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("128", 128),
        (64, 64),
        ("[128, 64]", (128, 64)),
        ("[128]", (128,)),
        ("128 64", (128, 64)),
        ("128,64", (128, 64)),
        ([32, 16], (32, 16)),
        ((8,), (8,)),
    ],
)
def test_widths(value, expected) -> None:
    assert named(LayerWidths(1, "")).parse(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "[]",
        "[0]",
        "[1, 'a']",
        "1 -2",
        [1.5],
        None,
        True,
        "[1",
        [True],
        [[2]],
        10**6 + 1,
        [1] * 1001,
        "[" * 100_000,
    ],
)
def test_bad_widths(value) -> None:
    with pytest.raises(ConfigError, match="x must be a whole number from 1 to 1000000, or a list"):
        named(LayerWidths(1, "")).parse(value)


@pytest.mark.parametrize(("value", "expected"), [("True", True), ("false", False), (True, True)])
def test_switches(value, expected) -> None:
    assert named(Bool(False, "")).parse(value) is expected


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_bad_switches(value) -> None:
    with pytest.raises(ConfigError, match="True or False"):
        named(Bool(False, "")).parse(value)


def test_control_characters_are_refused() -> None:
    with pytest.raises(ConfigError, match="printable"):
        named(Str("a", "")).parse("a\x1b[31mred")


# --- the configuration ------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    expected = {
        "wandb_project": "chainrule",
        "wandb_mode": "disabled",
        "dataset": "fashion_mnist",
        "epochs": 10,
        "batch_size": 64,
        "loss": "cross_entropy",
        "optimizer": "adam",
        "weight_init": "He",
        "num_layers": 2,
        "hidden_size": 256,
        "activation": "ReLU",
        "keep": "best",
    }
    config = TrainConfig().to_dict()
    assert {name: config[name] for name in expected} == expected
    assert config == TrainConfig({}).to_dict()
    own = {name: field.default for name, field in OPTIMIZERS["adam"].fields().items()}
    assert {name: config[name] for name in own} == own


def test_other_defaults_give_way_to_what_is_given() -> None:
    defaults = {"optimizer": "rmsprop", "learning_rate": 0.5, "beta": 0.8, "num_layers": 4, "hidden_size": 7}
    config = TrainConfig({"learning_rate": 0.25}, defaults)
    assert (config.optimizer, config.num_layers, config.hidden_sizes) == ("rmsprop", 4, (7, 7, 7, 7))
    assert (config.hyperparameters["learning_rate"], config.hyperparameters["beta"]) == (0.25, 0.8)
    # A default that another choice makes meaningless is no error, and nothing to report.
    other = TrainConfig({"optimizer": "sgd", "hidden_size": [3, 2]}, defaults)
    assert (other.hyperparameters["learning_rate"], other.hidden_sizes, other.ignored) == (0.5, (3, 2), {})
    # A complete configuration leaves nothing to the defaults.
    assert TrainConfig(TrainConfig().to_dict(), defaults).to_dict() == TrainConfig().to_dict()


def test_keywords_and_mappings_make_the_same_configuration() -> None:
    given = {"optimizer": "nesterov", "learning_rate": "0.5", "epochs": 3}
    assert TrainConfig(**given).to_dict() == TrainConfig(given).to_dict()


def test_what_must_agree_for_a_run_to_be_resumed() -> None:
    config = TrainConfig(epochs=3, seed=1)
    same, other = TrainConfig(epochs=9, seed=1, threads=2, figures=False), TrainConfig(epochs=3, seed=2)
    assert config.fingerprint == same.fingerprint != other.fingerprint
    assert config.find_differences(same) == {}
    assert config.find_differences(other) == {"seed": (1, 2)}


def test_only_what_is_used_is_recorded() -> None:
    config = TrainConfig({"optimizer": "sgd", "beta1": "0.8", "momentum": 0.5})
    assert set(config.ignored) == {"beta1", "momentum"}
    assert "beta1" not in config.to_dict()
    assert "sgd does not use it" in config.ignored["beta1"]


def test_ignored_settings_are_checked_all_the_same() -> None:
    with pytest.raises(ConfigError, match="beta1 must be"):
        TrainConfig({"optimizer": "sgd", "beta1": 2})


def test_round_trip() -> None:
    config = TrainConfig({"optimizer": "eve", "change_limit": 5, "hidden_size": "[32, 16]", "seed": "3"})
    again = TrainConfig(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert again.ignored == {}
    assert config.to_dict()["change_limit"] == 5.0


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig({"epochs": 0, "learning_rat": 1, "optimizer": "adm"})
    text = str(error.value)
    assert "3 errors" in text
    assert "epochs must be a whole number from 1 to 1000000000, got 0" in text
    assert "Did you mean 'learning_rate'" in text
    assert "Did you mean 'adam'" in text


def test_widths_set_the_depth() -> None:
    config = TrainConfig({"hidden_size": [256, 128, 64]})
    assert config.hidden_sizes == (256, 128, 64)
    assert config.num_layers == 3
    assert config.ignored == {}
    assert "num_layers" in TrainConfig({"hidden_size": [256, 128], "num_layers": 4}).ignored
    assert TrainConfig({"num_layers": 0}).hidden_sizes == ()
    assert TrainConfig({"num_layers": 2, "hidden_size": 7}).hidden_sizes == (7, 7)


def test_read_only() -> None:
    config = TrainConfig()
    with pytest.raises(AttributeError, match="read-only"):
        config.epochs = 3
    for mapping in (config.hyperparameters, config.loss_hyperparameters, config.ignored):
        with pytest.raises(TypeError):
            mapping["learning_rate"] = 3.0  # type: ignore[index]
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):  # noqa: S301
        assert copied.to_dict() == config.to_dict()


def test_unknown_names_get_a_suggestion_or_all_names() -> None:
    for name, meant in (("lr", "learning_rate"), ("epoch", "epochs"), ("learning_rat", "learning_rate")):
        with pytest.raises(ConfigError, match=f"'{name}'.*'{meant}'"):
            TrainConfig(**{name: 1})
    with pytest.raises(ConfigError, match=r"'xyz'(?s:.*)dataset.*learning_rate"):
        TrainConfig(xyz=1)
    with pytest.raises(ConfigError, match=r"'lr'.*'learning_rate'"):
        OPTIMIZERS["adam"](lr=0.1)


def test_hyperparameters_are_passed_by_name() -> None:
    class Sample(Configurable):
        rate = Float(0.1, "a rate")

    with pytest.raises(ConfigError, match=r"Sample.*by name.*Sample\(rate=0\.5\)"):
        Sample(0.5)


def test_two_rules_may_declare_one_setting_differently(monkeypatch) -> None:
    from chainrule.cli.flags import build_parser
    from chainrule.optim.optimizer import OPTIMIZERS, Optimizer

    monkeypatch.setattr(OPTIMIZERS, "_parts", dict(OPTIMIZERS._parts))

    @OPTIMIZERS.register("loose")
    class Loose(Optimizer):
        beta2 = Float(0.5, "looser", ge=0, le=5)

        @staticmethod
        def update(weight):
            return weight

    assert TrainConfig({"optimizer": "loose", "beta2": 3}).hyperparameters["beta2"] == 3
    assert TrainConfig({"optimizer": "loose"}).hyperparameters["beta2"] == 0.5
    with pytest.raises(ConfigError, match="beta2 must be"):
        TrainConfig({"optimizer": "adam", "beta2": 3})
    assert "loose: 0.5" in " ".join(build_parser("x").format_help().split())


def test_large_seeds_keep_their_last_digit() -> None:
    assert TrainConfig({"seed": "9007199254740993"}).seed == 9007199254740993


def test_the_case_of_the_optimizers_name_does_not_matter_for_its_settings(monkeypatch) -> None:
    from chainrule.optim.optimizer import OPTIMIZERS, Optimizer

    monkeypatch.setattr(OPTIMIZERS, "_parts", dict(OPTIMIZERS._parts))

    @OPTIMIZERS.register("Mine")
    class Mine(Optimizer):
        beta = Float(2.0, "wider", ge=1)

        @staticmethod
        def update(weight):
            return weight

    assert TrainConfig({"optimizer": "mine", "beta": 1.5}).hyperparameters["beta"] == 1.5


@pytest.mark.parametrize(
    ("name", "flag", "message"),
    [
        ("config", "", "'config'.* is the name of an option"),
        ("epochs", "", "'epochs'.* is the name of an option"),
        ("mine", "-h", "which is that of 'help'"),
        ("mine", "-b", "which is that of 'batch_size'"),
        ("mine", "rate", "must look like -x"),
        ("mine", "--help", "must look like -x"),
    ],
)
def test_settings_that_would_clash_are_refused(monkeypatch, name, flag, message) -> None:
    from chainrule.optim.optimizer import OPTIMIZERS, Optimizer

    monkeypatch.setattr(OPTIMIZERS, "_parts", dict(OPTIMIZERS._parts))
    keep = staticmethod(lambda weight: weight)
    OPTIMIZERS.register("clash")(type("Clash", (Optimizer,), {name: Float(1.0, "x", flag=flag), "update": keep}))
    with pytest.raises(ConfigError, match=message):
        find_hyperparameters()
