"""The bootstrap interval of one PGR, of a paired difference and of a leaderboard: wall seconds on one thread.

    python benchmarks/bootstrap.py [--repeats 9] [--draws 2000] [--json]

5 seeds x 10,000 items, in 10,000 groups of one item and in 2,000 groups of five; floor and ceiling measured over 16
seeds. The plain way stands beside ours: resample seeds and groups with replacement, one draw after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable

if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # libraries read it when they are loaded
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **one})

import numpy as np

from aarlab import statistics
from aarlab.records import Measured

SEEDS, ITEMS, METHODS = 5, 10_000, 20
FLOOR, CEILING = Measured(0.6, 0.003, 16), Measured(0.8, 0.003, 16)


def plain(correct: np.ndarray, groups: np.ndarray, draws: int) -> tuple[float, float]:
    """The textbook bootstrap: seeds and groups drawn with replacement, accuracy, floor and ceiling, percentiles."""
    rng = np.random.default_rng(0)
    count = int(groups.max()) + 1
    sizes = np.bincount(groups)
    sums = np.stack([np.bincount(groups, weights=row, minlength=count) for row in correct.astype(float)])
    found = np.empty(draws)
    for i in range(draws):
        picked = rng.integers(count, size=count)
        seeds = rng.integers(SEEDS, size=SEEDS)
        accuracy = sums[np.ix_(seeds, picked)].sum() / (SEEDS * sizes[picked].sum())
        low, high = FLOOR.mean + FLOOR.se * rng.standard_normal(), CEILING.mean + CEILING.se * rng.standard_normal()
        found[i] = (accuracy - low) / (high - low)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median wall time."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def measure(repeats: int, draws: int) -> dict[str, float]:
    """Seconds by what was measured and how large the groups are."""
    correct = np.random.default_rng(0).random((METHODS, SEEDS, ITEMS)) < 0.7
    found = {}
    for size in (1, 5):
        calls = timed(correct, np.arange(ITEMS) // size, draws)
        for name, call in calls.items():
            found[f"{name}, groups of {size}"] = seconds(call, 1 if "plain" in name else repeats)
    return found


def timed(correct: np.ndarray, groups: np.ndarray, draws: int) -> dict[str, Callable[[], object]]:
    """What is timed. correct: (methods, seeds, items)."""
    a, b = correct[:2]
    return {
        "estimate_pgr": lambda: statistics.estimate_pgr(a, groups, FLOOR, CEILING, draws=draws),
        "paired_difference": lambda: statistics.paired_difference(a, b, groups, 0.2, draws=draws),
        f"leaderboard of {len(correct)}": lambda: statistics.leaderboard(correct, groups, FLOOR, CEILING, draws=draws),
        "plain loop, one PGR": lambda: plain(a, groups, draws),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.repeats, options.draws)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:40} {1000 * value:8.1f} ms")


if __name__ == "__main__":
    main()
