"""The Ladder: how much the lab says about a score on hidden labels, and how much that can be worth.

All researchers of a lab share one Ladder. It starts at the published weak-label baseline, and an answer is either
"new record X", X on a fixed grid, or "no new record". After k answers with L rungs above the start, C(k + L, L)
different transcripts are possible, so all answers together carry at most log2 C(k + L, L) bits: counting, with no
assumption about how clever the askers are or whether they collude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from aarlab.errors import BudgetSpent
from aarlab.problems.base import TaskCard
from aarlab.records import Answer

HARD_TOP = 450
"""Answers per label set, over all labs of a machine, after which new scores are no longer ranked."""

START_BASELINE = "weak-labels-hard"

PAIRED_VARIANCE = 0.10
"""Variance over items of the difference between two methods' correctness, each averaged over five seeds; its root over
root n is one paired standard error. Measured between baselines: 0.02 for close relatives, 0.24 for unlike ones."""

ROUND_OFF = 1e-9


@dataclass(frozen=True)
class Ladder:
    """Rungs are the multiples of `step`; `start` and `best` are rung numbers."""

    step: float
    start: int
    best: int

    @classmethod
    def from_card(cls, card: TaskCard, least_step: float) -> Ladder:
        """The Ladder of a feedback task: everything it needs is public before the first answer."""
        step = fixed_step(card.test_items, least_step)
        start = math.ceil(card.baselines[START_BASELINE] / step - ROUND_OFF)
        return cls(step, start, start)

    def resumed(self, record: float | None) -> Ladder:
        """The same Ladder after an answer showed `record`."""
        best = self.start if record is None else max(self.start, round(record / self.step))
        return Ladder(self.step, self.start, best)

    @property
    def rungs(self) -> int:
        """L: the rungs above the start that an accuracy can reach."""
        return math.floor(1 / self.step + ROUND_OFF) - self.start

    def accuracy(self, rung: int) -> float:
        return round(rung * self.step, 6)

    def answer(self, accuracy: float) -> tuple[Answer, Ladder]:
        """What is said about one accuracy, and the Ladder after it."""
        rung = math.floor(accuracy / self.step + ROUND_OFF)
        if rung <= self.best:
            return Answer("no new record", None), self
        shown = self.accuracy(rung)
        return Answer(f"new record {shown:.4g}", shown), Ladder(self.step, self.start, rung)


def fixed_step(test_items: int, least: float) -> float:
    """The larger of `least` and one paired standard error on that many items, rounded up to a tenth of a point."""
    wanted = max(least, math.sqrt(PAIRED_VARIANCE / test_items))
    return least if wanted == least else math.ceil(wanted * 1000 - ROUND_OFF) / 1000


def released_bits(answers: int, rungs: int) -> float:
    """log2 C(k + L, L): the most that k answers of a Ladder with L rungs can carry, in bits."""
    return math.log2(math.comb(answers + rungs, rungs))


@dataclass(frozen=True)
class Budget:
    """Answers of a fleet. Each of `members` is sure of `share` of them, whatever the others do."""

    total: int
    members: tuple[str, ...]

    @property
    def share(self) -> int:
        """The guaranteed part: one more share than members, so that something is left for whoever goes beyond."""
        return self.total // (len(self.members) + 1)

    def left(self, taken: Mapping[str, int], who: str) -> int:
        """How many answers `who` may still take now. Who is no longer a member guarantees nothing."""
        free = self.total - sum(taken.values())
        promised = sum(max(0, self.share - taken.get(m, 0)) for m in self.members if m != who)
        own = max(0, self.share - taken.get(who, 0)) if who in self.members else 0
        return max(0, min(free, max(own, free - promised)))

    def check(self, taken: Mapping[str, int], who: str) -> None:
        """Raise BudgetSpent when `who` may take no further answer."""
        if self.left(taken, who) > 0:
            return
        used = sum(taken.values())
        if used >= self.total:
            raise BudgetSpent(f"all {self.total} answers of this run are used; nothing more is scored for feedback")
        raise BudgetSpent(
            f"you have used {taken.get(who, 0)} answers; the {self.total - used} left of {self.total} "
            "are guaranteed to other researchers"
        )
