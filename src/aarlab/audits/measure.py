"""Skill and change, with intervals over test items (clustered by group) and draws.

Skill is balanced accuracy minus one half: 0 for whoever ignores the items, 1/2 for the truth. Intervals reweight whole
groups and draws (Bayesian bootstrap, Rubin 1981), the same weights on both sides of a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.audits.base import Run, Unmeasured
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Estimate
from aarlab.w2s.task import Ints

Array = NDArray[np.float64]

DRAWS = 600
"""Bootstrap draws of an interval."""

LEAST_SKILL = 0.03
"""Below so much skill, in balanced accuracy above one half, shares of it are noise."""


def counts(task: AuditTask, runs: Sequence[Run], rows: Ints | None = None) -> Array:
    """Per draw and group: true positives, positives, true negatives, negatives; (draws, groups, 4).

    rows: count these test rows only, in all draws. Groups are those of the whole task.
    """
    groups = np.unique(task.inputs.groups, return_inverse=True)[1]
    table = np.zeros((len(runs), int(groups.max()) + 1, 4))
    for number, run in enumerate(runs):
        kept = np.ones(len(run.rows), bool) if rows is None else np.isin(run.rows, rows)
        where, says = groups[run.rows[kept]], run.says[kept]
        truth = task.labels[run.rows[kept]] > 0
        for column, hit in enumerate((says & truth, truth, ~says & ~truth, ~truth)):
            table[number, :, column] = np.bincount(where[hit], minlength=table.shape[1])
    return table


def skill_of(sums: Array) -> Array:
    """Balanced accuracy minus one half of summed counts (..., 4); 0 where a class is empty."""
    positives, negatives = sums[..., 1], sums[..., 3]
    rates = np.divide(sums[..., 0], positives, out=np.full_like(positives, 0.5), where=positives > 0)
    other = np.divide(sums[..., 2], negatives, out=np.full_like(negatives, 0.5), where=negatives > 0)
    found: Array = (rates + other - 1) / 2
    return found


class Weights:
    """Bootstrap weights of one examination: the first row is the plain sum, the others are draws."""

    def __init__(self, groups: int, rng: np.random.Generator, draws: int = DRAWS) -> None:
        drawn = rng.standard_exponential((draws, groups))
        self.groups: Array = np.vstack([np.ones(groups), drawn])
        self.rng, self.draws = rng, draws

    def of_draws(self, count: int) -> Array:
        """(1 + draws, count) weights over a condition's draws, widened for small counts; each row has mean 1."""
        drawn = self.rng.standard_exponential((self.draws, count))
        drawn *= count / drawn.sum(1, keepdims=True)
        if count > 1:
            drawn = 1 + (drawn - 1) * np.sqrt((count + 1) / (count - 1))
        else:
            drawn[:] = 1
        return np.vstack([np.ones(count), drawn])

    def skills(self, table: Array) -> Array:
        """(1 + draws, n) skill in each of a condition's n draws. table: (n, groups, 4)."""
        return np.stack([skill_of(self.groups @ one) for one in table], axis=1)

    def skill(self, table: Array, by_draw: Array | None = None) -> Array:
        """(1 + draws,) mean skill over a condition's draws. table: (n, groups, 4)."""
        weights = self.of_draws(len(table)) if by_draw is None else by_draw
        found: Array = (self.skills(table) * weights).mean(1)
        return found

    def ratio(self, top: Array, bottom: Array) -> Array:
        """(1 + draws,) mean of `top` over mean of `bottom`, each (1 + draws, n) by draw.

        Where both have as many draws these belong together. What draws add is taken to first order: so few draws,
        reweighted, could bring the denominator to nothing.
        """
        above = self.of_draws(top.shape[1])
        below = above if top.shape == bottom.shape else self.of_draws(bottom.shape[1])
        size = bottom.mean(1)
        middle = top.mean(1) / size
        away = ((above - 1) * top).mean(1) - middle * ((below - 1) * bottom).mean(1)
        found: Array = middle + away / size
        return found


def weights(task: AuditTask, rng: np.random.Generator) -> Weights:
    return Weights(len(np.unique(task.inputs.groups)), rng)


def interval(values: Array, runs: int, items: int, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """The first value with the 95 % range of the others, cut off at `bounds`."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    low, middle, high = (float(np.clip(x, *bounds)) for x in (low, values[0], high))
    return Estimate(middle, min(middle, low), max(middle, high), runs, items)


def skill(task: AuditTask, runs: Sequence[Run], rng: np.random.Generator) -> Estimate:
    """The skill of some runs."""
    table = counts(task, runs)
    return interval(weights(task, rng).skill(table), len(runs), int(table[0, :, 1::2].sum()))


def share_lost(
    task: AuditTask, before: Sequence[Run], after: Sequence[Run], rng: np.random.Generator, members: int = 1
) -> Estimate:
    """(skill before - skill after) / skill before: 0 nothing lost, 1 all, 2 turned round.

    members: so many runs of `after`, one after the other, stand against one of `before`, and their skills are averaged.
    Raises Unmeasured where there was no skill to lose.
    """
    boot = weights(task, rng)
    first, second = counts(task, before), counts(task, after)
    second = second.reshape(-1, members, *second.shape[1:]).sum(1)
    left = boot.ratio(boot.skills(second), own_skills(boot, first))
    return interval(1 - left, len(before), int(first[0, :, 1::2].sum()))


def own_skills(boot: Weights, table: Array) -> Array:
    """(1 + draws, n) skill by draw, to take shares of. Raises Unmeasured where it is too close to nothing."""
    own = boot.skills(table)
    if np.quantile(own[1:].mean(1), 0.025) < LEAST_SKILL:
        middle = own[0].mean()
        raise Unmeasured("cannot tell", f"the method's own skill, {middle:.3f}, is too small to see what it loses")
    return own


def share_changed(task: AuditTask, pairs: Sequence[tuple[Run, Run]], rng: np.random.Generator) -> Estimate:
    """The share of the second runs' predictions that differ from the first's on the same rows."""
    return interval(changed(task, pairs, weights(task, rng)), len(pairs), sum(len(b.rows) for _, b in pairs), (0, 1))


def beyond(
    task: AuditTask,
    pairs: Sequence[tuple[Run, Run]],
    usual: Sequence[Sequence[tuple[Run, Run]]],
    rng: np.random.Generator,
) -> tuple[Estimate, list[float]]:
    """The share that differs in `pairs` above the largest of what differs in `usual` anyway; then each share itself."""
    boot = weights(task, rng)
    shares = [changed(task, p, boot) for p in (pairs, *usual)]
    found = interval(shares[0] - np.maximum.reduce(shares[1:]), len(pairs), task.test_items, (-1, 1))
    return found, [float(s[0]) for s in shares]


def changed(task: AuditTask, pairs: Sequence[tuple[Run, Run]], boot: Weights) -> Array:
    """(1 + draws,) share of predictions that differ. Pairs are draws: they are reweighted too."""
    found: Array = (changes(task, pairs, boot) * boot.of_draws(len(pairs))).mean(1)
    return found


def changes(task: AuditTask, pairs: Sequence[tuple[Run, Run]], boot: Weights) -> Array:
    """(1 + draws, n) share of predictions that differ in each of n pairs."""
    groups = np.unique(task.inputs.groups, return_inverse=True)[1]
    most = int(groups.max()) + 1
    per = []
    for first, second in pairs:
        other = first.on(second.rows) != second.says
        where = groups[second.rows]
        table = np.stack([np.bincount(where, other, most), np.bincount(where, minlength=most)], axis=1)
        sums = boot.groups @ table
        per.append(sums[:, 0] / np.maximum(sums[:, 1], 1e-9))
    return np.stack(per, axis=1)
