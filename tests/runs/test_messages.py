"""The library knows no command line: its texts name options and hyperparameters, never flags or commands."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from chainrule.runs.config import TrainConfig, optimizer_fields

SOURCE = Path(__file__).resolve().parents[2] / "src" / "chainrule"
FILES = [path for folder in ("core", "terminal", "runs") for path in sorted((SOURCE / folder).rglob("*.py"))]
NAMES = (*TrainConfig.fields(), *optimizer_fields(), "config", "resume", "trial", "from-sweep", "help")
FLAG = re.compile(rf"(?<![\w-])--({'|'.join(NAMES)})\b|`chainrule ")


def texts(path: Path) -> list[str]:
    """The string literals of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    documented = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docstrings = {id(node.body[0].value) for node in documented if isinstance(node.body[0], ast.Expr)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [str(node.value) for node in found if id(node) not in docstrings]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_message_names_a_flag_or_a_command(path: Path) -> None:
    assert [text for text in texts(path) if FLAG.search(text)] == []


def test_the_test_above_can_fail() -> None:
    assert [text for text in texts(SOURCE / "cli" / "main.py") if FLAG.search(text)]
