"""Nine processes and one dollar: what is spent passes the budget by no more than one call each."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toy
from aarlab.client import LabClient
from aarlab.errors import BudgetSpent
from aarlab.settings import Budget
from toy_server import ToyServer

PROCESSES = 9
NAMES = [f"r{i + 1}" for i in range(PROCESSES)]
CALL = 0.013  # dollars of the dearest call
CALL_TOKENS = 1300


def spend(address: str, token: str, name: str, out: Any) -> None:
    """Calls as fast as the lab grants them, each settled at another price than was set aside; then says the refusal."""
    rng = random.Random(name)
    with LabClient(address, token) as fleet:
        for number in range(10_000):
            key = f"{name}-{number}"
            try:
                fleet.reserve(name, key, CALL * rng.uniform(0.2, 1.0), int(CALL_TOKENS * rng.uniform(0.2, 1.0)))
            except BudgetSpent as error:
                out.put((name, number, str(error)))
                return
            share = rng.uniform(0.5, 1.0)
            tokens = int(CALL_TOKENS * share)
            usage = {"model": "toy/one", "input_tokens": tokens - tokens // 4, "output_tokens": tokens // 4}
            for _ in range(rng.choice((1, 1, 2))):  # a settlement whose reply was lost is sent again
                fleet.settle(name, key, usage, CALL * share)


def hold(address: str, token: str, name: str, out: Any) -> None:
    """One call settled, the next under way for ever."""
    with LabClient(address, token) as fleet:
        fleet.reserve(name, "first", 0.02, 200)
        fleet.settle(name, "first", {"input_tokens": 100, "output_tokens": 50}, 0.01)
        fleet.reserve(name, "second", 0.03, 300)
        out.put(name)
        time.sleep(600)


def race(server: ToyServer, work: Callable[..., None], names: list[str]) -> tuple[list[Any], list[Any]]:
    """Start one process for each name and wait until each has said something."""
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    address = str(server.folder / "run" / "aarlab.sock")
    processes = [
        context.Process(target=work, args=(address, server.tokens["fleet"], n, out), daemon=True) for n in names
    ]
    for process in processes:
        process.start()
    return processes, [out.get(timeout=60) for _ in names]


@pytest.mark.parametrize(
    ("budget", "word", "limit", "one"),
    [
        (Budget(answers=20, dollars=1.0), "the fleet's $1.00", 1.0, CALL),
        (Budget(answers=20, tokens=100_000), "the fleet's 100,000 tokens", 100_000, CALL_TOKENS),
    ],
    ids=["dollars", "tokens"],
)
def test_a_budget_holds_against_racing_processes(
    tmp_path: Path, budget: Budget, word: str, limit: float, one: float
) -> None:
    """At the end everybody was refused in words, nothing is under way, and the sum lies where it may."""
    with ToyServer(tmp_path / "lab", toy.settings(PROCESSES, budget=budget)) as server:
        processes, refusals = race(server, spend, NAMES)
        for process in processes:
            process.join(20)
        run = server.client("operator").run()
        accounts = [run["spending"][n] for n in NAMES]
        used = sum(a["llm_dollars" if budget.dollars else "tokens"] for a in accounts)
        assert limit - 1e-9 <= used <= limit + PROCESSES * one
        assert {a["outstanding_dollars"] for a in accounts} == {0}
        assert sum(a["calls"] for a in accounts) == sum(made for _, made, _ in refusals)
        assert all(said.startswith(f"{word} are spent") for _, _, said in refusals)
        assert all(a["calls"] > 0 for a in accounts)
        assert server.verify()


def test_what_killed_processes_left_is_charged_once(tmp_path: Path) -> None:
    """kill -9 in the middle of a call: the price that was set aside is charged, once, and shown in the transcript."""
    names = NAMES[:3]
    with ToyServer(tmp_path / "lab", toy.settings(3, budget=Budget(answers=20, dollars=1.0))) as server:
        processes, _ = race(server, hold, names)
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.join(20)
        server.end(signal.SIGKILL)  # and the lab's service with them
        server.start()
        fleet, operator = server.client("fleet"), server.client("operator")
        for name in names[:2]:
            assert fleet.release(name) == {"charged": 1, "dollars": 0.03, "tokens": 300}
            assert fleet.release(name)["charged"] == 0
        for name in names:
            account = operator.run()["spending"][name]
            dead = name in names[:2]
            assert account["llm_dollars"] == pytest.approx(0.04 if dead else 0.01)
            assert (account["calls"], account["lost_calls"], account["tokens"]) == (1, int(dead), 450 if dead else 150)
            assert account["outstanding_dollars"] == pytest.approx(0 if dead else 0.03)
        [note] = fleet.events(names[0])
        assert note["body"]["text"].startswith("the process ended while 1 call was under way; charged as reserved")
        assert fleet.events(names[2]) == []
