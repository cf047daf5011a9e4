"""CPU seconds and wall time that a run has used, kept over restarts.

The supervisor is the only writer. Time is summed from differences of the monotonic clock, so that a clock set
back or a pause between `run` and `resume` neither adds nor takes away.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "usage.json"


@dataclass
class Usage:
    """Totals of a run. `cpu`: CPU seconds per researcher's own process; method runs are counted by the server."""

    research_seconds: float = 0.0
    total_seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    server_restarts: int = 0
    supervisor_starts: int = 0


class UsageFile:
    """Usage with its file: `add` what a tick measured, `save` writes it atomically."""

    def __init__(self, run_folder: Path) -> None:
        self.path = run_folder / FILE
        self.usage = read(run_folder)
        self._last = time.monotonic()

    def tick(self, researching: bool) -> float:
        """Seconds since the last tick, added to the totals."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        self.usage.total_seconds += passed
        if researching:
            self.usage.research_seconds += passed
        return passed

    def add(self, name: str, cpu: float, wall: float) -> None:
        self.usage.cpu[name] = self.usage.cpu.get(name, 0.0) + cpu
        self.usage.wall[name] = self.usage.wall.get(name, 0.0) + wall

    def save(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self.usage)))
        os.replace(fresh, self.path)


def read(run_folder: Path) -> Usage:
    """The totals so far; zero for a run that has not started."""
    try:
        return Usage(**json.loads((run_folder / FILE).read_text()))
    except FileNotFoundError:
        return Usage()
