"""The method starts a process, to run the candidate code with, in all the ways Python's library knows.

The kernel's rule forbids it whatever asks: no process starts, and the attempt is on record.
"""

from __future__ import annotations

from aarlab.redteam.attack import Outcome
from aarlab.redteam.ground import Ground
from aarlab.redteam.probes import Probe

NUMBER = 21
NAME = "starting a process"
EXPECTED = ("refused",)
NEEDS = ()
FAST = True

PROBES = (
    Probe("subprocess.run", "import subprocess", 'subprocess.run(["/bin/true"], check=True, timeout=5)'),
    Probe("os.system", "import os", 'assert os.system("exit 0") == 0'),
    Probe("os.posix_spawn", "import os", 'os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)'),
    Probe("os.popen", "import os", 'assert os.popen("echo yes").read() == "yes\\n"'),
    Probe("multiprocessing", "import multiprocessing as m", "p = m.Process(target=int)\np.start()\np.join(5)"),
    Probe("os.fork", "import os", "pid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)"),
    Probe("os.execv", "import os", 'os.execv("/bin/true", ["true"])'),
    Probe("socket", "import socket", 's = socket.create_connection(("127.0.0.1", 80), 1)'),
)  # fmt: skip


def attack(ground: Ground) -> Outcome:
    return ground.probed(PROBES, "eight ways to start a process or reach the network")
