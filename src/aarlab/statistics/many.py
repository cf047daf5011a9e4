"""The best of m methods: intervals that hold for all of them at once, and what choosing the best one adds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import InputError
from aarlab.records import Estimate, Measured
from aarlab.statistics.draws import DRAWS, Array, Codes, Parts, checked, estimates, together
from aarlab.statistics.intervals import drawn_differences, drawn_pgr


@dataclass(frozen=True)
class Leaderboard:
    """m methods measured on the same seeds and items, and what may be believed when one looks at all of them."""

    alone: tuple[Estimate, ...]
    """Each method's interval by itself: holds at 95 % for a method named beforehand, not for the best."""
    together: tuple[Estimate, ...]
    """Wider: all m hold at once in 95 of 100 cases, and so does that of the best, however it was picked."""
    shrunk: tuple[float, ...]
    """PGR drawn towards the mean of the m by the share of their spread that is noise (empirical Bayes)."""
    best: int
    """Index of the highest PGR."""
    inflation: float
    """How much of the best one's PGR comes from its being chosen: its mean minus its shrunk value."""


def leaderboard(
    correct: ArrayLike,
    groups: ArrayLike,
    floor: Measured | ArrayLike,
    ceiling: Measured | ArrayLike,
    rng: int | np.random.Generator = 0,
    draws: int = DRAWS,
) -> Leaderboard:
    """PGR of m methods, corrected for looking at all. correct: bool (m, seeds, items); others as in `estimate_pgr`.

    Errors that the methods share (hard items, an unlucky teacher) move all of them and select nobody: they are in
    `together`, from the largest of the m deviations drawn jointly, and not in `shrunk`.
    """
    hits, codes = checked(correct, groups, 3)
    found = drawn_pgr(hits, codes, floor, ceiling, draws, np.random.default_rng(rng))
    shrunk = shrink(found.middle, _own_errors(hits, codes, found.gap))
    best, shape = int(found.middle.argmax()), hits.shape[1:]
    return Leaderboard(
        tuple(estimates(found.middle, found.deviations, shape)),
        tuple(together(found.middle, found.deviations, shape)),
        tuple(shrunk.tolist()),
        best,
        float(found.middle[best] - shrunk[best]),
    )


def leads(
    correct: ArrayLike,
    baseline: ArrayLike,
    groups: ArrayLike,
    gap: float,
    rng: int | np.random.Generator = 0,
    draws: int = DRAWS,
) -> tuple[Estimate, ...]:
    """PGR of each of m methods minus that of one baseline, with intervals that hold for all m at once.

    correct: bool (m, seeds, items); baseline: bool (seeds, items). Narrower than `paired_difference` with
    `comparisons` = m where methods err alike, and all of them share the baseline's errors.
    """
    hits, codes = checked(correct, groups, 3)
    base, _ = checked(baseline, groups)
    if base.shape != hits.shape[1:]:
        raise InputError(f"the baseline has shape {base.shape}, the methods {hits.shape[1:]}; the same is needed")
    found = drawn_differences(hits - base, codes, gap, draws, np.random.default_rng(rng))
    return tuple(together(found.middle, found.deviations, base.shape))


def best_of_inflation(se: float, m: int, correlation: float = 0.0) -> float:
    """How far the best of m equally good methods looks better than it is, when each score has standard error `se`.

    The expected largest of m standard normal numbers, times se * sqrt(1 - correlation): errors that all methods share
    lift none above the others. Methods that are not equally good inflate less, so this is an upper guess; `leaderboard`
    estimates it from outcomes.
    """
    if m < 1:
        raise InputError(f"m is {m}; the best of at least 1 method is taken")
    if not se >= 0:
        raise InputError(f"se is {se}; a standard error is not negative")
    if not 0 <= correlation <= 1:
        raise InputError(f"correlation is {correlation}; between 0 and 1 is needed")
    edge = 9.0
    x = np.linspace(-edge, edge, 3601)
    below = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    # E[max] = integral of (1 - F^m) over [-edge, edge], minus edge
    largest = max(0.0, float(np.trapezoid(1 - below**m, x)) - edge)
    return float(se * math.sqrt(1 - correlation) * largest)


def shrink(values: ArrayLike, errors: ArrayLike) -> Array:
    """m values drawn towards their mean: of their spread, what noise explains is taken out (Efron and Morris 1973).

    values, errors: (m,); `errors` are standard errors of the part in which the values err apart from each other.
    """
    found, noise = np.asarray(values, np.float64), np.asarray(errors, np.float64)
    if found.ndim != 1 or found.shape != noise.shape or not found.size:
        raise InputError(f"values have shape {found.shape}, errors {noise.shape}; the same (m,) is needed")
    if not (np.isfinite(found).all() and np.isfinite(noise).all()):
        raise InputError("values and errors must be finite, without NaN")
    spread = float(found.var(ddof=1)) if found.size > 1 else 0.0
    if spread == 0:
        return found
    kept = max(0.0, 1 - float(np.square(noise).mean()) / spread)
    drawn: Array = found.mean() + kept * (found - found.mean())
    return drawn


def _own_errors(hits: Array, codes: Codes, gap: float) -> Array:
    """(m,) standard errors of PGR apart from what all methods share: each against the mean of all."""
    m = len(hits)
    if m == 1:
        return np.zeros(1)
    parts = Parts.of(hits - hits.mean(0), codes)
    seeds = max(0.0, float((parts.seeds - parts.interaction).mean()))  # of all: one method's is too uncertain
    found: Array = np.sqrt((parts.groups + seeds) * m / (m - 1)) / gap
    return found
