# name: zero-shot-times-teacher
# family: ensemble
# track: hybrid
# origin: product of experts, Hinton 2002
"""Zero-shot times teacher: both opinions multiplied, smoothed out of fold once, and taught.

    odds_i = 1.5 (0.5 logit rank(q_i) + 0.5 logit rank(z_i)),     z = the untrained student's zero-shot score
    one round of out-of-fold relabelling of y = sigma(odds), as in out-of-fold-relabelling
    minimise  mean_i CE(y_i, h(x_i)) + ridge |h|^2

A product of experts (Hinton 2002) in which teacher and prior count alike. The two read the items in different ways, so
that their errors are less alike than those of a teacher and of a student who learns from it. Ranks, because neither
score is calibrated; of comparisons the rank among all and their mirror images.
"""

import numpy as np

from aarlab.w2s.heads import expit, logit
from aarlab.w2s.parts import denoise, labels, train
from aarlab.w2s.task import Floats, W2STask

TEACHER, SHARPNESS, FOLDS = 0.5, 1.5, 3


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    both = product(task)
    where = train.folds(task.train.groups, FOLDS, np.random.default_rng(seed))
    seen = train.student_out_of_fold(task.student, task.train, both, where, seed)
    taught = denoise.mixed(seen, both, float(both.mean()))
    return task.student.fit(task.train, taught, seed=seed).predict(task.test)


def product(task: W2STask) -> Floats:
    """P(label = 1) of the train items after both experts, (n_train,)."""
    theirs = labels.rank_logit(logit(task.weak_labels), task.train.paired)
    own = labels.rank_logit(task.student.zero_shot(task.train), task.train.paired)
    return expit(np.float32(SHARPNESS) * (np.float32(TEACHER) * theirs + np.float32(1 - TEACHER) * own))
