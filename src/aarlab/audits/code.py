"""A method file as a tree to be searched: what each name stands for, and which names hold what."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from aarlab.syntax import parse

Holds = Callable[[ast.AST], bool]

PASSES = 20
"""How often a file is gone through for names that are given each other's values, in whatever order they stand."""


@dataclass(frozen=True)
class Code:
    """The syntax tree of a method file. Nothing of it is executed."""

    tree: ast.Module

    @classmethod
    def of(cls, source: str) -> Code:
        return cls(parse(source))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def imported(self) -> Mapping[str, str]:
        """Local name -> full name of what was imported under it: {"np": "numpy", "load": "numpy.load"}."""
        found: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    found[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                found |= {a.asname or a.name: f"{node.module or ''}.{a.name}" for a in node.names}
        return found

    @cached_property
    def modules(self) -> tuple[tuple[int, str], ...]:
        """(line, full name) of every module and every thing imported from one."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(node.lineno, a.name) for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [(node.lineno, f"{node.module or ''}.{a.name}") for a in node.names]
        return tuple(found)

    def full(self, node: ast.AST) -> str:
        """`np.load` -> "numpy.load"; "?.read" for a method of something that is no plain name."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self.full(node.value)}.{node.attr}"
        return "?"

    @cached_property
    def calls(self) -> tuple[tuple[ast.Call, str], ...]:
        """Every call, with the full name of what is called."""
        return tuple((n, self.full(n.func)) for n in self.nodes if isinstance(n, ast.Call))

    @cached_property
    def strings(self) -> tuple[tuple[int, str], ...]:
        """(line, text) of every string that is no docstring."""
        notes = {id(doc) for node in self.nodes for doc in [_docstring(node)] if doc is not None}
        return tuple(
            (n.lineno, n.value)
            for n in self.nodes
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in notes
        )

    @cached_property
    def conditions(self) -> tuple[ast.expr, ...]:
        """Everything that chooses a path: tests of if, while, assert and `a if b else c`, and what match looks at."""
        tests = [n.test for n in self.nodes if isinstance(n, (ast.If, ast.IfExp, ast.While, ast.Assert))]
        tests += [test for n in self.nodes if isinstance(n, ast.comprehension) for test in n.ifs]
        return (*tests, *(n.subject for n in self.nodes if isinstance(n, ast.Match)))

    def names_of(self, holds: Holds, first: frozenset[str] = frozenset()) -> frozenset[str]:
        """Names that are given, directly or through other such names, a value for which `holds` is true.

        `holds` is asked of whole right sides; a right side that only renames or does sums with known names holds too.
        """
        known = set(first)
        known.update(name for target, value in self._bindings if holds(value) for name in _targets(target))
        for _ in range(PASSES):
            before = len(known)
            for target, value in self._bindings:
                if _derived(value, known):
                    known.update(_targets(target))
            if len(known) == before:
                break
        return frozenset(known)

    @cached_property
    def _bindings(self) -> tuple[tuple[ast.expr, ast.expr], ...]:
        """(target, value) of assignments and loops, tuples and `zip` taken apart where both sides show how."""
        found: list[tuple[ast.expr, ast.expr]] = []
        for node in self.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    found += _pairs(target, node.value)
            elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
                found.append((node.target, node.value))
            elif isinstance(node, (ast.For, ast.comprehension)):
                found += _pairs(node.target, _looped(node.iter))
        return tuple(found)


def mentions(node: ast.AST, names: frozenset[str] = frozenset(), attributes: tuple[str, ...] = ()) -> bool:
    """Whether one of the names or attributes stands anywhere in a piece of code."""
    return any(
        (isinstance(n, ast.Name) and n.id in names) or (isinstance(n, ast.Attribute) and n.attr in attributes)
        for n in ast.walk(node)
    )


def _derived(value: ast.expr, known: set[str]) -> bool:
    """Sums, comparisons and plain conversions of known names."""
    if isinstance(value, ast.Name):
        return value.id in known
    if isinstance(value, ast.Compare):
        return any(_derived(side, known) for side in (value.left, *value.comparators))
    if isinstance(value, ast.BinOp):
        return _derived(value.left, known) or _derived(value.right, known)
    if isinstance(value, ast.UnaryOp):
        return _derived(value.operand, known)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in ("int", "float", "str", "abs", "round", "bool") and any(
            _derived(a, known) for a in value.args
        )
    return False


def _looped(values: ast.expr) -> ast.expr:
    """What a loop hands out, as far as it can be told: zip(a, b) as the tuple (a, b), enumerate(a) as (0, a)."""
    if isinstance(values, ast.Call) and isinstance(values.func, ast.Name) and values.args:
        if values.func.id == "zip":
            return ast.Tuple(values.args, ast.Load())
        if values.func.id == "enumerate":
            return ast.Tuple([ast.Constant(0), _looped(values.args[0])], ast.Load())
    return values


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)
    if not both:
        return [(target, value)]
    assert isinstance(target, ast.Tuple)
    assert isinstance(value, ast.Tuple)
    return [pair for t, v in zip(target.elts, value.elts, strict=True) for pair in _pairs(t, v)]


def _targets(target: ast.expr) -> Iterator[str]:
    yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _docstring(node: ast.AST) -> ast.Constant | None:
    if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body:
        return None
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value
    return None
