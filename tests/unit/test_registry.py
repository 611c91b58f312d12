import pytest

from chainrule.core.registry import Registry, UnknownNameError


def test_names_ignore_case_but_keep_their_spelling() -> None:
    registry: Registry[int] = Registry("thing")
    registry.register("ReLU")(1)
    assert registry["relu"] == 1
    assert registry.canonical("RELU") == "ReLU"
    assert "rElU" in registry
    assert list(registry) == ["ReLU"]


def test_a_name_is_taken_once() -> None:
    registry: Registry[int] = Registry("thing")
    registry.register("one")(1)
    with pytest.raises(ValueError, match="thing 'ONE' is registered already"):
        registry.register("ONE")(2)
    assert registry["one"] == 1


@pytest.mark.parametrize("name", ["adm", "", "x\n", None, 3])
def test_unknown_names(name) -> None:
    registry: Registry[int] = Registry("thing")
    registry.register("adam")(1)
    with pytest.raises(UnknownNameError, match="Choose from: adam"):
        registry[name]
    assert name not in registry
    assert registry.get(name) is None


@pytest.mark.parametrize("name", ["a/b", "", " x", "x" * 41, "é", 5, "-x", "a b"])
def test_names_that_would_not_do_in_a_file_name_are_refused(name) -> None:
    registry: Registry[int] = Registry("thing")
    with pytest.raises(ValueError, match="letters, digits"):
        registry.register(name)(1)


def bad_parts():
    from chainrule import ACTIVATIONS, INITIALIZERS, LOSSES, OPTIMIZERS

    def activation(function, derivative=lambda z, a: a):
        return type("Mine", (), {"function": staticmethod(function), "derivative": staticmethod(derivative)})

    yield ACTIVATIONS, 5, "fails: AttributeError"
    yield ACTIVATIONS, activation(lambda z: 1 / 0), "fails: ZeroDivisionError"
    yield ACTIVATIONS, activation(lambda z: None), "must be elementwise"
    yield ACTIVATIONS, activation(lambda z: z.sum()), "must be elementwise"
    yield ACTIVATIONS, activation(lambda z: z, lambda z, a: "x"), "must be elementwise"
    yield ACTIVATIONS, type("Mine", (), {"function": staticmethod(lambda z: z)}), "derivative"
    yield LOSSES, type("Mine", (), {}), "built on chainrule.nn.losses.Loss"
    scalar = {"value": staticmethod(lambda y, p, log_p: 1.0), "derivative": staticmethod(lambda y, p, log_p: y)}
    yield LOSSES, type("Mine", (LOSSES["cross_entropy"],), scalar), "must be elementwise"
    for std in (-1, float("nan"), "x"):
        yield INITIALIZERS, type("Mine", (), {"std": staticmethod(lambda a, b, std=std: std)}), "std|fails: ValueError"
    yield OPTIMIZERS, lambda: None, "built on chainrule.optim.optimizer.Optimizer"


@pytest.mark.parametrize(("registry", "part", "message"), list(bad_parts()))
def test_parts_that_are_none_are_refused(registry, part, message) -> None:
    with pytest.raises(ValueError, match=message):
        registry.register("mine")(part)
    assert "mine" not in registry
