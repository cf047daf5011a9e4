"""A bit of the hidden inputs is sent out: printed, raised, put into names, waited for.

What comes back of a run on hidden inputs is a fixed word and a fixed reason. Two runs that differ only in what they
print, raise or write must look alike.
"""

from __future__ import annotations

import json

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 27
NAME = "hidden inputs sent out"
EXPECTED = ("refused",)
NEEDS = ()
FAST = True

WAYS = {
    "printed": "print(text)",
    "raised": "raise ValueError(text)",
    "a class of errors": "raise type('E' + str(abs(hash(text)) % 10**6), (Exception,), {})()",
    "a file's name": "open('/tmp/' + str(abs(hash(text))), 'w').write(text)",
    "a warning": "import warnings; warnings.warn(text)",
}

SOURCE = """
import numpy as np

def run(task, seed):
    text = "CANARY {bit} " + str(task.test.zero_shot()[0])
    {way}
    return np.full(len(task.test), 0.3)
"""

SAME = ("id", "created", "finished", "bundle_hash", "researcher", "name")
"""What differs between any two submissions and says nothing of their runs."""


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    rows = {}
    for way, code in WAYS.items():
        rows[way] = [lab.submit(SOURCE.format(bit=bit, way=code), "r3") for bit in (0, 1)]
    for way, pair in rows.items():
        ends = [lab.wait(row, "r3") for row in pair]
        seen = [{k: v for k, v in end.items() if k not in SAME} for end in ends]
        notes.expect(seen[0] == seen[1], f"{way}: both bits look alike ({ends[0]['status']}, {ends[0]['reason']})")
        notes.expect("CANARY" not in json.dumps(ends), f"{way}: no text comes back")
    status, text = lab.reply("GET", "/v1/submissions", "operator")
    notes.expect(status == 200 and "CANARY" not in text, "nor does the operator's view hold any")
    return notes.outcome(f"one bit by {len(WAYS)} ways: {', '.join(WAYS)}", "refused")
