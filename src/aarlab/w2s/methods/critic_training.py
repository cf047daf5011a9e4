# name: critic-training
# family: other
# track: inductive
# origin: human baselines, 2026 study; Saunders et al. 2022
# claim: PGR -0.04 on chat preference, 0.26 on math, -0.09 on code
"""Critic training: the student learns to write critiques that help the teacher judge, then learns from its new labels.

    reinforce the critic pi(c | x) by GRPO on   r = clip(log P_T(y | x, c) - log P_T(y | x), -2, 2)
                                  or, without labels,   r = 1[T, reading c, finds the criticised answer wrong]
    q_i = mean over critiques c_k ~ pi(. | x_i) of P_T(1 | x_i, c_k)
    minimise  mean_i CE(1[q_i > 1/2], h(x_i))

T is the weak teacher, asked again with a critique beside the item; y are the labels of the teacher's own small set, the
first reward where the task offers that set (`extras`), the second, which the study's released code uses, where it does
not. A published baseline of the automated weak-to-strong study (2026), in the line of Saunders et al. 2022,
"Self-critiquing models for assisting human evaluators", and McAleese et al. 2024, "LLM Critics Help Catch LLM Bugs".
GRPO is of Shao et al. 2024 (DeepSeekMath). Needs a teacher that can be asked again and a student that writes.
"""

from aarlab.w2s import critic
from aarlab.w2s.students.reinforcement import Reinforcement
from aarlab.w2s.task import Floats, W2STask

COPIES = 4  # critiques of one train item whose labels are averaged


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,). Raises NotApplicable naming what is missing."""
    _, student, writer = critic.needs(task)
    settings = task.extras.get("reinforcement") or Reinforcement()
    lesson = critic.lesson(task, settings, seed)
    taught = writer.reinforce(lesson.prompts, lesson.reward, seed, settings)
    copies = critic.write(taught.writer, task.train, settings.tokens, COPIES, seed)
    helped = critic.relabelled(lesson.teacher, task.train, copies)
    return student.fit(task.train, helped > 0.5, seed=seed).predict(task.test)
