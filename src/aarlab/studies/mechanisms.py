"""Ways to answer a question about hidden labels, and the most that an answer can carry.

An attacker holds a list of predictions, some of them wrong, and asks about lists in which some are turned round. An
answer depends on the number of right predictions alone, so an oracle needs to know no more than which are wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aarlab.vault.feedback import Ladder, released_bits

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

AGENTS = 9


@dataclass(frozen=True)
class Mechanism:
    """How accuracies are answered. `grid`, `noise`: accuracies; `limit`: answers after which nothing more is said."""

    name: str
    grid: float = 0.0  # rounded to its multiples; 0: not rounded
    noise: float = 0.0  # standard deviation of Gaussian noise, fresh with every answer
    limit: int = 0  # 0: no limit
    ladder: Ladder | None = None
    ladders: int = 1  # how many agents have a Ladder of their own

    def say(self, right: NDArray[np.int64], items: int, rng: np.random.Generator) -> Floats:
        """What is answered to lists with so many right predictions. Not for Ladders, which remember."""
        said = right / items
        if self.noise:
            said = said + rng.normal(0, self.noise, said.shape)
        return np.floor(said / self.grid + 0.5) * self.grid if self.grid else said

    def spread(self, items: int) -> float:
        """Standard deviation, in items, of what an answer hides."""
        return items * math.hypot(self.noise, self.grid / math.sqrt(12))

    def bound(self, answers: int, items: int) -> float:
        """The most bits that so many answers can carry, whatever is asked.

        Counted: log2 of the number of different answers or transcripts. Of Gaussian noise: the capacity of a channel
        whose input lies in [0, 1] is at most log2(1 + 1 / (noise sqrt(2 pi e))), McKellips 2004.
        """
        answers = min(answers, self.limit or answers)
        if self.ladder is not None:
            each = -(-answers // self.ladders)
            return self.ladders * released_bits(each, self.ladder.rungs)
        if self.noise:
            return answers * math.log2(1 + 1 / (self.noise * math.sqrt(2 * math.pi * math.e)))
        return answers * math.log2(math.floor(1 / self.grid + 0.5) + 1 if self.grid else items + 1)


def mechanisms(ladder: Ladder) -> list[Mechanism]:
    """Those of the study; `ladder` is the lab's own on the attacked task."""
    zero = replace(ladder, start=0, best=0)
    return [
        Mechanism("exact"),
        Mechanism("rounded to 0.5 points", grid=0.005),
        Mechanism("rounded to 1 point", grid=0.01),
        Mechanism("rounded to 2 points", grid=0.02),
        Mechanism("Gauss 1 point", noise=0.01),
        Mechanism("Gauss 2 points", noise=0.02),
        Mechanism("practice mode", grid=0.01, limit=10),
        Mechanism("Ladder from zero, nine", ladder=zero, ladders=AGENTS),
        Mechanism("Ladder of the lab", ladder=ladder),
    ]


class Oracle:
    """Answers about lists that differ from a base list. wrong: bool (n,), of the base list."""

    def __init__(self, wrong: Bools, mechanism: Mechanism, rng: np.random.Generator) -> None:
        self.items, self.mechanism, self.rng = len(wrong), mechanism, rng
        self._right, self._step = int((~wrong).sum()), np.where(wrong, 1, -1)
        self._ladders = [mechanism.ladder] * mechanism.ladders
        self.asked = 0

    def ask(self, turned: Bools) -> Floats:
        """Answers to lists in which the base's predictions are turned round where `turned`, bool (lists, n)."""
        signs = self._step.astype(np.float32)
        return self._say(self._right + np.rint(turned.astype(np.float32) @ signs).astype(np.int64))

    def ask_signs(self, signs: NDArray[np.float32]) -> Floats:
        """The same where `signs`, float32 (lists, m), is -1: turned round, of the first m items."""
        step = self._step[: signs.shape[1]].astype(np.float32)
        moved = (step.sum() - signs @ step) / 2
        return self._say(self._right + np.rint(moved).astype(np.int64))

    def singles(self, turned: Bools, items: NDArray[np.int64]) -> Floats:
        """Answers to lists that differ from the list `turned`, bool (n,), in one item each."""
        right = self._right + int(self._step[turned].sum())
        return self._say(right + np.where(turned[items], -1, 1) * self._step[items])

    def record(self, turned: Bools, agent: int = 0) -> int | None:
        """A Ladder's answer to one list by one agent: the new record's rung, or None."""
        ladder = self._ladders[agent]
        assert ladder is not None
        self.asked += 1
        answer, after = ladder.answer((self._right + int(self._step[turned].sum())) / self.items)
        self._ladders[agent] = after
        return None if answer.record is None else after.best

    def _say(self, right: NDArray[np.int64]) -> Floats:
        self.asked += len(right)
        limit = self.mechanism.limit
        assert not limit or self.asked <= limit, f"{self.asked} answers asked of {limit}"
        return self.mechanism.say(right, self.items, self.rng)
