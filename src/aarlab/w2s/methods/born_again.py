# name: born-again
# family: self-training
# track: inductive
# origin: Furlanello et al. 2018; EleutherAI w2s, 2024
# claim: strong-to-strong rounds gave no consistent gain over 21 NLP data sets (EleutherAI)
"""Born-again rounds: each student is trained anew on a mixture of the weak labels and its predecessor's opinion.

    y_0 = q;     y_k = q / 2 + sigma(z_{k-1}) / 2,     z_k = log-odds of the student trained on y_k,
    shifted and scaled to the mean and deviation of logit q;     the student of generation 3 answers

Born-again networks (Furlanello et al. 2018): a student as large as its teacher ends up better, because the softened
labels carry what the first one found regular. EleutherAI's w2s calls it strong-to-strong training and drops the weak
labels after the first round. The rescaling is ours: without it regularisation would flatten the labels round by round.
"""

from aarlab.w2s.parts import labels
from aarlab.w2s.task import Floats, W2STask

GENERATIONS, OWN = 3, 0.5


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    q = task.weak_labels
    head = task.student.fit(task.train, q, seed=seed)
    for generation in range(1, GENERATIONS):
        own = labels.as_bold(head.logits(task.train), q)
        head = task.student.fit(task.train, (1 - OWN) * q + OWN * own, seed=seed + generation)
    return head.predict(task.test)
