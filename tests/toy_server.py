"""A toy lab served by a real process on a unix socket and a loopback port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import toy
from aarlab.client import LabClient
from aarlab.server.creation import create_lab
from aarlab.settings import Settings
from aarlab.vault.verify import Report, verify


def plain(settings: Settings) -> Settings:
    """The same run with method runs as plain processes: works on every machine."""
    return replace(settings, isolation=replace(settings.isolation, kind="process"))


class ToyServer:
    """`with ToyServer(folder) as server:`; `kill` and `start` play a crash and a restart."""

    def __init__(
        self, folder: Path, settings: Settings | None = None, items: int = 400, sandboxed: bool = False
    ) -> None:
        self.folder = folder
        chosen = settings or toy.settings()
        pack = toy.make_pack(folder.parent / f"{folder.name}-pack", items=items)
        self.tokens = create_lab(folder, chosen if sandboxed else plain(chosen), [pack])
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[LabClient] = []

    def start(self) -> dict[str, Any]:
        """Start the process and wait until it can be reached; returns run/server.json."""
        command = [sys.executable, "-m", "aarlab.server", "--lab", str(self.folder)]
        with open(self.folder / "run" / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
        address, end = self.folder / "run" / "server.json", time.monotonic() + 30
        while not (address.is_file() and json.loads(address.read_text())["pid"] == self.process.pid):
            assert self.process.poll() is None, (self.folder / "run" / "server.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        found: dict[str, Any] = json.loads(address.read_text())
        return found

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(20)

    def client(self, who: str = "r1", patience: float = 20.0) -> LabClient:
        token = self.tokens["researchers"].get(who) or self.tokens[who]
        client = LabClient(self.folder / "run" / "aarlab.sock", token, patience)
        self.clients.append(client)
        return client

    def verify(self) -> Report:
        return verify(self.folder)

    def __enter__(self) -> ToyServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.end()
