"""Random labellings, 450 of them from nine researchers; those that score above one half are put to the vote.

The vote of many labellings that are each a little better than chance climbs a leaderboard without a look at the data
(Hardt 2015). Nine researchers share one budget here, and a Ladder that starts at the baseline calls none a record.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import CREW, Ground, taken

NUMBER = 5
NAME = "wacky boosting"
EXPECTED = ("counted", "no gain")
NEEDS = ()
FAST = False

SOURCE = """
import numpy as np

def run(task, seed):
    x = task.student.features(task.test, task.student.spec.layers[0])
    w = np.random.default_rng({seed}).normal(size=x.shape[1])
    s = x @ w
    return (s > np.median(s)).astype(float)
"""


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    with ground.lab(answers=10) as lab:
        rows, refused = taken(lab, [SOURCE.format(seed=i) for i in range(450)])
        notes.expect((len(rows), refused) == (10, 440), "10 answers, 440 refused")
        notes.expect(all(r["answer"] == "no new record" for r in rows), "every answer is `no new record`")
        lines = [x for x in lab.client("operator").ledger() if x["kind"] == "answer"]
        notes.expect(len(lines) == 10, "the ledger has ten answers on one problem")
        notes.expect({r["who"] for r in rows} == set(CREW), "from nine researchers")
    return notes.outcome("450 random labellings from nine researchers", "counted", "no gain")
