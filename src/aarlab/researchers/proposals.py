"""Where the next recipe comes from: the direction's first ideas, Optuna's sampler, or a change to what is good.

Optuna models which entries of a recipe go with a high score (tree-structured Parzen estimator). Its study lives in
memory and is refilled from the journal after a restart, so no database is needed.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from aarlab.researchers.directions import MENUS, MOST_FITS, NUMBERS, Direction, crossed, mutated
from aarlab.w2s.compose import INTEGERS, Recipe


@dataclass(frozen=True)
class Proposal:
    """A recipe to try, why, and the submission it builds on, if any."""

    recipe: Recipe
    why: str
    parent: int | None = None


class Proposer:
    """Proposes recipes; `tell` it what each reached. `narrow`: share of the run spent inside the direction."""

    def __init__(self, direction: Direction, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.direction = direction
        self.rng = random.Random(seed)
        sampler = optuna.samplers.TPESampler(n_startup_trials=10, seed=seed)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.queue: deque[Proposal] = deque(Proposal(r.canonical(), "first idea") for r in direction.starts)
        self.good: dict[str, tuple[float, Proposal]] = {}
        self.tried: set[str] = set()

    def tell(self, proposal: Proposal, value: float) -> None:
        """Remember what a recipe reached."""
        recipe = proposal.recipe
        key = recipe.key()
        self.tried.add(key)
        self.good[key] = (value, proposal)
        trial = optuna.trial.create_trial(params=_params(recipe), distributions=_distributions(recipe), value=value)
        self.study.add_trial(trial)

    def adopt(self, recipe: Recipe, submission: int) -> None:
        """Take another researcher's method up: try it and two variations of it soon."""
        self.queue.append(Proposal(recipe, f"submission {submission} as it is", submission))
        for _ in range(2):
            self.queue.append(
                Proposal(mutated(recipe, self.rng), f"a variation of submission {submission}", submission)
            )

    def best(self, count: int = 5) -> list[tuple[float, Proposal]]:
        """What reached most so far, best first."""
        return sorted(self.good.values(), key=lambda pair: -pair[0])[:count]

    def next(self, wide: bool) -> Proposal:
        """The next recipe that was not tried yet. wide: the direction's borders no longer count."""
        for _ in range(60):
            found = self._propose(wide)
            if found.recipe.key() not in self.tried and found.recipe.fits() <= MOST_FITS:
                return found
        return Proposal(mutated(self._propose(True).recipe, self.rng, 5), "anything not tried yet")

    def _propose(self, wide: bool) -> Proposal:
        if self.queue:
            return self.queue.popleft()
        share = self.direction.evolve if len(self.good) > 6 else self.direction.evolve / 3
        if self.good and self.rng.random() < share:
            return self._evolved()
        return Proposal(self._sampled(wide), "sampled")

    def _evolved(self) -> Proposal:
        """A change to one of the best, or a child of two of them."""
        pool = [p for _, p in self.best(6)]
        mother = self.rng.choice(pool)
        if len(pool) > 1 and self.rng.random() < 0.3:
            father = self.rng.choice(pool)
            child = mutated(crossed(mother.recipe, father.recipe, self.rng), self.rng, 1)
            return Proposal(child, "child of two good ones", mother.parent or father.parent)
        return Proposal(mutated(mother.recipe, self.rng), "variation of a good one", mother.parent)

    def _sampled(self, wide: bool) -> Recipe:
        """Optuna's pick; while narrow, entries the direction restricts are drawn from its own menus."""
        if not wide:
            fixed = {name: self.rng.choice(menu) for name, menu in self.direction.menus.items()}
            self.study.enqueue_trial(fixed, skip_if_exists=False)
        trial = self.study.ask()
        values: dict[str, Any] = {}
        for name, menu in MENUS.items():
            values[name] = trial.suggest_categorical(name, menu)
        for name, (low, high) in NUMBERS.items():
            if name in INTEGERS:
                values[name] = trial.suggest_int(name, int(low), int(high))
            else:
                values[name] = trial.suggest_float(name, low, high, log=name == "ridge")
        # The asked trial is never told: what a recipe reached is added under its canonical entries.
        self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return Recipe(**values).canonical()


def _distribution(name: str) -> BaseDistribution:
    if name in MENUS:
        return CategoricalDistribution(MENUS[name])
    low, high = NUMBERS[name]
    if name in INTEGERS:
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=name == "ridge")


def _params(recipe: Recipe) -> dict[str, Any]:
    """The recipe's entries that lie inside the searched menus and ranges."""
    found = {}
    for name, value in asdict(recipe).items():
        inside = value in MENUS[name] if name in MENUS else NUMBERS[name][0] <= value <= NUMBERS[name][1]
        if inside:
            found[name] = value
    return found


def _distributions(recipe: Recipe) -> dict[str, BaseDistribution]:
    return {name: _distribution(name) for name in _params(recipe)}
