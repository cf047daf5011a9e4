# name: mdl-curriculum
# family: curriculum
# track: inductive
# origin: agents, 2026 study
# claim: PGR 0.68 on chat preference
"""MDL curriculum: the short description first; the student learns the confident half, then everything, more gently.

    half = the half of each class of weak labels with the largest |q_i - 1/2|
    h_1 = 2 epochs on the half, from the untrained student
    h_2 = 3 epochs on everything at half the rate, from h_1;    the answer is h_2(x)

Minimum description length (Rissanen 1978): what the confident items share takes few words, and a student that knows
it already is slow to spend more words on the teacher's errors. Found by the agents of "Automated Weak-to-Strong
Researcher" (Wen et al., April 2026), which publishes no code; this is a reading of its text, not a reproduction.

From the text: the confident half; 2 epochs, then 3; half the rate; the second stage starts at the first's checkpoint.
Decided here: hard labels, the study's default; the half is taken from each class, since a teacher may be surer of one;
an epoch is a fifth of the student's usual training. A probe head has no epochs: training less is a stronger ridge,
and a start is where its ridge pulls to.
"""

import numpy as np

from aarlab.w2s.parts import denoise
from aarlab.w2s.task import Floats, W2STask

HALF = 0.5
FIRST, SECOND = 2 / 5, 3 / 5  # 2 and 3 of the usual 5 epochs
SLOWER = 0.5


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    labels = task.weak_labels > 0.5
    sure = np.flatnonzero(denoise.confident(task.weak_labels, keep=HALF))
    first = task.student.fit(task.train[sure], labels[sure], seed=seed, effort=FIRST)
    head = task.student.fit(task.train, labels, seed=seed, start=first, effort=SECOND, rate=SLOWER)
    return head.predict(task.test)
