"""Files that Python runs by itself are left behind for the next run, and outputs carry a pickle.

sitecustomize, .pth, conftest and PYTHONPATH would run inside the next method's interpreter, or the grader's; a pickle
would run where it is read. Nothing is left behind in a fresh sandbox, and outputs are plain numbers or nothing.
"""

from __future__ import annotations

from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.probes import Probe

NUMBER = 26
NAME = "start-up files, pickles"
EXPECTED = ("refused",)
NEEDS = ()
FAST = True

LEAVE = "open(os.path.join({folder}, 'evil.pth'), 'w').write('x')"

PROBES = (
    Probe("library folder", "import os, aarlab", LEAVE.format(folder="os.path.dirname(aarlab.__file__)")),
    Probe("site-packages", "import os", LEAVE.format(folder="os.path.dirname(os.path.dirname(np.__file__))")),
    Probe("the library's code", "import aarlab", "open(aarlab.__file__, 'a').write('#')"),
    Probe("site was imported", "import sys", "assert 'sitecustomize' in sys.modules or 'usercustomize' in sys.modules"),
)

PICKLE = """
import numpy as np

class Evil:
    def __reduce__(self):
        return (print, ("evil",))

def run(task, seed):
    return np.array([Evil()] * len(task.test), dtype=object)
"""


def attack(ground: Ground) -> Outcome:
    notes, lab = Notes(), ground.shared
    end = lab.score(PICKLE, "r8")
    notes.expect((end["status"], end["reason"]) == ("failed", "dtype"), "an array of objects is refused")
    pickled = notes.outcome("an output that is a pickle", "refused")
    return ground.probed(PROBES, "files for the next interpreter in four places").joined(pickled)
