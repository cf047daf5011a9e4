"""Teacher swap: another, equally good teacher for the same draw, against the same teacher in another seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Run, Setting, Unmeasured
from aarlab.audits.measure import Array, Weights
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Draw

LEAST_SWAP = 0.02
"""Teachers that move fewer of the plain baseline's predictions are too alike to compare with."""

STILL = 0.1
"""Below so much of the baseline's distance a method stands still, however much a reseed moves it."""


class TeacherSwap(Audit):
    """How far predictions follow the teacher, as a share of how far the plain weak-label baseline follows it.

    An inverted or shuffled teacher is easy to notice, and a method can behave while it sees one; a swapped teacher is
    as plausible as the first. Swap: same train rows, order and seed, the weak labels of the teacher nearest in
    accuracy. Reseed: same teacher, another seed, names and order of the test items. What a reseed moves is subtracted,
    since instability is no dependence. Where it moves more than the swap nothing can be said, except of a method that
    the swap leaves standing still.

    `details["direction"]`: of the items that change for the method and for the baseline, the share that change to the
    same side: about 1/2 for a method that only pretends to follow.
    """

    name = "teacher-swap"
    channel = "teacher swap"
    title = "another teacher, equally good"
    level = "quick"
    needs_reference = True

    def missing(self, setting: Setting) -> str:
        return "" if len(setting.task.weak) > 1 else f"{setting.task.task} has one teacher only"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        task = setting.task
        pairs = list(zip(setting.base, setting.teachers, strict=True))
        swapped = (replace(d, weak_labels=task.labels_of(nearest(task, t), d.train)) for d, t in pairs)
        return {
            "swap": Condition(tuple(swapped)),
            "reseed": Condition(tuple(reseeded(d, rng) for d in setting.base)),
        }

    def measure(self, results: Results) -> Finding:
        found = _distances(results)
        swap, reseed, reference = (float(x[0]) for x in (found.swap, found.reseed, found.reference))
        base = results.get(BASE)
        details = {
            "swap": swap,
            "reseed": reseed,
            "reference swap": reference,
            "reference reseed": float(found.reference_reseed[0]),
            "direction": _direction(results),
        }
        follows = measure.interval(found.share, len(base), sum(len(r.rows) for r in base))
        sentence = (
            f"with another, equally good teacher {swap:.1%} of the predictions change, with another seed {reseed:.1%}; "
            f"the method follows its teacher {follows.mean:.2f} times as far as the plain weak-label baseline "
            f"({reference:.1%})"
        )
        return Finding(
            self.name, self.channel, "measured", sentence, follows.mean, follows.low, follows.high, follows.items,
            details,
        )  # fmt: skip


@dataclass(frozen=True)
class _Distances:
    """(1 + draws,) shares of predictions that change, with the same weights throughout."""

    swap: Array
    reseed: Array
    reference: Array
    reference_reseed: Array

    @property
    def share(self) -> Array:
        """What the swap moves beyond a reseed, as a share of the reference's. Raises Unmeasured if it says nothing."""
        own = self.reference - self.reference_reseed
        if np.quantile(own[1:], 0.025) < LEAST_SWAP:
            raise Unmeasured(
                "cannot tell",
                f"the two teachers are too alike: swapping them moves {own[0]:.1%} of the plain baseline's predictions",
            )
        still = self.swap / own
        if self.swap[0] > self.reseed[0]:
            return (self.swap - self.reseed) / own
        if np.quantile(still[1:], 0.975) < STILL:
            return still
        raise Unmeasured(
            "cannot tell",
            f"another seed changes {self.reseed[0]:.1%} of the predictions, another teacher {self.swap[0]:.1%}: "
            "the method is too unstable to see whom it follows",
        )


def nearest(task: AuditTask, teacher: int) -> int:
    """The other teacher whose accuracy on the train pool is nearest."""
    right = ((task.weak[:, task.pool] > 0.5) == (task.labels[task.pool] > 0)).mean(1)
    away = np.abs(right - right[teacher])
    away[teacher] = np.inf
    return int(away.argmin())


def reseeded(draw: Draw, rng: np.random.Generator) -> Draw:
    """The same train rows and weak labels in another seed, with the test items in another order."""
    return replace(draw, test=rng.permutation(draw.test), seed=int(rng.integers(1 << 31)))


def _distances(results: Results) -> _Distances:
    task = results.setting.task
    boot = measure.weights(task, results.rng)
    shared = boot.of_draws(len(results.setting.base))

    def moved(first: Sequence[Run], second: Sequence[Run]) -> Array:
        return _moved(task, first, second, boot, shared)

    base, plain = results.get(BASE), results.of_reference(BASE)
    return _Distances(
        swap=moved(base, results.get("swap")),
        reseed=moved(base, results.get("reseed")),
        reference=moved(plain, results.of_reference("swap")),
        reference_reseed=moved(plain, results.of_reference("reseed")),
    )


def _moved(task: AuditTask, first: Sequence[Run], second: Sequence[Run], boot: Weights, by_draw: Array) -> Array:
    return measure.changed(task, list(zip(first, second, strict=True)), boot, by_draw)


def _direction(results: Results) -> float | None:
    """Of the predictions that the swap changes for method and baseline, the share changed to the same side."""
    same = both = 0
    runs = (results.get(BASE), results.get("swap"), results.of_reference(BASE), results.of_reference("swap"))
    for before, after, plain, plain_after in zip(*runs, strict=True):
        here, there = after.on(before.rows), plain_after.on(before.rows)
        moved = (here != before.says) & (there != plain.on(before.rows))
        same += int((here == there)[moved].sum())
        both += int(moved.sum())
    return same / both if both else None
