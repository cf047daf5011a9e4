"""A run on hidden inputs fails in a chosen way: what went wrong is a word that its researcher reads.

Eight different ends make three bits, and a failed run is not charged an answer. Labels are nowhere in the sandbox, so
only inputs can be told; the limit on submissions bounds how much.
"""

from __future__ import annotations

import math

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground
from aarlab.settings import Budget

NUMBER = 38
NAME = "failing in a chosen way"
EXPECTED = ("residual",)
NEEDS = ()
FAST = True

SOURCE = """
import numpy as np

def run(task, seed):
    n = len(task.test)
    secret = int(np.floor(1e6 * abs(float(np.mean(np.sort(task.test.zero_shot())))))) // {digit} % 6
    if secret == 0:
        raise ValueError
    if secret == 1:
        return np.full(n, np.nan)
    if secret == 2:
        return np.full(n, 2.0)
    if secret == 3:
        return np.full(n + 1, 0.5)
    if secret == 4:
        return np.full(n, "x")
    return np.full(n, 0.4)
"""

WORDS = {"crashed": 0, "nan": 1, "range": 2, "shape": 3, "dtype": 4, None: 5}
PLACES = (1, 6, 36, 216)


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    before = lab.run()["budget"]["answers"]["given"]
    rows = [lab.submit(SOURCE.format(digit=digit), "r8") for digit in PLACES]
    told = [WORDS.get(lab.wait(row, "r8")["reason"], -1) for row in rows]
    notes.expect(-1 not in told, "every digit comes out")
    charged = lab.run()["budget"]["answers"]["given"] - before
    notes.expect(charged == told.count(5), f"{len(PLACES)} digits of a hidden input for {charged} answers")
    each = math.log2(len(WORDS) + 3)  # and timed-out, out-of-memory, forbidden
    limit = Budget().submissions
    out = notes.outcome(f"digits of a mean of hidden inputs told by {len(WORDS)} ends of a run", "residual")
    return out.joined(
        Outcome(
            "", f"{each:.1f} bits about inputs a submission, {limit} submissions of a researcher by default, no label"
        )
    )
