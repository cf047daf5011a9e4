"""What the method says at last: log-odds of the test items, blended, made consistent, centred."""

from __future__ import annotations

import numpy as np

from aarlab.w2s.heads import expit
from aarlab.w2s.parts import labels
from aarlab.w2s.parts.train import Scores
from aarlab.w2s.task import Floats, W2STask


def blended(task: W2STask, scores: Scores, zero_shot: float = 0.25, relative: float = 0.0) -> Scores:
    """Trained and zero-shot log-odds in shares 1 - `zero_shot` and `zero_shot`, both scaled to the trained spread.

    The zero-shot score is standardised by its train items' mean and deviation only: a test item's own answer does not
    depend on the rest of the test set.
    """
    own, new = task.student.zero_shot(task.train), task.student.zero_shot(task.test)
    if relative > 0 and not task.train.paired:
        own = own - np.float32(relative) * labels.group_mean(task.train.groups, own)
        new = new - np.float32(relative) * labels.group_mean(task.test.groups, new)
    middle = np.float32(0 if task.train.paired else own.mean())
    size = np.float32(scores.train.std() / max(float(own.std()), 1e-6))
    keep, share = np.float32(1 - zero_shot), np.float32(zero_shot)
    return Scores(
        keep * scores.train + share * size * (own - middle),
        keep * scores.test + share * size * (new - middle),
    )


def centred(scores: Scores, share: float) -> Scores:
    """Log-odds shifted so that a `share` of the train items lies above 0. One number, taken from train items."""
    middle = labels.shift(scores.train, share)
    return Scores(scores.train - middle, scores.test - middle)


def consistent(task: W2STask, scores: Scores, strength: float = 1.0, spread: float = 2.0) -> Scores:
    """Both sets' log-odds, scaled to a deviation of `spread`, after the logic inside each group
    (see `labels.consistent`): a test item is then judged together with the other answers to its question.

    The threshold moves so that the share of train items above 0 stays what it was.
    """
    if task.train.answers is None:
        return scores
    size = np.float32(spread / max(float(scores.train.std()), 1e-6))
    judged = Scores(
        labels.consistent(task.train, size * scores.train, strength),
        labels.consistent(task.test, size * scores.test, strength),
    )
    return centred(judged, float((scores.train > 0).mean()))


def probabilities(scores: Scores) -> Floats:
    """P(label = 1) of the test items, (n_test,)."""
    return expit(scores.test)
