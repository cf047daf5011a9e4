"""A run on hidden inputs takes a chosen number of seconds, and its researcher has a clock.

Durations are rounded up to whole seconds, which stops fine signals and not coarse ones: up to the time limit there are
as many signals as seconds. They tell of inputs; labels are nowhere in the sandbox.
"""

from __future__ import annotations

import math
import time

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 39
NAME = "telling by run time"
EXPECTED = ("residual",)
NEEDS = ()
FAST = False

SOURCE = """
import time
import numpy as np

def run(task, seed):
    time.sleep({seconds})
    return np.full(len(task.test), 0.31)
"""

SLEEPS = (0.0, 3.0, 6.0)
"""Seconds of each of the two draws; far enough apart for a busy machine."""


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    took = []
    for seconds in SLEEPS:
        started = time.monotonic()
        lab.score(SOURCE.format(seconds=seconds), "r9")
        took.append(time.monotonic() - started)
    notes.expect(
        took == sorted(took), f"{len(SLEEPS)} durations can be told apart: {', '.join(f'{t:.0f}' for t in took)} s"
    )
    scoring = lab.run()["settings"]["scoring"]
    most = scoring["timeout"] * scoring["seeds"]
    notes.held.append(f"{math.log2(most):.1f} bits about inputs a submission at most, no label")
    return notes.outcome("three durations for a secret of three values", "residual")
