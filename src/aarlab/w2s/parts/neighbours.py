"""Which items lie near which: the graph that filters by neighbourhood walk on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aarlab.w2s.task import Floats, Ints

BLOCK = 512
"""Rows compared at once: the whole matrix of distances would be large."""


def nearest(a: Floats, count: int) -> Ints:
    """The `count` nearest other rows of each row of a (n, d), Euclidean, in no order: (n, min(count, n - 1)).

    Rows of length 1 make it the nearest by cosine.
    """
    k = min(count, len(a) - 1)
    square = np.einsum("ij,ij->i", a, a)
    near = np.empty((len(a), k), np.int64)
    for start in range(0, len(a), BLOCK):
        away = square - np.float32(2) * (a[start : start + BLOCK] @ a.T)
        away[np.arange(len(away)), np.arange(start, start + len(away))] = np.inf
        near[start : start + BLOCK] = np.argpartition(away, max(k - 1, 0), axis=1)[:, :k]
    return near


def largest_component(near: Ints, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Members of the largest connected part of the items `inside`, bool (n,).

    near: (n, k), from `nearest`; two items are joined where either is among the other's neighbours.
    """
    n, k = near.shape
    one, other = np.repeat(np.arange(n), k), near.ravel()
    joined = inside[one] & inside[other]
    one, other = one[joined], other[joined]
    name, before = np.arange(n), np.zeros(n, np.int64)
    while (name != before).any():  # the smallest number of a part spreads along its edges
        before = name.copy()
        np.minimum.at(name, other, before[one])
        np.minimum.at(name, one, name[other])
    sizes = np.bincount(name[inside], minlength=n)
    found: NDArray[np.bool_] = inside & (name == sizes.argmax())
    return found
