# name: overlap-density
# family: data filtering
# track: inductive
# origin: agents, 2026 study
# claim: PGR 0.75 on chat preference
"""Overlap density: the student is taught the half of the items that are typical, agreed upon, and of middling doubt.

    t_i = 1[q_i > 1/2];  N(i) = the 20 train items nearest to i by cosine, in 48 whitened components of the embeddings
    a_i = t_i-signed log-odds that out-of-fold heads on the embeddings give   (predictable)
    b_i = share of N(i) with label t_i                                        (neighbours agree)
    c_i = mean cosine of i with N(i)                                          (dense)
    d_i = -|rank(entropy(q_i)) - 1/2|                                         (medium entropy)
    keep, of each class of t, the half with the largest  rank(a) + rank(b) + rank(c) + rank(d);
    minimise  mean over kept i of CE(t_i, h(x_i)) + ridge |h|^2

Where items with patterns that a weak teacher can read overlap with items that hold harder ones, a strong student
learns the harder ones (Shin et al. 2025, "Weak-to-strong generalization through the data-centric lens"); middling doubt
marks the overlap. Found by the agents of "Automated Weak-to-Strong Researcher" (Wen et al., April 2026), whose authors
call it alien and which publishes no code; this is a reading of its text, not a reproduction.

From the text: the four criteria; out-of-fold; the best half; balanced between the classes.
Decided here: ranks weigh the criteria alike; 5 folds that keep groups whole; 20 neighbours, 48 components of the layers
that the student reads; medium means near the median of the teacher's entropy; hard labels, the study's default.
"""

import numpy as np

from aarlab.w2s.parts import denoise, labels, spaces, train
from aarlab.w2s.parts.neighbours import nearest
from aarlab.w2s.task import Floats, W2STask

HALF = 0.5
FOLDS = 5
NEIGHBOURS = 20
COMPONENTS = 48


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    taught = labels.hard(task.weak_labels)
    kept = np.flatnonzero(denoise.top_per_class(taught, merit(task, seed), HALF))
    head = task.student.fit(task.train[kept], taught[kept], seed=seed)
    return head.predict(task.test)


def merit(task: W2STask, seed: int) -> Floats:
    """The sum of four ranks between 0 and 1, (n_train,): higher is kept first."""
    taught = labels.hard(task.weak_labels)
    embedded = spaces.joined(task)
    where = train.folds(task.train.groups, FOLDS, np.random.default_rng(seed))
    predictable = (2 * taught - 1) * train.out_of_fold(embedded, taught, where)
    agreeing, dense = neighbourhood(spaces.bottleneck(embedded, COMPONENTS)[0].train, taught)
    return rank(predictable) + rank(agreeing) + rank(dense) + rank(middling(task.weak_labels))


def neighbourhood(a: Floats, taught: Floats) -> tuple[Floats, Floats]:
    """Share of the neighbours with an item's label, and mean cosine with them, (n,) each. a: (n, d), taught: (n,)."""
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-6)
    near = nearest(a, NEIGHBOURS)
    agreeing: Floats = (taught[near] == taught[:, None]).mean(1, dtype=np.float32)
    dense: Floats = np.einsum("id,id->i", a, a[near].mean(1))
    return agreeing, dense


def middling(weak: Floats) -> Floats:
    """How near an item's teacher entropy is to the median, (n,), at most 0. Entropy falls with |q - 1/2|."""
    out: Floats = -np.abs(rank(np.abs(weak - 0.5)) - np.float32(0.5))
    return out


def rank(values: Floats) -> Floats:
    """Ranks as shares between 0 and 1, (n,)."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    out: Floats = ((order + 0.5) / len(order)).astype(np.float32)
    return out
