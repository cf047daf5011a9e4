"""Careless solvers: each works a problem out step by step and now and then makes one slip.

Every problem also has a trap: one wrong way to work it out that most of those who slip fall into. So the answer that
most solvers give is often right and sometimes the trap; "take the most common answer" is a shortcut to be studied.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from aarlab.problems.w2s_math.stories import Story, apply

SLIP_RATES = (0.15, 0.3, 0.4, 0.5, 0.6, 0.75)
"""One solver each, on a problem of middling difficulty."""

DIFFICULTY = (-0.35, 0.0, 0.35)
"""Added to every solver's slip rate, drawn per problem."""

TRAPPED = 0.6
"""Share of slips that are the problem's trap."""

SLIPS = ("none", "operation", "read", "carry", "count")

Line = tuple[int, str, int, int]
"""Left, operation, right, and what the solver made of it."""


@dataclass(frozen=True)
class Solution:
    """A worked answer: its text, the number it ends in, which solver wrote it and the slip it contains."""

    text: str
    answer: int
    solver: int
    slip: str


def solve_all(r: random.Random, story: Story) -> list[Solution]:
    """What every solver writes to one problem."""
    difficulty, trap = r.choice(DIFFICULTY), _slip(r, story)
    out = []
    for solver, rate in enumerate(SLIP_RATES):
        if r.random() >= rate + difficulty:
            slip, lines = "none", _work(r, story, "none")
        else:
            slip, lines = trap if r.random() < TRAPPED else _slip(r, story)
        assert lines is not None  # without a slip no answer is negative
        out.append(Solution(_write(r, lines), lines[-1][3], solver, slip))
    return out


def _slip(r: random.Random, story: Story) -> tuple[str, list[Line]]:
    while True:
        slip = r.choice(SLIPS[1:])
        lines = _work(r, story, slip)
        if lines is not None:
            return slip, lines


def _work(r: random.Random, story: Story, slip: str) -> list[Line] | None:
    """One attempt; None where a slip leads to a negative number or to a division that leaves a rest."""
    slipped, value, lines = r.randrange(len(story.steps)), story.start, []
    for number, (op, other) in enumerate(story.steps):
        left, right, sign = (other, value, "-") if op == "r-" else (value, other, op)
        here = slip if number == slipped else "none"
        if here == "read":
            left, right = _misread(r, left, right)
        if here == "operation":
            sign = r.choice([s for s in "+-*/" if s != sign and (s != "/" or sign == "*")])
            left, right = (right, left) if sign == "-" and left < right else (left, right)
        if right < 1 or (sign == "/" and left % right):
            return None
        value = apply(sign, left, right) + _miscount(r, here)
        if value < 0:
            return None
        lines.append((left, sign, right, value))
    return lines


def _misread(r: random.Random, left: int, right: int) -> tuple[int, int]:
    """One of the two numbers a little wrong, or with its digits exchanged."""
    first = r.random() < 0.5
    number = left if first else right
    swapped = int(str(number)[::-1])
    wrong = r.choice([number + d for d in (-10, 10, -2, -1, 1, 2) if number + d > 0] + [swapped] * (swapped != number))
    return (wrong, right) if first else (left, wrong)


def _miscount(r: random.Random, slip: str) -> int:
    if slip == "carry":
        return r.choice((-10, 10))
    return r.choice((-2, -1, 1, 2)) if slip == "count" else 0


def _write(r: random.Random, lines: list[Line]) -> str:
    """The sums; which number of a sum or product comes first says nothing about being right."""
    out = []
    for left, sign, right, value in lines:
        a, b = (right, left) if sign in "+*" and r.random() < 0.5 else (left, right)
        out.append(f"{a} {sign} {b} = {value}")
    return ", ".join(out)
