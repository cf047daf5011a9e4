"""What a sandbox costs: bwrap and gVisor side by side, measured in turns so that other load meets both.

    python benchmarks/sandboxes.py [--items 6000] [--width 256] [--repeats 5] [--kinds bwrap gvisor] [--json]

`start`: from nothing to the end of a Python that does nothing. `standby`: until a method sandbox has its libraries
imported. `warm run`: one method on one task with one seed in such a sandbox, as the lab pays it. `20 fits`: the same
with twenty fits of the probe student, and the processor time the host spent on it, the sandbox's own included.
`memory`: of a sandbox on standby, its own processes included. Every figure is a median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from aarlab.errors import SandboxUnavailable
from aarlab.execution import LocalExecutor, MethodRun
from aarlab.sandbox import open_sandbox
from aarlab.sandbox.base import Limits, Sandbox, SandboxSpec
from aarlab.sandbox.library import PYTHON, library_binds
from method_run import METHOD, make_task

FITS = METHOD.replace("    head =", "    for _ in range(20):\n        head =")
LIMITS = Limits(memory_mb=512, cpu_seconds=0, processes=64, file_mb=8, disk_mb=64)
ROWS = {
    "start": "start and end, s",
    "standby": "standby with libraries, s",
    "warm": "warm run, s",
    "fits": "20 fits, s",
    "cpu": "20 fits, s of the host's CPU",
    "memory": "memory on standby, MB",
}


def start_seconds(sandbox: Sandbox, folder: Path) -> float:
    argv = (PYTHON, "-I", "-S", "-c", "pass")
    begin = time.perf_counter()
    process = sandbox.start(SandboxSpec(argv, folder, library_binds(), (), {}, LIMITS, 0))
    process.wait(120)
    taken = time.perf_counter() - begin
    process.close()
    return taken


def method_seconds(sandbox: Sandbox, what: MethodRun) -> dict[str, float]:
    """Standby, warm run, fits and their CPU in seconds, and memory in MB, of two new method sandboxes."""
    found = {}
    begin = time.perf_counter()
    with LocalExecutor(sandbox, workers=1) as executor:
        executor.wait_ready(120)
        found["standby"] = time.perf_counter() - begin
        found["memory"] = executor._ready[0].process.rss_bytes() / 2**20
        found["warm"], _ = run_seconds(executor, what)
    with LocalExecutor(sandbox, workers=1) as executor:
        found["fits"], found["cpu"] = run_seconds(executor, replace(what, source=FITS))
    return found


def run_seconds(executor: LocalExecutor, what: MethodRun) -> tuple[float, float]:
    """Wall and host CPU seconds of one run in a warm sandbox."""
    executor.wait_ready(120)
    process = executor._ready[0].process
    before, begin = process.cpu_seconds(), time.perf_counter()
    executor.run(what)
    return time.perf_counter() - begin, process.cpu_seconds() - before


def measure(kinds: list[str], what: MethodRun, repeats: int) -> dict[str, dict[str, float]]:
    """{kind: {row: median}}. Raises SandboxUnavailable."""
    sandboxes = {kind: open_sandbox(kind) for kind in kinds}
    for sandbox in sandboxes.values():
        sandbox.check()
    found: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in kinds}
    with tempfile.TemporaryDirectory() as place:
        for _ in range(repeats):
            for kind, sandbox in sandboxes.items():
                found[kind]["start"].append(start_seconds(sandbox, Path(place) / kind))
                for row, value in method_seconds(sandbox, what).items():
                    found[kind][row].append(value)
    return {kind: {row: statistics.median(values) for row, values in rows.items()} for kind, rows in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=6000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", default=["bwrap", "gvisor"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    inputs, draws = make_task(args.items, args.width, 1)
    try:
        found = measure(args.kinds, MethodRun(METHOD, inputs, draws, 120), args.repeats)
    except SandboxUnavailable as error:
        raise SystemExit(str(error)) from None
    if args.json:
        print(json.dumps({**vars(args), "found": found}))
        return
    first = args.kinds[0]
    print(f"{'':28}" + "".join(f"{kind:>10}" for kind in args.kinds) + f"   ratios to {first}")
    for row, title in ROWS.items():
        values = [found[kind][row] for kind in args.kinds]
        ratios = "  ".join(f"{value / values[0]:.1f}" for value in values[1:])
        print(f"{title:28}" + "".join(f"{value:10.3f}" for value in values) + f"   {ratios}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {args.repeats} repeats")


if __name__ == "__main__":
    main()
