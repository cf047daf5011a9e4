# name: log-confidence
# family: loss function
# track: inductive
# origin: EleutherAI w2s, 2024
# claim: the only change of loss with signs of a consistent gain over 21 NLP data sets
"""Log-confidence loss: the auxiliary confidence loss with a threshold that keeps the teacher's share of ones.

    L = CE((1 - a) q_i + a 1[f_i > t], f_i);     a rises from 0 to 0.5 over the first 8 % of the training
    t: a share mean(q) of the student's recent f lies above

The loss `logconf` of EleutherAI's w2s ("Experiments in Weak-to-Strong Generalization", 2024) with its coefficient. It
differs from Burns et al. 2023 in the threshold, the smaller coefficient and the short warm-up: 100 steps of the 1,250
that its 20,000 items take. There t comes from the last 32 predictions, here from the last 256, and the share from all
weak labels instead of a batch's.
"""

from aarlab.w2s.parts.losses import Hardened, warmed
from aarlab.w2s.task import Floats, Ints, W2STask

MOST, WARM_UP = 0.5, 0.08


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    own = Hardened(float(task.weak_labels.mean()))

    def moving(logits: Floats, rows: Ints, progress: float) -> Floats:
        a = warmed(MOST, progress, WARM_UP)
        return (1 - a) * task.weak_labels[rows] + a * own(logits)

    head = task.student.fit(task.train, task.weak_labels, seed=seed, moving=moving)
    return head.predict(task.test)
