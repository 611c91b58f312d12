"""The shape of the code: which file may import which, how long a file may be, what is public, what the docs name."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule
from chainrule import ACTIVATIONS, DATASETS, ENGINES, INITIALIZERS, LOSSES, OPTIMIZERS
from chainrule.config import TrainConfig, optimizer_settings

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "chainrule"
MODULES = sorted(SOURCE.rglob("*.py"))

# From the bottom up: a module may import those of lower layers and of its own.
LAYERS = [
    {"errors", "text"},
    {"registry", "files", "seeding", "cache", "interrupt"},
    {"settings", "arrays", "history", "metrics"},
    {"activations", "losses", "initializers", "optimizer", "data", "checkpoint"},
    {"optimizers"},
    {"network"},
    {"engine", "model_file", "figures"},
    {"training", "config", "plugins", "machine"},
    {"tracking", "console", "runs"},
    {"resuming"},
    {"experiment"},
    {"sweeps"},
    {"report"},
    {"cli", "__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def top(module: str) -> str:
    """`chainrule.data.idx` -> `data`; the package itself -> `__init__`."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path) -> list[tuple[str, bool]]:
    """The package's modules that a file imports, and whether only for types."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chainrule"):
            found.append((node.module, id(node) in typing_only))
        elif isinstance(node, ast.Import):
            found += [(name.name, id(node) in typing_only) for name in node.names if name.name.startswith("chainrule")]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_downwards(path: Path) -> None:
    relative = path.relative_to(SOURCE).with_suffix("")
    own = relative.parts[0]
    assert own in LEVEL, f"add {own} to LAYERS"
    for module, typing_only in imports(path):
        # network.fit may call training, and predict the kernels: the exceptions, made inside the methods.
        if typing_only or (own, top(module)) in {("network", "training"), ("network", "engine")}:
            continue
        # The version number may be asked for anywhere.
        if own == "cli" and module == "chainrule":
            continue
        assert LEVEL[top(module)] <= LEVEL[own], f"{relative} imports {module}"


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
    assert sorted(chainrule.__all__) == [
        "ACTIVATIONS",
        "ChainruleError",
        "DATASETS",
        "Dataset",
        "ENGINES",
        "INITIALIZERS",
        "LOSSES",
        "NeuralNetwork",
        "OPTIMIZERS",
        "load_dataset",
        "load_model",
        "save_model",
    ]


def test_versions_agree() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == chainrule.__version__
    assert f"## [{chainrule.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_documentation_names_every_part_and_every_flag() -> None:
    text = (ROOT / "README.md").read_text()
    for registry in (OPTIMIZERS, ACTIVATIONS, LOSSES, INITIALIZERS, DATASETS, ENGINES):
        for name in registry:
            assert f"`{name}`" in text, name
    for setting in [*TrainConfig.settings().values(), *(uses[0][1] for uses in optimizer_settings().values())]:
        assert f"`--{setting.name}`" in text
        assert not setting.flag or f"`{setting.flag}`" in text


def test_generated_documentation_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "update_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("README.md", "docs/performance.md"):
        assert f"{page} is up to date." in done.stdout


def test_the_documentation_names_no_machine() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *MODULES]:
        text = path.read_text()
        assert "/work/" not in text, path
        assert "/root/" not in text, path
