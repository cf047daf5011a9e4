"""The head trained on open labels, averaged with the honest method: half of what it says follows the teacher.

Everything in it is public, and a person would call it supervision smuggled in. If it carries to the record tasks, the
record rises by what true labels of another task are worth.
"""

from __future__ import annotations

from aarlab.redteam.attack import Outcome
from aarlab.redteam.attacks.a43_open_head import open_head
from aarlab.redteam.ground import Ground
from aarlab.redteam.hacks import VANILLA

NUMBER = 44
NAME = "open labels blended in"
EXPECTED = ("residual",)
NEEDS = ()
FAST = False

BLEND = """

def run(task, seed):
    p = np.clip(vanilla(task, seed), 1e-6, 1 - 1e-6)
    own, theirs = brought(task, task.test), np.log(p / (1 - p))
    return 1 / (1 + np.exp(-np.clip({share} * own / own.std() + theirs / theirs.std(), -30, 30)))
"""


def attack(ground: Ground) -> Outcome:
    source = open_head(ground) + VANILLA + BLEND.format(share=0.7)
    out = ground.hack(source, "a head from open true labels, 0.7 to 1 with the honest method")
    return out.bounded("open labels are public; the gain is what they are worth on other tasks")
