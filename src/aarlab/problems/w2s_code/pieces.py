"""What specifications are made of: interchangeable pieces, each with its words, its code and its meaning.

A specification chooses one piece of each kind: which elements (`keep`), what is taken of each (`take`) and what is made
of all (`reduce`). Words make the docstring, code makes candidate bodies, and `mean`, plain
Python functions that never see any candidate, makes the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

Slot = str
SLOTS: tuple[Slot, ...] = ("keep", "take", "reduce")


@dataclass(frozen=True)
class Piece:
    """One choice for a slot.

    `code` lists ways to write it, over the element's names and, as `{k}`, the specification's constant. `kind` is the
    type that a `take` yields. `constants` are the values `{k}` may have; empty where the piece has none.
    """

    words: str
    code: tuple[str, ...]
    mean: Callable[..., Any]
    kind: str = ""
    constants: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Reduction:
    """What is made of the taken values.

    `call` is an expression over a list `{v}`; `lazy` says that any iterable will do. `start`, `step` and `result` are
    the same as a loop over single values `{e}`. `accepts` are the kinds of value it is defined for.
    """

    words: str
    call: str
    start: str
    step: str
    result: str
    mean: Callable[[list[Any]], Any]
    accepts: tuple[str, ...]
    lazy: bool = False


@dataclass(frozen=True)
class Spec:
    """One specification, by the names of its pieces and its constant. Its `key` is the same wherever it is drawn."""

    family: str
    keep: str
    take: str
    reduce: str
    k: Any

    @property
    def key(self) -> str:
        return f"{self.family}/{self.keep}/{self.take}/{self.reduce}/{self.k}"


@dataclass(frozen=True)
class Family:
    """Functions of one kind: tables of pieces, and how an input is drawn.

    `source` is the code of what loops run over, `elements` the same as a function. `names` are the element's names that
    authors choose from, one for each part of an element. `sentence` joins the words into a docstring.
    """

    name: str
    parameter: str
    sentence: str
    source: str
    elements: Callable[[Any], list[Any]]
    names: tuple[tuple[str, ...], ...]
    keep: dict[str, Piece]
    take: dict[str, Piece]
    reduce: dict[str, Reduction]
    draw_input: Callable[[Random, Any], Any]
    edge_inputs: Callable[[Any], list[Any]]

    def specs(self) -> list[Spec]:
        """Every specification of this family, in a fixed order."""
        return [
            Spec(self.name, keep, take, reduce, k)
            for keep, piece in self.keep.items()
            for take in self.take
            for reduce in self.reduce
            if self.sensible(take, reduce)
            for k in piece.constants or (None,)
        ]

    def sensible(self, take: str, reduce: str) -> bool:
        """Whether a reduction is defined for what a take yields, and the take matters (to a count it does not)."""
        if reduce == "count" and take != next(iter(self.take)):
            return False
        return self.take[take].kind in self.reduce[reduce].accepts

    def docstring(self, spec: Spec) -> str:
        words = self.sentence.format(
            keep=self.keep[spec.keep].words.format(k=spec.k),
            take=self.take[spec.take].words,
            reduce=self.reduce[spec.reduce].words,
        )
        return " ".join(words.split())

    def reference(self, spec: Spec) -> Callable[[Any], Any]:
        """The specification as a function. It may raise where the specification says nothing (largest of none)."""
        keep, take, reduction = self.keep[spec.keep], self.take[spec.take], self.reduce[spec.reduce]

        def run(value: Any) -> Any:
            kept = [e for e in self.elements(value) if keep.mean(e, spec.k)]
            return reduction.mean([take.mean(e) for e in kept])

        return run


RESULT_NAMES: dict[str, tuple[str, ...]] = {
    "out": ("out", "result"),
    "total": ("total", "acc"),
    "kept": ("kept", "chosen"),
    "best": ("best", "found"),
}
"""Names of the variables that hold results, for authors to choose from."""


def longest(values: list[str]) -> str:
    return max(values, key=len)


def product(values: list[int]) -> int:
    out = 1
    for value in values:
        out *= value
    return out


def tally(values: list[Any]) -> dict[Any, int]:
    return {value: values.count(value) for value in values}


REDUCTIONS: dict[str, Reduction] = {
    "sum": Reduction(
        "the sum of the", "sum({v})", "{total} = 0", "{total} += {e}", "{total}", sum, ("int",), lazy=True
    ),
    "product": Reduction(
        "the product of the", "math.prod({v})", "{total} = 1", "{total} *= {e}", "{total}", product, ("int",), lazy=True
    ),
    "largest": Reduction(
        "the largest of the",
        "max({v})",
        "{best} = None",
        "if {best} is None or {e} > {best}:\n    {best} = {e}",
        "{best}",
        max,
        ("int",),
        lazy=True,
    ),
    "smallest": Reduction(
        "the smallest of the",
        "min({v})",
        "{best} = None",
        "if {best} is None or {e} < {best}:\n    {best} = {e}",
        "{best}",
        min,
        ("int",),
        lazy=True,
    ),
    "count": Reduction(
        "the number of",
        "len({v})",
        "{total} = 0",
        "{total} += 1",
        "{total}",
        len,
        ("int", "str"),
    ),
    "distinct": Reduction(
        "how many different values there are among the",
        "len(set({v}))",
        "{out} = set()",
        "{out}.add({e})",
        "len({out})",
        lambda values: len(set(values)),
        ("int", "str"),
        lazy=True,
    ),
    "list": Reduction(
        "a list of the", "list({v})", "{out} = []", "{out}.append({e})", "{out}", list, ("int", "str"), lazy=True
    ),
    "sorted": Reduction(
        "a sorted list of the",
        "sorted({v})",
        "{out} = []",
        "{out}.append({e})",
        "sorted({out})",
        sorted,
        ("int", "str"),
        lazy=True,
    ),
    "descending": Reduction(
        "a list, in descending order, of the",
        "sorted({v}, reverse=True)",
        "{out} = []",
        "{out}.append({e})",
        "sorted({out}, reverse=True)",
        lambda values: sorted(values)[::-1],
        ("int",),
        lazy=True,
    ),
    "first": Reduction(
        "the first of the",
        "{v}[0]",
        "",
        "return {e}",
        "None",
        lambda values: values[0],
        ("int", "str"),
    ),
    "last": Reduction(
        "the last of the",
        "{v}[-1]",
        "{best} = None",
        "{best} = {e}",
        "{best}",
        lambda values: values[-1],
        ("int", "str"),
    ),
    "longest": Reduction(
        "the longest of the",
        "max({v}, key=len)",
        "{best} = None",
        "if {best} is None or len({e}) > len({best}):\n    {best} = {e}",
        "{best}",
        longest,
        ("str",),
        lazy=True,
    ),
    "shortest": Reduction(
        "the shortest of the",
        "min({v}, key=len)",
        "{best} = None",
        "if {best} is None or len({e}) < len({best}):\n    {best} = {e}",
        "{best}",
        lambda values: min(values, key=len),
        ("str",),
        lazy=True,
    ),
    "dashes": Reduction(
        "a string that joins, with dashes, the",
        "'-'.join({v})",
        "{out} = []",
        "{out}.append({e})",
        "'-'.join({out})",
        "-".join,
        ("str",),
        lazy=True,
    ),
    "spaces": Reduction(
        "a string that joins, with spaces, the",
        "' '.join({v})",
        "{out} = []",
        "{out}.append({e})",
        "' '.join({out})",
        " ".join,
        ("str",),
        lazy=True,
    ),
    "tally": Reduction(
        "a dictionary that counts the",
        "dict(Counter({v}))",
        "{out} = {{}}",
        "{out}[{e}] = {out}.get({e}, 0) + 1",
        "{out}",
        tally,
        ("int", "str"),
        lazy=True,
    ),
}
"""All reductions; a family picks the ones that make sense for its values."""
