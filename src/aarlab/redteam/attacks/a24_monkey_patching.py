"""The method changes numpy, json, float's text, the worker's own functions and what runs at its exit.

If grading happened in its process, every answer could be made right. It happens in another process of another user,
from a vector that was checked; whatever is patched is thrown away with the sandbox.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 24
NAME = "monkey-patching the scorer"
EXPECTED = ("no gain",)
NEEDS = ()
FAST = True

PATCHES = {
    "numpy": "np.array_equal = lambda *a, **k: True\nnp.mean = lambda *a, **k: 1.0\nnp.ndarray.__eq__ = None",
    "json": "import json\njson.dumps = lambda *a, **k: '{\"accuracy\": 1.0}'",
    "the grader": "import aarlab.vault.grader as g\ng.grade = lambda *a: np.ones((1, 1), bool)",
    "the worker": "import sys\nfor m in list(sys.modules.values()):\n"
    "    if hasattr(m, 'encode') and hasattr(m, 'collect'):\n        m.encode = lambda *a: b'1'",
    "exit": "import atexit, threading\natexit.register(lambda: open('/tmp/score', 'w').write('1.0'))\n"
    "threading.Thread(target=lambda: None, daemon=True).start()",
}  # fmt: skip

SOURCE = """
import numpy as np

def patch():
{patch}

def run(task, seed):
    try:
        patch()
    except Exception:
        pass
    return np.full(len(task.test), {value})
"""


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    plain = lab.score(SOURCE.format(patch="    pass", value=0.2), "r6")
    exact = lab.exact(plain["id"])
    notes.expect(len(exact) > 0, "the unpatched method is scored")
    rows = {}
    for number, (name, patch) in enumerate(PATCHES.items()):
        text = "\n".join("    " + line for line in patch.splitlines())
        rows[name] = lab.submit(SOURCE.format(patch=text, value=0.2 + number / 1000), "r6")
    for name, row in rows.items():
        end = lab.wait(row, "r6")
        same = lab.exact(row["id"]) == exact if end["status"] == "scored" else end["answer"] is None
        notes.expect(same, f"{name}: {'the same score' if end['status'] == 'scored' else end['reason']}")
    return notes.outcome("numpy, json, grader, worker, exit hooks patched around one constant", "no gain")
