"""The performance gap recovered (PGR) and how sure one may be of it: pure functions on arrays.

    intervals.py   one PGR, one accuracy, one paired difference, each with its 95 % interval
    many.py        the best of m: a leaderboard's intervals, what choosing adds
    planning.py    the smallest difference that so many seeds and items can show
    draws.py       where the uncertainty comes from, and the bootstrap draws of it

Outcomes are bool arrays (seeds, items), or (methods, seeds, items): whether each test item was predicted rightly.
docs/statistics.md says how often the intervals hold. Every function is deterministic for a given `rng`.
"""

from aarlab.statistics.draws import DRAWS, LEVEL
from aarlab.statistics.intervals import (
    estimate_accuracy,
    estimate_pgr,
    measured,
    paired_difference,
    pgr,
    standard_error,
)
from aarlab.statistics.many import Leaderboard, best_of_inflation, leaderboard, leads, shrink
from aarlab.statistics.planning import Spread, needed_items, needed_seeds, pilot, smallest_difference

__all__ = [
    "DRAWS", "LEVEL", "Leaderboard", "Spread", "best_of_inflation", "estimate_accuracy", "estimate_pgr", "leaderboard",
    "leads", "measured", "needed_items", "needed_seeds", "paired_difference", "pgr", "pilot", "shrink",
    "smallest_difference", "standard_error",
]  # fmt: skip
