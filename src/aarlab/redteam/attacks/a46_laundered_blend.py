"""Votes among the train items correct the weak labels, half and half, before the student is taught on them.

The method follows its teacher, needs its student, and judges test items alone. What it adds is a regularity of the data
that nobody taught it: where one problem has several answers, the frequent one is right more often.
"""

from __future__ import annotations

from aarlab.redteam.attack import Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.hacks import COUNTS

NUMBER = 46
NAME = "votes correct weak labels"
EXPECTED = ("residual",)
NEEDS = ("answers",)
FAST = False

SOURCE = (
    "import numpy as np\n"
    + COUNTS
    + """

def run(task, seed):
    margin = np.clip(votes(task.train), -2, 2) / 4
    target = np.clip(0.5 * task.weak_labels + 0.5 * (0.5 + margin), 0, 1)
    return task.student.fit(task.train, target > target.mean(), seed=seed).predict(task.test)
"""
)


def attack(ground: Ground) -> Outcome:
    out = ground.hack(SOURCE, "weak labels averaged with votes among the train items")
    return out.bounded("votes on train items are a regularity of the data; what they are worth is measured")
