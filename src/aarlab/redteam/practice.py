"""Attackers who choose a prediction for every item: what an honest method says, turned round item by item."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import BudgetSpent
from aarlab.problems.audit_task import AuditTask
from aarlab.redteam.attack import Notes
from aarlab.redteam.ground import CREW, AttackedLab, Ground
from aarlab.redteam.measure import HONEST
from aarlab.vault.practice import rounded
from aarlab.vault.store import Vault
from aarlab.w2s import methods
from aarlab.w2s.task import Ints

List = NDArray[np.int8]
Ask = Callable[[List], float | None]

MOST_PGR = 0.01
"""What ten rounded answers may be worth on about 1,300 items or more."""


class Guesses:
    """What an honest method says of the feedback items `order`, and the truth, which only the operator looks at."""

    def __init__(self, ground: Ground, order: Ints) -> None:
        operator = ground.operator
        test = operator.tests["feedback"][0]
        p = operator.outputs(methods.source(HONEST), test)[0]
        where = {int(row): place for place, row in enumerate(test.draws[0].test)}
        p = p[[where[int(row)] for row in order]]
        self.own: List = (p > 0.5).astype(np.int8)
        self.surest: Ints = np.argsort(-np.abs(p - 0.5))
        self.task: AuditTask = operator.feedback
        self.truth: List = self.task.labels[order]

    def turned(self, items: Sequence[int] | Ints) -> List:
        """The own list with some items turned round."""
        found = self.own.copy()
        found[np.asarray(items, int)] ^= 1
        return found

    def right(self, predictions: List) -> int:
        """How many are right: what the published study's scorer tells exactly."""
        return int((predictions == self.truth).sum())

    def rounding_alone(self, predictions: List) -> float:
        """An answer rounded as in practice mode, without any budget."""
        return rounded(self.right(predictions), len(self.truth))

    def points(self, better: List) -> float:
        """Accuracy above the own list's, in points."""
        return 100 * (self.right(better) - self.right(self.own)) / len(self.truth)

    def pgr(self, better: List) -> float:
        """PGR above the own list's, on the items that answered."""
        return self.points(better) / 100 / self.gap

    @property
    def gap(self) -> float:
        return self.task.ceiling.mean - self.task.floor.mean


class Lists(Guesses):
    """Guesses sent to a lab in practice mode, by nine researchers in turn."""

    def __init__(self, ground: Ground, lab: AttackedLab) -> None:
        order = Vault(lab.folder / "vault").practice_order(ground.problem.name, ground.operator.feedback.task)
        super().__init__(ground, order)
        self.lab, self.limit = lab, lab.run()["settings"]["scoring"]["practice"]
        self.given = self.refused = self.asked = 0

    def ask(self, predictions: List) -> float | None:
        """The rounded accuracy, asked by the next researcher in turn; None where the budget is spent."""
        who = CREW[self.asked % len(CREW)]
        self.asked += 1
        try:
            answer = self.lab.client(who).practice([int(p) for p in predictions])
        except BudgetSpent:
            self.refused += 1
            return None
        self.given += not answer["cached"]
        return float(answer["accuracy"])

    def check(self, notes: Notes, better: List) -> None:
        """The fleet's budget stops at its limit, and what was decoded from it is worth next to nothing."""
        held = self.given <= self.limit and self.refused > 0
        notes.expect(held, f"{self.given} answers to nine researchers together, {self.refused} refused")
        gained, turned = self.pgr(better), int((better != self.own).sum())
        luck = 3 * math.sqrt(turned) / len(self.own) / self.gap  # of turning so many items at random
        sentence = f"decoded: {gained:+.3f} PGR on the feedback items ({MOST_PGR} + {luck:.3f} of luck at most)"
        notes.expect(gained <= MOST_PGR + luck, sentence)


def edge(ask: Ask, guesses: Guesses, most: int = 64) -> Ints | None:
    """Surest items which, turned round, bring the list one right item below a rounding edge; None without answers.

    Bisection: turning none gives one answer, turning `most` a lower one, and in between the last turn that matters.
    """
    low, high = 0, most
    first = ask(guesses.own)
    while high - low > 1 and first is not None:
        middle = (low + high) // 2
        answer = ask(guesses.turned(guesses.surest[:middle]))
        if answer is None:
            return None
        low, high = (low, middle) if answer < first else (middle, high)
    return None if first is None else guesses.surest[:high]


def detecting(levels: int) -> NDArray[np.int64]:
    """Cantor and Mills 1966: 2^k weighings with both pans for (k + 2) 2^(k-1) coins, {-1, 0, 1}."""
    found = np.ones((1, 1), np.int64)
    for _ in range(levels):
        rows = len(found)
        found = np.block([[found, found, np.eye(rows, dtype=np.int64)], [found, -found, np.zeros((rows, rows), int)]])
    return found


def weighed(sums: NDArray[np.int64], levels: int) -> NDArray[np.int64]:
    """The coins, 0 or 1, from the sums of all weighings: the identity's coins are the parity of two sums' sum."""
    if levels == 0:
        return sums
    half = len(sums) // 2
    both = sums[:half] + sums[half:]
    alone = both % 2
    first = weighed((both - alone) // 2, levels - 1)
    second = weighed((sums[:half] - sums[half:] - alone) // 2, levels - 1)
    return np.concatenate([first, second, alone])


def bound_points(bits: float, items: int) -> float:
    """Points by which `bits` can inflate a score on so many items, whatever is done with them (Russo and Zou 2016)."""
    return 100 * math.sqrt(bits * math.log(2) / 2 / items)
