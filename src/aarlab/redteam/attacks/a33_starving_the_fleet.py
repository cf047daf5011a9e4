"""One researcher burns the fleet's budget with junk, so that the others are blind.

Each has a share that nobody else can take; the burner gets its own and what is promised to nobody.
"""

from __future__ import annotations

from aarlab.errors import BudgetSpent
from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.attacks.a08_fresh_accounts import SOURCE
from aarlab.redteam.ground import CREW, Ground

NUMBER = 33
NAME = "starving the fleet"
EXPECTED = ("counted",)
NEEDS = ()
FAST = True


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    with ground.lab(answers=20) as lab:
        burnt = 0
        for i in range(40):
            try:
                lab.submit(SOURCE.format(value=0.1 + i / 1000), "r1")
                burnt += 1
            except BudgetSpent:
                continue
        notes.expect(burnt == 4, f"one researcher gets {burnt} of 20: its share of 2, and 2 promised to nobody")
        left = [lab.client(who).budget()["answers"]["left_for_you"] for who in CREW[1:]]
        notes.expect(left == [2] * 8, "each of the others still has 2")
        for who in CREW[1:3]:
            notes.expect(not lab.refusal(SOURCE.format(value=f"0.5 + len({who!r}) / 1e6"), who), "and can use them")
    return notes.outcome("40 junk submissions by one of nine", "counted")
