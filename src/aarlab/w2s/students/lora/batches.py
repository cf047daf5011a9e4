"""Which items are looked at together: steps of a fixed number of items, passes of a bounded number of tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from aarlab.w2s.task import Ints

POOL = 32
"""Steps whose items are sorted by length together: enough for hardly any padding, few enough for steps to differ."""


def epoch(lengths: ArrayLike, batch: int, rng: np.random.Generator) -> list[Ints]:
    """One epoch's steps: every item once, `batch` of about the same length in each (the last may be smaller).

    lengths: (n,) tokens. Items are shuffled, sorted by length inside pools of POOL steps, and the steps shuffled.
    """
    size = np.asarray(lengths, np.int64)
    order = rng.permutation(len(size))
    pools = [order[at : at + POOL * batch] for at in range(0, len(order), POOL * batch)]
    ordered = [pool[np.argsort(size[pool], kind="stable")] for pool in pools]
    steps = [pool[at : at + batch] for pool in ordered for at in range(0, len(pool), batch)]
    return [steps[i] for i in rng.permutation(len(steps))]


def steps(lengths: ArrayLike, batch: int, count: int, seed: int) -> Iterator[Ints]:
    """The first `count` steps of as many epochs as they take, each epoch in an order of its own."""
    done = number = 0
    while done < count:
        for rows in epoch(lengths, batch, np.random.default_rng((seed, number)))[: count - done]:
            yield rows
            done += 1
        number += 1


def passes(lengths: ArrayLike, rows: ArrayLike, budget: int) -> list[Ints]:
    """Rows split into passes of similar length, longest first, each of at most `budget` padded tokens (or one row).

    lengths: (n,) tokens of every row there is; rows: (b,) which of them.
    """
    size, wanted = np.asarray(lengths, np.int64), np.asarray(rows, np.int64)
    ordered = wanted[np.argsort(-size[wanted], kind="stable")]
    found, at = [], 0
    while at < len(ordered):
        fitting = max(1, budget // max(1, int(size[ordered[at]])))
        found.append(ordered[at : at + fitting])
        at += fitting
    return found


def filled(lengths: ArrayLike, parts: list[Ints]) -> float:
    """Share of the padded tokens that are real."""
    size = np.asarray(lengths, np.int64)
    return float(sum(size[p].sum() for p in parts) / sum(size[p].max() * len(p) for p in parts))
