# name: log-entropy
# family: loss function
# track: inductive
# origin: EleutherAI w2s, 2024; Grandvalet and Bengio 2004
# claim: no consistent gain over 21 NLP data sets
"""Log-entropy loss: the student is taught the teacher's probabilities and to be sure of what it says.

    L = (1 - a) CE(q_i, f_i) + a H(f_i),     H(f) = -f log f - (1 - f) log(1 - f)
    gradient in the log-odds z:  (1 - a) (f - q) - a z f (1 - f);     a rises from 0 to 0.5 over the first 8 %

The log-confidence loss with the student's probability in place of its hard label: the loss `entropy` of EleutherAI's
w2s, with its coefficient and warm-up. Its last version holds that probability constant, which leaves (1 - a) times the
gradient of soft labels, a slower soft baseline; here the entropy is differentiated, as in the entropy minimisation of
Grandvalet and Bengio 2004.
"""

from aarlab.w2s.heads import expit
from aarlab.w2s.parts.losses import from_gradient, warmed
from aarlab.w2s.task import Floats, Ints, W2STask

MOST, WARM_UP = 0.5, 0.08


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""

    def moving(logits: Floats, rows: Ints, progress: float) -> Floats:
        return from_gradient(logits, gradient(logits, task.weak_labels[rows], float(warmed(MOST, progress, WARM_UP))))

    head = task.student.fit(task.train, task.weak_labels, seed=seed, moving=moving)
    return head.predict(task.test)


def gradient(logits: Floats, labels: Floats, a: float) -> Floats:
    """Derivative of the loss in the log-odds, (b,)."""
    p = expit(logits)
    out: Floats = (1 - a) * (p - labels) - a * logits * p * (1 - p)
    return out
