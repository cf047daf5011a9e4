"""What a turn of a language model costs besides the model and the command: `python benchmarks/llm_turns.py`.

"overhead" is a turn less the scripted model's delay and computing, and less "command", what that command takes where
nothing but Python starts it inside the same kind of sandbox; "client" is what the provider's own client adds to the
call (building and checking requests); "ours" is the rest: the framework, money set aside and accounted, events,
heartbeat, and the way into the sandbox and back.

Starts a real lab service and real researcher processes, from the nursery, in front of the scripted provider, whose
model answers after a fixed delay with one command that does nothing (`echo N`). A turn is the time between two answers
as the lab wrote them down. Prints a table and writes JSON. "pace" is what a million additions in Python take on this
machine just then, before and after: rented cores change their speed by the minute.

    python benchmarks/llm_turns.py [--researchers 1 9 100] [--turns 20] [--json out.json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import psutil

from aarlab.client import LabClient
from aarlab.fleet import host, plan, spec
from aarlab.llm.provider import BwrapConfig, sandbox_spec
from aarlab.problems import base as problems
from aarlab.sandbox.session import Session
from aarlab.server.creation import create_lab
from aarlab.settings import Budget, Llm, Settings
from aarlab.testing import ModelServer
from aarlab.testing.acts import command
from aarlab.testing.conversation import Conversation, Reply
from pace import pace

MODEL = "openai-api/scripted/scripted"
FIRST = 3  # turns that are not counted: connections are opened, the sandbox starts
DELAYS = {1: 0.5, 9: 1.0, 100: 10.0}  # seconds of the model: a hundred researchers never ask all at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--researchers", type=int, nargs="*", default=[1, 9, 100])
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {options.turns} turns each; load before: {os.getloadavg()[0]:.1f}")
    rows = [measure(count, options.turns) for count in options.researchers]
    titles = list(rows[0])
    print(" | ".join(titles))
    for row in rows:
        print(" | ".join(f"{row[t]:{len(t)}.4g}" for t in titles))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def mind(talk: Conversation) -> Reply:
    """One command after another that does nothing, each another."""
    step = talk.step() + 1
    call = command(talk, f"echo {step}")
    return Reply(f"[step {step}]", (call,) if call else ())


def measure(count: int, turns: int) -> dict[str, float]:
    """One fleet of `count`, until each has made its turns."""
    delay = next(d for n, d in sorted(DELAYS.items()) if count <= n) if count <= max(DELAYS) else 10.0
    pace_before = pace()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        alone = command_seconds(folder / "alone")
        os.environ["AARLAB_STATE"] = f"{folder}/answers.db"
        provider = stack.enter_context(ModelServer(mind, delay=delay))
        os.environ.update(provider.environment())
        lab, service = folder / "lab", serve(folder / "lab", count, stack)
        nursery = host.Nursery(lab)
        stack.callback(nursery.close)
        began = time.monotonic()
        workers = [host.HostWorker(lab, one, nursery) for one in settings(count).researchers]
        for worker in workers:
            worker.watch()
        answered = until(lab, count, 1, workers)
        start = answered - began
        until(lab, count, FIRST, workers)
        warm = time.time()
        calls_before, before = calls(lab), cpu(workers, service)
        done_before = total(lab)
        until(lab, count, turns, workers, warm)
        used, made = cpu(workers, service) - before, total(lab) - done_before
        memory = [psutil.Process(w.pid).memory_full_info() for w in workers if w.pid]
        own = provider.stats()["seconds"] / max(1, sum(provider.requests.values()))
        over = overheads(lab, warm, delay + own + alone)
        seconds, made_calls = (now - was for now, was in zip(calls(lab), calls_before, strict=True))
        client = seconds / max(1, made_calls) - delay - own
        for worker in workers:
            worker.ask()
        for worker in workers:
            worker.stop()
    return {
        "researchers": count,
        "model s": delay,
        "overhead ms, median": 1000 * statistics.median(over),
        "command ms": 1000 * alone,
        "client ms": 1000 * client,
        "ours ms": 1000 * (statistics.median(over) - client),
        "p95": 1000 * sorted(over)[int(0.95 * len(over))],
        "CPU ms a turn": 1000 * used / made,
        "RSS MB": max(m.rss for m in memory) / 1e6,
        "PSS MB": statistics.fmean(m.pss for m in memory) / 1e6,
        "start s": start,
        "pace ms": 1000 * (pace_before + pace()) / 2,
    }


COMMAND = """
import statistics, subprocess, time
def once():
    began = time.perf_counter()
    subprocess.run(["bash", "--login", "-c", "echo 1"], capture_output=True)
    return time.perf_counter() - began
print(statistics.median(once() for _ in range(50)))
"""


def command_seconds(workspace: Path) -> float:
    """What the model's command takes by itself: median of fifty."""
    workspace.mkdir()
    with Session(sandbox_spec(BwrapConfig(workspace=str(workspace)), workspace)) as alone:
        return float(alone.exec(["python3", "-c", COMMAND], timeout=60).out)


def settings(count: int) -> Settings:
    crew = plan.language_models(count, "", "", undirected=False)
    return Settings(
        problem=problems.names()[0], researchers=crew, llm=Llm(model=MODEL, session_turns=10_000),
        budget=Budget(minutes=600, tokens=10**12),
    )  # fmt: skip


def serve(lab: Path, count: int, stack: ExitStack) -> psutil.Process:
    """A lab and its service, ready."""
    made = settings(count)
    create_lab(lab, made, [problems.load(made.problem)])
    argv = [sys.executable, "-m", "aarlab.server", "--lab", str(lab)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    client: LabClient = spec.operator(lab, 60.0)
    while client.run()["progress"].get("baseline", {}).get("queued", 1):  # the lab's own first work is done
        time.sleep(0.2)
    return psutil.Process(process.pid)


def turns_of(lab: Path, since: float = 0.0) -> dict[str, list[float]]:
    """Times of the answers of each researcher since a moment: one short query, for the processors are measured."""
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(f"file:{lab}/lab.db?mode=ro", uri=True)) as db:
        asked = "SELECT researcher, time FROM events WHERE kind = 'assistant' AND time > ? ORDER BY id"
        for name, moment in db.execute(asked, (since,)):
            found.setdefault(name, []).append(moment)
    return found


def total(lab: Path) -> int:
    return sum(len(times) for times in turns_of(lab).values())


def calls(lab: Path) -> tuple[float, int]:
    """Seconds in model calls so far, as the researchers' meters took them, and how many calls."""
    with spec.operator(lab) as client:
        accounts = client.run()["spending"].values()
    return float(sum(a["llm_seconds"] for a in accounts)), sum(a["calls"] for a in accounts)


def until(lab: Path, count: int, turns: int, workers: list[host.HostWorker], since: float = 0.0) -> float:
    """Wait until each researcher has answered so often since a moment; the moment of that."""
    while True:
        made = turns_of(lab, since)
        if len(made) == count and all(len(times) >= turns for times in made.values()):
            return time.monotonic()
        for worker in workers:
            worker.watch()
            assert worker.restarts == 0, worker.last_words()
        time.sleep(0.2 if turns == 1 else 2.0)


def cpu(workers: list[host.HostWorker], service: psutil.Process) -> float:
    """CPU seconds of all researchers with their sandboxes, and of the service."""
    for worker in workers:
        worker.account()
    used = service.cpu_times()
    return sum(w._cpu for w in workers) + float(used.user) + float(used.system)


def overheads(lab: Path, since: float, model: float) -> list[float]:
    """Seconds of each turn beyond the model's and the command's, once all researchers work."""
    return [b - a - model for times in turns_of(lab, since).values() for a, b in itertools.pairwise(times)]


if __name__ == "__main__":
    main()
