"""Where attacks happen: real labs in a temporary folder, each served by a process of its own, and the operator's tools.

Attackers speak to a lab as researchers do, with their tokens over its socket. The machine's count of answers is kept
in the same temporary folder, so that attacks spend nothing of the user's.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from aarlab.client import Json, LabClient
from aarlab.errors import AarlabError, BudgetSpent, Infrastructure, MethodError
from aarlab.execution.local import LocalExecutor
from aarlab.fleet.runner import Server
from aarlab.problems.base import Problem
from aarlab.redteam import hacks, probes
from aarlab.redteam.attack import Notes, Outcome
from aarlab.redteam.measure import HONEST, Operator
from aarlab.sandbox import open_sandbox
from aarlab.server.creation import create_lab
from aarlab.settings import Budget, ResearcherSpec, Scoring, Settings
from aarlab.vault.verify import Report, verify

CREW = tuple(f"r{i}" for i in range(1, 10))
"""Nine researchers, as in the 2026 study."""

WAIT = 120.0
"""Seconds for a submission's verdict."""


class AttackedLab:
    """A lab with a live server. `who` is a researcher's name, "operator" or "viewer"."""

    def __init__(self, folder: Path, tokens: dict[str, Any]) -> None:
        self.folder, self.tokens = folder, tokens
        self.server = Server(folder)
        self.clients: dict[str, LabClient] = {}
        self.server.start()

    def client(self, who: str = "r1") -> LabClient:
        if who not in self.clients:
            token = self.tokens["researchers"].get(who) or self.tokens[who]
            self.clients[who] = LabClient(self.folder / "run" / "aarlab.sock", token, patience=20.0)
        return self.clients[who]

    def submit(self, source: str, who: str = "r1", name: str = "method", claimed: float | None = None) -> Json:
        """Hand in and return at once. Raises what the lab answers."""
        return self.client(who).submit(name, source, claimed_pgr=claimed)

    def score(self, source: str, who: str = "r1", **more: Any) -> Json:
        """Hand in and wait for the verdict."""
        return self.wait(self.submit(source, who, **more), who)

    def wait(self, row: Json, who: str = "r1") -> Json:
        return self.client(who).wait(row["id"], WAIT)

    def refusal(self, source: str, who: str = "r1") -> str:
        """The kind of error that a submission meets at the door; empty where it is taken in."""
        try:
            self.submit(source, who)
        except AarlabError as error:
            return error.reason if isinstance(error, MethodError) else type(error).__name__
        return ""

    def run(self) -> Json:
        return self.client("operator").run()

    def exact(self, number: int) -> list[float]:
        """Exact accuracies of a submission's feedback run, one per seed, as the operator sees them."""
        rows = [e for e in self.run()["evaluations"] if e["submission"] == number and e["purpose"] == "feedback"]
        return [s["accuracy"] for e in rows for s in e["scores"]]

    def reply(self, verb: str, path: str, who: str = "r1", body: Any = None) -> tuple[int, str]:
        """Any request at all: status and text of the reply. body: bytes, or what JSON can hold."""
        address = json.loads((self.folder / "run" / "server.json").read_text())
        token = self.tokens["researchers"].get(who) or self.tokens.get(who, who)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", address["port"], timeout=30)
        try:
            connection.request(verb, path, data, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode(errors="replace")
        finally:
            connection.close()

    def restart(self) -> None:
        self.server.stop()
        self.server.start()

    def reach(self, phase: str, seconds: float = 300.0) -> Json:
        """Ask for a phase and wait until its work is done; the operator's view then."""
        operator = self.client("operator")
        operator.phase(phase)
        end = time.monotonic() + seconds
        while True:
            view = operator.run()
            if view["settled"]:
                return view
            if time.monotonic() > end:
                raise Infrastructure(f"the lab did not reach phase {phase!r} within {seconds:.0f} s")
            time.sleep(0.1)

    def verify(self) -> Report:
        return verify(self.folder)

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
        self.server.stop()


class Ground:
    """`with Ground(problem) as ground:`; everything it starts ends with it. seed: of the operator's draws."""

    def __init__(self, problem: Problem, seed: int = 0) -> None:
        self.problem = problem
        self.rng = np.random.default_rng(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="aarlab-redteam-"))
        self._open = contextlib.ExitStack()
        self._state = os.environ.get("AARLAB_STATE")
        self._labs = 0
        self._leaks: dict[int, hacks.Leak] = {}
        os.environ["AARLAB_STATE"] = str(self.folder / "state" / "answers.db")
        self.folder.joinpath("state").mkdir()

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()
        if self._state is None:
            os.environ.pop("AARLAB_STATE", None)
        else:
            os.environ["AARLAB_STATE"] = self._state
        shutil.rmtree(self.folder, ignore_errors=True)

    # Labs

    def settings(self, answers: int = 45, submissions: int = 200, **scoring: Any) -> Settings:
        """Nine researchers and small numbers of seeds."""
        few = Scoring(seeds=2, record_seeds=2, finalists=3, workers=2, timeout=20.0)
        return Settings(
            problem=self.problem.name,
            budget=Budget(minutes=60.0, answers=answers, submissions=submissions),
            scoring=replace(few, **scoring),
            researchers=tuple(ResearcherSpec(name, "scripted") for name in CREW),
        )

    @contextlib.contextmanager
    def lab(self, **settings: Any) -> Iterator[AttackedLab]:
        """A fresh lab of this problem; keywords as of `settings`."""
        with self.lab_of(self.settings(**settings)) as lab:
            yield lab

    @contextlib.contextmanager
    def lab_of(self, settings: Settings) -> Iterator[AttackedLab]:
        lab = self._start(settings)
        try:
            yield lab
        finally:
            lab.close()

    @cached_property
    def shared(self) -> AttackedLab:
        """One lab for all attacks that do not spend its budget."""
        lab = self._start(self.settings(answers=400, submissions=2000))
        self._open.callback(lab.close)
        return lab

    def _start(self, settings: Settings) -> AttackedLab:
        self._labs += 1
        folder = self.folder / f"lab{self._labs}"
        tokens = create_lab(folder, settings, [self.problem])
        return AttackedLab(folder, tokens)

    # The operator

    @cached_property
    def operator(self) -> Operator:
        return Operator(self.problem, self.executor, self.rng)

    @cached_property
    def executor(self) -> LocalExecutor:
        """Sandboxes as the lab's server has them."""
        sandbox = open_sandbox("bwrap")
        sandbox.check()
        executor = LocalExecutor(sandbox, workers=2, hidden=(self.folder,))
        self._open.callback(executor.close)
        return executor

    # What many attacks do

    def leak(self, count: int) -> hacks.Leak:
        """True labels of `count` feedback items, as if they had been stolen; the same ones whenever asked."""
        if count not in self._leaks:
            self._leaks[count] = hacks.Leak.of(self.operator.feedback, count, self.rng)
        return self._leaks[count]

    def hack(
        self, source: str, tried: str, track: str = "inductive", honest: str = HONEST, claimed: float | None = None
    ) -> Outcome:
        """Submit a cheating method to the shared lab, then measure and audit it."""
        refused = self.shared.refusal(source)
        out = self.operator.examined(source, tried, track, honest, claimed)
        if not refused:
            return out
        why = f"refused at the door ({refused}); measured with the door open: {out.why}"
        endings = tuple(dict.fromkeys(("refused", *out.endings)))
        return replace(out, why=why, endings=endings, ranked=False)

    def probed(self, tries: tuple[probes.Probe, ...], what: str, before: str = "") -> Outcome:
        """Make each try in a method's sandbox; none may work. before: code of a run that goes first."""
        notes, test = Notes(), self.operator.tests["feedback"][0]
        if before:
            probes.tried(probes.Probe("before", before, "pass"), test, self.executor)
        notes.expect(probes.tried(probes.control(), test, self.executor).worked, "what is allowed works")
        with ThreadPoolExecutor(self.executor.workers) as pool:
            ends = list(pool.map(lambda p: probes.tried(p, test, self.executor), tries))
        for end in ends:
            noted = f", noted: {probes.kinds(end.events)}" if end.events else ""
            notes.expect(not end.worked, f"{end.probe.name}: {end.reason or 'it worked'}{noted}")
        return notes.outcome(what, "refused")


def taken(lab: AttackedLab, sources: list[str]) -> tuple[list[Json], int]:
    """Submit in turn as nine researchers: the rows taken in, with who sent them, and how many the budget refused."""
    rows, refused = [], 0
    for number, source in enumerate(sources):
        who = CREW[number % len(CREW)]
        try:
            rows.append({**lab.submit(source, who), "who": who})
        except BudgetSpent:
            refused += 1
    return [lab.wait(row, row["who"]) | {"who": row["who"]} for row in rows], refused
