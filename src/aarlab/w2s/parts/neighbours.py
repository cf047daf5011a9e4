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
    """Members of the largest strongly connected part of the graph, bool (n,).

    near: (n, k), arrows from each item to its neighbours; only arrows between items `inside` (n,) count. The part of an
    item is what it can reach and what reaches it; items are tried by how many arrows point at them.
    """
    left, best = inside.copy(), np.zeros(len(inside), bool)
    popular = np.argsort(-np.bincount(near[inside].ravel(), minlength=len(inside)), kind="stable")
    for item in popular:
        if left.sum() <= best.sum():
            break
        if left[item]:
            part = _reached(near, left, item) & _reaching(near, left, item)
            left &= ~part
            best = part if part.sum() > best.sum() else best
    return best


def _reached(near: Ints, inside: NDArray[np.bool_], item: int) -> NDArray[np.bool_]:
    """Where arrows inside lead from an item, itself included."""
    found = np.zeros(len(inside), bool)
    front = np.array([item])
    while len(front):
        found[front] = True
        step = np.unique(near[front])
        front = step[inside[step] & ~found[step]]
    return found


def _reaching(near: Ints, inside: NDArray[np.bool_], item: int) -> NDArray[np.bool_]:
    """From where arrows inside lead to an item, itself included."""
    found = np.zeros(len(inside), bool)
    found[item] = True
    while True:
        grown = found | (inside & found[near].any(1))
        if grown.sum() == found.sum():
            return found
        found = grown
