# name: weak-labels-hard
# family: other
# track: inductive
# origin: human baselines, 2026 study; Burns et al. 2023
# claim: PGR 0.20 on chat preference, 0.34 on math, 0.13 on code
"""Weak labels, hard: the student is fine-tuned on the teacher's yes or no.

    minimise over heads h:  mean_i CE(1[q_i > 1/2], h(x_i)) + ridge |h|^2,     q_i = teacher's P(label = 1)

The naive baseline of Burns et al. 2023, "Weak-to-Strong Generalization". What it gains over the teacher, it gains
because the student cannot, or will not, fit all of the teacher's errors.
"""

from aarlab.w2s.task import Floats, W2STask


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    labels = task.weak_labels > 0.5
    head = task.student.fit(task.train, labels, seed=seed)
    return head.predict(task.test)
