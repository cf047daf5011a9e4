"""A researcher fills the queue with methods that never end. They are not charged, since they give no answer.

Others wait behind them. What bounds it: while it runs each holds an answer of its researcher's share, each ends at the
time limit, and the number of submissions is limited.
"""

from __future__ import annotations

import time

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground
from aarlab.w2s import methods

NUMBER = 48
NAME = "filling the queue"
EXPECTED = ("residual",)
NEEDS = ()
FAST = False

SOURCE = "import time\n\ndef run(task, seed):\n    time.sleep(600 + {number})\n"
JUNK = 6


def attack(ground: Ground) -> Outcome:
    notes = Notes()
    with ground.lab(answers=60, timeout=1.0) as lab:
        lab.score(methods.source("weak-labels-soft"), "r3")
        started = time.monotonic()
        lab.score(methods.source("confident-weak-labels"), "r3")
        alone = time.monotonic() - started
        before = lab.run()["budget"]["answers"]["given"]
        junk = [lab.submit(SOURCE.format(number=i), "r1") for i in range(JUNK)]
        started = time.monotonic()
        lab.score(methods.source("entropy-filter"), "r3")
        behind = time.monotonic() - started
        ends = [lab.wait(row)["status"] for row in junk]
        charged = lab.run()["budget"]["answers"]["given"] - before - 1
    notes.expect(set(ends) == {"timed_out"}, "every one of them is timed out")
    notes.held.append(f"{JUNK} of them cost {charged} answers and keep another waiting {behind - alone:.0f} s longer")
    notes.held.append("at most submissions x time limit / workers")
    return notes.outcome(f"{JUNK} methods that never end, at a time limit of 1 s", "residual")
