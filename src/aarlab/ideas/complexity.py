"""How much code a method is: the two measures of the 2026 study that need no language model."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from aarlab.syntax import parse


@dataclass(frozen=True)
class Complexity:
    """lines: of code, one a statement however it is laid out, no docstrings, comments or blank lines; nodes: of the
    syntax tree without docstrings."""

    lines: int
    nodes: int


def complexity(source: str) -> Complexity | None:
    """Of a method file; None where it is no Python. The lab's library that it calls counts as one call."""
    try:
        tree = without_docstrings(parse(source))
        lines = sum(bool(line.strip()) for line in ast.unparse(tree).split("\n"))
        return Complexity(lines, sum(1 for _ in ast.walk(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree, changed in place; a body of nothing else becomes `pass`."""
    for node in ast.walk(tree):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return tree
