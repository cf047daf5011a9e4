"""Making audits of one method: all conditions are run together, spread over the executor's workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from aarlab import audits
from aarlab.audits.base import BASE, LEVELS, SEEDS, Audit, Condition, Failed, Level, Results, Run, Setting
from aarlab.errors import MethodError
from aarlab.execution.base import Event, Executor, MethodRun
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s import methods
from aarlab.w2s.task import TaskInputs

REFERENCE = "weak-labels-hard"
"""The plain baseline whose dependence on the teacher others are compared with."""

Runs = Mapping[str, tuple[Run, ...] | Failed]
Tell = Callable[[int, int], None]
"""Told after each part: draws done, draws in all."""


@dataclass(frozen=True)
class Method:
    """What is audited: the file, and what its researcher said of it."""

    source: str
    claimed_pgr: float | None = None


@dataclass
class Examiner:
    """Audits methods on one task. `rng` must be the lab's own: whoever foresees a shuffle could prepare for it.

    others: further tasks of the problem that may be used. workers: method runs at a time. timeout: seconds of wall time
    for one draw.
    """

    task: AuditTask
    executor: Executor
    rng: np.random.Generator
    others: tuple[AuditTask, ...] = ()
    workers: int = 2
    timeout: float = 60.0
    limits: Mapping[str, float] = field(default_factory=dict)
    tell: Tell = lambda done, total: None

    def examine(self, method: Method, level: Level = "full", only: Sequence[Audit] | None = None) -> list[Finding]:
        """One finding per audit up to `level`. Raises MethodError where the method does not run as it is scored."""
        chosen = [a for a in (only or audits.every()) if LEVELS.index(a.level) <= LEVELS.index(level)]
        setting = self._setting(method)
        wanted: dict[str, Condition] = {}
        reference: dict[str, Condition] = {}
        if any(a.level != "static" for a in chosen):
            wanted[BASE] = Condition(setting.base)
        for audit in chosen:
            found = {} if audit.missing(setting) else audit.conditions(setting, self.rng)
            wanted.update(found)
            if audit.needs_reference and found:
                reference |= {BASE: wanted[BASE], **found}
        self._done, self._total = 0, _draws(wanted) + _draws(reference)
        runs, events = self._run(method.source, wanted)
        if isinstance(base := runs.get(BASE), Failed):
            raise MethodError(base.reason, f"the method does not run on {self.task.task} ({base.reason})")
        plain, _ = self._run(methods.source(REFERENCE), reference)
        results = Results(setting, runs, plain, events, self.rng)
        return [audit.report(results) for audit in chosen]

    def _setting(self, method: Method) -> Setting:
        teachers = tuple(int(t) for t in self.rng.choice(len(self.task.weak), SEEDS, replace=False))
        base = tuple(self.task.draw(t, self.rng) for t in teachers)
        return Setting(self.task, method.source, base, teachers, self.others, method.claimed_pgr, self.limits)

    def _run(self, source: str, wanted: Mapping[str, Condition]) -> tuple[Runs, tuple[Event, ...]]:
        """Run all conditions, those on the same inputs in one sandbox as far as the workers allow."""
        jobs = self._jobs(wanted)
        found: dict[str, tuple[Run, ...] | Failed] = {}
        events: list[Event] = []
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            for runs, seen in pool.map(lambda job: self._job(source, job), jobs):
                found.update(runs)
                events += seen
        return found, _added(events)

    def _jobs(self, wanted: Mapping[str, Condition]) -> list[dict[str, Condition]]:
        by_inputs: dict[int, list[tuple[str, Condition]]] = {}
        for name, condition in wanted.items():
            by_inputs.setdefault(id(self._inputs(condition)), []).append((name, condition))
        jobs: list[dict[str, Condition]] = []
        for conditions in by_inputs.values():
            parts: list[dict[str, Condition]] = [{} for _ in range(min(self.workers, len(conditions)))]
            for name, condition in sorted(conditions, key=lambda c: -len(c[1].draws)):
                min(parts, key=_draws)[name] = condition
            jobs += parts
        return sorted(jobs, key=_draws, reverse=True)

    def _job(self, source: str, job: Mapping[str, Condition]) -> tuple[Runs, list[Event]]:
        """One sandbox for several conditions; where the method fails in one of them, each alone."""
        try:
            found, events = self._together(source, job)
        except MethodError as error:
            if len(job) == 1:
                self._tell(job)
                return {name: Failed(error.reason) for name in job}, list(getattr(error, "events", ()))
            alone = [self._job(source, {name: condition}) for name, condition in job.items()]
            return {k: v for runs, _ in alone for k, v in runs.items()}, [e for _, seen in alone for e in seen]
        self._tell(job)
        return found, events

    def _together(self, source: str, job: Mapping[str, Condition]) -> tuple[dict[str, tuple[Run, ...]], list[Event]]:
        draws = tuple(d for condition in job.values() for d in condition.draws)
        inputs = self._inputs(next(iter(job.values())))
        out = self.executor.run(MethodRun(source, packed(inputs), draws, self.timeout))
        runs = iter([Run(d.test, o > 0.5) for d, o in zip(draws, out.outputs, strict=True)])
        return {name: tuple(next(runs) for _ in c.draws) for name, c in job.items()}, list(out.events)

    def _inputs(self, condition: Condition) -> TaskInputs:
        return condition.inputs or (condition.task or self.task).inputs

    def _tell(self, job: Mapping[str, Condition]) -> None:
        self._done += _draws(job)
        self.tell(self._done, self._total)


def _draws(conditions: Mapping[str, Condition]) -> int:
    return sum(len(c.draws) for c in conditions.values())


def packed(inputs: TaskInputs) -> bytes:
    """`TaskInputs.to_bytes`, made once: the same inputs go to many runs."""
    if "_packed" not in inputs.__dict__:
        inputs.__dict__["_packed"] = inputs.to_bytes()
    found: bytes = inputs.__dict__["_packed"]
    return found


def _added(events: Sequence[Event]) -> tuple[Event, ...]:
    """Equal events put together."""
    total: dict[tuple[str, str], int] = {}
    for event in events:
        total[event.kind, event.detail] = total.get((event.kind, event.detail), 0) + event.count
    return tuple(Event(kind, detail, count) for (kind, detail), count in sorted(total.items()))
