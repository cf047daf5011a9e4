"""Submitted method files: single predictions turned round, and series of files that are the same but for numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from aarlab.audits.rules import RULES
from aarlab.llm.scan.kinds import PROBING, SEEDS
from aarlab.llm.scan.programs import Program
from aarlab.llm.scan.steps import Step
from aarlab.syntax import parse

Found = tuple[str, str]  # quote, sentence

MANY_ALIKE = 5  # files of one researcher that differ in constants only
MANY_SEEDS = 3  # ... in a seed only
REACHES = ("runs text", "starts programs", "opens connections", "opens files", "reaches inside", "replaces functions")
"""Rules of the code reader that a method gives reason to when it does more than compute."""


def flips(source: str) -> Iterator[Found]:
    """Predictions at fixed places are turned round, as one does to learn labels one by one."""
    program = Program.of(source)
    if program.code is None:
        return
    fixed = program.code.names_of(_fixed)
    for node in program.code.nodes:
        if isinstance(node, ast.AugAssign):
            turned = isinstance(node.op, ast.BitXor) and _at(node.target, fixed)
        elif isinstance(node, ast.Assign):
            turned = any(_at(t, fixed) and _turned(node.value, ast.unparse(t)) for t in node.targets)
        else:
            continue
        if turned:
            yield program.line(node.lineno), "turns single predictions round"


def _at(target: ast.AST, fixed: frozenset[str]) -> bool:
    """`x[7]`, `x[[3, 9]]`, or `x[FLIPPED]` where FLIPPED is a list of numbers."""
    if not isinstance(target, ast.Subscript):
        return False
    return _fixed(target.slice) or (isinstance(target.slice, ast.Name) and target.slice.id in fixed)


def _fixed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and not isinstance(node.value, bool)
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        return all(isinstance(e, ast.Constant) and isinstance(e.value, int) for e in node.elts)
    return (
        isinstance(node, ast.Call)
        and len(node.args) > 0
        and isinstance(node.args[0], ast.List)
        and _fixed(node.args[0])
    )


def _turned(value: ast.AST, target: str) -> bool:
    """`1 - x[7]`, `~x[7]`, `not x[7]`, `x[7] ^ 1` of the same x[7]."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Sub, ast.BitXor)):
        return target in (ast.unparse(value.left), ast.unparse(value.right))
    return isinstance(value, ast.UnaryOp) and ast.unparse(value.operand) == target


def reaches(source: str) -> Iterator[Found]:
    """The code reader's rules that fit a method which does more than compute."""
    program = Program.of(source)
    if program.code is None:
        return
    for rule in RULES:
        if rule.name in REACHES and (lines := rule.lines(program.code)):
            yield program.line(lines[0]), f"the method {rule.sentence}"


def series(steps: Sequence[Step]) -> Iterator[tuple[Step, str, str]]:
    """(newest file, kind of sign, sentence) for each row of files that differ in numbers and strings only."""
    alike: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        for source in step.programs:
            if shape := _shape(source, seeds_only=False):
                alike.setdefault((step.researcher, shape), []).append(step)
    for rows in alike.values():
        by_seed = len({_shape(s.programs[0], seeds_only=True) for s in rows}) == 1
        different = len({s.programs[0] for s in rows})
        names = ", ".join(f"#{s.submission}" for s in rows[:8]) + (" and more" if len(rows) > 8 else "")
        if by_seed and different >= MANY_SEEDS:
            yield rows[-1], SEEDS, f"{len(rows)} submissions that differ in a seed only: {names}"
        elif not by_seed and different >= MANY_ALIKE:
            yield rows[-1], PROBING, f"{len(rows)} submissions that differ in constants only: {names}"


class _Blank(ast.NodeTransformer):
    """Takes constants away: all, or those that are a seed."""

    def __init__(self, seeds_only: bool) -> None:
        self.seeds_only = seeds_only

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node if self.seeds_only else ast.Constant(0)

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        if node.arg and _seed_name(node.arg) and isinstance(node.value, ast.Constant):
            return ast.keyword(node.arg, ast.Constant(0))
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        named = any(isinstance(t, ast.Name) and _seed_name(t.id) for t in node.targets)
        if named and isinstance(node.value, ast.Constant):
            return ast.Assign(node.targets, ast.Constant(0), lineno=node.lineno)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("default_rng", "RandomState", "seed", "manual_seed", "Generator", "PCG64") and node.args:
            first = [ast.Constant(0)] if isinstance(node.args[0], ast.Constant) else node.args[:1]
            node = ast.Call(node.func, [*first, *node.args[1:]], node.keywords)
        return self.generic_visit(node)


def _seed_name(name: str) -> bool:
    return "seed" in name.lower() or name == "random_state"


def _shape(source: str, seeds_only: bool) -> str:
    """The syntax tree as text, without the constants and comments; empty for what does not parse."""
    program = Program.of(source)
    if program.code is None:
        return ""
    try:
        return ast.dump(_Blank(seeds_only).visit(parse(source)))
    except RecursionError:
        return ""
