"""Print the size of the package by folder as a Markdown table: files, lines, longest file and longest function.

    python scripts/measure_code.py [CHECKOUT]

The files directly in the package make a row of their own, except where a checkout keeps all of its modules there.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Size:
    """Something's name and how many lines it has."""

    lines: int
    name: str

    def __str__(self) -> str:
        return f"`{self.name}` {self.lines}"


def measure_functions(path: Path) -> list[Size]:
    """Every function of a file with its decorators and docstring, methods as `Class.method`."""
    sizes = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}{getattr(child, 'name', '')}"
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                sizes.append(Size((child.end_lineno or first) - first + 1, name))
            visit(child, f"{name}." if isinstance(child, ast.ClassDef) else prefix)

    visit(ast.parse(path.read_text()), "")
    return sizes


def group_by_folder(package: Path) -> dict[str, list[Path]]:
    """The package's Python files by folder: `sweeps/space/parameters.py` belongs to `sweeps/`."""
    folders: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        folders.setdefault(f"{parts[0]}/" if len(parts) > 1 else "top level", []).append(path)
    return dict(sorted(folders.items()))


def format_row(name: str, paths: Iterable[Path], package: Path) -> str:
    """One row of the table."""
    files = [Size(len(path.read_text().splitlines()), str(path.relative_to(package))) for path in paths]
    functions = [size for path in paths for size in measure_functions(path)]
    longest = max(functions, default="")
    return f"| {name} | {len(files)} | {sum(file.lines for file in files):,} | {max(files)} | {longest} |"


def main() -> None:
    """Measure the checkout named on the command line, by default this one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1])
    package = parser.parse_args().checkout / "src" / "chainrule"
    folders = group_by_folder(package)
    print("| folder | files | lines | longest file | longest function |\n| --- | ---: | ---: | --- | --- |")
    for name, paths in folders.items():
        print(format_row(name, paths, package))
    print(format_row("all", [path for paths in folders.values() for path in paths], package))


if __name__ == "__main__":
    main()
