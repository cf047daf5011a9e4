"""What an audit is: conditions under which a method runs again, and a measurement on what it then predicts.

An audit asks for `Condition`s, each a few draws on the task's inputs or on changed ones. All audits' conditions are run
together (`aarlab.audits.run`), and each audit then turns the predictions into a `Finding`. Nothing here judges:
`aarlab.audits.policy` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.execution.base import Event
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding, FindingStatus
from aarlab.w2s.task import Draw, Ints, TaskInputs

Bools = NDArray[np.bool_]

Level = Literal["static", "quick", "full"]
"""`static`: reads the file only. `quick`: a few reruns. `full`: everything, for finalists."""

LEVELS: tuple[Level, ...] = ("static", "quick", "full")

BASE = "base"
"""The condition every audit may look at: the method as it is scored, `SEEDS` draws."""

SEEDS = 3
"""Draws of the base condition, each with another teacher."""

FEW_ITEMS = 1000
"""Below so many test items a limit that is passed is doubtful: shown, and never a reason not to rank."""


@dataclass(frozen=True)
class Condition:
    """One way to run a method again. `inputs`: None for the task's own; `task`: None for the audited task."""

    draws: tuple[Draw, ...]
    inputs: TaskInputs | None = None
    task: AuditTask | None = None  # the task that grades it, where that is another one


@dataclass(frozen=True)
class Run:
    """What a method predicted in one draw: P(label = 1) > 0.5 of `rows`, in the draw's order."""

    rows: Ints
    says: Bools

    def on(self, rows: Ints) -> Bools:
        """The predictions of some rows, in their order. All of them must be among `self.rows`."""
        order = np.argsort(self.rows)
        found: Bools = self.says[order][np.searchsorted(self.rows[order], rows)]
        return found


@dataclass(frozen=True)
class Failed:
    """The method did not get through a condition; `reason` is one of MethodError.REASONS."""

    reason: str


@dataclass(frozen=True)
class Setting:
    """What all audits of one examination share."""

    task: AuditTask
    source: str  # the method file
    base: tuple[Draw, ...]  # SEEDS draws
    teachers: tuple[int, ...]  # of each base draw
    others: tuple[AuditTask, ...] = ()  # other tasks of the problem that may be used now
    claimed_pgr: float | None = None  # what the researcher says of the open task
    limits: Mapping[str, float] = field(default_factory=dict)  # the policy's payload limits


@dataclass(frozen=True)
class Results:
    """All that was run. `runs`: condition -> one Run per draw, or why there is none; `reference`: the same of the plain
    weak-label baseline where an audit asked for it."""

    setting: Setting
    runs: Mapping[str, tuple[Run, ...] | Failed]
    reference: Mapping[str, tuple[Run, ...] | Failed]
    events: tuple[Event, ...] = ()
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    def get(self, name: str) -> tuple[Run, ...]:
        """The runs of a condition. Raises Unmeasured where the method failed under it."""
        return _runs(self.runs, name)

    def of_reference(self, name: str) -> tuple[Run, ...]:
        return _runs(self.reference, name)


class Unmeasured(Exception):
    """An audit has no number to report, and why."""

    def __init__(self, status: FindingStatus, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def _runs(found: Mapping[str, tuple[Run, ...] | Failed], name: str) -> tuple[Run, ...]:
    runs = found[name]
    if isinstance(runs, Failed):
        raise Unmeasured("failed", f"the method did not run in condition {name!r} ({runs.reason})")
    return runs


class Audit:
    """One audit. Subclasses set the class variables and override `conditions` and `measure`."""

    name: ClassVar[str]  # also the file's name, with dashes
    channel: ClassVar[str]  # the policy's word for what is measured
    title: ClassVar[str]  # what it does, in a few words
    level: ClassVar[Level] = "full"
    needs_reference: ClassVar[bool] = False  # also run the plain weak-label baseline in these conditions

    def missing(self, setting: Setting) -> str:
        """Why this audit cannot be made on this task; empty where it can."""
        return ""

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        """What to run, by a name of this audit's own choice ("flip", "swap-other", ...)."""
        return {}

    def measure(self, results: Results) -> Finding:
        """The finding. May raise Unmeasured; `report` turns that into one too."""
        raise NotImplementedError

    def report(self, results: Results) -> Finding:
        """`measure`, or why there is no number."""
        why = self.missing(results.setting)
        if why:
            return self.without("not applicable", why)
        try:
            return self.measure(results)
        except Unmeasured as reason:
            return self.without(reason.status, reason.why)

    def without(self, status: FindingStatus, why: str) -> Finding:
        return Finding(self.name, self.channel, status, f"{self.title}: {status}, {why}")
