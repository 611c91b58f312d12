"""The source of a rule, rewritten for scalars of one precision, so that it can be compiled by itself.

Rules are written for NumPy, where `1 - beta` or `0.5 * (p - y)` keeps the precision of its array. Numba would compute
them in float64, because it gives every constant a type of its own. So each constant is wrapped in `real(...)`, float32
or float64, and `np.where(c, a, b)` becomes `a if c else b`; nothing else is changed. Global constants, and plain
functions that a rule calls, are taken along.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from types import FunctionType, ModuleType
from typing import Any

from chainrule.engine.base import NotCompilableError

__all__ = ["define_function", "scalar_source"]


def scalar_source(function: Callable[..., Any], name: str, *, wrap: bool) -> str:
    """The definition of `function` under `name`, preceded by those of the functions that it calls.

    Args:
        function: a plain Python function whose source can be found.
        name: what to call it in the text.
        wrap: whether constants become `real(constant)`.

    Returns:
        Python source that needs `np`, `math`, `njit` and `real` to be defined.

    Raises:
        NotCompilableError: there is no source, or it uses something other than these and its own arguments.
    """
    return "\n".join(_define(function, name, wrap, {}, name))


def define_function(name: str, arguments: str, lines: Sequence[str]) -> str:
    """Source of a function that Numba inlines, from the lines of its body."""
    body = "".join(f"    {line}\n" for line in lines)
    return f'\n@njit(error_model="numpy")\ndef {name}({arguments}):\n{body}\n'


def _define(
    function: Callable[..., Any], name: str, wrap: bool, names: dict[Callable[..., Any], str], root: str
) -> list[str]:
    """The source of each function needed, callees first.

    Callees get names of their own: a rule's helper must not replace another's, nor a function of the engine.
    """
    if not isinstance(function, FunctionType):
        raise NotCompilableError(f"{name} is no plain Python function")
    if function.__closure__:
        raise NotCompilableError(f"{name} uses variables of the function around it")
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise NotCompilableError(f"the source of {name} cannot be found ({error})") from error
    if not isinstance(tree, ast.FunctionDef):
        raise NotCompilableError(f"{name} is not defined by `def`")
    tree.name, tree.decorator_list, tree.returns = name, [], None
    if isinstance(tree.body[0], ast.Expr) and isinstance(tree.body[0].value, ast.Constant):
        tree.body = tree.body[1:] or [ast.Pass()]
    for argument in [*tree.args.args, *tree.args.kwonlyargs]:
        argument.annotation = None
    rewriter = _Rewriter(function, wrap, names, root)
    tree = ast.fix_missing_locations(rewriter.visit(tree))
    definitions = []
    for callee in rewriter.callees:
        definitions += _define(callee, names[callee], wrap, names, root)
    return [*definitions, f'@njit(error_model="numpy")\n{ast.unparse(tree)}\n']


class _Rewriter(ast.NodeTransformer):
    """Wraps constants, replaces global numbers by their values, and collects the functions that are called."""

    def __init__(self, function: FunctionType, wrap: bool, names: dict[Callable[..., Any], str], root: str) -> None:
        self._function, self._wrap, self._names, self._root = function, wrap, names, root
        self._local = set(function.__code__.co_varnames)
        self.callees: list[Callable[..., Any]] = []

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        # x**2 is x*x, and much faster than a power with a real exponent.
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) and isinstance(node.right.value, int):
            node.left = self.visit(node.left)
            return node
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.visit(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # Numba makes arrays for np.where, 300 ns an element; of two numbers, a plain choice is the same.
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        if self._is_where(node.func) and len(node.args) == 3 and not node.keywords and not starred:
            condition, this, that = (self.visit(argument) for argument in node.args)
            return ast.IfExp(test=condition, body=this, orelse=that)
        return self.generic_visit(node)

    def _is_where(self, node: ast.expr) -> bool:
        """Whether an expression is `np.where`, under whatever name numpy was imported."""
        if not isinstance(node, ast.Attribute) or node.attr != "where" or not isinstance(node.value, ast.Name):
            return False
        value = None if node.value.id in self._local else self._function.__globals__.get(node.value.id)
        return isinstance(value, ModuleType) and value.__name__ == "numpy"

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        if not (number and self._wrap):
            return node
        return ast.Call(func=ast.Name(id="real", ctx=ast.Load()), args=[node], keywords=[])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._local:
            return node
        value = self._function.__globals__.get(node.id)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.visit_Constant(ast.Constant(value=value))
        if isinstance(value, ModuleType) and value.__name__ in ("numpy", "math"):
            return ast.Name(id={"numpy": "np", "math": "math"}[value.__name__], ctx=node.ctx)
        if scalar_name := getattr(value, "scalar_name", ""):
            return ast.parse(scalar_name, mode="eval").body
        if isinstance(value, FunctionType):
            if value not in self._names:
                self._names[value] = f"{self._root}_helper{len(self._names)}_{node.id}"
                self.callees.append(value)
            return ast.Name(id=self._names[value], ctx=node.ctx)
        return node
