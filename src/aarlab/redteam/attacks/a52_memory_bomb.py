"""Methods that take all memory, all threads, endless output or a crash of the interpreter, to bring the lab down.

Each ends its own sandbox and gets a fixed word. The lab scores the next method as if nothing had happened.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground

NUMBER = 52
NAME = "memory bombs, crashes"
EXPECTED = ("refused",)
NEEDS = ()
FAST = False

BOMBS = {
    "memory": "x = np.ones((1 << 32,), np.int64)",
    "threads": "import threading as t\n    for _ in range(5000): t.Thread(target=t.Event().wait).start()",
    "a crash": "import ctypes\n    ctypes.string_at(0)",
    "an endless answer": "return np.zeros((1 << 31,), np.float32)",
    "recursion": "def f():\n        return f()\n    import sys\n    sys.setrecursionlimit(10**8)\n    f()",
    "output": "print('x' * (1 << 28))",
}

SOURCE = "import numpy as np\n\ndef run(task, seed):\n    {bomb}\n    return np.full(len(task.test), 0.35)\n"


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    rows = {name: lab.submit(SOURCE.format(bomb=bomb), "r7") for name, bomb in BOMBS.items()}
    for name, row in rows.items():
        end = lab.wait(row, "r7")
        mild = name == "output" and end["status"] == "scored"
        notes.expect(
            mild or end["status"] in ("failed", "timed_out", "refused"), f"{name}: {end['reason'] or end['status']}"
        )
    after = lab.score(SOURCE.format(bomb="pass"), "r6")
    notes.expect(after["status"] == "scored", "the next method is scored")
    return notes.outcome("six ways to bring a worker down", "refused")
