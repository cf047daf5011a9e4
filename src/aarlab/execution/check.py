"""Judging a method file at the door, by its syntax tree only: nothing of it is ever executed here."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping

from aarlab.errors import MethodError
from aarlab.execution.payload import REMEDY, amounts
from aarlab.syntax import parse

MOST_BYTES = 64 * 1024
HOW = "a method file has `def run(task, seed)`"


def check_source(source: str) -> None:
    """Raises MethodError: too-large, syntax (with the line) or no-run."""
    try:
        size = len(source.encode())
    except UnicodeEncodeError as error:
        raise MethodError("syntax", f"the file is not text: {error.reason} at character {error.start}") from None
    if size > MOST_BYTES:
        raise MethodError("too-large", f"the file has {size} bytes; at most {MOST_BYTES} are allowed")
    tree = _parse(source)
    _dump(tree)
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"]
    if not found:
        raise MethodError("no-run", f"no function `run` at the top of the file; {HOW}")
    _check_arguments(found[-1])


def check_payload(source: str, limits: Mapping[str, float]) -> None:
    """Raises MethodError payload where a file that passed `check_source` carries more data than `limits` allow."""
    over = [a for a in amounts(source, limits) if a.ratio > 1]
    if over:
        worst = max(over, key=lambda a: a.ratio)
        raise MethodError("payload", f"the file holds {worst.sentence}; {REMEDY[worst.name]}")


def normalise(source: str) -> str:
    """SHA-256 of the syntax tree: equal for files that differ in comments and layout only. Raises MethodError."""
    return hashlib.sha256(_dump(_parse(source)).encode("utf-8", "surrogatepass")).hexdigest()


def _parse(source: str) -> ast.Module:
    try:
        return parse(source)
    except SyntaxError as error:
        raise MethodError("syntax", f"line {error.lineno or 1}: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise MethodError("syntax", "an expression is nested too deeply to be read") from None
    except ValueError as error:
        raise MethodError("syntax", f"the file cannot be read as Python: {error}") from None


def _dump(tree: ast.Module) -> str:
    try:
        return ast.dump(tree)
    except RecursionError:
        raise MethodError("syntax", "an expression is nested too deeply to be read") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise MethodError("syntax", f"the file cannot be read as Python: {error}") from None


def _check_arguments(function: ast.FunctionDef) -> None:
    """`run(task, seed)` must be a possible call."""
    a = function.args
    positional = len(a.posonlyargs) + len(a.args)
    required = positional - len(a.defaults)
    keyword_only = [k.arg for k, default in zip(a.kwonlyargs, a.kw_defaults, strict=True) if default is None]
    if required > 2 or keyword_only or (positional < 2 and a.vararg is None):
        raise MethodError("no-run", f"line {function.lineno}: `run` cannot be called as run(task, seed); {HOW}")
