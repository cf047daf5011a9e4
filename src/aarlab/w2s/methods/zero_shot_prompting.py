# name: zero-shot-prompting
# family: unsupervised elicitation
# track: teacher-free
# origin: human baselines, 2026 study
"""Zero-shot prompting: what the untrained student says, thresholded without any label.

    P(label = 1) = sigma((z(x) - t) / s),     z = the student's zero-shot score
    t = 0 for comparisons (exchanging the sides flips the sign), else the median of z on the train items
    s = deviation of z on the train items

Neither teacher nor training. How far it gets is how much of the ceiling the student brings along; a method that is
taught and scores less has lost something on the way. A median is right where half of the items have label 1.
"""

import numpy as np

from aarlab.w2s.heads import expit
from aarlab.w2s.task import Floats, W2STask


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    own = task.student.zero_shot(task.train)
    middle = 0 if task.train.paired else np.median(own)
    return expit((task.student.zero_shot(task.test) - middle) / max(float(own.std()), 1e-6))
