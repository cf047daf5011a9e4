"""Trying recipes on the open task, cheap looks first, and comparing them fairly.

Every recipe sees the same seeds and the same two tasks: the open task and its mirror with train and test items
exchanged. A recipe tuned to one test set does not win on both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from aarlab.w2s.compose import Recipe
from aarlab.w2s.open_task import OpenTask, load_run

STAGES = (1, 2, 6)
"""Evaluations a recipe has after each stage: a half-size look, both tasks once, both tasks on three seeds."""

COST_OF_A_PART = 0.004
"""PGR that a recipe must earn for each part it has: of equals, the simpler one is kept."""


@dataclass
class Entry:
    """What one recipe reached: PGR of its full evaluations in the fixed order, and of the first look."""

    recipe: Recipe
    look: float = -math.inf
    scores: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores)) if self.scores else self.look

    @property
    def value(self) -> float:
        """Mean PGR less a small price for every part; what recipes are ranked by."""
        return self.mean - COST_OF_A_PART * self.recipe.parts()

    @property
    def full(self) -> bool:
        return len(self.scores) >= STAGES[-1]


class Bench:
    """Evaluates recipes on the open task `task`; `first_seed` keeps researchers' luck apart."""

    def __init__(self, task: OpenTask, first_seed: int) -> None:
        self.half = task.part(0.5, first_seed)
        self.tasks = (task, task.swapped())
        self.first_seed = first_seed
        self.looks: list[float] = []
        self.entries: dict[str, Entry] = {}

    def try_out(self, recipe: Recipe, thorough: bool = False) -> Entry:
        """Evaluate as far as it is promising (to the end when `thorough`). Raises what the method raises."""
        entry = self.entries.setdefault(recipe.key(), Entry(recipe))
        if entry.look == -math.inf:
            entry.look = self._score(entry, self.half, self.first_seed)
            self.looks.append(entry.look)
        if thorough or entry.look >= float(np.median(self.looks[-40:])):
            self._fill(entry, STAGES[1])
        if thorough or (len(entry.scores) >= STAGES[1] and self._near_the_top(entry)):
            self._fill(entry, STAGES[2])
        return entry

    def best(self) -> list[Entry]:
        """Fully measured recipes, best first."""
        return sorted((e for e in self.entries.values() if e.full), key=lambda e: -e.value)

    def restore(self, entry: Entry) -> None:
        """Put back what an earlier process measured."""
        self.entries[entry.recipe.key()] = entry
        self.looks.append(entry.look)

    def difference(self, one: Entry, other: Entry) -> tuple[float, float]:
        """Mean PGR difference on the evaluations both have, and its standard error (paired)."""
        n = min(len(one.scores), len(other.scores))
        if n == 0:
            return one.look - other.look, math.inf
        d = np.subtract(one.scores[:n], other.scores[:n])
        return float(d.mean()), float(d.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf

    def _near_the_top(self, entry: Entry) -> bool:
        """Whether, on the evaluations it has, an entry may still beat the best full one."""
        top = self.best()[:1]
        if not top:
            return True
        n = len(entry.scores)
        return entry.mean >= float(np.mean(top[0].scores[:n])) - 0.05

    def _fill(self, entry: Entry, count: int) -> None:
        for task, seed in list(self._plan())[len(entry.scores) : count]:
            entry.scores.append(self._score(entry, task, seed))

    def _plan(self) -> Iterator[tuple[OpenTask, int]]:
        for i in range(STAGES[-1] // 2):
            for task in self.tasks:
                yield task, self.first_seed + i

    def _score(self, entry: Entry, task: OpenTask, seed: int) -> float:
        trial = task.evaluate(load_run(entry.recipe.source(), entry.recipe.key()), [seed])
        entry.seconds += trial.seconds
        return round(trial.mean, 5)
