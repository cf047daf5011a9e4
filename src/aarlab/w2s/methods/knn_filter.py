# name: knn-filter
# family: data filtering
# track: inductive
# origin: EleutherAI w2s, 2024
# claim: probe-based filters gave no consistent gain over 21 NLP data sets
"""kNN filter: labels that differ most from those of the nearest items are left out.

    d_i = |q_i - mean of q over the 20 nearest other train items|;     leave out the tenth with the largest d
    minimise  mean over the rest of CE(q_i, h(x_i)) + ridge |h|^2

The filter `knn` of EleutherAI's w2s with its k and its "contamination" of 0.1: near means alike in the untrained
student's features, so a label at odds with its surroundings is likelier the teacher's slip. There an item is one of its
own 20 neighbours and features are raw last-token states; here it is not, and the layers the student reads are
standardised first, because log-probabilities and hidden states have no common unit.
"""

import numpy as np

from aarlab.w2s.parts import neighbours, spaces
from aarlab.w2s.task import Floats, W2STask

NEIGHBOURS, DROPPED = 20, 0.1


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    q = task.weak_labels
    near = neighbours.nearest(spaces.joined(task)[0].train, NEIGHBOURS)
    odd = np.abs(q - q[near].mean(1))
    keep = np.sort(np.argsort(odd, kind="stable")[: len(q) - round(DROPPED * len(q))])
    return task.student.fit(task.train[keep], q[keep], seed=seed).predict(task.test)
