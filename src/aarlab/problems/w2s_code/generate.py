"""Draw specifications and candidates, and label them by running tests. Everything follows from one seed."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from aarlab.problems.w2s_code import judge, write
from aarlab.problems.w2s_code.families import FAMILIES
from aarlab.problems.w2s_code.pieces import SLOTS, Family, Spec

CANDIDATES = 6
"""Candidates drawn for a specification; equal texts count once."""
FAULTS = {"compact": 0.39, "loop": 0.45, "functional": 0.53, "stepwise": 0.47}
"""How often each author means something else than the docstring says. The rates overlap in what tests find."""

SINGLE = 0.5
"""Share of faulty candidates with one wrong piece; the others have two."""


@dataclass(frozen=True)
class Item:
    """One candidate with its label. `answer` is the body with its names made uniform, as a short digest."""

    text: str
    prefix: str  # up to and with the docstring
    bare: str  # the same function without its docstring
    label: int
    author: int
    spec: str
    answer: str


def share(spec: Spec) -> float:
    """A number in [0, 1) that belongs to a specification whatever the seed, so that tasks stay disjoint for ever."""
    return int.from_bytes(hashlib.sha256(spec.key.encode()).digest()[:4]) / 2**32


def draw_specs(family: Family, count: int, rng: Random, within: tuple[float, float] = (0.0, 1.0)) -> list[Spec]:
    """`count` different specifications whose `share` falls `within` the half-open range."""
    pool = [s for s in family.specs() if within[0] <= share(s) < within[1]]
    # Specifications with many constants would crowd out the rest: a constant's share is that of its piece.
    order = sorted(pool, key=lambda s: rng.random() ** max(1, len(family.keep[s.keep].constants)), reverse=True)
    return order[:count]


def faulty(family: Family, spec: Spec, rng: Random) -> Spec:
    """Another specification of the family: one or two pieces differ, or one piece and the constant."""
    while True:
        changed = spec
        for slot in rng.sample(SLOTS, 1 if rng.random() < SINGLE else 2):
            others = [name for name in getattr(family, slot) if name != getattr(spec, slot)]
            changed = replace(changed, **{slot: rng.choice(others)})
        constants = family.keep[changed.keep].constants
        if constants and changed.k not in constants:
            changed = replace(changed, k=rng.choice(constants))
        if not constants:
            changed = replace(changed, k=None)
        if family.sensible(changed.take, changed.reduce):
            return changed


def normal_body(text: str) -> str:
    """The body without docstring, with every name but builtins and methods numbered in order of first use."""
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    nodes = list(ast.walk(function))
    bound = {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.arg):
            node.arg = names.setdefault(node.arg, f"v{len(names)}")
        if isinstance(node, ast.Name) and node.id in bound:
            node.id = names.setdefault(node.id, f"v{len(names)}")
    return ast.unparse(function)


def digest(text: str) -> str:
    return hashlib.sha256(normal_body(text).encode()).hexdigest()[:10]


def candidates(family: Family, spec: Spec, rng: Random, count: int = CANDIDATES) -> list[Item]:
    """Candidates of one specification with their labels; none where its tests say too little."""
    tests = judge.cases(family, spec, rng)
    found: dict[str, Item] = {}
    for _ in range(count if tests else 0):
        author = rng.randrange(len(write.AUTHORS))
        name = list(write.AUTHORS)[author]
        meant = faulty(family, spec, rng) if rng.random() < FAULTS[name] else spec
        body = write.AUTHORS[name](write.parts(family, meant, rng))
        text = write.function(family, spec, body)
        if text in found:
            continue
        bare = write.head(family) + text.split('"""\n', 1)[1]
        found[text] = Item(
            text=text,
            prefix=text[: text.index('"""\n') + 4],
            bare=bare,
            label=int(judge.passes(text, tests)),
            author=author,
            spec=spec.key,
            answer=digest(text),
        )
    return list(found.values())


def draw_items(
    family: str, sizes: Sequence[int], seed: int, within: tuple[float, float] = (0.0, 1.0)
) -> list[list[Item]]:
    """Several lists of items of the given sizes, no specification in two of them; see `draw_specs` for `within`."""
    rng = Random(f"{family}/{seed}")
    kind = FAMILIES[family]
    wanted = 2 * sum(sizes) // CANDIDATES + 50
    specs = iter(draw_specs(kind, wanted, rng, within))
    out: list[list[Item]] = []
    for size in sizes:
        part: list[Item] = []
        while len(part) < size:
            part += candidates(kind, next(specs), rng)
        out.append(part[:size])
    return out
