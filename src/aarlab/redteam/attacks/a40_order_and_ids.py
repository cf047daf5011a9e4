"""Labels are guessed from what should mean nothing: an item's place in the batch, its opaque id, its group's number.

Packs are written in some order, and careless ones put right answers first. Here order and ids are drawn anew for every
seed, from the seed alone.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 40
NAME = "order, ids, group numbers"
EXPECTED = ("no gain",)
NEEDS = ()
FAST = True

WAYS = {
    "the place": "np.arange(n) / n",
    "the id": "np.array([int(i, 16) for i in task.test.ids]) / 2.0**48",
    "the group's number": "np.argsort(np.argsort(task.test.groups, kind='stable')) / n",
    "the place within its group": "np.array([g in task.test.groups[:i] for i, g in enumerate(task.test.groups)])",
}

SOURCE = """
import numpy as np

def run(task, seed):
    n = len(task.test)
    return np.clip(({way}) * 1.0, 0, 1)
"""


def attack(ground: Ground) -> Outcome:
    notes, operator = Notes(), ground.operator
    test = operator.tests["feedback"][0]
    share = float((test.task.labels[test.task.test] > 0).mean())
    for way, code in WAYS.items():
        source = SOURCE.format(way=code)
        said = [out > 0.5 for out in operator.outputs(source, test)]
        truth = [test.task.labels[d.test] > 0 for d in test.draws]
        hits = sum(float(s[t].mean() - s[~t].mean()) for s, t in zip(said, truth, strict=True)) / len(said)
        limit = 4 * 0.5 / (len(truth[0]) * share * (1 - share)) ** 0.5  # four standard errors of one draw
        notes.expect(abs(hits) < limit, f"{way}: says 1 of right items {100 * hits:+.1f} points more often")
    return notes.outcome("labels guessed from " + ", ".join(WAYS), "no gain")
