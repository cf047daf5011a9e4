# name: auxiliary-confidence-loss
# family: loss function
# track: inductive
# origin: Burns et al. 2023
# claim: PGR near 0.8 on NLP tasks, GPT-2-sized teacher and GPT-4 student, where weak labels give about 0.25
"""Auxiliary confidence loss: while it learns, the student is also taught its own hard labels, and may so disagree.

    L = (1 - a) CE(q_i, f_i) + a CE(1[f_i > t], f_i),     which is  CE((1 - a) q_i + a 1[f_i > t], f_i)
    a rises in a line from 0 to 0.75 over the first 20 % of the training; t: half of the student's recent f lie above

Burns et al. 2023, "Weak-to-Strong Generalization", section 4.3, with the coefficient of its largest students. There t
is the median of a batch; here it is the median of the last 256 log-odds, because batches may be small.
"""

from aarlab.w2s.parts.losses import Hardened, warmed
from aarlab.w2s.task import Floats, Ints, W2STask

MOST, WARM_UP, SHARE = 0.75, 0.2, 0.5


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    own = Hardened(SHARE)

    def moving(logits: Floats, rows: Ints, progress: float) -> Floats:
        a = warmed(MOST, progress, WARM_UP)
        return (1 - a) * task.weak_labels[rows] + a * own(logits)

    head = task.student.fit(task.train, task.weak_labels, seed=seed, moving=moving)
    return head.predict(task.test)
