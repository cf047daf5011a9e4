# name: out-of-fold-relabelling
# family: self-training
# track: inductive
# origin: cross-fitting, Chernozhukov et al. 2018; noisy labels found out of sample, Northcutt et al. 2021
"""Out-of-fold relabelling: an item's label is mixed with the opinion of students that never saw it.

    two rounds:  z_i = log-odds of a student trained on the other two of three folds (no group is cut)
                 y_i = sigma(2 u(0.6 u(z_i) + 0.4 u(logit q_i)) + logit mean(y)),     u: zero mean, unit deviation
    then train on y

A student asked about its own training items repeats the teacher's errors there; asked about others' it can only say
what is regular. Errors that do not follow from the text are forgotten, errors that do are kept.
"""

import numpy as np

from aarlab.w2s.parts import denoise, train
from aarlab.w2s.task import Floats, W2STask

FOLDS, ROUNDS = 3, 2


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    where = train.folds(task.train.groups, FOLDS, np.random.default_rng(seed))
    taught = task.weak_labels
    for _ in range(ROUNDS):
        seen = train.student_out_of_fold(task.student, task.train, taught, where, seed)
        taught = denoise.mixed(seen, task.weak_labels, float(taught.mean()))
    return task.student.fit(task.train, taught, seed=seed).predict(task.test)
