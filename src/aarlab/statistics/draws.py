"""Where the uncertainty of a mean over seeds x items comes from, and bootstrap draws of it.

- **Items.** The test items are a sample, and items of one group (a problem, a specification) rise and fall together.
  Whole groups are reweighted (Bayesian bootstrap, Rubin 1981), so a group counts as one observation, however many
  items it has.
- **Seeds.** A seed redraws teacher, training items and order, and is crossed with the items: the spread of the seeds'
  means holds noise of the items, which the groups bring in already. It is taken out (Owen 2007, "The pigeonhole
  bootstrap", on why a plain two-way bootstrap counts it twice).
- **Few seeds, few groups.** Their spread is itself badly known. All draws are stretched by Student's t, with degrees of
  freedom after Satterthwaite (1946).

Two seeds cannot tell "no spread" from "twice their noise", so with two at least half of the interaction's variance is
laid to the seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aarlab.errors import InputError
from aarlab.records import Estimate

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

DRAWS = 4000
"""Bootstrap draws of a 95 % interval: its ends then move by about a hundredth of its width between streams."""

LEVEL = 0.95

CLUMPS = 512
"""More groups than this are reweighted in so many random clumps: rescaled to be as wide, as skew, and much faster."""


@dataclass(frozen=True)
class Parts:
    """The means of m arrays of shape (seeds, items), with their squared standard errors by source."""

    mean: Array  # (m,)
    groups: Array  # (m,) from groups, the interaction of groups and seeds included
    seeds: Array  # (m,) from seeds, the interaction included; 0 for one seed
    interaction: Array  # (m,)
    scores: Array  # (m, groups) what each group adds to the mean's deviation, summing to 0; over seeds
    shares: Array  # (groups,) of the items
    count: int  # of seeds
    extra: Array | float = 0.0  # (m,) what seeds of other means in the same ratio add, their interaction taken out

    @classmethod
    def of(cls, values: Array, codes: Codes) -> Parts:
        """values: (m, seeds, items); codes: (items,), each item's group as 0 .. groups - 1."""
        seeds, items = values.shape[1:]
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        sizes = np.diff(starts, append=items)
        count = len(sizes)
        by_seed = values.mean(2)
        cells = (np.add.reduceat(values[..., order], starts, axis=2) - by_seed[..., None] * sizes) / items
        scores = cells.mean(1)
        mean = by_seed.mean(1)
        groups = np.square(scores).sum(1) * count / (count - 1)
        if seeds == 1:
            none = np.zeros(len(values))
            return cls(mean, groups, none, none, scores, sizes / items, seeds)
        rest = np.square(cells - scores[:, None]).sum((1, 2))
        interaction = rest * count / (count - 1) / (seeds * (seeds - 1))
        spread = by_seed.var(1, ddof=1) / seeds
        return cls(mean, groups, spread, interaction, scores, sizes / items, seeds)

    @property
    def excess(self) -> Array:
        """(m,) what seeds add to the groups' part."""
        return excess(self.seeds + self.extra, self.interaction, self.count)

    def freedom(self, others: Sequence[tuple[Array, Array, int]] = ()) -> Array:
        """(m,) degrees of freedom of the sum of all parts.

        others: of each other part its squared standard error where it is not in `extra`, the same in any case, and its
        freedom.
        """
        doubt = doubt_of(self.groups, self.seeds, self.interaction, self.count, len(self.shares))
        total = self.groups + self.excess
        for added, part, freedom in others:
            total, doubt = total + added, doubt + np.square(part) / max(1, freedom)
        found: Array = np.where(doubt > 0, np.square(total) / np.where(doubt > 0, doubt, 1.0), len(self.shares) - 1.0)
        return np.maximum(1.0, found)

    def draw(self, draws: int, rng: np.random.Generator) -> Array:
        """(draws, m) deviations of the means, before `tails`. Methods share the groups' weights, not the seeds.

        So few seeds do not show how methods move together over them; apart, the largest of m deviations is if anything
        too large (Sidak 1967).
        """
        by_seed: Array = rng.standard_normal((draws, len(self.mean))) * np.sqrt(self.excess)
        return self._reweighted(draws, rng) + by_seed

    def _reweighted(self, draws: int, rng: np.random.Generator) -> Array:
        """(draws, m) deviations under exponential weights of the groups, as wide as `groups` says."""
        scores, shares = _clumped(self.scores, self.shares, rng)
        count = len(shares)
        found = np.empty((draws, len(scores)))
        table = np.ascontiguousarray(np.vstack([scores, shares]).T, np.float32)
        for start in range(0, draws, 500):  # in blocks: (draws, groups) weights would need much memory at once
            block = min(500, draws - start)
            sums = rng.standard_exponential((block, count), np.float32) @ table
            found[start : start + block] = sums[:, :-1] / sums[:, -1:]
        own = np.square(scores).sum(1) * count / (count + 1)  # the variance that such weights give
        stretch: Array = np.sqrt(self.groups / np.where(own > 0, own, 1.0))
        return found * stretch

    def doubt(self, bounds: tuple[float, float], draws: int, rng: np.random.Generator) -> Array:
        """(draws, m) to be added where all groups are alike, so that reweighting shows no spread.

        The rule of three: 3 / groups is then the 95 % bound. bounds: the values' range, beyond which nothing is drawn.
        """
        found = np.zeros((draws, len(self.mean)))
        for j in np.flatnonzero(np.square(self.scores).sum(1) < 1e-24):
            ways = [w for w, end in zip((-1.0, 1.0), bounds, strict=True) if w * (end - self.mean[j]) > 0]
            found[:, j] = rng.exponential(1 / len(self.shares), draws) * rng.choice(ways, draws)
        return found


def excess(seeds: Array, interaction: Array, count: int) -> Array:
    """What `count` seeds add to the groups' part: their squared standard error without the interaction."""
    least = interaction / 2 if count == 2 else 0.0
    found: Array = np.maximum(seeds - interaction, least)
    return found


def doubt_of(groups: Array, seeds: Array, interaction: Array, count: int, blocks: float) -> Array:
    """Sum of part^2 / freedom over the parts of `count` seeds and `blocks` groups: Satterthwaite's denominator."""
    doubt: Array = np.square(groups) / (blocks - 1)
    if count > 1:
        spread = np.maximum(seeds, interaction) if count == 2 else seeds
        noise = np.square(spread) + np.square(interaction) / (blocks - 1)
        doubt = doubt + np.where(excess(seeds, interaction, count) > 0, noise, 0.0) / (count - 1)
    return doubt


def tails(freedom: Array, draws: int, rng: np.random.Generator) -> Array:
    """(draws, m) factors that turn normal draws into Student's t, by as much as `freedom` (m,) is small."""
    found: Array = np.sqrt(freedom / (2 * rng.standard_gamma(freedom / 2, (draws, len(freedom)))))
    return found


def estimates(middle: Array, deviations: Array, shape: tuple[int, ...], level: float = LEVEL) -> list[Estimate]:
    """Each of m means with the interval of its deviations (draws, m); shape: (seeds, items)."""
    low, high = np.quantile(deviations, [(1 - level) / 2, (1 + level) / 2], axis=0)
    ends = zip(middle.tolist(), np.minimum(low, 0).tolist(), np.maximum(high, 0).tolist(), strict=True)
    return [Estimate(m, m + a, m + b, shape[0], shape[1]) for m, a, b in ends]


def together(middle: Array, deviations: Array, shape: tuple[int, ...], level: float = LEVEL) -> list[Estimate]:
    """As `estimates`, stretched by one factor so that all m intervals hold at once with probability `level`."""
    low, high = np.quantile(deviations, [(1 - level) / 2, (1 + level) / 2], axis=0)
    low, high = np.minimum(low, -1e-12), np.maximum(high, 1e-12)
    beyond = np.maximum(deviations / high, deviations / low).max(1)
    factor = max(1.0, float(np.quantile(beyond, level)))
    ends = zip(middle.tolist(), (factor * low).tolist(), (factor * high).tolist(), strict=True)
    return [Estimate(m, m + a, m + b, shape[0], shape[1]) for m, a, b in ends]


def checked(correct: ArrayLike, groups: ArrayLike, dimensions: int = 2) -> tuple[Array, Codes]:
    """Outcomes as float (seeds, items), or (methods, seeds, items), and each item's group as 0 .. groups - 1."""
    hits = np.asarray(correct, np.float64)
    labels = np.asarray(groups)
    wanted = "(seeds, items)" if dimensions == 2 else "(methods, seeds, items)"
    if hits.ndim != dimensions or 0 in hits.shape:
        raise InputError(f"outcomes have shape {hits.shape}; {wanted} is needed, none of them 0")
    if labels.shape != hits.shape[-1:]:
        raise InputError(f"groups have shape {labels.shape}; one per item, ({hits.shape[-1]},), is needed")
    if not np.isfinite(hits).all() or (hits < 0).any() or (hits > 1).any():
        raise InputError("outcomes must be true or false (or shares between 0 and 1), without NaN")
    found, codes = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise InputError("all items are of one group; an interval over groups needs at least two")
    return hits, codes


def at_least_100(draws: int) -> int:
    """The number of draws, checked."""
    if draws < 100:
        raise InputError(f"draws is {draws}; an interval's ends need at least 100")
    return draws


def _clumped(scores: Array, shares: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Groups put together at random until at most `CLUMPS` are left. scores: (m, groups), shares: (groups,)."""
    count = len(shares)
    if count <= CLUMPS:
        return scores, shares
    order = rng.permutation(count)
    starts = np.linspace(0, count, CLUMPS, endpoint=False).astype(np.intp)
    return np.add.reduceat(scores[:, order], starts, axis=1), np.add.reduceat(shares[order], starts)
