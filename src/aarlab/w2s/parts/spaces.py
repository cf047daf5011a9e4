"""What the head sees. A `Space` holds one standardised view of a task's train and test items, ready to be fitted on.

Standardising once and fitting many heads on rows of the same matrix is what makes methods of twenty fits cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aarlab.w2s.components import principal
from aarlab.w2s.heads import checked, fit_logistic
from aarlab.w2s.task import Floats, Ints, Items, W2STask

NARROW = 24
"""Layers of fewer columns hold a few measured numbers (log-probabilities) rather than a hidden state."""


@dataclass(frozen=True)
class Space:
    """One view: train (n_train, d) and test (n_test, d), standardised on train; `ridge` as the problem fixes it.

    Without an `intercept` (comparisons: exchanging the two sides must flip the answer) columns are not centred.
    """

    train: Floats
    test: Floats
    ridge: float
    intercept: bool = True

    def fit(
        self,
        targets: ArrayLike,
        weights: ArrayLike | None = None,
        rows: Ints | None = None,
        start: Floats | None = None,
    ) -> Floats:
        """A head (coef, b), shape (d + 1,), for targets (n_train,); `rows`: fit on these train rows only."""
        y, w = checked(len(self.train), targets, weights)
        a = self.train
        if rows is not None:
            a, y, w = a[rows], y[rows], w[rows] / max(float(w[rows].sum()), 1e-12)
        return fit_logistic(a, y, w, self.ridge, start=start, intercept=self.intercept)


def logits(a: Floats, head: Floats) -> Floats:
    """Log-odds of label 1 for rows a (n, d) under a head (d + 1,)."""
    out: Floats = a @ head[:-1] + head[-1]
    return out


def joined(task: W2STask, layers: tuple[str, ...] | None = None, mirrored: bool = False) -> list[Space]:
    """One view of all `layers` side by side; by default the layers the problem gives its student, with its weights."""
    names = task.student.spec.layers if layers is None else layers
    known = dict(zip(task.student.spec.layers, task.student.spec.weights, strict=True))
    weights = [known.get(name, 1.0) for name in names]
    blocks = [task.student.features(task.train, name) for name in names]
    train = np.concatenate(blocks, axis=1)
    test = np.concatenate([task.student.features(task.test, name) for name in names], axis=1)
    widths = [block.shape[1] for block in blocks]
    columns = np.repeat(np.asarray(weights, np.float32), widths)
    return [_standardised(train, test, columns, task.student.spec.ridge, _symmetric(task.train, mirrored))]


def each(task: W2STask, layers: tuple[str, ...] | None = None, mirrored: bool = False) -> list[Space]:
    """One view per layer: no layer alone repeats every mistake of the teacher (co-training, Blum and Mitchell 1998)."""
    names = task.student.spec.layers if layers is None else layers
    return [space for name in names for space in joined(task, (name,), mirrored)]


def halves(task: W2STask, parts: int, rng: np.random.Generator, mirrored: bool = False) -> list[Space]:
    """The joined view with its columns dealt at random into `parts` views (random subspaces, Ho 1998)."""
    whole = joined(task, mirrored=mirrored)[0]
    hands = np.array_split(rng.permutation(whole.train.shape[1]), parts)
    return [Space(whole.train[:, h], whole.test[:, h], whole.ridge, whole.intercept) for h in hands]


def narrow_layers(task: W2STask) -> tuple[str, ...]:
    """The layers that hold log-probabilities; where a student has none, all layers that it is given."""
    found = tuple(n for n in task.student.layers if width(task, n) < NARROW)
    return found or task.student.spec.layers


def wide_layers(task: W2STask) -> tuple[str, ...]:
    """All hidden layers, also those that the problem's own student does not read."""
    found = tuple(n for n in task.student.layers if width(task, n) >= NARROW)
    return found or task.student.spec.layers


def width(task: W2STask, layer: str) -> int:
    """Columns of one of the student's layers."""
    return len(task.student.features(task.train[:1], layer)[0])


def bottleneck(views: list[Space], components: int, power: float = 0.5) -> list[Space]:
    """Each view through its first principal components, so that a head cannot see the details a teacher errs by.

    Components are scaled by variance^(1/2 - power): power 0 keeps them as they are, 1/2 whitens them. The ridge
    acts on whitened columns as hard as on standardised ones.
    """
    return [_squeezed(view, components, power) for view in views]


def strengthened(views: list[Space], factor: float) -> list[Space]:
    """The same views with `factor` times the ridge: above 1 simpler heads, below 1 heads that copy more closely."""
    return [Space(v.train, v.test, v.ridge * factor, v.intercept) for v in views]


def _squeezed(view: Space, components: int, power: float) -> Space:
    basis = principal(view.train, components, power)
    return Space(view.train @ basis, view.test @ basis, view.ridge, view.intercept)


def _symmetric(items: Items, mirrored: bool) -> bool:
    return mirrored and items.paired


def _standardised(train: Floats, test: Floats, columns: Floats, ridge: float, symmetric: bool) -> Space:
    """Zero mean and unit deviation on train, then times sqrt(columns). Comparisons keep their zero: mirroring every
    item of a training set gives mean zero and no intercept, so that is what a symmetric view has at once."""
    if not symmetric:
        mean = train.mean(0)
        train, test = train - mean, test - mean
    scale = np.sqrt(np.einsum("ij,ij->j", train, train) / np.float32(len(train))) + np.float32(1e-6)
    scale = scale / np.sqrt(columns)
    return Space(train / scale, test / scale, ridge, intercept=not symmetric)
