"""The same method a hundred times, so that the noise of the score averages out.

An answer is kept with the hash of the syntax tree: a repeat gets the first answer, runs nothing and is not charged.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import CREW, Ground

NUMBER = 9
NAME = "a hundred repeats"
EXPECTED = ("counted",)
NEEDS = ()
FAST = True

SOURCE = """
def run(task, seed):
    p = task.student.fit(task.train, task.weak_labels, seed=seed).predict(task.test)
    return p * 0.5 + 0.2
"""


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    first = lab.score(SOURCE, "r1")
    before = lab.run()["budget"]["answers"]["given"]
    again = [lab.submit(SOURCE, CREW[i % 9]) for i in range(100)]
    same = all((r["answer"], r["repeat_of"]) == (first["answer"], first["id"]) for r in again)
    notes.expect(same, "a hundred repeats get the first answer")
    notes.expect(lab.run()["budget"]["answers"]["given"] == before, "none is run or charged")
    return notes.outcome("one method a hundred times, by nine researchers", "counted")
