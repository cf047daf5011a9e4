"""What a sandbox costs a method run: the same method on the same made-up task, in process and sandboxed.

    python benchmarks/method_run.py [--items 6000] [--width 256] [--seeds 5] [--repeats 5] [--isolation bwrap] [--json]

One run is one method on one task with all its seeds. `warm`: a sandbox with its imports done stands by, as between
the submissions of a real run. `cold`: from nothing, the sandbox and its imports included. Every figure is the median of
`--repeats` runs; in-process and warm runs alternate, so that other load on the machine meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from aarlab.execution import LocalExecutor, MethodRun
from aarlab.sandbox import open_sandbox
from aarlab.w2s.draw import draw
from aarlab.w2s.task import Draw, Layer, StudentSpec, TaskInputs
from aarlab.w2s.view import view

if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # as in the sandbox; libraries read it when they are loaded
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **one})

METHOD = """
def run(task, seed):
    head = task.student.fit(task.train, task.weak_labels, seed=seed)
    return head.predict(task.test)
"""
LIMIT_SECONDS = 0.2


def make_task(items: int, width: int, seeds: int) -> tuple[bytes, tuple[Draw, ...]]:
    """Made-up inputs of a real task's size, half of the items for test, and the draws of some seeds."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, items)
    values = rng.normal(size=(items, width)) * 30 + labels[:, None] * 2
    layer = Layer(np.clip(values, -127, 127).astype(np.int8), np.full(width, 0.03, np.float32))
    student = StudentSpec(("hidden",), (1.0,), 1e-3)
    zero_shot = rng.normal(size=items).astype(np.float32)
    inputs = TaskInputs("benchmark", "feedback", {"hidden": layer}, zero_shot, np.arange(items), student)
    weak = np.where(rng.random((24, items)) < 0.75, labels, 1 - labels).astype(np.float32)
    return inputs.to_bytes(), tuple(draw(weak, np.arange(items) % 2 == 0, seed) for seed in range(seeds))


def in_process(what: MethodRun) -> None:
    namespace: dict[str, Callable[..., np.ndarray]] = {}
    exec(what.source, namespace)
    inputs = TaskInputs.from_bytes(what.inputs)
    for one in what.draws:
        namespace["run"](view(inputs, one), one.seed)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cold(what: MethodRun, isolation: str) -> float:
    """From nothing to the first result."""
    start = time.perf_counter()
    with LocalExecutor(open_sandbox(isolation), workers=1) as executor:
        executor.run(what)
        return time.perf_counter() - start


def measure(what: MethodRun, isolation: str, repeats: int) -> dict[str, float]:
    """Median seconds of a run: in process, warm, cold; and the overheads."""
    in_process(what)  # page in the libraries
    plain, warm, plain_cpu, warm_cpu = [], [], [], []
    with LocalExecutor(open_sandbox(isolation), workers=1) as executor:
        for _ in range(repeats):
            executor.wait_ready()
            before = time.process_time()
            plain.append(seconds(lambda: in_process(what)))
            plain_cpu.append(time.process_time() - before)
            start = time.perf_counter()
            result = executor.run(what)
            warm.append(time.perf_counter() - start)
            warm_cpu.append(sum(result.cpu_seconds))
    first = [cold(what, isolation) for _ in range(repeats)]
    found = {"in_process": statistics.median(plain), "warm": statistics.median(warm), "cold": statistics.median(first)}
    for name in ("warm", "cold"):
        found[f"{name}_overhead"] = found[name] - found["in_process"]
        found[f"{name}_ratio"] = found[name] / found["in_process"]
    found["in_process_cpu"], found["warm_cpu"] = statistics.median(plain_cpu), statistics.median(warm_cpu)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=6000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--isolation", default="bwrap")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    inputs, draws = make_task(args.items, args.width, args.seeds)
    found = measure(MethodRun(METHOD, inputs, draws, 120), args.isolation, args.repeats)
    if args.json:
        print(json.dumps({**vars(args), **found}))
        return
    print(f"one method, {args.seeds} seeds, {args.items} items of {args.width} features, isolation {args.isolation}\n")
    print(f"{'':12}{'seconds':>10}{'overhead':>10}{'ratio':>8}")
    print(f"{'in process':12}{found['in_process']:10.3f}")
    for name in ("warm", "cold"):
        print(f"{name:12}{found[name]:10.3f}{found[f'{name}_overhead']:10.3f}{found[f'{name}_ratio']:8.2f}")
    print(f"\nCPU of the method alone: {found['in_process_cpu']:.3f} s in process, {found['warm_cpu']:.3f} s sandboxed")
    verdict = "within" if found["warm_overhead"] <= LIMIT_SECONDS else "above"
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{load}; warm overhead is {verdict} the limit of {LIMIT_SECONDS} s")


if __name__ == "__main__":
    main()
