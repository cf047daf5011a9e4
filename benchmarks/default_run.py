"""The default run, measured: wall time, memory of all its processes together, and how busy both cores were.

    python benchmarks/default_run.py                 the main job as `aarlab run` does it
    python benchmarks/default_run.py --minutes 0.5   a short one

Memory is sampled twice a second over the whole process tree: RSS counts shared pages once per process, PSS once in all.
Busy is the share of the machine's CPU time that was not idle between start and report (all of the machine, so run it
on one that does nothing else).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", nargs="?", default="w2s-math")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.problem, given.minutes, Path(folder) / "lab")
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:24} {value:.2f}" if isinstance(value, float) else f"{key:24} {value}")


def measure(problem: str, minutes: float, lab: Path) -> dict[str, float | int]:
    """Run once; seconds, MiB and shares."""
    argv = [sys.executable, "-m", "aarlab", "run", problem, "--lab", str(lab)]
    argv += ["--minutes", str(minutes)] if minutes else []
    before, started = psutil.cpu_times(), time.monotonic()
    run = subprocess.Popen(argv)
    rss = pss = most = 0
    while run.poll() is None:
        tree = processes(run.pid)
        rss = max(rss, sum(memory(p, "rss") for p in tree))
        pss = max(pss, sum(memory(p, "pss") for p in tree))
        most = max(most, len(tree))
        time.sleep(0.5)
    wall, after = time.monotonic() - started, psutil.cpu_times()
    idle = (after.idle + after.iowait) - (before.idle + before.iowait)
    return {
        "exit code": run.returncode,
        "wall seconds": wall,
        "busy share of all cores": 1 - idle / (wall * (psutil.cpu_count() or 1)),
        "peak RSS MiB": rss / 2**20,
        "peak PSS MiB": pss / 2**20,
        "most processes": most,
    }


def processes(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def memory(process: psutil.Process, kind: str) -> int:
    """Bytes; 0 for a process that ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        info = process.memory_full_info() if kind == "pss" else process.memory_info()
        return int(getattr(info, kind))
    return 0


if __name__ == "__main__":
    main()
