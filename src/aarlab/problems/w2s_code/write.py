"""Four authors, who write the same specification in four ways, with the element's and result's names varied."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from textwrap import indent

from aarlab.problems.w2s_code.pieces import RESULT_NAMES, Family, Reduction, Spec


@dataclass(frozen=True)
class Parts:
    """The code of one candidate, before an author arranges it. `element` is its name, or two names."""

    source: str
    element: tuple[str, ...]
    keep: str
    take: str
    reduction: Reduction
    names: dict[str, str]

    @property
    def target(self) -> str:
        return ", ".join(self.element)


def parts(family: Family, spec: Spec, rng: Random, element: tuple[str, ...] | None = None) -> Parts:
    """Choose among the ways to write each piece. `spec` is what the candidate computes, faulty or not."""
    names = {kind: rng.choice(choices) for kind, choices in RESULT_NAMES.items()}
    element = element or rng.choice(family.names)
    slots = {"x": element[0], "v": element[-1], "k": spec.k}
    return Parts(
        source=family.source,
        element=element,
        keep=rng.choice(family.keep[spec.keep].code).format(**slots),
        take=rng.choice(family.take[spec.take].code).format(**slots),
        reduction=family.reduce[spec.reduce],
        names=names,
    )


def compact(p: Parts) -> str:
    """One comprehension."""
    inner = f"{p.take} for {p.target} in {p.source} if {p.keep}"
    if p.reduction.call == "list({v})":
        return f"return [{inner}]"
    alone = p.reduction.lazy and p.reduction.call.endswith("({v})")
    return "return " + p.reduction.call.format(v=inner if alone else f"[{inner}]")


def loop(p: Parts) -> str:
    """One loop that collects as it goes."""
    simple = re.fullmatch(r"\w+|\w+\([^()]*\)", p.take)
    value = p.take if simple or p.reduction.step.count("{e}") == 1 else "y"
    step = p.reduction.step.format(e=value, **p.names)
    if value == "y":
        step = f"y = {p.take}\n{step}"
    start = p.reduction.start.format(**p.names)
    lines = [start] if start else []
    lines += [f"for {p.target} in {p.source}:", f"    if {p.keep}:", indent(step, " " * 8)]
    return "\n".join([*lines, "return " + p.reduction.result.format(**p.names)])


def functional(p: Parts) -> str:
    """filter and map."""
    chain = f"filter(lambda {_whole(p)}: {_access(p, p.keep)}, {p.source})"
    if p.take != p.target:
        chain = f"map(lambda {_whole(p)}: {_access(p, p.take)}, {chain})"
    return "return " + p.reduction.call.format(v=chain if p.reduction.lazy else f"list({chain})")


def stepwise(p: Parts) -> str:
    """First select, then change, then combine, each on its own line."""
    kept, out = p.names["kept"], p.names["out"]
    whole = f"({p.target})" if len(p.element) > 1 else p.target
    lines = [f"{kept} = [{whole} for {p.target} in {p.source} if {p.keep}]"]
    if p.take != p.target:
        lines.append(f"{out} = [{p.take} for {p.target} in {kept}]")
        kept = out
    final = kept if p.reduction.call == "list({v})" else p.reduction.call.format(v=kept)
    return "\n".join([*lines, f"return {final}"])


def _whole(p: Parts) -> str:
    return p.element[0] if len(p.element) == 1 else "e"


def _access(p: Parts, code: str) -> str:
    """A lambda takes an element with two parts whole and reads the parts by position."""
    if len(p.element) == 1:
        return code
    for position, name in enumerate(p.element):
        code = re.sub(rf"(?<![\w']){name}(?![\w'])", f"e[{position}]", code)
    return code


AUTHORS: dict[str, Callable[[Parts], str]] = {
    "compact": compact, "loop": loop, "functional": functional, "stepwise": stepwise,
}  # fmt: skip
"""Their order is the author id in audits."""


def function(family: Family, spec: Spec, body: str) -> str:
    """The whole text: signature, the specification's docstring, and a body."""
    return f'{head(family)}    """{family.docstring(spec)}"""\n{indent(body, " " * 4)}\n'


def head(family: Family) -> str:
    return f"def f({family.parameter}):\n"
