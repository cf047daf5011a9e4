# name: confidence-window
# family: loss function
# track: inductive
# origin: EleutherAI w2s, 2024
# claim: no consistent gain over 21 NLP data sets
"""Confidence window: only items of which the student is not yet sure teach it; the others exert no pull.

    gradient in the log-odds:  f_i - q_i  where |f_i - 1/2| < r,  else 0
    r = median of |q_i - 1/2|, the teacher's own middling confidence

The loss `window` of EleutherAI's w2s with its setting "midweak"; its fixed alternative is r = 0.15. An item that the
student has grown sure of, rightly or not, cannot be talked out of it by a label. A probe student, whose training is
its ridge's, holds on to its opinion of such an item between two updates; a network simply does not see it.
"""

import numpy as np

from aarlab.w2s.heads import expit
from aarlab.w2s.task import Floats, Ints, W2STask


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    q = task.weak_labels
    radius = float(np.median(np.abs(q - 0.5)))

    def moving(logits: Floats, rows: Ints, progress: float) -> Floats:
        return windowed(logits, q[rows], radius)

    head = task.student.fit(task.train, q, seed=seed, moving=moving)
    return head.predict(task.test)


def windowed(logits: Floats, labels: Floats, radius: float) -> Floats:
    """Targets (b,): the labels where the student doubts, its own opinion where it is sure."""
    p = expit(logits)
    out: Floats = np.where(np.abs(p - 0.5) < radius, labels, p)
    return out
