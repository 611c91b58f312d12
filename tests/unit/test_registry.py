import pytest

from chainrule.registry import Registry, UnknownNameError


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
