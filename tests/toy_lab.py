"""A whole toy lab in one process: folder, scorer threads and an HTTP client that needs no port."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

from fastapi.testclient import TestClient

import toy
from aarlab.execution.base import Executor
from aarlab.problems.base import Problem
from aarlab.server.app import create_app
from aarlab.server.creation import create_lab
from aarlab.server.lab import Lab
from aarlab.server.scorer import Scorer
from aarlab.settings import Settings
from aarlab.vault.verify import Report, verify


class ToyLab:
    """`with ToyLab(folder) as lab:` scores submissions; `open(folder)` goes on with one that exists."""

    def __init__(
        self,
        folder: Path,
        settings: Settings | None = None,
        packs: list[Problem] | None = None,
        executor: Executor | None = None,
        tokens: dict[str, Any] | None = None,
    ) -> None:
        packs = packs or [toy.make_pack(folder.parent / f"{folder.name}-pack")]
        self.tokens = tokens or create_lab(folder, settings or toy.settings(), packs)
        self.folder, self.lab = folder, Lab(folder)
        self.scorer = Scorer(self.lab, executor or toy.InProcess(), quantum=0.05)
        self.http = TestClient(create_app(self.lab), raise_server_exceptions=False)

    def __enter__(self) -> ToyLab:
        self.scorer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.scorer.close()
        self.lab.close()

    def header(self, who: str) -> dict[str, str]:
        token = self.tokens["researchers"].get(who) or self.tokens[who]
        return {"Authorization": f"Bearer {token}"}

    def get(self, path: str, who: str = "r1") -> Any:
        reply = self.http.get(f"/v1{path}", headers=self.header(who))
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: dict[str, Any], who: str = "r1", key: str | None = None) -> Any:
        """The raw reply, whatever its status."""
        headers = self.header(who) | ({"Idempotency-Key": key} if key else {})
        return self.http.post(f"/v1{path}", json=body, headers=headers)

    def raw(self, path: str, data: Any, who: str = "r1") -> Any:
        """The raw reply to bytes that claim to be JSON."""
        return self.http.post(
            f"/v1{path}", content=data, headers=self.header(who) | {"Content-Type": "application/json"}
        )

    def submit(self, source: str, who: str = "r1", key: str | None = None, **more: Any) -> Any:
        return self.post("/submissions", {"name": "method", "source": source, **more}, who, key)

    def score(self, source: str, who: str = "r1", **more: Any) -> dict[str, Any]:
        """Submit and wait for the verdict."""
        reply = self.submit(source, who, **more)
        assert reply.status_code == 201, reply.text
        found: dict[str, Any] = self.get(f"/submissions/{reply.json()['id']}?wait=20", who)
        return found

    def reach(self, phase: str) -> dict[str, Any]:
        """Ask for a phase and wait until its work is done; returns the operator's view."""
        assert self.post("/phase", {"phase": phase}, "operator").status_code == 200
        return self.until(lambda run: run["settled"])

    def until(self, true: Any, seconds: float = 20) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            run: dict[str, Any] = self.get("/run", "operator")
            if true(run):
                return run
            assert time.monotonic() < end, run["progress"]
            time.sleep(0.02)

    def verify(self) -> Report:
        return verify(self.folder)
