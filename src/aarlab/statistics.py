"""The performance gap recovered (PGR) and how sure one may be of it: pure functions on arrays.

What is uncertain in a PGR, and how each part enters the intervals here:

- **Items.** The test items are a sample, and items of one group (a problem, a specification) rise and fall together.
  Whole groups are reweighted (Bayesian bootstrap, Rubin 1981), so a group counts as one observation, however many
  items it has.
- **Seeds.** A seed redraws teacher, training items and order. With a handful of seeds, resampling them understates
  their spread, so the mean over seeds is spread by Student's t with (seeds - 1) degrees of freedom instead.
- **Floor and ceiling.** They are means over seeds of their own; each is redrawn with its standard error.

The three are drawn together and percentiles taken. The interaction of seeds and items is counted with both, which errs
on the wide side. Every function is deterministic for a given `rng`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aarlab.errors import InputError
from aarlab.records import Estimate, Measured

Array = NDArray[np.float64]

DRAWS = 4000
"""Bootstrap draws of a 95 % interval: its ends then move by about a fiftieth of its width between streams."""

LEVEL = 0.95


def pgr(accuracy: ArrayLike, floor: float, ceiling: float) -> Array:
    """(accuracy - floor) / (ceiling - floor), Burns et al. 2023: 0 is the teacher, 1 the student taught the truth.

    Any shape. Raises InputError when the ceiling is not above the floor: there is then no gap to recover.
    """
    gap = _gap(floor, ceiling)
    out: Array = (np.asarray(accuracy, np.float64) - floor) / gap
    return out


def estimate_pgr(
    correct: ArrayLike, groups: ArrayLike, floor: Measured, ceiling: Measured, rng: int | np.random.Generator = 0
) -> Estimate:
    """PGR with its 95 % interval over seeds x items, items clustered by group, floor and ceiling uncertain too.

    correct: bool (seeds, items), whether each test item was predicted rightly; groups: (items,), any labels.
    Raises InputError for a wrong shape, fewer than two groups, or a ceiling not above the floor.
    """
    hits, codes = _checked(correct, groups)
    stream = np.random.default_rng(rng)
    middle = float(pgr(hits.mean(), floor.mean, ceiling.mean))
    accuracy = _draws(hits, codes, DRAWS, stream)
    low_end = floor.mean + floor.se * stream.standard_normal(DRAWS)
    high_end = ceiling.mean + ceiling.se * stream.standard_normal(DRAWS)
    # A redrawn gap near zero would make a ratio without meaning; a tenth of the gap is many deviations away.
    gap = np.maximum(high_end - low_end, 0.1 * (ceiling.mean - floor.mean))
    low, high = _percentiles((accuracy - low_end) / gap, LEVEL)
    return Estimate(middle, min(low, middle), max(high, middle), *hits.shape)


def estimate_accuracy(correct: ArrayLike, groups: ArrayLike, rng: int | np.random.Generator = 0) -> Estimate:
    """Accuracy with its 95 % interval over seeds x items, clustered by group. Shapes as in `estimate_pgr`."""
    hits, codes = _checked(correct, groups)
    draws = np.clip(_draws(hits, codes, DRAWS, np.random.default_rng(rng)), 0, 1)
    low, high = _percentiles(draws, LEVEL)
    middle = float(hits.mean())
    return Estimate(middle, min(low, middle), max(high, middle), *hits.shape)


def paired_difference(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    groups: ArrayLike,
    gap: float,
    rng: int | np.random.Generator = 0,
    comparisons: int = 1,
) -> Estimate:
    """PGR of a minus PGR of b, measured on the same seeds and items, with an interval.

    The interval covers 1 - 0.05 / `comparisons` (Bonferroni): with `comparisons` = m, the best of m methods may be
    compared with a baseline and the interval still holds at 95 %. gap: ceiling - floor in accuracy. Shapes as in
    `estimate_pgr`; raises InputError when they differ, gap <= 0 or comparisons < 1.
    """
    a, codes = _checked(correct_a, groups)
    b, _ = _checked(correct_b, groups)
    if a.shape != b.shape:
        raise InputError(f"paired outcomes have shapes {a.shape} and {b.shape}; both need the same seeds and items")
    if not gap > 0:
        raise InputError(f"the gap is {gap}; a PGR difference needs a ceiling above the floor")
    if comparisons < 1:
        raise InputError(f"comparisons is {comparisons}; at least 1 is made")
    level = 1 - (1 - LEVEL) / comparisons
    draws = _draws(a - b, codes, DRAWS * min(comparisons, 10), np.random.default_rng(rng), signed=True) / gap
    low, high = _percentiles(draws, level)
    middle = float((a - b).mean() / gap)
    return Estimate(middle, min(low, middle), max(high, middle), *a.shape)


def best_of_inflation(se: float, m: int) -> float:
    """How far the best of m equally good methods looks better than it is, when each score has standard error `se`.

    The expected largest of m independent standard normal numbers, times `se`. Methods that err alike inflate less, so
    this is an upper guess.
    """
    if m < 1:
        raise InputError(f"m is {m}; the best of at least 1 method is taken")
    if se < 0:
        raise InputError(f"se is {se}; a standard error is not negative")
    edge = 9.0
    x = np.linspace(-edge, edge, 3601)
    below = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    # E[max] = integral of (1 - F^m) over [-edge, edge], minus edge
    return float(se * max(0.0, np.trapezoid(1 - below**m, x) - edge))


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean of independent values (n,); infinite for fewer than two."""
    v = np.asarray(values, np.float64)
    return float(v.std(ddof=1) / math.sqrt(v.size)) if v.size > 1 else math.inf


def _gap(floor: float, ceiling: float) -> float:
    if not ceiling > floor:
        raise InputError(f"the ceiling {ceiling} is not above the floor {floor}; there is no gap to recover")
    return ceiling - floor


def _checked(correct: ArrayLike, groups: ArrayLike) -> tuple[Array, NDArray[np.intp]]:
    """Outcomes as float (seeds, items) and each item's group as 0 .. G-1."""
    hits = np.asarray(correct, np.float64)
    labels = np.asarray(groups)
    if hits.ndim != 2 or 0 in hits.shape:
        raise InputError(f"outcomes have shape {hits.shape}; (seeds, items) is needed, neither of them 0")
    if labels.shape != hits.shape[1:]:
        raise InputError(f"groups have shape {labels.shape}; one per item, ({hits.shape[1]},), is needed")
    if not np.isfinite(hits).all() or (hits < 0).any() or (hits > 1).any():
        raise InputError("outcomes must be true or false (or shares between 0 and 1), without NaN")
    found, codes = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise InputError("all items are of one group; an interval over groups needs at least two")
    return hits, codes


def _draws(values: Array, codes: NDArray[np.intp], draws: int, rng: np.random.Generator, signed: bool = False) -> Array:
    """Bootstrap draws of the mean of values (seeds, items): groups reweighted, seeds spread by Student's t. (draws,)

    signed: the values are differences in [-1, 1] rather than outcomes in [0, 1].
    """
    seeds = len(values)
    count = int(codes.max()) + 1
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    sums = np.bincount(codes, weights=values.mean(0), minlength=count)
    middle = values.mean()
    # The mean under random weights, its deviation widened because `count` groups know their own mean too well.
    means = np.empty(draws)
    for start in range(0, draws, 500):  # in blocks: (draws, groups) weights would need much memory at once
        block = min(500, draws - start)
        share = rng.standard_exponential((block, count), np.float32)
        means[start : start + block] = (share @ sums) / (share @ sizes)
    out: Array = middle + (means - middle) * math.sqrt((count + 1) / (count - 1))
    if np.allclose(sums, middle * sizes, atol=1e-12):
        # All groups alike: reweighting shows no spread. The rule of three instead: 3 / groups is the 95 % bound.
        doubt = rng.exponential(1 / count, draws)
        low, high = (-1 if signed else 0), 1
        ways = ([-1.0] if middle > low else []) + ([1.0] if middle < high else [])
        out = out + doubt * rng.choice(ways, draws)
    if seeds > 1:
        spread = values.mean(1).std(ddof=1) / math.sqrt(seeds)
        out = out + spread * rng.standard_t(seeds - 1, draws)
    return out


def _percentiles(draws: Array, level: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
