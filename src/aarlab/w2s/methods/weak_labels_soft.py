# name: weak-labels-soft
# family: other
# track: inductive
# origin: human baselines, 2026 study; Burns et al. 2023
"""Weak labels, soft: the student is fine-tuned on the teacher's probabilities.

    minimise over heads h:  mean_i CE(q_i, h(x_i)) + ridge |h|^2,     q_i = teacher's P(label = 1)

As in Burns et al. 2023 and in distillation (Hinton et al. 2015): an item the teacher doubts pulls less.
"""

from aarlab.w2s.task import Floats, W2STask


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    head = task.student.fit(task.train, task.weak_labels, seed=seed)
    return head.predict(task.test)
