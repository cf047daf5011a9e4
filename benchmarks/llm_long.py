"""Do CPU and memory of a turn stay flat over days? `python benchmarks/llm_long.py [--turns 2000]`.

One researcher in front of a scripted model that answers at once, for thousands of turns: summaries when the
conversation grows past its threshold, a fresh transcript every 200 turns. Prints, per 200 turns, CPU and wall time of a
turn and the process's memory, and their ratio between the last and the second window (the first has the start in it).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

import llm_turns
from aarlab.fleet import host
from aarlab.settings import Llm
from aarlab.testing import ModelServer

WINDOW = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=2000)
    options = parser.parse_args()
    plain = llm_turns.settings
    llm_turns.settings = lambda count: replace(
        plain(count), llm=Llm(model=llm_turns.MODEL, context_tokens=20_000)
    )  # fmt: skip
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["AARLAB_STATE"] = f"{folder}/answers.db"
        provider = stack.enter_context(ModelServer(llm_turns.mind))
        os.environ.update(provider.environment())
        lab = folder / "lab"
        llm_turns.serve(lab, 1, stack)
        nursery = host.Nursery(lab)
        stack.callback(nursery.close)
        worker = host.HostWorker(lab, llm_turns.settings(1).researchers[0], nursery)
        watch(worker, provider, options.turns)
        worker.stop()


def watch(worker: host.HostWorker, provider: ModelServer, turns: int) -> None:
    """Print a line a window."""
    rows: list[tuple[float, float, float]] = []
    print("turns | CPU ms a turn | wall ms a turn | RSS MB", flush=True)
    made, cpu, wall = 0, 0.0, time.monotonic()
    while made < turns:
        worker.watch()
        assert worker.restarts == 0, worker.last_words()
        time.sleep(0.05)
        used, _ = worker.account()
        cpu += used
        if provider.requests["200"] - made < WINDOW or worker.pid is None:
            continue
        now, answered = time.monotonic(), provider.requests["200"] - made
        memory = psutil.Process(worker.pid).memory_info().rss / 1e6
        rows.append((1000 * cpu / answered, 1000 * (now - wall) / answered, memory))
        made, cpu, wall = made + answered, 0.0, now
        print(f"{made:5} | {rows[-1][0]:13.1f} | {rows[-1][1]:14.1f} | {memory:6.0f}", flush=True)
    first, last = rows[min(1, len(rows) - 1)], rows[-1]
    print("last over second window: " + ", ".join(f"{b / a:.2f}" for a, b in zip(first, last, strict=True)))


if __name__ == "__main__":
    main()
