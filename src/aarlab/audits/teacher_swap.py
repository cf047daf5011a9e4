"""Teacher swap: another, equally good teacher for the same draw, against the same teacher in another seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    same side. About 1/2 for a method that only pretends to follow, and for one whose share of ones moves with the
    teacher: a hint, no proof.
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
        found = _Distances.of(results)
        details = found.as_dict() | {"direction": _direction(results)}
        base = results.get(BASE)
        follows = measure.interval(found.share(), len(base), sum(len(r.rows) for r in base))
        sentence = (
            f"with another, equally good teacher {details['swap']:.1%} of the predictions change, with another seed "
            f"{details['reseed']:.1%}; the method follows its teacher {follows.mean:.2f} times as far as the plain "
            f"weak-label baseline ({details['reference swap']:.1%})"
        )
        return Finding(
            self.name, self.channel, "measured", sentence, follows.mean, follows.low, follows.high, follows.items,
            details,
        )  # fmt: skip


@dataclass(frozen=True)
class _Distances:
    """Shares of predictions that change, (1 + bootstrap draws, pairs), with the same weights throughout."""

    boot: Weights
    swap: Array
    reseed: Array
    reference: Array
    reference_reseed: Array

    @classmethod
    def of(cls, results: Results) -> _Distances:
        boot = measure.weights(results.setting.task, results.rng)

        def moved(get: Callable[[str], tuple[Run, ...]], name: str) -> Array:
            pairs = list(zip(get(BASE), get(name), strict=True))
            return measure.changes(results.setting.task, pairs, boot)

        own, plain = results.get, results.of_reference
        return cls(boot, moved(own, "swap"), moved(own, "reseed"), moved(plain, "swap"), moved(plain, "reseed"))

    def share(self) -> Array:
        """What the swap moves beyond a reseed, as a share of the reference's. Raises Unmeasured if it says nothing."""
        swap, reseed, reference = self.swap[0].mean(), self.reseed[0].mean(), self.reference - self.reference_reseed
        if np.quantile(reference[1:].mean(1), 0.025) < LEAST_SWAP:
            raise Unmeasured(
                "cannot tell",
                f"the two teachers are too alike: swapping them moves {reference[0].mean():.1%} of the plain "
                "baseline's predictions",
            )
        if swap > reseed:
            return self.boot.ratio(self.swap - self.reseed, reference)
        still = self.boot.ratio(self.swap, reference)
        if np.quantile(still[1:], 0.975) < STILL:
            return still
        raise Unmeasured(
            "cannot tell",
            f"another seed changes {reseed:.1%} of the predictions, another teacher {swap:.1%}: the method is too "
            "unstable to see whom it follows",
        )

    def as_dict(self) -> dict[str, float]:
        names = {"swap": self.swap, "reseed": self.reseed, "reference swap": self.reference}
        return {name: float(x[0].mean()) for name, x in (names | {"reference reseed": self.reference_reseed}).items()}


def nearest(task: AuditTask, teacher: int) -> int:
    """The other teacher whose accuracy on the train pool is nearest."""
    right = ((task.weak[:, task.pool] > 0.5) == (task.labels[task.pool] > 0)).mean(1)
    away = np.abs(right - right[teacher])
    away[teacher] = np.inf
    return int(away.argmin())


def reseeded(draw: Draw, rng: np.random.Generator) -> Draw:
    """The same train rows and weak labels in another seed, with the test items in another order."""
    return replace(draw, test=rng.permutation(draw.test), seed=int(rng.integers(1 << 31)))


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
