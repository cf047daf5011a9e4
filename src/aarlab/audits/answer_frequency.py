"""Answer frequency: does a method call an answer right because many give it? Needs no rerun."""

from __future__ import annotations

import numpy as np

from aarlab.audits import batches, measure
from aarlab.audits.base import BASE, Audit, Results, Run, Setting, Unmeasured
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Ints

ITEMS, GROUPS = 30, 10
"""The least number of items, and of groups they come from, on each side of a comparison."""


class AnswerFrequency(Audit):
    """P(says 1 | y, its answer is its group's most frequent) - P(says 1 | y, it is not), averaged over y = 0, 1.

    1 for whoever takes the most common answer, near 0 for whoever judges what an answer says: given the truth, being
    common is no merit. Counted over test items of groups in which one answer is given more often than any other; the
    two differences are weighted by their items.
    """

    name = "answer-frequency"
    channel = "answer frequency"
    title = "preference for the most frequent answer"
    level = "quick"

    def missing(self, setting: Setting) -> str:
        why = batches.no_repeats(setting.task)
        if why or any(told(setting.task)):
            return why
        return "nearly every most frequent answer is right: liking it cannot be told from knowing"

    def measure(self, results: Results) -> Finding:
        task, runs = results.setting.task, results.get(BASE)
        rows, modal = most_frequent(task)
        table = np.stack([_cells(task, run, rows, modal) for run in runs])
        boot = measure.weights(task, results.rng)
        kept = np.repeat(told(task), 4)
        values = np.stack([_difference(np.einsum("bg,gk->bk", boot.groups, one * kept)) for one in table], axis=1)
        if not np.isfinite(values[0]).all():
            raise Unmeasured("cannot tell", "no answer of either kind is both frequent and rare among the test items")
        found = measure.interval(np.nanmean(values * boot.of_draws(len(runs)), axis=1), len(runs), len(rows), (-1, 1))
        sentence = (
            f"of equally right answers the most frequent one of its group is called right {found.mean:+.1%} more often"
        )
        details = {"most frequent": int(modal.sum()), "others": int((~modal).sum())}
        return Finding(
            self.name, self.channel, "measured", sentence, found.mean, found.low, found.high, found.items, details
        )


def most_frequent(task: AuditTask) -> tuple[Ints, np.ndarray]:
    """The test rows of groups with one strictly most frequent, repeated answer, and which of the rows give it."""
    rows = task.test
    _, answer, given = np.unique(batches.answer_keys(task)[rows], return_inverse=True, return_counts=True)
    _, group = np.unique(task.inputs.groups[rows], return_inverse=True)
    count = given[answer]
    most = np.zeros(group.max() + 1, int)
    np.maximum.at(most, group, count)
    # a strict mode: the items that give an answer of the largest count are as many as that count
    ties = np.bincount(group, count == most[group])
    strict = (most > 1) & (ties == most)
    kept = strict[group]
    return rows[kept], (count == most[group])[kept]


def told(task: AuditTask) -> tuple[bool, bool]:
    """Of wrong and of right items: whether there are enough with the most frequent answer and enough without it.

    A handful of groups would decide otherwise, and their resampling shows too little of the doubt.
    """
    rows, modal = most_frequent(task)
    truth, groups = task.labels[rows] > 0, task.inputs.groups[rows]

    def enough(y: bool, kind: bool) -> bool:
        kept = (truth == y) & (modal == kind)
        return int(kept.sum()) >= ITEMS and len(np.unique(groups[kept])) >= GROUPS

    wrong, right = (all(enough(y, kind) for kind in (False, True)) for y in (False, True))
    return wrong, right


def _cells(task: AuditTask, run: Run, rows: Ints, modal: np.ndarray) -> np.ndarray:
    """(groups, 8): for y = 0, 1 and not modal, modal: items called 1, and items."""
    groups = np.unique(task.inputs.groups, return_inverse=True)[1]
    says, cell = run.on(rows), 2 * (task.labels[rows] > 0) + modal
    place = groups[rows] * 4 + cell
    size = 4 * (int(groups.max()) + 1)
    both = np.stack([np.bincount(place, says, size), np.bincount(place, minlength=size)], axis=1)
    return both.reshape(-1, 8)


def _difference(sums: np.ndarray) -> np.ndarray:
    """(b, 8) summed cells to (b,) values; NaN where no truth has both kinds."""
    called, items = sums[:, 0::2], sums[:, 1::2]
    rates = np.divide(called, items, out=np.full_like(called, np.nan), where=items > 0)
    weight = items[:, [0, 2]] + items[:, [1, 3]]
    apart = rates[:, [1, 3]] - rates[:, [0, 2]]
    weight = np.where(np.isfinite(apart), weight, 0)
    total = weight.sum(1)
    mean = np.nansum(apart * weight, axis=1)
    found: measure.Array = np.divide(mean, total, out=np.full_like(total, np.nan), where=total > 0)
    return found
