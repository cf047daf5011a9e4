"""What the student is taught: P(label = 1) for every train item, from the teacher, the student itself, or both."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aarlab.w2s.heads import expit, logit
from aarlab.w2s.parts import spaces as views
from aarlab.w2s.parts import train
from aarlab.w2s.students.base import Student
from aarlab.w2s.task import Floats, Items, W2STask


def hard(weak: Floats) -> Floats:
    """The teacher's labels, 0 or 1 (Burns et al. 2023, the naive baseline)."""
    return (weak > 0.5).astype(np.float32)


def soft(weak: Floats) -> Floats:
    """The teacher's probabilities as they are: its doubt is taught too."""
    return weak.astype(np.float32)


def rank_logit(score: ArrayLike, symmetric: bool = False) -> Floats:
    """A score of any scale as log-odds of its rank among all: half of the items come out above 0. (n,) -> (n,)

    symmetric: the score of a comparison; an item and its mirror image get opposite log-odds.
    """
    s = np.asarray(score, np.float32)
    if symmetric:
        return rank_logit(np.concatenate([s, -s]))[: len(s)]
    order = np.argsort(np.argsort(s, kind="stable"), kind="stable").astype(np.float32)
    return logit((order + np.float32(0.5)) / np.float32(len(s)))


def zero_shot(items: Items, sharpness: float = 1.5, student: Student | None = None) -> Floats:
    """The untrained student's opinion as log-odds, by rank: no label and no teacher is used (Burns et al. 2023: what
    the strong model already knows). student: whose opinion; None for the one recorded with the items."""
    out: Floats = np.float32(sharpness) * rank_logit(opinion(items, student), items.paired)
    return out


def opinion(items: Items, student: Student | None = None) -> Floats:
    """The zero-shot score (n,) that `student` gives, or without one the score recorded with the items."""
    return items.zero_shot() if student is None else student.zero_shot(items)


def relative_zero_shot(items: Items, share: float, sharpness: float = 1.5, student: Student | None = None) -> Floats:
    """The zero-shot opinion, a `share` of it measured against the mean of the item's group: answers to one question
    compete with each other rather than with answers to easier questions."""
    score = opinion(items, student)
    within = score - group_mean(items.groups, score)
    whole = rank_logit(score, items.paired)
    local = rank_logit(within, items.paired) if not items.paired else whole
    out: Floats = np.float32(sharpness) * ((1 - np.float32(share)) * whole + np.float32(share) * local)
    return out


def own(items: Items, sharpness: float = 1.5, relative: float = 0.0) -> Floats:
    """The zero-shot opinion as P(label = 1), (n,): labels without a teacher."""
    return expit(relative_zero_shot(items, relative, sharpness))


def mixture(task: W2STask, teacher: float = 0.5, sharpness: float = 1.5, relative: float = 0.0) -> Floats:
    """Teacher times zero-shot prior: the product of two opinions, each as log-odds of its rank, in shares
    `teacher` and 1 - `teacher`. Where the two err independently, the product errs less than either."""
    own = relative_zero_shot(task.train, relative, 1.0, task.student)
    theirs = rank_logit(logit(task.weak_labels), task.train.paired)
    return expit(np.float32(sharpness) * (np.float32(teacher) * theirs + np.float32(1 - teacher) * own))


def posterior(
    task: W2STask,
    spaces: list[views.Space],
    rng: np.random.Generator,
    bins: int = 8,
    rounds: int = 4,
    prior: float = 0.5,
    folds: int = 3,
) -> Floats:
    """The posterior of a noisy channel (Dawid and Skene 1979): P(y | x, teacher) = prior(x) x P(teacher's bin | y).

    prior(x): the student's out-of-fold opinion, a share `prior` of it the zero-shot score. The channel (a table of
    `bins` x 2) is re-estimated from the posterior in every round (EM), so the teacher's word counts as much as it
    proves worth. Starts from the mixture of teacher and prior.
    """
    edges = np.quantile(task.weak_labels, np.linspace(0, 1, bins + 1)[1:-1])
    code = np.searchsorted(edges, task.weak_labels)
    believed = mixture(task, teacher=1 - prior)
    own = zero_shot(task.train, 1.0, task.student)
    where = train.folds(task.train.groups, folds, rng)
    for _ in range(rounds):
        seen = train.out_of_fold(spaces, believed, where)
        odds = np.float32(prior) * own + np.float32(1 - prior) * seen
        yes = np.bincount(code, weights=believed, minlength=bins) + 2
        no = np.bincount(code, weights=1 - believed, minlength=bins) + 2
        channel = np.log(yes / yes.sum()) - np.log(no / no.sum())
        believed = expit(odds + channel[code])
    return believed


def consistent(items: Items, odds: Floats, strength: float = 1.0) -> Floats:
    """Log-odds after the domain's logic inside each group: equal answers share one label, and where answers exclude
    each other at most one of the distinct answers is right (unsupervised elicitation by logical consistency).

    Equal answers get the mean of their log-odds, never the sum: how *often* an answer was given counts for nothing.
    Answers that exclude each other then compete with each other and with "none of them". `strength` in [0, 1] blends
    the result in. Items without answers come back unchanged (a comparison's logic, antisymmetry, is the view's affair).
    """
    answers = items.answers
    if answers is None or strength == 0:
        return odds
    _, answer = np.unique(np.asarray(answers), return_inverse=True)
    _, group = np.unique(items.groups, return_inverse=True)
    width = int(answer.max()) + 1
    names, cell = np.unique(group.astype(np.int64) * width + answer, return_inverse=True)
    judged = np.clip(np.bincount(cell, weights=odds) / np.bincount(cell), -20, 20)
    if items.exclusive:
        likely = np.exp(judged)
        rivals = np.bincount(names // width, weights=likely)[names // width] - likely
        judged = judged - np.log1p(np.maximum(rivals, 0))
    out: Floats = np.float32(1 - strength) * odds + np.float32(strength) * judged[cell].astype(np.float32)
    return out


def logical(items: Items, taught: Floats, strength: float = 1.0) -> Floats:
    """Labels P(label = 1) after the logic of `consistent`, (n,); the share of items above 1/2 stays what it was."""
    before = logit(taught, 0.01)
    after = consistent(items, before, strength)
    return expit(after - shift(after, float((before > 0).mean())))


def as_bold(odds: Floats, taught: Floats) -> Floats:
    """Log-odds of a student as P(label = 1) with the mean and the spread of other labels' log-odds, (n,).

    Regularised students say less than they are taught, and a chain of them would fall silent.
    """
    theirs = logit(taught, 0.01)
    size = np.float32(theirs.std() / max(float(odds.std()), 1e-6))
    return expit(theirs.mean() + size * (odds - odds.mean()))


def shift(odds: Floats, share: float) -> np.float32:
    """What to subtract from log-odds so that a `share` of them lies above 0."""
    return np.float32(np.quantile(odds, 1 - np.clip(share, 0.02, 0.98)))


def group_mean(groups: ArrayLike, values: Floats) -> Floats:
    """Each item's mean over its group, (n,)."""
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    out: Floats = (np.bincount(code, weights=values) / np.bincount(code))[code].astype(np.float32)
    return out
