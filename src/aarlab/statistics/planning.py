"""How small a difference so many seeds and items can show, and how many a difference takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import InputError
from aarlab.statistics.draws import LEVEL, Array, Parts, checked, doubt_of, excess

MOST = 10**9
"""More seeds or items than this are not looked for."""

CASES = 200
"""How far seeds may happen to differ is averaged over so many cases."""


@dataclass(frozen=True)
class Spread:
    """What makes the difference of two methods uncertain. `pilot` measures it; without a pilot, guess it."""

    disagreement: float
    """Share of outcomes (seed, item) on which one method is right and the other wrong."""
    seed_spread: float = 0.0
    """Standard deviation over seeds of the difference in accuracy, the items' noise apart."""
    design_effect: float = 1.0
    """Variance over that of independent items: 1 + (group size - 1) * correlation within a group."""
    stable: float = 1.0
    """Share of the items' variance that is the same under every seed, so that more seeds do not lessen it."""

    def __post_init__(self) -> None:
        for name, high in {"disagreement": 1.0, "seed_spread": 1.0, "design_effect": MOST, "stable": 1.0}.items():
            value = getattr(self, name)
            if not 0 <= value <= high:
                raise InputError(f"{name} is {value}; between 0 and {high:g} is needed")


def pilot(correct_a: ArrayLike, correct_b: ArrayLike, groups: ArrayLike) -> Spread:
    """The spread of a paired difference, from outcomes (seeds, items) of two methods; two seeds at least."""
    a, codes = checked(correct_a, groups)
    b, _ = checked(correct_b, groups)
    if a.shape != b.shape or len(a) < 2:
        raise InputError(f"pilot outcomes have shapes {a.shape} and {b.shape}; two seeds or more of both are needed")
    seeds, items = a.shape
    parts = Parts.of((a - b)[None], codes)
    disagreement = float(np.abs(a - b).mean())
    stable = max(0.0, float(parts.groups[0] - parts.interaction[0]))
    both = stable + float(seeds * parts.interaction[0])
    if both == 0:
        return Spread(disagreement)
    lasting = max(0.0, float(parts.seeds[0] - parts.interaction[0]))
    return Spread(disagreement, math.sqrt(seeds * lasting), both * items / disagreement, stable / both)


def smallest_difference(
    seeds: int, items: int, gap: float, spread: Spread, power: float = 0.8, comparisons: int = 1
) -> float:
    """The smallest difference in PGR that `paired_difference` tells from 0 with probability `power`, two-sided at 5 %.

    Both methods on the same `seeds` and `items`; gap: ceiling - floor in accuracy; `comparisons` as in
    `paired_difference`. The interval's width depends on how far the seeds at hand happen to differ: the probability is
    that over all such cases. More items can raise it slightly: with few seeds, what is left is known less well.
    """
    _check(seeds, items, gap, spread, power, comparisons)
    error, halves = _halves(seeds, items, spread, comparisons)
    if error == 0:
        return 0.0
    from scipy.special import ndtr  # here, so that what plans nothing starts fast

    low, high = 0.0, float(halves.max()) + 10 * error
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if ndtr((middle - halves) / error).mean() >= power else (middle, high)
    return high / gap


def _halves(seeds: int, items: int, spread: Spread, comparisons: int) -> tuple[float, Array]:
    """Standard error of a difference in accuracy, and equally likely half widths of its interval (cases,)."""
    from scipy.special import gammaincinv, stdtrit

    stable = spread.disagreement * spread.design_effect * spread.stable / items
    interaction = spread.disagreement * spread.design_effect * (1 - spread.stable) / items / seeds
    by_seed = spread.seed_spread**2 / seeds
    blocks = max(2.0, items / max(1.0, spread.design_effect))
    groups: Array = np.array(stable + interaction, np.float64)
    seen: Array = np.zeros(1)
    if seeds > 1:
        cases = (np.arange(CASES) + 0.5) / CASES
        chance = np.asarray(gammaincinv((seeds - 1) / 2, cases), np.float64)
        seen = (by_seed + interaction) * 2 / (seeds - 1) * chance
    noise: Array = np.array(interaction if seeds > 1 else 0.0, np.float64)
    total = groups + excess(seen, noise, seeds)
    doubt = doubt_of(groups, seen, noise, seeds, blocks)
    freedom = np.asarray(np.maximum(1.0, np.square(total) / np.where(doubt > 0, doubt, 1.0)), np.float64)
    halves = np.asarray(stdtrit(freedom, 1 - (1 - LEVEL) / (2 * comparisons)) * np.sqrt(total), np.float64)
    return math.sqrt(stable + interaction + by_seed), halves


def needed_seeds(difference: float, items: int, gap: float, spread: Spread, power: float = 0.8) -> int:
    """The fewest seeds, two or more, that show `difference` in PGR. Raises InputError where no number of seeds does."""
    return _fewest(difference, 2, "seeds", lambda n: smallest_difference(n, items, gap, spread, power))


def needed_items(difference: float, seeds: int, gap: float, spread: Spread, power: float = 0.8) -> int:
    """The fewest items that show `difference` in PGR. Raises InputError where no number of items does."""
    return _fewest(difference, 2, "items", lambda n: smallest_difference(seeds, n, gap, spread, power))


def _check(seeds: int, items: int, gap: float, spread: Spread, power: float, comparisons: int) -> None:
    if seeds < 1 or items < 2 or comparisons < 1:
        raise InputError(f"{seeds} seeds, {items} items, {comparisons} comparisons; at least 1, 2 and 1 are needed")
    if not 0.5 <= power < 1:
        raise InputError(f"power is {power}; from 0.5 to less than 1 is needed")
    if not 0 < gap < math.inf:
        raise InputError(f"the gap is {gap}; a PGR difference needs a ceiling above the floor")
    if seeds == 1 and spread.seed_spread > 0:
        raise InputError("one seed cannot show how far seeds differ; plan two or more, or a seed_spread of 0")


def _fewest(difference: float, least: int, name: str, shown: Callable[[int], float]) -> int:
    """A count n >= least with shown(n) <= difference < shown(n - 1); `shown` falls with n, as a rule."""
    if not difference > 0:
        raise InputError(f"difference is {difference}; a positive one can be looked for")
    high = least
    while shown(high) > difference:
        if high > MOST:
            raise InputError(f"no number of {name} shows a difference of {difference:g}: {shown(high):.3g} remains")
        high *= 2
    low = max(least, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) <= difference else (middle + 1, high)
    return high
