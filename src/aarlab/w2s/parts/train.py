"""How the student is taught: committees of heads, out-of-fold opinions, self-training, bagging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aarlab.w2s.heads import expit
from aarlab.w2s.parts.spaces import Space, logits
from aarlab.w2s.students.base import Student
from aarlab.w2s.task import Floats, Ints, Items


@dataclass(frozen=True)
class Scores:
    """Log-odds of label 1: train (n_train,) and test (n_test,)."""

    train: Floats
    test: Floats


def committee(spaces: list[Space], targets: Floats, weights: Floats | None = None) -> Scores:
    """One head per view; their log-odds are averaged after scaling each to the same spread on the train items.

    A single head's log-odds come back as they are.
    """
    heads = [space.fit(targets, weights) for space in spaces]
    own = [logits(space.train, head) for space, head in zip(spaces, heads, strict=True)]
    new = [logits(space.test, head) for space, head in zip(spaces, heads, strict=True)]
    if len(spaces) == 1:
        return Scores(own[0], new[0])
    spread = [max(float(z.std()), 1e-6) for z in own]
    size = float(np.mean(spread))
    return Scores(
        _mean([z * (size / s) for z, s in zip(own, spread, strict=True)]),
        _mean([z * (size / s) for z, s in zip(new, spread, strict=True)]),
    )


def folds(groups: ArrayLike, count: int, rng: np.random.Generator) -> Ints:
    """Which of `count` folds each item is in, (n,). No group is cut: no item is judged by its siblings' labels."""
    names, code = np.unique(np.asarray(groups), return_inverse=True)
    where: Ints = (rng.permutation(len(names)) % count)[code]
    return where


def out_of_fold(spaces: list[Space], targets: Floats, where: Ints, weights: Floats | None = None) -> Floats:
    """What heads that never saw an item say of it: log-odds (n_train,), averaged over views.

    where: the fold of each item, (n_train,), from `folds`.
    """
    seen = np.zeros(len(targets), np.float32)
    for space in spaces:
        start = None
        one = np.zeros(len(targets), np.float32)
        for fold in range(int(where.max()) + 1):
            start = space.fit(targets, weights, np.flatnonzero(where != fold), start)
            left_out = where == fold
            one[left_out] = logits(space.train[left_out], start)
        seen += one / np.float32(len(spaces) * max(float(one.std()), 1e-6)) if len(spaces) > 1 else one
    return seen


def student_out_of_fold(
    student: Student, items: Items, targets: ArrayLike, where: Ints, seed: int = 0, weights: ArrayLike | None = None
) -> Floats:
    """What students that never saw an item say of it: log-odds (n,). One training per fold, of whatever the student
    is; `out_of_fold` asks heads on its features instead, which is much cheaper where the student is a network.

    where: the fold of each item, (n,), from `folds`. targets, weights: (n,).
    """
    y = np.asarray(targets, np.float32)
    w = np.ones_like(y) if weights is None else np.asarray(weights, np.float32)
    seen = np.zeros(len(y), np.float32)
    for fold in range(int(where.max()) + 1):
        taught, left_out = np.flatnonzero(where != fold), np.flatnonzero(where == fold)
        head = student.fit(items[taught], y[taught], w[taught], seed=seed)
        seen[left_out] = head.logits(items[left_out])
    return seen


def self_training(
    spaces: list[Space],
    targets: Floats,
    weights: Floats | None = None,
    rounds: int = 2,
    mix: float = 0.5,
    sharpness: float = 0.0,
) -> Scores:
    """The student is taught a mixture of its labels and its own predictions, `rounds` times.

    sharpness 0: its predictions are hardened at the quantile that keeps the class balance: the auxiliary confidence
    loss of Burns et al. 2023. Above 0: its log-odds are scaled to that spread and kept soft (born-again networks,
    Furlanello et al. 2018). mix: the share of its own word.
    """
    scores = committee(spaces, targets, weights)
    for _ in range(rounds):
        if sharpness > 0:
            own = expit(scores.train * np.float32(sharpness / max(float(scores.train.std()), 1e-6)))
        else:
            share = float(np.mean(targets > 0.5))
            own = (scores.train > np.quantile(scores.train, 1 - share)).astype(np.float32)
        scores = committee(spaces, np.float32(1 - mix) * targets + np.float32(mix) * own, weights)
    return scores


def bagged(
    spaces: list[Space],
    targets: Floats,
    groups: ArrayLike,
    rng: np.random.Generator,
    weights: Floats | None = None,
    bags: int = 4,
) -> Scores:
    """The mean of `bags` committees, each on its own random weights per group (bagging, Breiman 1996; the weights
    are exponential as in Rubin's Bayesian bootstrap, so no group is left out entirely)."""
    names, code = np.unique(np.asarray(groups), return_inverse=True)
    base = np.ones(len(targets), np.float32) if weights is None else weights
    drawn = [
        committee(spaces, targets, base * rng.standard_exponential(len(names), np.float32)[code]) for _ in range(bags)
    ]
    return Scores(_mean([s.train for s in drawn]), _mean([s.test for s in drawn]))


def balanced(targets: Floats, weights: Floats | None = None) -> Floats:
    """Weights that make both classes count alike, (n,)."""
    base = np.ones(len(targets), np.float32) if weights is None else weights
    yes = float(base @ targets)
    no = float(base @ (1 - targets))
    out: Floats = base * (targets / max(yes, 1e-6) + (1 - targets) / max(no, 1e-6)).astype(np.float32)
    return out


def _mean(scores: list[Floats]) -> Floats:
    out: Floats = np.mean(np.stack(scores), axis=0).astype(np.float32)
    return out
