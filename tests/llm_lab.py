"""A toy lab with LLM researchers, each a real process, in front of the scripted provider."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import toy
from aarlab.client import LabClient
from aarlab.settings import Llm, ModelPrice, Prices, ResearcherSpec, Settings
from aarlab.testing import ModelServer
from toy_server import ToyServer

MODELS = {"anthropic": "anthropic/scripted", "openai": "openai-api/scripted/scripted"}
PRICE = {"input": 3.0, "output": 15.0, "cache_read": 0.3, "cache_write": 3.75}


def settings(researchers: int = 1, model: str = MODELS["anthropic"], llm: dict[str, Any] | None = None,
             **changes: Any) -> Settings:  # fmt: skip
    """A quick run of `researchers` LLM researchers named r1, r2, ..."""
    crew = tuple(ResearcherSpec(f"r{i + 1}", "llm") for i in range(researchers))
    prices = Prices(models=tuple(ModelPrice(name, **PRICE) for name in MODELS.values()))
    return replace(toy.settings(), researchers=crew, llm=Llm(model=model, **(llm or {})), prices=prices, **changes)


class LlmLab:
    """`with LlmLab(folder, settings, mind=...) as lab:`; `lab.start("r1")` is a researcher's process."""

    def __init__(self, folder: Path, settings: Settings, **server: Any) -> None:
        self.lab = ToyServer(folder, settings, sandboxed=True)
        self.models = ModelServer(**server)
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def folder(self) -> Path:
        return self.lab.folder

    def start(self, name: str = "r1", **env: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "aarlab.llm", "--lab", str(self.folder), "--name", name]
        with open(self.folder / "run" / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **self.models.environment(), **env},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, name: str = "r1", timeout: float = 120.0, **env: str) -> int:
        """Start it and wait for its end; the exit code."""
        return self.start(name, **env).wait(timeout)

    def words(self, name: str = "r1") -> str:
        return (self.folder / "run" / f"{name}.log").read_text()

    def client(self, who: str = "operator") -> LabClient:
        return self.lab.client(who)

    def events(self, name: str = "r1") -> list[dict[str, Any]]:
        client, found = self.client("fleet"), []
        while page := client.events(name, found[-1]["id"] if found else 0):
            found += page
        return found

    def __enter__(self) -> LlmLab:
        self.models.start()
        self.lab.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.lab.__exit__(kind, error, tb)
        self.models.stop()
