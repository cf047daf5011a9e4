"""Processes again, by private and foreign functions that Python's own audit hooks do not name.

`_posixsubprocess.fork_exec` raises no event, and ctypes calls into the C library and the kernel directly. The rule is
the kernel's, and does not care.
"""

from __future__ import annotations

from aarlab.redteam.attack import Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.probes import Probe

NUMBER = 22
NAME = "processes below Python"
EXPECTED = ("refused",)
NEEDS = ()
FAST = True

FORK_EXEC = """
pid = multiprocessing.util.spawnv_passfds(b"/bin/true", [b"true"], [])
os.waitpid(pid, 0)
"""

FORK = """
pid = ctypes.CDLL(None).{call}
if pid == 0:
    ctypes.CDLL(None)._exit(0)
assert pid > 0
"""

PROBES = (
    Probe("fork_exec", "import os\nimport multiprocessing.util", FORK_EXEC),
    Probe("ctypes system", "import ctypes", 'assert ctypes.CDLL(None).system(b"exit 0") == 0'),
    Probe("ctypes fork", "import ctypes", FORK.format(call="fork()")),
    Probe("ctypes clone3", "import ctypes", "assert ctypes.CDLL(None).syscall(435, 0, 0) > 0"),
    Probe("ctypes vfork", "import ctypes", FORK.format(call="syscall(58)")),
    Probe("ptrace", "import ctypes", "assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0"),
)  # fmt: skip


def attack(ground: Ground) -> Outcome:
    return ground.probed(PROBES, "fork_exec, system(), fork(), clone3, vfork and ptrace through ctypes")
