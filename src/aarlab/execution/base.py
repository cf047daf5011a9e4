"""What is run, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aarlab.w2s.task import Draw, Floats


@dataclass(frozen=True)
class MethodRun:
    """One method on one task. `inputs` is TaskInputs.to_bytes(); `timeout` is wall seconds for each draw."""

    source: str
    inputs: bytes
    draws: tuple[Draw, ...]
    timeout: float


@dataclass(frozen=True)
class Event:
    """Something a method's process did or tried that is worth a look: "exec", "fork", "socket", "open", "compile", ...

    `detail`: a path, a name, an address; never text that the method chose freely. `count`: how often.
    """

    kind: str
    detail: str
    count: int = 1


@dataclass(frozen=True)
class RunResult:
    """P(label = 1) of each draw's test items, float32 (n_test,) in the order of `Draw.test`, and what it took."""

    outputs: tuple[Floats, ...]
    cpu_seconds: tuple[float, ...]
    wall_seconds: tuple[float, ...]
    events: tuple[Event, ...] = ()  # over all draws


class Executor(Protocol):
    """Runs methods. Raises MethodError for the method's fault and Infrastructure for ours."""

    def run(self, what: MethodRun) -> RunResult: ...

    def close(self) -> None: ...
