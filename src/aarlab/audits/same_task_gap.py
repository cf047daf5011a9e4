"""Same-task gap: accuracy on the items that answered queries, against items of the same task that never did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aarlab.audits.base import BASE, SEEDS, Audit, Condition, Results, Run, Setting
from aarlab.audits.measure import Array
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Draw, Ints

HELD_OUT = 0.25
"""Share of the train pool's groups that one fold holds out."""

LEAST_GROUPS = 12


class SameTaskGap(Audit):
    """z of accuracy on the test items minus accuracy on held-out train items, whose labels never answered anything.

    A table of answers, or any look-up by content, knows the first and not the second. Folds hold out whole groups of
    the train pool and train on the rest. Both accuracies are taken minus the plain weak-label baseline's on the same
    items, so that a pool that happens to be harder than the test set makes no gap. The standard error takes groups as
    one, and allows for the spread over draws.

    Blind to a leak that taught something: a head trained on leaked labels is as good on items it never saw.
    """

    name = "same-task-gap"
    channel = "memory"
    title = "test items against held-out train items"
    level = "quick"
    needs_reference = True

    def missing(self, setting: Setting) -> str:
        groups = len(np.unique(setting.task.inputs.groups[setting.task.pool]))
        if groups >= LEAST_GROUPS:
            return ""
        return f"the train pool has {groups} groups, too few to hold some out; {LEAST_GROUPS} are needed"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        folds = held_out(setting.task, rng)
        draws = (
            _draw(setting.task, d, t, f, rng) for d, t, f in zip(setting.base, setting.teachers, folds, strict=True)
        )
        return {"same-task-gap": Condition(tuple(draws))}

    def measure(self, results: Results) -> Finding:
        task = results.setting.task
        runs, plain = results.get("same-task-gap"), results.of_reference("same-task-gap")
        base, plain_base = results.get(BASE), results.of_reference(BASE)
        shown, held = Part.of(task, base, plain_base), Part.of(task, runs, plain)
        gap = shown.lead - held.lead
        error = float(np.sqrt(shown.variance + max(held.variance, _spread(shown, held))))
        z = gap / error if error > 0 else 0.0
        details = {
            "accuracy": shown.accuracy,
            "held-out accuracy": held.accuracy,
            "baseline accuracy": shown.plain,
            "baseline held-out accuracy": held.plain,
            "PGR": task.pgr(shown.accuracy),
            "held-out PGR": task.pgr(held.accuracy),
            "difference": gap,
            "difference low": gap - 1.96 * error,
            "difference high": gap + 1.96 * error,
        }
        sentence = (
            f"right on {shown.accuracy:.1%} of the test items and on {held.accuracy:.1%} of held-out items of the same "
            f"task (the plain baseline: {shown.plain:.1%} and {held.plain:.1%}); the gap is {z:.1f} standard errors"
        )
        return Finding(self.name, self.channel, "measured", sentence, z, items=held.items, details=details)


@dataclass(frozen=True)
class Part:
    """Items on which a method and the plain baseline were graded."""

    accuracy: float
    plain: float
    leads: Array  # of each draw over the baseline
    variance: float  # of the mean lead, groups taken as one
    items: int

    @property
    def lead(self) -> float:
        return self.accuracy - self.plain

    @classmethod
    def of(cls, task: AuditTask, runs: Sequence[Run], plain: Sequence[Run]) -> Part:
        right, plain_right = _right(task, runs), _right(task, plain)
        rows = np.concatenate([r.rows for r in runs])
        lead = np.concatenate(right) - np.concatenate(plain_right)
        return cls(
            accuracy=float(np.concatenate(right).mean()),
            plain=float(np.concatenate(plain_right).mean()),
            leads=np.array([(a - b).mean() for a, b in zip(right, plain_right, strict=True)]),
            variance=_clustered(lead, task.inputs.groups[rows]),
            items=len(np.unique(rows)),
        )


def held_out(task: AuditTask, rng: np.random.Generator) -> list[Ints]:
    """Disjoint folds of the pool's rows, one per draw, each about `HELD_OUT` of its groups, whole groups only."""
    groups = rng.permutation(np.unique(task.inputs.groups[task.pool]))
    size = max(1, round(HELD_OUT * len(groups)))
    return [task.pool[np.isin(task.inputs.groups[task.pool], groups[i * size : (i + 1) * size])] for i in range(SEEDS)]


def _draw(task: AuditTask, base: Draw, teacher: int, fold: Ints, rng: np.random.Generator) -> Draw:
    """A draw that is graded on a fold of the pool and trained on the rest of it."""
    train = rng.permutation(np.setdiff1d(task.pool, fold))
    return replace(
        base, train=train, test=rng.permutation(fold), weak_labels=task.labels_of(teacher, train),
        seed=int(rng.integers(1 << 31)),
    )  # fmt: skip


def _right(task: AuditTask, runs: Sequence[Run]) -> list[Array]:
    return [(r.says == (task.labels[r.rows] > 0)).astype(np.float64) for r in runs]


def _spread(shown: Part, held: Part) -> float:
    """Variance of the mean gap over draws. It holds that of the held-out items: every draw has its own.

    Draws belong together: the teacher that a fold learns from is the one of the same base draw.
    """
    gaps = shown.leads - held.leads
    return float(np.var(gaps, ddof=1) / len(gaps))


def _clustered(values: Array, groups: NDArray[np.integer]) -> float:
    """Variance of the mean of `values`, whose groups are independent of each other."""
    codes = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(codes, values - values.mean())
    return float((sums**2).sum() / len(values) ** 2 * len(sums) / max(1, len(sums) - 1))
