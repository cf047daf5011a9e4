# name: em-posterior
# family: self-training
# track: hybrid
# origin: agents, 2026 study
# claim: PGR 0.78 on chat preference
"""EM posterior: what the untrained student believes is the prior, the teacher a noisy channel, Bayes' rule joins them.

    prior odds     m_i = logit(rank(margin_i)),  margin = the student's zero-shot score, mean over its views and, for
                   comparisons, over both orders
    channel        t_i = 1[q_i > 1/2];  P(t_i = 1 | y, x_i) = expit(a_y + b_y . c(x_i)),  y = 0, 1
                   c = 2 whitened components of the student's features, and how sure the teacher is, rank |q_i - 1/2|
    E step         odds_i = m_i + log P(t_i | 1, x_i) - log P(t_i | 0, x_i);    p_i = expit(odds_i)
    M step         two logistic regressions of t on c, weighted by p and by 1 - p
    tempered       p_i = expit(odds_i / 1.5);    the student is trained on p
    second round   m_i <- half m_i, half the trained student's out-of-fold log-odds;  EM again;  trained again

Learning from crowds with an expert whose reliability depends on the item (Dawid and Skene 1979; Raykar et al. 2010;
Yan et al. 2010), here with one expert and a prior. Found by the agents of "Automated Weak-to-Strong Researcher" (Wen et
al., April 2026), which publishes no code; this is a reading of its text, not a reproduction.

From the text: the frozen student's margins over several templates and both orders as prior; a learned channel that
depends on the instance; posteriors by Bayes' rule, tempered; two rounds of training and estimating again.
Decided here: margins count by rank, so that half of the prior says yes; a logistic channel for each class, which sees
how sure the teacher is and so few components that it cannot explain the teacher without the truth (2 rather than 8 by
trial on the open tasks); temperature 1.5; 5 EM steps; out-of-fold (2 folds) where the trained student comes back as a
prior, so that it does not confirm its own labels. The probe student's views share one recorded zero-shot score: there
the prior rests on a single template.
"""

import numpy as np

from aarlab.w2s.heads import expit, fit_logistic
from aarlab.w2s.parts import labels, spaces, train
from aarlab.w2s.task import Floats, W2STask

ROUNDS, STEPS = 2, 5  # of training, and of EM in each
COMPONENTS = 2
RIDGE = 0.05  # of the channel
TEMPERATURE = 1.5
FROZEN = 0.5  # share of the frozen student's margins in the second round's prior
FOLDS = 2


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    frozen = labels.rank_logit(margins(task), task.train.paired)
    seen, taught = channel_features(task), labels.hard(task.weak_labels)
    where = train.folds(task.train.groups, FOLDS, np.random.default_rng(seed))
    believed = posterior(frozen, seen, taught, task.train.paired)
    for _ in range(ROUNDS - 1):
        learnt = train.student_out_of_fold(task.student, task.train, believed, where, seed)
        prior = np.float32(FROZEN) * frozen + np.float32(1 - FROZEN) * learnt
        believed = posterior(prior, seen, taught, task.train.paired)
    return task.student.fit(task.train, believed, seed=seed).predict(task.test)


def margins(task: W2STask) -> Floats:
    """The frozen student's opinion of the train items, (n_train,): the mean of its views' standardised scores."""
    total = np.zeros(len(task.train), np.float32)
    for student in task.student.views():
        score = student.zero_shot(task.train)
        if task.train.paired:
            score = (score - student.zero_shot(task.train.mirror())) / np.float32(2)
        total += score / np.float32(max(float(score.std()), 1e-6))
    return total


def channel_features(task: W2STask) -> Floats:
    """What the channel sees of each train item, (n_train, COMPONENTS + 1). The last column, the teacher's sureness, is
    the one that mirroring does not turn around."""
    space = spaces.bottleneck(spaces.joined(task, mirrored=True), COMPONENTS)[0]
    rank = np.argsort(np.argsort(np.abs(task.weak_labels - 0.5), kind="stable"), kind="stable")
    return np.column_stack([space.train, (rank - rank.mean()) / rank.std()]).astype(np.float32)


def posterior(prior: Floats, seen: Floats, taught: Floats, paired: bool = False) -> Floats:
    """P(y = 1 | x, teacher) by EM, tempered, (n,). prior: log-odds (n,); seen: (n, k); taught: 0 or 1, (n,).

    paired: the channel is estimated on the comparisons and their mirror images, so that it treats both orders alike.
    """
    n, both, said = len(prior), seen, taught
    if paired:
        turned = np.column_stack([-seen[:, :-1], seen[:, -1]])
        both, said = np.concatenate([seen, turned]), np.concatenate([taught, 1 - taught])
    odds = prior
    for _ in range(STEPS):
        p = expit(odds)
        odds = prior + evidence(both, said, np.concatenate([p, 1 - p]) if paired else p)[:n]
    return expit(odds / np.float32(TEMPERATURE))


def evidence(seen: Floats, taught: Floats, p: Floats) -> Floats:
    """log P(teacher's label | y = 1, x) - log P(teacher's label | y = 0, x), (n,), of the channel fitted to p (n,)."""
    side = 2 * taught - 1
    yes, no = (log_likelihood(seen, taught, weights, side) for weights in (p, 1 - p))
    return yes - no


def log_likelihood(seen: Floats, taught: Floats, weights: Floats, side: Floats) -> Floats:
    """log P(teacher's label | x) in one class, (n,): a logistic regression on the items weighted as its members."""
    weights = weights + np.float32(1e-6)  # a class may have no members left
    head = fit_logistic(seen, taught, weights / weights.sum(), RIDGE)
    out: Floats = -np.logaddexp(0, -side * (seen @ head[:-1] + head[-1]))
    return out
