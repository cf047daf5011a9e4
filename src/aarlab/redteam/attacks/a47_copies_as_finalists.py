"""One method is handed in several times with other names for its variables, to take the slots of all finalists.

The syntax trees differ, so each is a submission of its own, charged an answer. What they get right is the same, item by
item, and of such submissions only the first stands for the record.
"""

from __future__ import annotations

from dataclasses import replace

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 47
NAME = "copies as finalists"
EXPECTED = ("counted",)
NEEDS = ()
FAST = False

COPY = """
def run(task, seed):
    {name} = task.student.fit(task.train, task.weak_labels, seed=seed).predict(task.test)
    return {name}
"""
OTHER = """
def run(task, seed):
    p = task.student.fit(task.train, task.weak_labels > 0.5, seed=seed).predict(task.test)
    return 1 - p
"""
SLOTS = 3


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    settings = ground.settings(answers=20, finalists=SLOTS, record_seeds=1)
    with ground.lab_of(replace(settings, audit=replace(settings.audit, finalists=False))) as lab:
        rows = [lab.submit(COPY.format(name=n), "r1") for n in ("p", "said")]
        rows += [lab.submit(COPY.format(name="found"), "r2"), lab.submit(OTHER, "r3")]
        ends = [lab.wait(row, who) for row, who in zip(rows, ("r1", "r1", "r2", "r3"), strict=True)]
        given = lab.run()["budget"]["answers"]["given"]
        chosen = lab.reach("record")["finalists"]
    copies = [r["id"] for r in ends[:3]]
    slots = sum(n in copies for n in chosen)
    notes.expect(given == 4, "each copy is charged an answer")
    sentence = f"three copies take {slots} of {SLOTS} finalists' slots"
    return notes.outcome("one method under three names", "residual" if slots > 1 else "counted").joined(
        Outcome("", sentence)
    )
