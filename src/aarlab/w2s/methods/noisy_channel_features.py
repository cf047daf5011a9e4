# name: noisy-channel-features
# family: confidence weighting
# track: hybrid
# origin: Raykar et al. 2010, learning from crowds; Welinder et al. 2010
"""Noisy channel with features: how far the teacher is believed depends on the item, and EM finds out how.

    t_i = 1[q_i > 1/2];     P(t_i wrong | x_i, y) = sigma(b_y + v . c(x_i)),     c: 16 whitened components
    E:  logit r_i = prior_i + log P(t_i | x_i, 1) - log P(t_i | x_i, 0)
        prior_i = half the zero-shot log-odds by rank, half those of heads taught r that never saw item i, same spread
    M:  b, v by logistic regression of "t is wrong" with weights r_i for y = 1 and 1 - r_i for y = 0, ridge on both
    after four rounds  minimise  mean_i CE(r_i, h(x_i)) + ridge |h|^2

Raykar et al. 2010 learn classifier and annotators together, with an error rate for each class; that an annotator's
error depends on the item is Yan et al. 2010 and Welinder et al. 2010, "The Multidimensional Wisdom of Crowds". One
annotator and a classifier of the same items cannot be told apart, so the channel is narrow (one slope for both
classes) and the prior holds the zero-shot score, which the teacher did not see. r starts from the product of the two.
Decided here: all constants, and that the teacher's probability counts as yes or no. em-posterior is its close kin: a
slope for each class on two components and the teacher's sureness, and a prior that stays with the frozen student.
"""

import numpy as np

from aarlab.w2s.heads import checked, expit, fit_logistic, logit
from aarlab.w2s.parts import labels, spaces, train
from aarlab.w2s.task import Floats, W2STask

COMPONENTS, ROUNDS, FOLDS = 16, 4, 3
ZERO_SHOT = np.float32(0.5)  # its share of the prior
RIDGE = 0.05  # of the channel


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    return task.student.fit(task.train, posterior(task, seed), seed=seed).predict(task.test)


def posterior(task: W2STask, seed: int) -> Floats:
    """P(label = 1) of the train items, given the teacher's word and what it is worth on each, (n_train,)."""
    views = spaces.joined(task)
    seen, said = spaces.bottleneck(views, COMPONENTS)[0].train, task.weak_labels > 0.5
    where = train.folds(task.train.groups, FOLDS, np.random.default_rng(seed))
    own = labels.rank_logit(task.student.zero_shot(task.train), task.train.paired)
    theirs = labels.rank_logit(logit(task.weak_labels), task.train.paired)
    believed = expit((own + theirs) / 2)
    for _ in range(ROUNDS):
        evidence = channel(seen, said.astype(np.float32), believed)
        learnt = train.out_of_fold(views, believed, where)
        learnt *= own.std() / max(float(learnt.std()), 1e-6)
        believed = expit(ZERO_SHOT * own + (1 - ZERO_SHOT) * learnt + evidence)
    return believed


def channel(seen: Floats, said: Floats, believed: Floats) -> Floats:
    """What the teacher's word adds to the log-odds, (n,): log P(said | x, 1) - log P(said | x, 0), the channel fitted
    to the present belief. seen: (n, k), what the channel reads; said: the teacher's yes or no (n,); believed: (n,).
    """
    n = len(said)
    truth = np.repeat(np.array([1, 0], np.float32), n)  # every item twice, once for either label it may have
    x = np.column_stack([truth - np.float32(0.5), np.concatenate([seen, seen])])
    wrong, weights = checked(2 * n, np.concatenate([said, said]) != truth, np.concatenate([believed, 1 - believed]))
    head = fit_logistic(x, wrong, weights, RIDGE)
    errs = x @ head[:-1] + head[-1]
    if_yes, if_no = logarithms(errs[:n], said == 0), logarithms(errs[n:], said == 1)
    out: Floats = (if_yes - if_no).astype(np.float32)
    return out


def logarithms(errs: Floats, wrong: Floats) -> Floats:
    """log P(what the teacher said), (n,): it errs with log-odds `errs`, and was `wrong` or not."""
    out: Floats = np.log(np.where(wrong, expit(errs), expit(-errs)))
    return out
