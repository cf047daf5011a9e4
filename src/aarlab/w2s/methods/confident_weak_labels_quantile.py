# name: confident-weak-labels-quantile
# family: data filtering
# track: inductive
# origin: human baselines, 2026 study, with a quantile in place of its thresholds
"""Confident weak labels by quantile: of each class the half of which the teacher is surest is taught, with hard labels.

    keep K = {i : |q_i - 1/2| is among the largest half of those with the same 1[q > 1/2]}
    minimise  mean_{i in K} CE(1[q_i > 1/2], h(x_i)) + ridge |h|^2

The thresholds 0.75 and 0.25 of the published baseline keep almost all items of a bold teacher and almost none of a
timid one; a share of each class keeps the same number, and the teacher's balance of classes, whatever its temperature.
"""

from aarlab.w2s.parts import denoise
from aarlab.w2s.task import Floats, W2STask

KEEP = 0.5  # of each class


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    q = task.weak_labels
    keep = denoise.confident(q, KEEP) > 0
    head = task.student.fit(task.train[keep], q[keep] > 0.5, seed=seed)
    return head.predict(task.test)
