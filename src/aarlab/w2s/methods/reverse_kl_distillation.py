# name: reverse-kl-distillation
# family: distillation
# track: inductive
# origin: Yao et al. 2025; Gu et al. 2023
"""Distillation with reverse KL: the student need not cover the teacher's doubts, only agree where it is sure itself.

    L = KL(f_i || T_i),     logit T_i = 2 logit q_i   (the teacher sharpened to temperature 1/2)
    gradient in the log-odds z:  f (1 - f) (z - logit T)

Cross-entropy with the teacher's probabilities is forward KL, whose gradient f - T pulls hardest where the student is
surely of another opinion. Reverse KL fades there: what contradicts the student strongly is let go. Yao et al. 2025,
"Revisiting Weak-to-Strong Generalization: Reverse KL vs. Forward KL"; for language models Gu et al. 2023, "MiniLLM".
The sharpening is ours. The loss is not convex; a probe student starts from the forward-KL head, and its ridge keeps
its log-odds so small that the two losses hardly differ; a network that fits its labels closely shows the difference.
"""

import numpy as np

from aarlab.w2s.heads import expit, logit
from aarlab.w2s.parts.losses import from_gradient
from aarlab.w2s.task import Floats, Ints, W2STask

SHARPNESS = 2.0


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    taught = np.float32(SHARPNESS) * logit(task.weak_labels, 0.01)

    def moving(logits: Floats, rows: Ints, progress: float) -> Floats:
        return from_gradient(logits, gradient(logits, taught[rows]))

    head = task.student.fit(task.train, expit(taught), seed=seed, moving=moving)
    return head.predict(task.test)


def gradient(logits: Floats, taught: Floats) -> Floats:
    """Derivative of KL(student || teacher) in the student's log-odds, (b,); taught: the teacher's log-odds (b,)."""
    p = expit(logits)
    out: Floats = p * (1 - p) * (logits - taught)
    return out
