"""A toy lab with LLM researchers, each a real process, in front of the scripted provider."""

from __future__ import annotations

import multiprocessing
import os
import time
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


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["aarlab.llm.seat", "aarlab.llm.session", "anthropic", "openai"])
"""Where the tests' processes come from: importing all that costs seconds, and each would do it again."""


def _live(lab: Path, name: str, env: dict[str, str]) -> None:
    """A researcher's process."""
    from aarlab.llm.__main__ import run

    os.setsid()
    os.environ.update(env)
    log = os.open(lab / "run" / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os._exit(run(lab, name))


class Process:
    """A researcher's process with the verbs of subprocess.Popen that the tests use."""

    def __init__(self, lab: Path, name: str, env: dict[str, str]) -> None:
        self._process = FORKS.Process(target=_live, args=(lab, name, env))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = 30.0) -> int | None:
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running after {timeout} s"
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


class LlmLab:
    """`with LlmLab(folder, settings, mind=...) as lab:`; `lab.start("r1")` is a researcher's process."""

    def __init__(self, folder: Path, settings: Settings, **server: Any) -> None:
        self.lab = ToyServer(folder, settings, sandboxed=True)
        self.models = ModelServer(**server)
        self.processes: list[Process] = []

    @property
    def folder(self) -> Path:
        return self.lab.folder

    def start(self, name: str = "r1", **env: str) -> Process:
        process = Process(self.folder, name, {**self.models.environment(), **env})
        self.processes.append(process)
        return process

    def run(self, name: str = "r1", timeout: float = 120.0, **env: str) -> int | None:
        """Start it and wait for its end; the exit code."""
        return self.start(name, **env).wait(timeout)

    def wait_for(self, requests: int, seconds: float = 90.0) -> None:
        """Until the provider has been asked so often."""
        end = time.monotonic() + seconds
        while self.models.requests["all"] < requests:
            assert time.monotonic() < end, self.words()
            time.sleep(0.02)

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
