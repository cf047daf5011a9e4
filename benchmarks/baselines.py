"""What the reference table costs: all methods on one task of each problem, with 2, 4 and 8 seeds. Linear in seeds?

    python benchmarks/baselines.py [--seeds 2 4 8] [--tasks feedback] [--methods A,B] [--workers 2] [--json]

Each row is a command of its own with an empty cache. `wall` is measuring alone, `CPU` of the whole command with its
workers, `methods` the CPU inside methods, `overhead` the rest of it: imports, tasks' files, statistics, page and plot.
`peak` adds up the peaks of all processes. The last columns are multiples of the row above: linear where both agree.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT_MB = 2000


def measure(seeds: int, args: argparse.Namespace) -> dict[str, float]:
    """One command; the numbers it reports, and the CPU seconds of its whole process tree."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "aarlab", "baselines", "--seeds", str(seeds), "--tasks", args.tasks, "--methods",
            args.methods, "--workers", str(args.workers), "--cache", f"{folder}/cache", "--out", f"{folder}/out",
        ]  # fmt: skip
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        cost = json.loads(Path(folder, "out", "results.json").read_text())["cost"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seeds": seeds, "runs": cost["runs"], "wall": cost["wall_seconds"], "cpu": cpu, "methods": cost["cpu_seconds"],
        "overhead": cpu - cost["cpu_seconds"], "peak": cost["peak_mb"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--tasks", default="feedback")
    parser.add_argument("--methods", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(seeds, args) for seeds in args.seeds]
    if args.json:
        print(json.dumps(rows))
        return
    print(f"all methods on {args.tasks}, {args.workers} workers, load average {os.getloadavg()[0]:.1f}\n")
    print(
        f"{'seeds':>5}{'runs':>6}{'wall s':>9}{'CPU s':>9}{'methods':>9}{'overhead':>9}{'peak MB':>9}{'ms/run':>8}"
        f"{'times runs':>12}{'times CPU':>11}"
    )
    for row, before in zip(rows, [rows[0], *rows], strict=False):
        print(
            f"{row['seeds']:5.0f}{row['runs']:6.0f}{row['wall']:9.1f}{row['cpu']:9.1f}{row['methods']:9.1f}"
            f"{row['overhead']:9.1f}{row['peak']:9.0f}{1000 * row['methods'] / row['runs']:8.0f}"
            f"{row['runs'] / before['runs']:12.2f}{row['methods'] / before['methods']:11.2f}"
        )
    verdict = "within" if rows[-1]["peak"] <= LIMIT_MB else "above"
    print(f"\npeak memory is {verdict} the limit of {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
