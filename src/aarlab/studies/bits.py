"""Bits about the labels: what a mechanism can release at most, and what one answer does carry to an attacker.

What an answer carries is the mutual information between it and the labels, given what the attacker believes: the
entropy of the answer less that of the noise. The number of right items of a list is taken as normal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from aarlab.reports.results import lookup_gain
from aarlab.studies.mechanisms import Floats, Mechanism

FINE = 4000


def row(m: Mechanism, prior: Floats, items: int, marks: Sequence[int]) -> dict[str, Any]:
    """Bounds at `marks` answers, and what a random list and a single flip carry. prior: P(wrong), (n,)."""
    spread = float(np.sqrt((prior * (1 - prior)).sum()))
    return {
        "bound": {str(k): round(m.bound(k, items), 1) for k in marks},
        "bound_each": round(m.bound(marks[-1], items) / min(marks[-1], m.limit or marks[-1]), 3),
        "random_list": round(carried(m, items / 2, spread, items), 4),
        "single_flip": round(flip(m, float(prior[0]), items), 6),
        "look_up": {str(k): round(lookup_gain(m.bound(k, items), items, float(prior.mean())), 5) for k in marks},
    }


def carried(m: Mechanism, right: float, spread: float, items: int) -> float:
    """Bits of the first answer to a list believed to have `right` +- `spread` right items."""
    counts = np.arange(items + 1)
    weight = np.exp(-0.5 * ((counts - right) / spread) ** 2)
    weight /= weight.sum()
    if m.noise:
        return _noisy(counts / items, weight, m.noise)
    return _entropy(np.bincount(_answers(m, counts, items), weight).astype(np.float64))


def _answers(m: Mechanism, counts: np.ndarray[Any, Any], items: int) -> np.ndarray[Any, Any]:
    """A number for each answer that so many right items get."""
    if m.ladder is None:
        said = m.say(counts, items, np.random.default_rng(0))
        return np.asarray(np.unique(np.round(said, 9), return_inverse=True)[1])
    rungs = [m.ladder.answer(c / items)[1].best for c in counts]
    return np.asarray(rungs) - m.ladder.best


def flip(m: Mechanism, wrong: float, items: int) -> float:
    """Bits of an answer to one flip of an item that is wrong with this probability, where the base's score is known.

    Rounded answers: from a list at a rounding edge. A Ladder: from a list one item under the next record, where it
    tells most; the lab's Ladder lets no attacker get there, since no list of known score is that good.
    """
    weight = np.array([1 - wrong, wrong])
    if m.noise:
        return _noisy(np.array([-1.0, 1.0]) / items, weight, m.noise)
    return _entropy(weight)


def _noisy(values: Floats, weight: Floats, noise: float) -> float:
    """Mutual information of a discrete value and the value with Gaussian noise, by integration."""
    kept = weight > 1e-9
    values, weight = values[kept], weight[kept] / weight[kept].sum()
    grid = np.linspace(values.min() - 6 * noise, values.max() + 6 * noise, FINE)
    density = np.zeros_like(grid)
    for value, w in zip(values, weight, strict=True):
        density += w * np.exp(-0.5 * ((grid - value) / noise) ** 2)
    density /= noise * math.sqrt(2 * math.pi)
    inside = density > 0
    entropy = -float((density[inside] * np.log2(density[inside])).sum() * (grid[1] - grid[0]))
    return max(0.0, entropy - 0.5 * math.log2(2 * math.pi * math.e * noise**2))


def _entropy(weight: Floats) -> float:
    kept = weight[weight > 0]
    return -float((kept * np.log2(kept)).sum())
