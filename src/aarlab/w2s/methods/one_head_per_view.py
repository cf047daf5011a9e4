# name: one-head-per-view
# family: ensemble
# track: inductive
# origin: Blum and Mitchell 1998, co-training; Dietterich 2000, ensembles
"""One head per view: students that see the items in different ways learn the weak labels apart and answer together.

    h_v = argmin  mean_i CE(q_i, h(x_i^v)) + ridge |h|^2     for every view v of `student.views()`
    z(x) = mean_v  s z_v(x) / s_v,     s_v = deviation of h_v's log-odds on the train items, s = mean_v s_v

Where the views err independently, their mean errs less than any; and a view too poor to show what misleads the
teacher cannot learn its mistake. A probe's views are its layers, a language model's are its prompts.
"""

import numpy as np

from aarlab.w2s.heads import expit
from aarlab.w2s.task import Floats, W2STask


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    heads = [student.fit(task.train, task.weak_labels, seed=seed) for student in task.student.views()]
    spread = np.array([max(float(head.logits(task.train).std()), 1e-6) for head in heads], np.float32)
    said = np.stack([head.logits(task.test) for head in heads])
    return expit((said / spread[:, None]).mean(0) * spread.mean())
