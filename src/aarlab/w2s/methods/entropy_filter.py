# name: entropy-filter
# family: data filtering
# track: inductive
# origin: predictive entropy of a committee, Seung et al. 1992; Houlsby et al. 2011
"""Entropy filter: the items on which teacher and out-of-fold student together are least in doubt are taught.

    m_i = (q_i + f_i) / 2,     f_i = P(label = 1) of heads that never saw item i (three folds)
    keep the half of each class of q with the smallest H(m_i) = -m_i log m_i - (1 - m_i) log(1 - m_i)
    minimise  mean over the rest of CE(q_i, h(x_i)) + ridge |h|^2

The entropy of a mean is the mean of the entropies plus the disagreement (Houlsby et al. 2011), so an item goes when
either is in doubt or when the two are sure of different things. The teacher's entropy alone would rank items just as
its confidence does, which is confident-weak-labels-quantile. Scoring uses heads on the student's features.
"""

import numpy as np

from aarlab.w2s.heads import expit
from aarlab.w2s.parts import denoise, spaces, train
from aarlab.w2s.task import Floats, W2STask

FOLDS, KEEP = 3, 0.5


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    q = task.weak_labels
    where = train.folds(task.train.groups, FOLDS, np.random.default_rng(seed))
    seen = expit(train.out_of_fold(spaces.joined(task), q, where))
    keep = denoise.top_per_class(q, -entropy(np.float32(0.5) * (q + seen)), KEEP) > 0
    return task.student.fit(task.train[keep], q[keep], seed=seed).predict(task.test)


def entropy(p: Floats) -> Floats:
    """In nats, (n,)."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    out: Floats = -p * np.log(p) - (1 - p) * np.log(1 - p)
    return out
