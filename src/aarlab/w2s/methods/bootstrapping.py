# name: bootstrapping
# family: self-training
# track: inductive
# origin: Burns et al. 2023
"""Bootstrapping: the teacher teaches a small student, which teaches a larger one, and so on up to the full student.

    q_0 = the teacher's probabilities;     q_k = sigma(z_k),     z_k = log-odds of the k-th student, taught q_{k-1},
    shifted and scaled to the mean and deviation of logit q_0
    students with 1/8, 1/4 and 1/2 of the capacity, then the whole one, which answers

Burns et al. 2023, section 4.3.1: small steps of strength, each of which the one before can supervise. It helped there
on chess puzzles and hardly on NLP tasks. There a student is a smaller pretrained model; here it is `student.smaller`:
fewer principal components for a probe, less of the network for a language model. Handing on probabilities rather than
hard labels and their rescaling are ours: a small student's ridge flattens them, and three times flattened is nothing.
"""

from aarlab.w2s.parts import labels
from aarlab.w2s.students.base import Student
from aarlab.w2s.task import Floats, W2STask

SHARES = (1 / 8, 1 / 4, 1 / 2)


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    *smaller, full = chain(task.student)
    taught = task.weak_labels
    for student in smaller:
        said = student.fit(task.train, taught, seed=seed).logits(task.train)
        taught = labels.as_bold(said, task.weak_labels)
    return full.fit(task.train, taught, seed=seed).predict(task.test)


def chain(student: Student) -> list[Student]:
    """The students from the smallest to the full one."""
    return [*(student.smaller(share) for share in SHARES), student]
