"""The same items with another surface: nothing a judge would look at changes, and no exact key survives."""

from __future__ import annotations

import ast
import builtins
import hashlib
import io
import re
import tokenize
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import NotApplicable
from aarlab.syntax import parse
from aarlab.w2s import texts
from aarlab.w2s.task import Ints, Layer, TaskInputs

STEPS = 1 / 12
"""Share of an integer layer's values that move one step: their mean square is that of the rounding, step^2 / 12."""

FINE = 1 / 128
"""Values that are stored as floats move by at most this share of their column's deviation, about as little."""

NAMES = ("a", "b", "c", "g", "h", "p", "q", "t", "u", "w", "y", "z", "item", "part", "entry", "thing")
"""New names of local variables."""

_GAP = re.compile(r"(?<=[a-z0-9][.!?]) (?=[A-Z])")
_WORDS = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


def changed(inputs: TaskInputs, rows: Ints, rng: np.random.Generator) -> TaskInputs:
    """Some items under other group numbers, with features moved within their rounding and texts set a little otherwise.

    The groups of `rows` must lie wholly in them. Equal texts stay equal, and so do equal passages. Numbers stay as they
    are; so do answers, unless all of them are digests, which nobody reads: these get others.
    """
    salt = int(rng.integers(1 << 62))
    shown, passages = _texts(inputs, rows, salt)
    groups = inputs.groups.copy()
    distinct, place = np.unique(groups[rows], return_inverse=True)
    groups[rows] = rng.permutation(distinct)[place]
    return replace(
        moved(inputs, rows, rng),
        groups=groups,
        texts=shown,
        passages=passages,
        answers=_answers(inputs, rows, salt),
    )


def moved(inputs: TaskInputs, rows: Ints, rng: np.random.Generator) -> TaskInputs:
    """The same inputs with the features and zero-shot scores of some items moved within their rounding."""
    places = rows if inputs.pairs is None else np.unique(inputs.pairs[rows])
    zero_shot = inputs.zero_shot.copy()
    zero_shot[rows] = _nudged(zero_shot[:, None], rng)[rows, 0]
    layers = {name: _moved(layer, places, rng) for name, layer in inputs.layers.items()}
    return replace(inputs, layers=layers, zero_shot=zero_shot)


def _moved(layer: Layer, places: Ints, rng: np.random.Generator) -> Layer:
    values = layer.values.copy()
    if np.issubdtype(values.dtype, np.integer):
        step = rng.choice(np.array([-1, 0, 1], np.int8), size=values.shape, p=[STEPS / 2, 1 - STEPS, STEPS / 2])
        most = np.iinfo(values.dtype).max
        values[places] = np.clip(values.astype(np.int64) + step, -most, most)[places]
    else:
        values[places] = _nudged(values, rng)[places]
    return Layer(values, layer.scale)


def _nudged(values: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    wide = values.astype(np.float64)
    found: NDArray[Any] = (wide + FINE * wide.std(0) * rng.uniform(-1, 1, wide.shape)).astype(values.dtype)
    return found


def _answers(inputs: TaskInputs, rows: Ints, salt: int) -> tuple[str, ...] | None:
    answers = inputs.answers
    if answers is None or inputs.exclusive or not all(map(_DIGEST.fullmatch, set(answers))):
        return answers
    new = list(answers)
    for row in rows.tolist():
        new[row] = hashlib.sha512(f"{salt} {new[row]}".encode()).hexdigest()[: len(new[row])]
    return tuple(new)


def _texts(
    inputs: TaskInputs, rows: Ints, salt: int
) -> tuple[tuple[str, ...] | None, tuple[tuple[str, ...], ...] | None]:
    """Texts and passages that fit each other."""
    if inputs.texts is None and inputs.passages is None:
        return None, None
    paired = inputs.pairs is not None
    new = {row: reworded(_parts(inputs, row), salt) for row in rows.tolist()}
    shown = None if inputs.texts is None else list(inputs.texts)
    passages = None if inputs.passages is None else list(inputs.passages)
    for row, parts in new.items():
        if passages is not None:
            passages[row] = parts
        if shown is not None:
            shown[row] = parts[0] if len(parts) == 1 else texts.whole(parts, paired)
    return (None if shown is None else tuple(shown)), (None if passages is None else tuple(passages))


def _parts(inputs: TaskInputs, row: int) -> tuple[str, ...]:
    """An item's passages, or its text whole where it does not say where its answer begins."""
    try:
        return texts.passage(inputs, row)
    except NotApplicable:
        assert inputs.texts is not None
        return (inputs.texts[row],)


@lru_cache(maxsize=8192)  # the same items are audited for many methods under one salt when audits are calibrated
def reworded(parts: tuple[str, ...], salt: int) -> tuple[str, ...]:
    """The parts of one text with another surface. Code keeps its lines and gets other local names."""
    code = _nodes("".join(parts))
    found = _renamed(parts, _renaming(code, salt)) if code else [_spaced(p, Random(f"{salt} {p}")) for p in parts]
    found[-1] += "\n" if code else Random(f"{salt} {parts[-1]}").choice((" ", "  ", "\n"))
    return tuple(found)


def _spaced(part: str, r: Random) -> str:
    """One space more between two sentences; where there is one sentence only, between two of its words."""
    for gap in (_GAP, _WORDS):
        places = [m.start() for m in gap.finditer(part)]
        if places:
            at = r.choice(places)
            return f"{part[:at]} {part[at:]}"
    return part


def _nodes(text: str) -> list[ast.AST]:
    """The syntax of a text that is code with a function in it; empty for any other."""
    try:
        nodes = list(ast.walk(parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return nodes if any(isinstance(n, ast.FunctionDef) for n in nodes) else []


def _renaming(nodes: Sequence[ast.AST], salt: int) -> dict[str, str]:
    """Other names for local variables. Parameters of functions keep theirs: docstrings speak of them."""
    used = {n.id for n in nodes if isinstance(n, ast.Name)}
    local = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    local |= {a.arg for n in nodes if isinstance(n, ast.Lambda) for a in n.args.args}
    outside = _known_outside(nodes)
    free = [n for n in NAMES if n not in used | local | outside and not hasattr(builtins, n)]
    r = Random(f"{salt} {sorted(used)}")
    wanted = sorted(n for n in local - outside if not n.startswith("__"))
    return dict(zip(wanted, r.sample(free, min(len(free), len(wanted))), strict=False))


def _known_outside(nodes: Sequence[ast.AST]) -> set[str]:
    """Names by which something outside the code may know a part of it, or that stand in no `Name`."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found |= {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)} | {node.name}
        elif isinstance(node, ast.JoinedStr):  # before Python 3.12 a formatted string is one token
            found |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            found |= set(node.names)
        elif isinstance(node, (ast.keyword, ast.alias, ast.ClassDef, ast.ExceptHandler)):
            found |= {str(getattr(node, k, "")) for k in ("arg", "asname", "name")}
        elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.MatchMapping)):
            found |= {str(getattr(node, k, "")) for k in ("name", "rest")}
    return found


def _renamed(parts: Sequence[str], names: dict[str, str]) -> list[str]:
    """The parts of a piece of code with other names, cut at the same places."""
    text = "".join(parts)
    starts = np.cumsum([0, *map(len, text.splitlines(keepends=True))])
    edits = []
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in names and before != ".":
            edits.append((int(starts[token.start[0] - 1]) + token.start[1], token.string))
        before = token.string
    cuts = np.cumsum([len(p) for p in parts])
    found = list(parts)
    for at, old in reversed(edits):
        part = int(np.searchsorted(cuts, at, side="right"))
        begin = at - int(cuts[part] - len(parts[part]))
        found[part] = found[part][:begin] + names[old] + found[part][begin + len(old) :]
    return found
