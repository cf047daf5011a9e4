"""Run as a user without rights, by tests of sandboxes: one sandbox, one method, one refused method.

python ordinary_user.py FOLDER [KIND]
"""

import json
import sys
from pathlib import Path

import numpy as np

from aarlab.errors import MethodError
from aarlab.execution import LocalExecutor, MethodRun
from aarlab.sandbox import open_sandbox
from aarlab.sandbox.base import Limits, SandboxSpec
from aarlab.sandbox.library import PYTHON, library_binds
from aarlab.w2s.task import Draw, Layer, StudentSpec, TaskInputs

LOOK = """
import os
print(os.getuid(), next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")))
"""

sandbox = open_sandbox(sys.argv[2] if len(sys.argv) > 2 else "bwrap")
sandbox.check()
limits = Limits(memory_mb=256, cpu_seconds=0, processes=24, file_mb=8, disk_mb=24)
process = sandbox.start(
    SandboxSpec((PYTHON, "-c", LOOK), Path(sys.argv[1]) / "work", library_binds(), (), {}, limits, 0)
)
assert process.stdout is not None
uid, capabilities = process.stdout.read().split()
inputs = TaskInputs(
    "toy", "open", {"h": Layer(np.ones((4, 2), np.int8), np.ones(2, np.float32))}, np.zeros(4, np.float32),
    np.arange(4), StudentSpec(("h",), (1.0,), 0.1),
)  # fmt: skip
draw = Draw(np.arange(2), np.arange(2, 4), np.ones(2, np.float32), 1)
with LocalExecutor(sandbox, workers=1) as executor:
    good = "import numpy as np\ndef run(task, seed):\n    return np.full(len(task.test), 0.25)\n"
    output = executor.run(MethodRun(good, inputs.to_bytes(), (draw,), 20)).outputs[0]
    try:
        executor.run(MethodRun("import os\ndef run(task, seed):\n    os.fork()\n", inputs.to_bytes(), (draw,), 20))
        refused = "nothing"
    except MethodError as error:
        refused = error.reason
print(
    json.dumps({"uid": int(uid), "capabilities": int(capabilities, 16), "output": output.tolist(), "refused": refused})
)
