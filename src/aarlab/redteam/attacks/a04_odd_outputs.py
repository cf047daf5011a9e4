"""A method returns NaN, 2, strings, a wrong length, or 0.5 and -0.0: a third value would be a free "abstain".

Whoever may abstain on an item and see the score can tell three answers apart. Anything but a number in [0, 1] gets one
fixed word and no score, and one half is graded as a 0 like any other.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 4
NAME = "odd outputs"
EXPECTED = ("refused",)
NEEDS = ()
FAST = True

ODD = {
    "np.full(n, np.nan)": "nan", "np.full(n, 2.0)": "range", "np.full(n, '1')": "dtype", "np.full(n - 1, 0.5)": "shape",
    "[None] * n": "dtype", "np.full((n, 2), 0.5)": "shape", "np.full(n, 1, dtype=complex)": "dtype",
}  # fmt: skip

SOURCE = "import numpy as np\n\ndef run(task, seed):\n    n = len(task.test)\n    return {}\n"


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    before = lab.run()["budget"]["answers"]["given"]
    rows = [lab.submit(SOURCE.format(output), "r4") for output in ODD]
    for row, (output, reason) in zip(rows, ODD.items(), strict=True):
        end = lab.wait(row, "r4")
        got = (end["status"], end["reason"], end["answer"])
        notes.expect(got == ("failed", reason, None), f"{output}: {reason}")
    given = lab.run()["budget"]["answers"]["given"] - before
    notes.expect(given == 0, "none is charged")
    half, zero = (lab.score(SOURCE.format(f"np.full(n, {value})"), "r4") for value in ("0.5", "-0.0"))
    same = lab.exact(half["id"]) == lab.exact(zero["id"]) != []
    notes.expect(same, "0.5 and -0.0 are graded as 0")
    return notes.outcome(f"{len(ODD)} outputs that are no predictions, and 0.5 and -0.0 to abstain", "refused")
