# name: few-shot-elicitation
# family: unsupervised elicitation
# track: teacher-free
# origin: human baselines, 2026 study; Wen et al. 2025
"""Few-shot elicitation: the student labels items from a few examples it labelled itself, until its labels predict
one another; then it is trained on them. No teacher.

    maximise over labels y of a pool of items   U(y) = mean_i log P(y_i | x_i, examples with their y, none of i's group)
    subject to the domain's logic (equal answers share a label, of excluding answers at most one is right)

    logit P = half the mean of eight in-context log-odds, each after other examples, half the zero-shot score
    start: y by the zero-shot score.  Four rounds, in which the surest 1/4, 2/4, 3/4, 4/4 of either class may be shown:
    eight times draw 32 examples and ask `student.in_context`; relabel the whole pool.  Keep the y of the largest U,
    label all train items from it in the same way, and  minimise  mean_i CE(y_i, h(x_i)) + ridge |h|^2

Internal coherence maximisation (Wen et al. 2025, "Unsupervised Elicitation of Language Models"): mutual predictability
under logical consistency. Decided here: they start from 8 random labels and anneal one item at a time with all other
labels in the context; here a pool is relabelled at once from draws of examples, because a context has room for few. The
zero-shot half is for students whose in-context opinion comes from the examples alone, as a probe's does: without it,
labels drift to whatever divides the items most evenly, more coherent and less true from round to round. Odds are
centred on their median, since no label tells the true share; those of comparisons on 0. The 2026 study left its
few-shot variant out, because its student hardly learns in context.
"""

import numpy as np

from aarlab.w2s.parts import labels
from aarlab.w2s.task import Floats, Ints, Items, W2STask

POOL, SHOWN, DRAWS, ROUNDS = 384, 32, 8, 4
OWN = np.float32(0.5)  # share of the zero-shot score
SPREAD = 1.5  # deviation of the log-odds that the domain's logic judges


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    rng = np.random.default_rng(seed)
    pool = task.train[whole_groups(task.train.groups, POOL, rng)]
    untold = own(task, pool)
    odds = found = judged(pool, untold)
    best = -np.inf
    for step in range(ROUNDS):
        told = judged(pool, OWN * untold + (1 - OWN) * asked(task, pool, pool, odds, (step + 1) / ROUNDS, rng))
        coherence = float(-np.logaddexp(0, -np.sign(odds) * told).mean())
        if coherence > best:
            best, found = coherence, odds
        odds = told
    odds = OWN * own(task, task.train) + (1 - OWN) * asked(task, task.train, pool, found, 1.0, rng)
    return task.student.fit(task.train, judged(task.train, odds) > 0, seed=seed).predict(task.test)


def asked(task: W2STask, items: Items, pool: Items, odds: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Mean in-context log-odds (len(items),) over draws of examples from the surest `share` of either class of the
    pool, unit deviation. An item is never judged by examples of its own group.
    """
    total = np.zeros(len(items), np.float32)
    times = np.full(len(items), 1e-6, np.float32)
    for _ in range(DRAWS):
        shown = examples(odds, share, rng)
        said = task.student.in_context(items, pool[shown], odds[shown] > 0)
        apart = ~np.isin(items.groups, pool.groups[shown])
        total[apart] += unit(said)[apart]
        times[apart] += 1
    return unit(total / times)


def own(task: W2STask, items: Items) -> Floats:
    """The zero-shot score as log-odds of its rank, scaled to unit deviation, (n,)."""
    return unit(labels.rank_logit(task.student.zero_shot(items), items.paired))


def judged(items: Items, odds: Floats) -> Floats:
    """Log-odds of a fixed spread after the domain's logic, half of them above 0 (of comparisons: as they fall)."""
    logical = labels.consistent(items, np.float32(SPREAD) * unit(centred(items, odds)))
    return centred(items, logical)


def centred(items: Items, odds: Floats) -> Floats:
    """Log-odds minus their median; those of comparisons as they are, because 0 is their middle."""
    out: Floats = odds if items.paired else odds - np.float32(np.median(odds))
    return out


def examples(odds: Floats, share: float, rng: np.random.Generator) -> Ints:
    """Rows of SHOWN examples, half of either class, from the surest `share` of each, in random order."""
    drawn = []
    for side in (odds > 0, odds <= 0):
        rows = np.flatnonzero(side)
        surest = rows[np.argsort(-np.abs(odds[rows]), kind="stable")][: max(1, round(share * len(rows)))]
        drawn.append(rng.choice(surest, min(SHOWN // 2, len(surest)), replace=False))
    return rng.permutation(np.concatenate(drawn))


def whole_groups(groups: Ints, most: int, rng: np.random.Generator) -> Ints:
    """Rows of random groups, about `most` of them, ascending: the domain's logic needs all items of a group."""
    names, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    fits = max(1, int((np.cumsum(sizes[order]) <= most).sum()))
    return np.flatnonzero(np.isin(groups, names[order[:fits]]))


def unit(odds: Floats) -> Floats:
    """The same log-odds with unit deviation, (n,)."""
    out: Floats = odds / np.float32(max(float(odds.std()), 1e-6))
    return out
