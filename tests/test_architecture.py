"""The shape of the code: which file may import which, how long a file may be, what is public, what the docs name."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chainrule
from chainrule import ACTIVATIONS, DATASETS, ENGINES, INITIALIZERS, LOSSES, OPTIMIZERS
from chainrule.runs.config import TrainConfig, find_hyperparameters

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "chainrule"
MODULES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}

# From the bottom up: a folder may import from those before it, and from itself.
FOLDERS = [
    "core",
    "nn",
    "optim",
    "data",
    "engine",
    "training",
    "model",
    "neural_network",
    "ensemble",
    "saved_models",
    "distillation",
    "terminal",
    "charts",
    "runs",
    "sweeps",
    "report",
]
LEVEL = {name: level for level, name in enumerate([*FOLDERS, "__init__", "cli", "__main__"])}

# A notebook's user has no command line: messages of the library mention neither its flags nor its commands.
FLAG_OR_COMMAND = re.compile(r"(?<!git rm )--[a-z]|`chainrule [a-z]")


def imports(path: Path, *, inside_functions: bool = False) -> list[str]:
    """The package's modules that a file imports, other than for types; or those that its functions import."""
    tree = TREES[path]
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    nodes = list(ast.walk(tree))
    if inside_functions:
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        nodes = [node for function in functions for node in ast.walk(function)]
    found = []
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "chainrule":
            # `from chainrule.engine import threads` imports the module, not only its folder.
            modules = {f"{node.module}.{name.name}" for name in node.names} & MODULE_NAMES
            found += sorted(modules) or [str(node.module)]
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] == "chainrule"]
    return found


def module_name(path: Path) -> str:
    """`.../chainrule/data/idx.py` -> `chainrule.data.idx`; a folder's `__init__.py` -> the folder."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULE_NAMES = {module_name(path) for path in MODULES}


def folder(module: str) -> str:
    """`chainrule.data.idx` -> `data`; the package itself -> `__init__`."""
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_downwards(path: Path) -> None:
    own = folder(module_name(path))
    assert own in LEVEL, f"add {own} to FOLDERS"
    for module in imports(path):
        assert LEVEL[folder(module)] <= LEVEL[own], f"{module_name(path)} imports {module}"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module_name(path): set(imports(path)) - {module_name(path)} for path in MODULES}
    # A folder's __init__ imports the folder's modules, and they may import the folder through it only if it does not.
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_import_nothing_of_the_package(path: Path) -> None:
    assert not imports(path, inside_functions=True)


def test_only_one_file_imports_wandb() -> None:
    users = [
        path.name for path in MODULES if any(line in path.read_text() for line in ("import wandb\n", "from wandb "))
    ]
    assert users == ["wandb.py"]


@pytest.mark.parametrize(
    "path",
    [*MODULES, *ROOT.glob("*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("questions/*.py")],
    ids=lambda p: p.name,
)
def test_files_are_short(path: Path) -> None:
    # The library does the work of the questions' scripts.
    most = 60 if path.name.startswith("question") else 400
    assert len(path.read_text().splitlines()) <= most


def test_functions_are_short() -> None:
    functions = (node for path in MODULES for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef))
    long = {node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 100}
    assert not long


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=lambda path: path.name)
def test_each_folder_says_what_belongs_there(folder: Path) -> None:
    assert ast.get_docstring(TREES[folder / "__init__.py"])


def messages(path: Path) -> Iterator[str]:
    """The text literals of a file except docstrings and single words, which are arguments of other programs."""
    nodes = list(ast.walk(TREES[path]))
    docstrings = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if is_text and len(node.value.split()) > 1:
            yield node.value


@pytest.mark.parametrize("text", ["Give another --name.", "`chainrule runs` lists them."])
def test_a_flag_or_a_command_in_a_message_is_found(text: str) -> None:
    assert FLAG_OR_COMMAND.search(text)


def test_only_the_command_line_mentions_flags_and_commands() -> None:
    library = [path for path in MODULES if folder(module_name(path)) != "cli"]
    found = {path for path in library if any(FLAG_OR_COMMAND.search(text) for text in messages(path))}
    assert not {str(path.relative_to(SOURCE)) for path in found}


@pytest.mark.parametrize("name", [info.name for info in pkgutil.walk_packages([str(SOURCE)], "chainrule.")])
def test_what_a_module_calls_public_is_there_and_documented(name: str) -> None:
    if name == "chainrule.__main__":
        return
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), f"{name} has no {public}"
        part = getattr(module, public)
        assert part.__doc__ or not isinstance(part, type), f"{name}.{public} has no docstring"


def test_the_public_names_of_the_package() -> None:
    for name in chainrule.__all__:
        assert getattr(chainrule, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Adma'"):
        chainrule.Adma  # noqa: B018
    assert set(chainrule.__all__) >= {part.__name__ for part in OPTIMIZERS.values()}


def test_versions_agree() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == chainrule.__version__
    heading = "Unreleased" if "dev" in chainrule.__version__ else chainrule.__version__
    assert f"## [{heading}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_documentation_names_every_part_and_every_flag() -> None:
    parts, flags = ((ROOT / "docs" / name).read_text() for name in ("parts.md", "cli.md"))
    for registry in (OPTIMIZERS, ACTIVATIONS, LOSSES, INITIALIZERS, DATASETS, ENGINES):
        for name in (*registry, *registry.aliases):
            assert f"`{name}`" in parts, name
    for setting in [
        *TrainConfig.fields().values(),
        *(found.get_field() for found in find_hyperparameters().values()),
    ]:
        assert f"`--{setting.name}`" in flags
        assert not setting.flag or f"`{setting.flag}`" in flags


def test_generated_documentation_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "update_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        assert f"{page.relative_to(ROOT)} is up to date." in done.stdout


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in ROOT.glob("docs/*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name


def test_the_documentation_names_no_machine() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *MODULES]:
        text = path.read_text()
        assert "/work/" not in text, path
        assert "/root/" not in text, path
