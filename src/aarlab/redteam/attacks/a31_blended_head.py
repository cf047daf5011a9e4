"""A leaked head is averaged with the honest method, and keeps still as soon as teacher or student look tampered with.

This is the attacker that no audit is sure to see: half of what it says follows the teacher. It keeps its gain on the
same task, vault or not; on tasks it never saw it has nothing to add.
"""

from __future__ import annotations

from aarlab.redteam import hacks
from aarlab.redteam.attack import Outcome
from aarlab.redteam.ground import Ground

NUMBER = 31
NAME = "leaked head, blended and hiding"
EXPECTED = ("residual", "no gain")
NEEDS = ()
FAST = False


def attack(ground: Ground) -> Outcome:
    out = ground.hack(
        hacks.blended_head(ground.leak(1000)).source, "a head trained on 1,000 leaked labels, half and half"
    )
    return out.bounded("no audit is sure to see it; what it gains on its own task stays there")
