"""One PGR, one accuracy or one paired difference, each with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import InputError
from aarlab.records import Estimate, Measured
from aarlab.statistics.draws import DRAWS, LEVEL, Array, Codes, Parts, at_least_100, checked, estimates, tails


def pgr(accuracy: ArrayLike, floor: float, ceiling: float) -> Array:
    """(accuracy - floor) / (ceiling - floor), Burns et al. 2023: 0 is the teacher, 1 the student taught the truth.

    Any shape. Raises InputError when the ceiling is not above the floor: there is then no gap to recover.
    """
    if not ceiling > floor:
        raise InputError(f"the ceiling {ceiling} is not above the floor {floor}; there is no gap to recover")
    out: Array = (np.asarray(accuracy, np.float64) - floor) / (ceiling - floor)
    return out


def estimate_pgr(
    correct: ArrayLike,
    groups: ArrayLike,
    floor: Measured | ArrayLike,
    ceiling: Measured | ArrayLike,
    rng: int | np.random.Generator = 0,
    draws: int = DRAWS,
) -> Estimate:
    """PGR with its 95 % interval over seeds x items, items clustered by group, floor and ceiling uncertain too.

    correct: bool (seeds, items), whether each test item was predicted rightly; groups: (items,), any labels.
    floor, ceiling: measured before, or outcomes of their own seeds on the same items. With outcomes the items' part is
    that of the whole ratio; it is less, since what is hard for the student is hard for its teacher too.
    Raises InputError for a wrong shape, fewer than two groups, or a ceiling not above the floor.
    """
    hits, codes = checked(correct, groups)
    found = drawn_pgr(hits[None], codes, floor, ceiling, draws, np.random.default_rng(rng))
    return estimates(found.middle, found.deviations, hits.shape)[0]


def estimate_accuracy(
    correct: ArrayLike, groups: ArrayLike, rng: int | np.random.Generator = 0, draws: int = DRAWS
) -> Estimate:
    """Accuracy with its 95 % interval over seeds x items, clustered by group. Shapes as in `estimate_pgr`."""
    hits, codes = checked(correct, groups)
    found = _drawn_mean(hits[None], codes, (0, 1), draws, np.random.default_rng(rng))
    within = np.clip(found.middle + found.deviations, 0, 1) - found.middle
    return estimates(found.middle, within, hits.shape)[0]


def paired_difference(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    groups: ArrayLike,
    gap: float,
    rng: int | np.random.Generator = 0,
    comparisons: int = 1,
    draws: int = DRAWS,
) -> Estimate:
    """PGR of a minus PGR of b, measured on the same seeds and items, with an interval.

    The interval covers 1 - 0.05 / `comparisons` (Bonferroni): with `comparisons` = m, the best of m methods may be
    compared with a baseline and the interval still holds at 95 %. gap: ceiling - floor in accuracy, taken as known.
    Shapes as in `estimate_pgr`; raises InputError when they differ, gap <= 0 or comparisons < 1.
    """
    a, codes = checked(correct_a, groups)
    b, _ = checked(correct_b, groups)
    if a.shape != b.shape:
        raise InputError(f"paired outcomes have shapes {a.shape} and {b.shape}; both need the same seeds and items")
    if comparisons < 1:
        raise InputError(f"comparisons is {comparisons}; at least 1 is made")
    level = 1 - (1 - LEVEL) / comparisons
    many = draws * min(comparisons, 10)  # the tails of a wider interval take more
    found = drawn_differences((a - b)[None], codes, gap, many, np.random.default_rng(rng))
    return estimates(found.middle, found.deviations, a.shape, level)[0]


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean of independent values (n,); infinite for fewer than two."""
    v = np.asarray(values, np.float64)
    return float(v.std(ddof=1) / math.sqrt(v.size)) if v.size > 1 else math.inf


def measured(values: ArrayLike) -> Measured:
    """Mean and standard error of independent values (n,), as a floor or a ceiling is given."""
    found = np.asarray(values, np.float64)
    return Measured(float(found.mean()), standard_error(found), found.size)


@dataclass(frozen=True)
class Drawn:
    """m measured numbers and bootstrap draws of how far each may be off."""

    middle: Array  # (m,)
    deviations: Array  # (draws, m)
    gap: float  # ceiling - floor in accuracy; 1 for accuracies


def drawn_pgr(
    hits: Array,
    codes: Codes,
    floor: Measured | ArrayLike,
    ceiling: Measured | ArrayLike,
    draws: int,
    rng: np.random.Generator,
) -> Drawn:
    """Draws of the PGR of m methods. hits: (m, seeds, items); the others as in `estimate_pgr`."""
    low, high = _end(floor, codes, "floor"), _end(ceiling, codes, "ceiling")
    middle = pgr(hits.mean((1, 2)), low.mean, high.mean)
    gap, ratio = high.mean - low.mean, middle[:, None]
    # An item's part in the ratio: floor and ceiling move with it where their own outcomes are known, and so do seeds.
    moved = hits - ((1 - ratio) * low.items + ratio * high.items)[:, None, :]
    parts = Parts.of(moved, codes)
    weighed = ((low, np.square(1 - middle)), (high, np.square(middle)))
    parts = replace(parts, extra=sum(weight * (end.spread - end.interaction) for end, weight in weighed))
    ends = [(weight * end.se**2, weight * (end.se**2 + end.spread), end.seeds - 1) for end, weight in weighed]
    away = parts.draw(at_least_100(draws), rng)
    wide = tails(parts.freedom(ends), draws, rng)
    low_end = low.se * rng.standard_normal((draws, 1)) * wide
    high_end = high.se * rng.standard_normal((draws, 1)) * wide
    # A redrawn gap near zero would make a ratio without meaning; a tenth of the gap is many deviations away.
    redrawn = np.maximum(gap + high_end - low_end, 0.1 * gap)
    bounds = (0, 1) if isinstance(floor, Measured) and isinstance(ceiling, Measured) else (-1, 1)
    away = away * wide + parts.doubt(bounds, draws, rng)
    return Drawn(middle, (middle * gap + away - low_end) / redrawn - middle, gap)


def drawn_differences(values: Array, codes: Codes, gap: float, draws: int, rng: np.random.Generator) -> Drawn:
    """Draws of m differences in PGR. values: (m, seeds, items), differences of outcomes, in [-1, 1]."""
    if not 0 < gap < math.inf:
        raise InputError(f"the gap is {gap}; a PGR difference needs a ceiling above the floor")
    found = _drawn_mean(values, codes, (-1, 1), draws, rng)
    return Drawn(found.middle / gap, found.deviations / gap, gap)


def _drawn_mean(
    values: Array, codes: Codes, bounds: tuple[float, float], draws: int, rng: np.random.Generator
) -> Drawn:
    parts = Parts.of(values, codes)
    away = parts.draw(at_least_100(draws), rng) * tails(parts.freedom(), draws, rng)
    return Drawn(parts.mean, away + parts.doubt(bounds, draws, rng), 1.0)


@dataclass(frozen=True)
class _End:
    """Floor or ceiling: a mean measured before, with its standard error, or outcomes on the same items."""

    mean: float
    seeds: int
    items: Array  # (items,) what each item adds; zeros where no outcomes are known
    se: float = 0.0
    spread: float = 0.0  # squared standard errors of seeds and interaction, as in `Parts`
    interaction: float = 0.0


def _end(given: Measured | ArrayLike, codes: Codes, name: str) -> _End:
    if isinstance(given, Measured):
        if not (math.isfinite(given.mean) and 0 <= given.se < math.inf):
            raise InputError(f"the {name} is {given.mean} with standard error {given.se}; finite numbers are needed")
        return _End(given.mean, given.seeds, np.zeros(len(codes)), given.se)
    hits, _ = checked(given, codes)
    parts = Parts.of(hits[None], codes)
    return _End(
        float(hits.mean()),
        len(hits),
        hits.mean(0),
        spread=float(parts.seeds[0]),
        interaction=float(parts.interaction[0]),
    )
