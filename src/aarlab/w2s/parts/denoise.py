"""Which labels to trust. Filters return weights (n_train,), 0 for an item left out; relabellers return new labels."""

from __future__ import annotations

import numpy as np

from aarlab.w2s.heads import expit, logit
from aarlab.w2s.parts import train
from aarlab.w2s.parts.neighbours import nearest
from aarlab.w2s.parts.spaces import Space
from aarlab.w2s.task import Floats, Ints


def confident(labels: Floats, keep: float = 0.5) -> Floats:
    """Weight 1 for the most confident share `keep` of each class, else 0: both classes keep their share."""
    return top_per_class(labels, np.abs(labels - 0.5), keep)


def beyond(labels: Floats, low: float = 0.25, high: float = 0.75, least: float = 0.5) -> Floats:
    """Weight 1 where P(label = 1) is at most `low` or at least `high` (confident weak labels).

    A class left with fewer than 5 % of the items gets its most confident share `least` instead.
    """
    weights = ((labels <= low) | (labels >= high)).astype(np.float32)
    fallback = confident(labels, least)
    for side in (labels > 0.5, labels <= 0.5):
        if weights[side].sum() < 0.05 * len(labels):
            weights[side] = fallback[side]
    return weights


def agreeing(spaces: list[Space], labels: Floats, where: Ints, keep: float = 0.7) -> Floats:
    """Weight 1 for the share `keep` of each class whose label the student itself predicts best out of fold.

    Labels that strong features cannot predict are likelier wrong (small-loss selection, Han et al. 2018).
    """
    seen = train.out_of_fold(spaces, labels, where)
    side = np.where(labels > 0.5, 1, -1).astype(np.float32)
    return top_per_class(labels, side * seen, keep)


def learnable(spaces: list[Space], labels: Floats, where: Ints, smooth: float = 0.4) -> Floats:
    """Labels with those of the least learnable share `smooth` drawn half-way to 1/2 (after "epiplexity").

    Learnability: how far out-of-fold heads lower an item's loss against always saying the share of label 1.
    """
    p = expit(train.out_of_fold(spaces, labels, where))
    share = np.clip(labels.mean(), 0.01, 0.99)
    drop = _loss(labels, np.full_like(labels, share)) - _loss(labels, p)
    dull = drop < np.quantile(drop, smooth)
    out: Floats = np.where(dull, 0.5 + 0.5 * (labels - 0.5), labels).astype(np.float32)
    return out


def relabelled(
    spaces: list[Space],
    labels: Floats,
    where: Ints,
    rounds: int = 2,
    trust: float = 0.6,
    sharpness: float = 2.0,
) -> Floats:
    """Labels that held-out students would give: each round mixes the out-of-fold log-odds (share `trust`) with the
    first labels' (1 - `trust`), both scaled to one spread. What cannot be learnt from other items is forgotten."""
    first = labels
    for _ in range(rounds):
        labels = mixed(train.out_of_fold(spaces, labels, where), first, labels.mean(), trust, sharpness)
    return labels


def mixed(seen: Floats, first: Floats, share: float, trust: float = 0.6, sharpness: float = 2.0) -> Floats:
    """Labels (n,): the log-odds `seen` (share `trust`) and those of the labels `first` added up, both scaled to one
    spread; the sum gets a deviation of `sharpness` around the log-odds of `share`."""
    both = _unit(np.float32(trust) * _unit(seen) + np.float32(1 - trust) * _unit(logit(first, 0.01)))
    return expit(np.float32(sharpness) * both + logit(share))


def smoothed(space: Space, labels: Floats, neighbours: int = 20, rounds: int = 2, own: float = 0.5) -> Floats:
    """Labels averaged with those of the nearest train items by cosine (label propagation, Zhu and Ghahramani 2002).

    own: share of an item's first label in every round. Best in a bottleneck, where near means alike.
    """
    near = nearest(space.train / np.maximum(np.linalg.norm(space.train, axis=1, keepdims=True), 1e-6), neighbours)
    found = labels
    for _ in range(rounds):
        found = np.float32(own) * labels + np.float32(1 - own) * found[near].mean(1)
    # Averages crowd around the middle; spread them out again so that ridge does not flatten the head.
    return expit(np.float32(2) * _unit(found) + logit(labels.mean()))


def top_per_class(labels: Floats, merit: Floats, keep: float) -> Floats:
    """Weight 1 for the share `keep` of each class with the largest merit (n,), else 0; at least one item a class."""
    weights = np.zeros(len(labels), np.float32)
    for side in (labels > 0.5, labels <= 0.5):
        rows = np.flatnonzero(side)
        best = np.argsort(-merit[rows], kind="stable")[: max(1, round(keep * len(rows)))]
        weights[rows[best]] = 1
    return weights


def _unit(values: Floats) -> Floats:
    """Zero mean, unit deviation."""
    v = np.asarray(values, np.float32)
    out: Floats = (v - v.mean()) / np.float32(max(float(v.std()), 1e-6))
    return out


def _loss(labels: Floats, p: Floats) -> Floats:
    q = np.clip(p, 1e-4, 1 - 1e-4)
    out: Floats = -(labels * np.log(q) + (1 - labels) * np.log(1 - q))
    return out
