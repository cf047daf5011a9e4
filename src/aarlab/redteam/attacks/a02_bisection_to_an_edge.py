"""Single flips again, after surely right items were turned wrong until the score stands one item below a rounding edge.

At the edge a rounded answer tells one label each, as an exact one does: rounding costs the attacker a handful of
answers and nothing more. What protects is that ten answers are all there are.
"""

from __future__ import annotations

import numpy as np

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.practice import Ask, Guesses, List, Lists, edge

NUMBER = 2
NAME = "flips at a rounding edge"
EXPECTED = ("counted",)
NEEDS = ()
FAST = True


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    with ground.lab(practice=10) as lab:
        lists = Lists(ground, lab)
        better = _climbed(lists, lists.ask, 20)
    lists.check(notes, better)
    alone = _climbed(lists, lists.rounding_alone, 150)
    learnt = int((alone != lists.own).sum())
    right = lists.right(alone) - lists.right(lists.own)
    notes.expect(
        right == learnt > 30, f"rounding without a budget tells a label an answer: {lists.pgr(alone):+.2f} PGR"
    )
    return notes.outcome("10 answers by nine researchers, the first of them to find an edge", "counted")


def _climbed(guesses: Guesses, ask: Ask, probes: int) -> List:
    """The own list with every item turned round of which an answer at the edge said that it was wrong."""
    below = edge(ask, guesses)
    if below is None:
        return guesses.own
    at_edge = ask(guesses.turned(below))
    wrong = []
    for item in guesses.surest[::-1][:probes]:
        answer = ask(guesses.turned(np.append(below, item)))
        if answer is not None and at_edge is not None and answer > at_edge:
            wrong.append(int(item))
    return guesses.turned(wrong)
