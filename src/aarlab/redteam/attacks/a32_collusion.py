"""Nine researchers each find out another ninth of the items, and one file holds the union.

No single one asks for much. Answers are counted for all of them together, and a union of tables is a table.
"""

from __future__ import annotations

import numpy as np

from aarlab.redteam import hacks
from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.practice import Lists

NUMBER = 32
NAME = "nine leaks united"
EXPECTED = ("counted", "flagged", "no gain")
NEEDS = ()
FAST = False


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    with ground.lab(practice=10) as lab:
        lists = Lists(ground, lab)
        for ninth in np.array_split(lists.surest, 9):
            for item in ninth[:3]:
                lists.ask(lists.turned([int(item)]))
        notes.expect((lists.given, lists.refused) == (10, 17), "27 asks of nine researchers: 10 answers, 17 refused")
    counted = notes.outcome("each asks for its own ninth", "counted")
    leak = ground.leak(477)
    parts = [hacks.Leak(leak.task, rows) for rows in np.array_split(leak.rows, 9)]
    union = hacks.Leak(leak.task, np.concatenate([p.rows for p in parts]))
    return ground.hack(hacks.label_table(union).source, "nine leaks of 53 labels in one table").joined(counted)
