# name: confident-weak-labels
# family: data filtering
# track: inductive
# origin: human baselines, 2026 study
# claim: PGR 0.23 on chat preference, 0.30 on math, 0.19 on code
"""Confident weak labels: only items of which the teacher is sure are taught, with hard labels.

    keep K = {i : q_i >= 0.75 or q_i <= 0.25};   minimise  mean_{i in K} CE(1[q_i > 1/2], h(x_i)) + ridge |h|^2

A published baseline of the automated weak-to-strong study (2026), with its thresholds. A teacher of small margins may
leave a class almost empty; that class then keeps the half of its items of which the teacher is surest.
"""

import numpy as np

from aarlab.w2s.task import Floats, W2STask

LOW, HIGH = 0.25, 0.75
LEAST_SHARE = 0.05  # of all items; a class with fewer kept items falls back to its surest half


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    q = task.weak_labels
    keep = (q <= LOW) | (q >= HIGH)
    for side in (q > 0.5, q <= 0.5):
        if (keep & side).sum() < LEAST_SHARE * len(q):
            rows = np.flatnonzero(side)
            surest = rows[np.argsort(-np.abs(q[rows] - 0.5), kind="stable")]
            keep[surest[: (len(rows) + 1) // 2]] = True
    head = task.student.fit(task.train[keep], q[keep] > 0.5, seed=seed)
    return head.predict(task.test)
