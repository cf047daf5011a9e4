"""Losses other than cross-entropy, written as targets that move with the student (see `students.base.Moving`)."""

from __future__ import annotations

import numpy as np

from aarlab.w2s.heads import expit
from aarlab.w2s.task import Floats


class Hardened:
    """The student's own hard labels: 1 for the `share` of its recent log-odds that are highest, else 0.

    A network shows a few items at a time, too few to tell where a quantile lies, so the last `memory` log-odds are
    remembered.
    """

    def __init__(self, share: float, memory: int = 256) -> None:
        self.share, self.memory = share, memory
        self.recent = np.zeros(0, np.float32)

    def __call__(self, logits: Floats) -> Floats:
        """Labels (b,) of log-odds (b,)."""
        self.recent = np.concatenate([self.recent, logits])[-max(self.memory, len(logits)) :]
        threshold = np.quantile(self.recent, 1 - self.share)
        out: Floats = (logits > threshold).astype(np.float32)
        return out


def warmed(most: float, progress: float, warm_up: float) -> np.float32:
    """A coefficient that rises in a line to `most` over the first share `warm_up` of the training."""
    return np.float32(most * min(1.0, progress / warm_up))


def from_gradient(logits: Floats, gradient: Floats) -> Floats:
    """The targets (b,) whose cross-entropy has this gradient (b,) in the log-odds: p - gradient."""
    out: Floats = expit(logits) - gradient
    return out
