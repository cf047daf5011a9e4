"""Many items are turned round at once, by a design that tells every label from fewer answers than there are items.

With exact counts 128 answers give away 256 labels for certain. The same design on ten rounded answers sees no change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.practice import Guesses, List, Lists, detecting, weighed

NUMBER = 3
NAME = "coin weighing"
EXPECTED = ("counted",)
NEEDS = ()
FAST = True


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    with ground.lab(practice=10) as lab:
        lists = Lists(ground, lab)
        count = len(lists.own)

        def counted(predictions: List) -> int | None:
            answer = lists.ask(predictions)
            return None if answer is None else round(answer * count)

        better = _decoded(lists, counted, 3)
    lists.check(notes, better)
    alone = _decoded(lists, lists.right, 6)
    known = detecting(6).shape[1]
    complete = bool((alone[lists.surest[::-1][:known]] == lists.truth[lists.surest[::-1][:known]]).all())
    notes.expect(complete, f"exact counts give {known} labels for 129 answers: {lists.pgr(alone):+.2f} PGR")
    return notes.outcome("a detecting design on the least sure items, 10 answers by nine researchers", "counted")


def _decoded(guesses: Guesses, count: Callable[[List], int | None], levels: int) -> List:
    """The own list with the items turned round that the weighings say are wrong."""
    design = detecting(levels)
    items = guesses.surest[::-1][: design.shape[1]]
    first = count(guesses.own) or 0
    sums = np.zeros(len(design), np.int64)
    for row, weights in enumerate(design):
        for sign in (1, -1):
            pan = items[weights == sign]
            if len(pan) and (answer := count(guesses.turned(pan))) is not None:
                sums[row] += sign * (answer - first + len(pan)) // 2  # how many of the pan were wrong
    return guesses.turned(items[weighed(sums, levels) == 1])
