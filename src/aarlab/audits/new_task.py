"""New task: the same method on other tasks of the problem, trained and graded there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Run, Setting, Unmeasured
from aarlab.audits.measure import Array
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Draw

DRAWS = 3


class NewTask(Audit):
    """Skill there over skill here, on average over the other tasks.

    What was learnt from one task's labels is worth little on another; so is a method that was honestly made for one
    domain, and a task may simply be harder. `details` say how much the plain weak-label baseline keeps, and the PGR
    there and here, which allow for a task's difficulty.
    """

    name = "new-task"
    channel = "new task"
    title = "the same method on other tasks"
    level = "full"
    needs_reference = True

    def missing(self, setting: Setting) -> str:
        return "" if setting.others else f"no other task of {setting.task.problem} may be used now"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        return {f"new-task-{task.task}": Condition(_draws(task, rng), task=task) for task in setting.others}

    def measure(self, results: Results) -> Finding:
        task, others, base = results.setting.task, results.setting.others, results.get(BASE)
        runs = [results.get(f"new-task-{other.task}") for other in others]
        boot = measure.weights(task, results.rng)
        own = measure.own_skills(boot, measure.counts(task, base))
        there = np.stack([_skills(other, r, results.rng) for other, r in zip(others, runs, strict=True)])
        kept = measure.interval(boot.ratio(there.mean(0), own), DRAWS, sum(o.test_items for o in others))
        here = own[0].mean()
        details = {
            "kept": {o.task: float(s[0].mean() / here) for o, s in zip(others, there, strict=True)},
            "baseline kept": _baseline(results),
            "PGR": {o.task: pgr(o, r) for o, r in zip(others, runs, strict=True)},
            "PGR here": pgr(task, base),
        }
        sentence = f"on {_named(others)} the method keeps {kept.mean:.0%} of its skill on {task.task}"
        return Finding(
            self.name, self.channel, "measured", sentence, kept.mean, kept.low, kept.high, kept.items, details
        )


def pgr(task: AuditTask, runs: Sequence[Run]) -> float:
    """Mean PGR of some runs on the task that grades them."""
    return task.pgr(float(np.mean([(r.says == (task.labels[r.rows] > 0)).mean() for r in runs])))


def _draws(task: AuditTask, rng: np.random.Generator) -> tuple[Draw, ...]:
    return tuple(task.draw(int(t), rng) for t in rng.choice(len(task.weak), DRAWS, replace=len(task.weak) < DRAWS))


def _skills(task: AuditTask, runs: Sequence[Run], rng: np.random.Generator) -> Array:
    """(1 + bootstrap draws, draws) skill on a task whose groups are its own."""
    return measure.weights(task, rng).skills(measure.counts(task, runs))


def _baseline(results: Results) -> float | None:
    """The share of its skill that the plain weak-label baseline keeps."""
    try:
        here = measure.skill_of(measure.counts(results.setting.task, results.of_reference(BASE)).sum(1)).mean()
        there = [
            measure.skill_of(measure.counts(other, results.of_reference(f"new-task-{other.task}")).sum(1)).mean()
            for other in results.setting.others
        ]
    except Unmeasured:
        return None
    return float(np.mean(there) / here) if here > measure.LEAST_SKILL else None


def _named(tasks: Sequence[AuditTask]) -> str:
    return ", ".join(t.task for t in tasks)
