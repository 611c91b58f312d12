"""YAML with line numbers: what sweep files and configurations have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.core.errors import ConfigError
from chainrule.core.yaml_with_lines import ErrorCollector, parse_yaml_with_lines, read_mapping


def test_each_value_has_its_line() -> None:
    content, lines = parse_yaml_with_lines("a: 1\nb:\n  - x\n  - {c: 1.0e-3}\n", "text")
    assert content == {"a": 1, "b": ["x", {"c": 0.001}]}
    assert lines == {(): 1, ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 4, ("b", 1, "c"): 4}


def test_errors_are_reported_together_in_the_order_of_their_lines() -> None:
    errors = ErrorCollector("f.yaml", {("a",): 3, ("b",): 2})
    errors.raise_if_any()
    errors.add(("a", "unknown"), "first")
    errors.add(("b",), "second")
    with pytest.raises(ConfigError, match=r"f\.yaml has 2 problems:\n  line 2: second\n  line 3: first"):
        errors.raise_if_any()


@pytest.mark.parametrize(
    ("text", "content"),
    [("", {}), ("# nothing", {}), ("a: 1\nb: [x, 2]\non: ~\n", {"a": 1, "b": ["x", 2], "on": None})],
)
def test_mappings_that_are_read(tmp_path: Path, text: str, content: dict[str, object]) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert read_mapping(tmp_path / "c.yaml") == content


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", ["got list"]),
        ("a: 1\nb: {c: 1}", ["line 2", "b is nested too deeply"]),
        ("a: [1, [2]]", ["line 1", "a is nested too deeply"]),
        ("a: !!set {x}", ["line 1", "a has the tag", "set"]),
        ("a: 1\na: 2", ["line 2", "'a' is given a second time"]),
    ],
)
def test_files_that_are_no_plain_mappings(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_mapping(tmp_path / "c.yaml")
    assert all(word in str(caught.value) for word in ["c.yaml", *words])
