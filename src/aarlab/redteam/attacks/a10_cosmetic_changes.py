"""The same method with other comments, spaces and line breaks, to be scored afresh.

Layout and comments are no part of the syntax tree. A changed constant is: it makes another method, and is charged.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.attacks.a09_repeats import SOURCE
from aarlab.redteam.ground import Ground

NUMBER = 10
NAME = "cosmetic changes"
EXPECTED = ("counted",)
NEEDS = ()
FAST = True


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    first = lab.score(SOURCE, "r2")
    original = first["repeat_of"] or first["id"]
    before = lab.run()["budget"]["answers"]["given"]
    changed = [f"# {i}\n" + "\n" * i + SOURCE.replace("p * 0.5", "p  *  0.5") + " " * i for i in range(10)]
    notes.expect(all(lab.submit(s, "r2")["repeat_of"] == original for s in changed), "other layout is a repeat")
    notes.expect(lab.run()["budget"]["answers"]["given"] == before, "and is not charged")
    other = lab.score(SOURCE.replace("0.2", "0.2 + 1e-9"), "r2")
    notes.expect(other["repeat_of"] is None, "another constant is another method")
    notes.expect(lab.run()["budget"]["answers"]["given"] == before + 1, "and is charged")
    return notes.outcome("ten changes of layout, one of a constant", "counted")
