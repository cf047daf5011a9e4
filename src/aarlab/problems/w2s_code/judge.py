"""Whether a candidate does what its specification says: run both, step by step limited, and compare.

Only text that this package's own templates wrote is ever run here, at build time. Nothing that a researcher sends
comes near this module.
"""

from __future__ import annotations

import copy
import math
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

from aarlab.problems.w2s_code.pieces import Family, Spec

STEPS = 20_000
"""Lines a candidate may execute on one input."""
TESTS = 24
"""Random inputs a label rests on, besides the family's edge cases."""


class TooManySteps(Exception):
    """A candidate did not end in time."""


def load(text: str) -> Callable[[Any], Any]:
    """The function `f` of a candidate's text."""
    scope: dict[str, Any] = {"math": math, "Counter": Counter}
    exec(compile(text, "<candidate>", "exec"), scope)
    found: Callable[[Any], Any] = scope["f"]
    return found


def call(function: Callable[[Any], Any], value: Any, steps: int = STEPS) -> Any:
    """Run on a copy of the input (flat, so a shallow one). Raises what the candidate raises, or TooManySteps."""
    left = steps

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooManySteps(f"more than {steps} steps")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return function(copy.copy(value))
    finally:
        sys.settrace(before)


def same(a: Any, b: Any) -> bool:
    """Equal value and equal type."""
    return type(a) is type(b) and bool(a == b)


def cases(family: Family, spec: Spec, rng: Random, tests: int = TESTS) -> list[tuple[Any, Any]]:
    """Inputs with the answers the specification demands; at least `tests` random ones.

    Inputs on which it demands nothing (the largest of no numbers) are left out. Fewer come back only where the
    specification says something too rarely; such specifications are not used.
    """
    reference = family.reference(spec)
    found = []
    for value in family.edge_inputs(spec.k):
        found += _case(reference, value)
    edge = len(found)
    for _ in range(4 * tests):
        if len(found) - edge < tests:
            found += _case(reference, family.draw_input(rng, spec.k))
    return found if len(found) - edge >= tests else []


def _case(reference: Callable[[Any], Any], value: Any) -> list[tuple[Any, Any]]:
    try:
        return [(value, reference(copy.copy(value)))]
    except (ValueError, IndexError):
        return []


def passes(text: str, tests: list[tuple[Any, Any]]) -> bool:
    """Whether a candidate answers every case."""
    function = load(text)
    for value, wanted in tests:
        try:
            if not same(call(function, value), wanted):
                return False
        except Exception:  # whatever it raises, it did not answer
            return False
    return True
