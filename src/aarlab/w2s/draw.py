"""What a seed decides: which teacher, which part of the train items, and the order everything comes in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aarlab.w2s.task import Draw

TRAIN_SHARE = 0.8
"""Share of the train items one seed uses, so that seeds differ in data as well as in teacher."""


def draw(weak: NDArray[np.floating], is_test: NDArray[np.bool_], seed: int) -> Draw:
    """One seed's draw. weak: (teachers, items) P(label = 1); is_test: (items,).

    Every test item is in every draw, in a new order: sort by `Draw.test` to line predictions up between seeds.
    """
    rng = np.random.default_rng(seed)
    teacher = int(rng.integers(len(weak)))
    train = rng.permutation(np.flatnonzero(~is_test))
    train = train[: round(TRAIN_SHARE * len(train))]
    test = rng.permutation(np.flatnonzero(is_test))
    return Draw(train, test, weak[teacher, train].astype(np.float32), int(rng.integers(1 << 31)))
