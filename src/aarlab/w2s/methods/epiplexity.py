# name: epiplexity
# family: confidence weighting
# track: inductive
# origin: agents, 2026 study
# claim: PGR 0.62 on chat preference
"""Epiplexity: out-of-fold labels, drawn towards 1/2 where training taught the student little about an item.

    the train items are cut into two folds; h_little and h_full are fitted on the other fold's weak labels
    label_i = 1[h_full(x_i) > 1/2],    drop_i = CE(q_i, h_little(x_i)) - CE(q_i, h_full(x_i))
    label_i <- (label_i + 1/2) / 2  for the 40 % with the smallest drop;    the student is fitted on the labels

Epiplexity (Finzi et al. 2026) is the part of data that a learner of bounded means can turn into structure, read off
how its loss falls while it learns. A teacher's slip obeys no rule, so its loss does not fall on items never trained on.
Found by the agents of "Automated Weak-to-Strong Researcher" (Wen et al., April 2026), which publishes no code; this
is a reading of its text, not a reproduction.

From the text: the loss drop of an item as its learnability; two folds and out-of-fold labels; the bottom 40 % of
labels drawn towards 1/2.
Decided here: a fifth of the usual training is little (1 epoch of 5); the drop is measured out of fold too, so that
memory does not count as learning; folds keep groups whole; out-of-fold labels are hard (by trial on the open tasks),
and half-way to 1/2 is 0.25 or 0.75.
"""

import numpy as np

from aarlab.w2s.parts import train
from aarlab.w2s.task import Floats, Ints, W2STask

FOLDS = 2
LITTLE = 1 / 5  # of the usual training
DULL = 0.4  # share of the items whose labels are smoothed
SMOOTHING = 0.5  # how far towards 1/2


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    where = train.folds(task.train.groups, FOLDS, np.random.default_rng(seed))
    little, full = out_of_fold(task, where, seed)
    drop = loss(task.weak_labels, little) - loss(task.weak_labels, full)
    labels = smoothed((full > 0.5).astype(np.float32), drop)
    head = task.student.fit(task.train, labels, seed=seed)
    return head.predict(task.test)


def out_of_fold(task: W2STask, where: Ints, seed: int) -> tuple[Floats, Floats]:
    """P(label = 1) of every train item, (n_train,) twice: by a student trained a little, and by one trained fully, of
    which neither saw the item's fold `where` (n_train,)."""
    little, full = np.zeros((2, len(where)), np.float32)
    for fold in range(FOLDS):
        taught, left_out = np.flatnonzero(where != fold), np.flatnonzero(where == fold)
        shown, labels = task.train[taught], task.weak_labels[taught]
        little[left_out] = task.student.fit(shown, labels, seed=seed, effort=LITTLE).predict(task.train[left_out])
        full[left_out] = task.student.fit(shown, labels, seed=seed).predict(task.train[left_out])
    return little, full


def loss(labels: Floats, p: Floats) -> Floats:
    """Cross-entropy of each item in nats, (n,)."""
    q = np.clip(p, 1e-4, 1 - 1e-4)
    out: Floats = -(labels * np.log(q) + (1 - labels) * np.log(1 - q))
    return out


def smoothed(labels: Floats, drop: Floats) -> Floats:
    """Labels (n,), a share DULL of them, those with the smallest drop (n,), drawn towards 1/2."""
    dull = np.argsort(drop, kind="stable")[: round(DULL * len(drop))]
    out = labels.astype(np.float32)
    out[dull] += np.float32(SMOOTHING) * (np.float32(0.5) - out[dull])
    return out
