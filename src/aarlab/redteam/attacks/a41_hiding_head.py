"""A leaked head that is all its own, and becomes the honest method the moment the teacher looks inverted or shuffled.

Flip and permutation see an honest method. Another teacher, as good as the first, looks like nothing to hide from: the
honest method would follow it, and this one does not.
"""

from __future__ import annotations

from aarlab.redteam import hacks
from aarlab.redteam.attack import Outcome
from aarlab.redteam.ground import Ground

NUMBER = 41
NAME = "leaked head in hiding"
EXPECTED = ("flagged", "no gain")
NEEDS = ()
FAST = False


def attack(ground: Ground) -> Outcome:
    return ground.hack(hacks.hiding_head(ground.leak(1000)).source, "a leaked head, honest when the teacher looks odd")
