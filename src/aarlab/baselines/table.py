"""From outcomes to the table: PGR, accuracy and paired differences with intervals, as plain JSON values.

Roles: `feedback` is in distribution, `record` the mean over the record tasks, which lie outside of it. Intervals of one
task are those of `aarlab.statistics`; the mean over tasks takes the tasks as given and adds their arms in quadrature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aarlab
from aarlab import statistics
from aarlab.baselines import claims
from aarlab.baselines import measure as one
from aarlab.baselines.cache import Outcome, code
from aarlab.baselines.harness import Measured
from aarlab.baselines.plan import CEILING, REFERENCE, Entry, Plan
from aarlab.problems.base import Problem
from aarlab.records import Estimate
from aarlab.records import Measured as Mean

ROLES = ("open", "feedback", "record")
_STATUS = {True: "failed", False: "not applicable"}  # by `Failure.applicable`


@dataclass(frozen=True)
class Ground:
    """What a task's numbers stand on: its test items' groups (n_test,), floor and ceiling."""

    groups: NDArray[Any]
    floor: Mean
    ceiling: Mean

    @property
    def gap(self) -> float:
        return self.ceiling.mean - self.floor.mean


@dataclass(frozen=True)
class Cell:
    """One method on one task. `pgr` and `difference` are None where no ceiling lies above the floor."""

    pgr: Estimate | None
    accuracy: Estimate
    difference: Estimate | None  # PGR minus the reference's; the interval holds for all methods at once
    outcomes: list[Outcome]

    def as_dict(self) -> dict[str, Any]:
        return {
            "pgr": _plain(self.pgr), "accuracy": _plain(self.accuracy), "difference": _plain(self.difference),
            "accuracies": [round(float(o.correct.mean()), 6) for o in self.outcomes],
            "cpu_seconds": [round(o.cpu_seconds, 4) for o in self.outcomes],
        }  # fmt: skip


def table(plan: Plan, found: Measured) -> dict[str, Any]:
    """The whole table. Deterministic, but for the seconds and megabytes."""
    return {
        "library": aarlab.__version__, "command": plan.command(), "student": str(plan.student),
        "student_name": plan.student.name, "seeds": list(range(plan.seeds)), "comparisons": plan.comparisons,
        "reference": REFERENCE, "whole": plan.whole,
        "cost": {
            "wall_seconds": round(found.wall_seconds, 1), "cpu_seconds": round(found.cpu_seconds, 1),
            "runs": sum(map(len, found.outcomes.values())), "measured_now": found.measured_now,
            "peak_mb": round(found.peak_mb),
        },
        "methods": [{**vars(e.about), "code": code(e.source, plan.student.name)[:16]} for e in plan.entries],
        "problems": [_problem(plan, found, problem) for problem in plan.problems],
    }  # fmt: skip


def combine(parts: Sequence[Estimate | None]) -> Estimate | None:
    """The mean over tasks with equal weight; None where a part is missing."""
    known = [p for p in parts if p is not None]
    if not known or len(known) < len(parts):
        return None
    mean = sum(p.mean for p in known) / len(known)
    down = sqrt(sum((p.mean - p.low) ** 2 for p in known)) / len(known)
    up = sqrt(sum((p.high - p.mean) ** 2 for p in known)) / len(known)
    return Estimate(mean, mean - down, mean + up, min(p.seeds for p in known), sum(p.items for p in known))


def cells(outcomes: dict[str, list[Outcome]], ground: Ground) -> dict[str, Cell]:
    """One task's numbers of every method. Leads have intervals that hold for all of these methods at once."""
    names = list(outcomes)
    if not names:
        return {}
    correct = np.stack([_stack(outcomes[n]) for n in names])
    accuracy = [statistics.estimate_accuracy(one_method, ground.groups) for one_method in correct]
    pgr, leads = dict[str, Estimate](), dict[str, Estimate]()
    if ground.gap > 0:
        board = statistics.leaderboard(correct, ground.groups, ground.floor, ground.ceiling)
        pgr = dict(zip(names, board.alone, strict=True))
        leads = _leads(names, correct, ground)
    return {
        name: Cell(pgr.get(name), accuracy[i], leads.get(name), outcomes[name]) for i, name in enumerate(names)
    }  # fmt: skip


def _leads(names: list[str], correct: NDArray[np.bool_], ground: Ground) -> dict[str, Estimate]:
    """PGR of every other method minus the reference's, {} where the reference was not measured."""
    others = [n for n in names if n != REFERENCE]
    if REFERENCE not in names or not others:
        return {}
    rows = [names.index(n) for n in others]
    found = statistics.leads(correct[rows], correct[names.index(REFERENCE)], ground.groups, ground.gap)
    return dict(zip(others, found, strict=True))


def _problem(plan: Plan, found: Measured, problem: Problem) -> dict[str, Any]:
    grounds = {task: _ground(plan, found, problem, task) for task in plan.tasks_of(problem)}
    columns = {}
    for task, ground in grounds.items():
        known = {e.name: found.outcomes.get((problem.name, task, e.name)) for e in plan.entries}
        columns[task] = cells({name: outcomes for name, outcomes in known.items() if outcomes}, ground)
    rows = [_row(problem, found, entry, columns) for entry in plan.entries]
    return {
        "name": problem.name, "title": problem.title, "data_hash": problem.data_hash,
        "tasks": [
            {"name": t, "role": problem.tasks[t].role, "title": problem.tasks[t].title, "test_items": len(g.groups),
             "floor": vars(g.floor), "ceiling": vars(g.ceiling)}
            for t, g in grounds.items()
        ],
        "rows": sorted(rows, key=_order),
    }  # fmt: skip


def _order(row: dict[str, Any]) -> tuple[bool, float, str]:
    """By PGR on feedback, else by accuracy there; rows without a number last."""
    first = row["feedback"] or row["record"] or row["open"] or {}
    value = first.get("pgr") or first.get("accuracy")
    return value is None, -(value or {"mean": 0.0})["mean"], row["method"]


def _row(problem: Problem, found: Measured, entry: Entry, columns: dict[str, dict[str, Cell]]) -> dict[str, Any]:
    """One method on one problem. columns: task -> method -> cell."""
    own = {task: column[entry.name] for task, column in columns.items() if entry.name in column}
    failures = {t: f for t in columns if (f := found.failures.get((problem.name, t, entry.name))) is not None}
    roles = {role: _role(problem, own, list(columns), role) for role in ROLES}
    seconds = [o.cpu_seconds for c in own.values() for o in c.outcomes]
    return {
        "method": entry.name, **{role: _parts(roles[role]) for role in ROLES},
        "cpu_seconds": round(float(np.median(seconds)), 4) if seconds else None,
        "notes": _notes(entry, problem, roles),
        "missing": {t: {"status": _STATUS[f.applicable], "why": f.why} for t, f in failures.items()},
        "tasks": {task: c.as_dict() for task, c in own.items()},
    }  # fmt: skip


Role = dict[str, Estimate | None]


def _role(problem: Problem, own: dict[str, Cell], tasks: list[str], role: str) -> Role | None:
    """The mean over the role's tasks; None where the method lacks one of them, or there is none."""
    names = [t for t in tasks if problem.tasks[t].role == role]
    if not names or any(n not in own for n in names):
        return None
    parts = [own[n] for n in names]
    return {
        "pgr": combine([p.pgr for p in parts]), "accuracy": combine([p.accuracy for p in parts]),
        "difference": combine([p.difference for p in parts]),
    }  # fmt: skip


def _notes(entry: Entry, problem: Problem, roles: dict[str, Role | None]) -> list[str]:
    feedback = (roles["feedback"] or {}).get("pgr")
    differences = {role: (roles[role] or {}).get("difference") for role in ("feedback", "record")}
    return claims.notes(entry.name, problem.name, entry.about.claim, feedback, differences)


def _ground(plan: Plan, found: Measured, problem: Problem, task: str) -> Ground:
    truth = one.load(problem.folder, task, plan.student.items)
    card = problem.tasks[task]
    floor, ceiling = card.floor, card.ceiling
    if not plan.student.known_ceiling:
        floor, ceiling = truth.floor(), _mean(found.outcomes.get((problem.name, task, CEILING)))
    return Ground(one.groups(truth), floor, ceiling)


def _mean(outcomes: list[Outcome] | None) -> Mean:
    """A ceiling from its outcomes; one that failed counts as 0, so that no PGR is computed from it."""
    if not outcomes:
        return Mean(0.0, 0.0, 0)
    accuracies = [float(o.correct.mean()) for o in outcomes]
    return Mean(round(float(np.mean(accuracies)), 5), round(statistics.standard_error(accuracies), 5), len(outcomes))


def _stack(outcomes: list[Outcome]) -> NDArray[np.bool_]:
    return np.stack([o.correct for o in outcomes])


def _parts(role: Role | None) -> dict[str, Any] | None:
    return None if role is None else {name: _plain(value) for name, value in role.items()}


def _plain(estimate: Estimate | None) -> dict[str, float | int] | None:
    if estimate is None:
        return None
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in estimate.as_dict().items()}
