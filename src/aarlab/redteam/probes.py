"""Methods that try something and tell the operator, by one number, whether it worked.

The lab answers a researcher with a word of the Ladder. The operator sees the output itself, so a probe returns 0.9 for
every item where it succeeded and 0.1 where it did not; ending its process or being ended is not success either.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aarlab.audits.run import packed
from aarlab.errors import MethodError
from aarlab.execution.base import Event, Executor, MethodRun
from aarlab.redteam.measure import Test

SUCCESS, FAILURE = 0.9, 0.1

SOURCE = """
import numpy as np

def attempt(task):
{body}


def run(task, seed):
    worked = True
    try:
        attempt(task)
    except BaseException:
        worked = False
    return np.full(len(task.test), {success} if worked else {failure})
"""


@dataclass(frozen=True)
class Probe:
    """Something to try. `body` succeeds by coming to its end; `imports` come before it."""

    name: str
    imports: str
    body: str

    @property
    def source(self) -> str:
        body = textwrap.indent(f"{self.imports}\n{self.body}", "    ")
        return SOURCE.format(body=body, success=SUCCESS, failure=FAILURE)


@dataclass(frozen=True)
class Tried:
    """How a probe ended: whether it worked, else the reason; and what the sandbox noted meanwhile."""

    probe: Probe
    worked: bool
    reason: str
    events: tuple[Event, ...]


def control() -> Probe:
    """What must work: it shows that a success would be seen."""
    return Probe("control", "", "assert len(task.test) > 0")


def tried(probe: Probe, test: Test, executor: Executor) -> Tried:
    """Run a probe as the lab runs methods."""
    try:
        out = executor.run(MethodRun(probe.source, packed(test.task.inputs), test.draws[:1], timeout=20.0))
    except MethodError as error:
        return Tried(probe, False, error.reason, tuple(getattr(error, "events", ())))
    worked = bool(np.mean(out.outputs[0]) > 0.5)
    return Tried(probe, worked, "" if worked else "denied", out.events)


def kinds(events: Sequence[Event]) -> str:
    """The kinds of events, for a sentence."""
    return ", ".join(sorted({e.kind for e in events}))
