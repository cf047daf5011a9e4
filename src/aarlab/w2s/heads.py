"""The one trainable part of the probe student: a ridge-regularised logistic head.

Everything here is numpy in float32: a method file that fits heads starts without scipy, which would cost each
sandboxed run about 0.4 s and 45 MB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aarlab.w2s.components import principal
from aarlab.w2s.students.base import Moving
from aarlab.w2s.task import Floats

MEMORY = 12
"""Steps the quasi-Newton search remembers."""

TOLERANCE = 1e-4
"""The search stops when no entry of the gradient of (coef, intercept) is larger. Loss is in nats per item."""

LEAST_GAIN = 4e-5
"""It also stops when a step lowers the loss by less than this share of it: what is left is smaller still."""

NOISE = 5e-8
"""Share of the loss that float32 cannot tell from nothing."""

SKETCH = 192
"""Rows whose curvature stands for everybody's in the first guess of the inverse Hessian."""

CURVATURE = 0.2
"""Typical p (1 - p) of a head in training; 1/4 at most."""

BLOCK_BYTES = 1 << 20
"""Rows are visited in blocks of about this size, so that the gradient finds in the cache what the logits just read."""

ROUNDS, STEPS = 8, 10
"""Moving targets are asked ROUNDS times; between two askings a head takes at most STEPS quasi-Newton steps, so that it
follows them as a trained network would instead of jumping to each round's minimum."""


def expit(z: ArrayLike) -> Floats:
    """1 / (1 + exp(-z)) in float32; saturates instead of overflowing."""
    out: Floats = (1 / (1 + np.exp(-np.clip(np.asarray(z, np.float32), -30, 30)))).astype(np.float32)
    return out


def logit(p: ArrayLike, edge: float = 1e-4) -> Floats:
    """Log-odds of probabilities, clipped to [edge, 1 - edge]."""
    q = np.clip(np.asarray(p, np.float32), np.float32(edge), np.float32(1 - edge))
    out: Floats = np.log(q / (1 - q)).astype(np.float32)
    return out


def fit_logistic(
    a: Floats,
    targets: Floats,
    weights: Floats,
    ridge: float,
    iterations: int = 60,
    start: Floats | None = None,
    intercept: bool = True,
    centre: Floats | None = None,
) -> Floats:
    """Minimise sum_i w_i CE(y_i, a_i . coef + b) + ridge * |coef - centre|^2 by L-BFGS; gives (coef, b), (d + 1,).

    a: (n, d), columns roughly standardised. targets, weights: (n,), weights summing to 1. start: (d + 1,), a good
    first guess (an earlier head of the same columns). centre: (d,), where the ridge pulls to; None for zero. The
    intercept is not penalised; without one, b stays 0.
    """
    d = a.shape[1]
    loss = _Loss(a, targets, weights, ridge, intercept, np.zeros(d, np.float32) if centre is None else centre)
    first = np.zeros(d + 1, np.float32) if start is None else start.astype(np.float32)
    if start is None and intercept:
        share = float(np.clip(np.dot(weights, targets), 1e-3, 1 - 1e-3))
        first[d] = np.log(share / (1 - share))
    return _descend(loss, _inverse(a, weights, ridge), first, iterations)


class _Loss:
    """Value and gradient of the loss at v = (coef, b), in one pass over the rows."""

    def __init__(
        self, a: Floats, targets: Floats, weights: Floats, ridge: float, intercept: bool, centre: Floats
    ) -> None:
        self.a, self.targets, self.weights, self.ridge = a, targets, weights, ridge
        self.intercept, self.centre = intercept, centre
        self.exact = weights.astype(np.float64)  # sums of n small terms: the line search needs their last digits
        self.half, self.offset = np.float32(0.5), np.float32(0.5) - targets
        self.rows = max(64, BLOCK_BYTES // (4 * a.shape[1]))

    def __call__(self, v: Floats) -> tuple[float, Floats]:
        d = self.a.shape[1]
        z, residual = np.empty((2, len(self.a)), np.float32)
        grad = np.zeros(d + 1, np.float32)
        for at in range(0, len(self.a), self.rows):
            part = slice(at, at + self.rows)
            np.dot(self.a[part], v[:d], out=z[part])
            z[part] += v[d]
            # expit(z) - y = tanh(z / 2) / 2 + (1/2 - y): no overflow, and quick
            off = np.tanh(self.half * z[part])
            off *= self.half
            off += self.offset[part]
            off *= self.weights[part]
            residual[part] = off
            grad[:d] += off @ self.a[part]
        away = v[:d] - self.centre
        grad[:d] += np.float32(2 * self.ridge) * away
        grad[d] = residual.sum() if self.intercept else 0
        value = np.dot(self.exact, np.logaddexp(0, z) - self.targets * z) + self.ridge * np.dot(away, away)
        return float(value), grad


Inverse = Callable[[Floats], Floats]


def _inverse(a: Floats, weights: Floats, ridge: float) -> Inverse | None:
    """A guess of the inverse Hessian as a function of a vector (d + 1,), from the curvature of SKETCH rows.

    With S (k, d) those rows and c = CURVATURE:  (2 ridge I + c/k S'S)^-1 q = (q - S' (2 ridge k/c I + SS')^-1 S q) /
    (2 ridge), by Woodbury's identity: subsampled Newton (Erdogdu and Montanari 2015), which L-BFGS then corrects. It
    halves the passes over a matrix whose columns are as correlated as a language model's. None for small matrices.
    """
    n, d = a.shape
    if n < 2 * SKETCH or d < 2 * SKETCH or ridge <= 0:
        return None
    order = np.random.default_rng(0).permutation(n)
    places = (np.arange(SKETCH) + 0.5) / SKETCH  # systematic sampling: heavy rows more often, weightless ones never
    picked = np.searchsorted(np.cumsum(weights[order], dtype=np.float64), places * float(weights.sum()))
    sketch = a[order[np.minimum(picked, n - 1)]]
    two = np.float32(2 * ridge)
    inner = sketch @ sketch.T
    inner.flat[:: SKETCH + 1] += two * np.float32(SKETCH / CURVATURE)
    inner = np.linalg.inv(inner)

    def apply(q: Floats) -> Floats:
        out = np.empty_like(q)
        out[:d] = (q[:d] - sketch.T @ (inner @ (sketch @ q[:d]))) / two
        out[d] = q[d] / np.float32(CURVATURE)
        return out

    return apply


def _descend(
    loss: Callable[[Floats], tuple[float, Floats]], inverse: Inverse | None, x: Floats, iterations: int
) -> Floats:
    """L-BFGS (Liu and Nocedal 1989) with a backtracking search: enough for a smooth, strictly convex loss."""
    value, grad = loss(x)
    pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=MEMORY)
    for _ in range(iterations):
        if float(np.abs(grad).max()) < TOLERANCE:
            break
        step = _direction(grad, pairs, inverse)
        slope = float(np.dot(step, grad))
        if slope >= 0:  # rounding spoilt the memory: start again from the gradient
            pairs.clear()
            step, slope = -grad, -float(np.dot(grad, grad))
        size = 1.0 if pairs or inverse else min(1.0, 1.0 / (float(np.abs(grad).sum()) + 1e-12))
        for _ in range(20):
            new = x + np.float32(size) * step
            new_value, new_grad = loss(new)
            if new_value <= value + 1e-4 * size * slope + NOISE * value:
                break
            size *= 0.5
        s, y = new - x, new_grad - grad
        curvature = float(np.dot(s, y))
        if curvature > 1e-12:
            pairs.append((s, y, curvature))
        gain = value - new_value
        x, value, grad = new, new_value, new_grad
        if gain < (NOISE if inverse is None else LEAST_GAIN) * value:
            break
    return x


def _direction(grad: Floats, pairs: deque[tuple[Floats, Floats, float]], inverse: Inverse | None) -> Floats:
    """The two-loop recursion: minus the approximate inverse Hessian times the gradient."""
    q = -grad
    kept: list[Any] = []
    for s, y, curvature in reversed(pairs):
        alpha = np.float32(np.dot(s, q) / curvature)
        q = q - alpha * y
        kept.append(alpha)
    if inverse is not None:
        q = inverse(q)
    elif pairs:
        s, y, curvature = pairs[-1]
        q = q * np.float32(curvature / np.dot(y, y))
    for (s, y, curvature), alpha in zip(pairs, reversed(kept), strict=True):
        q = q + (alpha - np.float32(np.dot(y, q) / curvature)) * s
    return q


class LogisticHead:
    """Logistic regression on soft labels: mean cross-entropy + `ridge` * |w|^2, minimised by L-BFGS.

    Features are standardised with the mean and deviation of the items it is fitted on, then multiplied by
    the square root of `column_weights` (d,): a weight of k equals k copies of the column. With `components` the head
    sees only so many whitened principal components of that. The intercept is not penalised. Fitting is deterministic.
    """

    def __init__(
        self, ridge: float, column_weights: Floats | None = None, iterations: int = 60, components: int = 0
    ) -> None:
        self.ridge, self.column_weights = ridge, column_weights
        self.iterations, self.components = iterations, components
        self.mean: Floats
        self.scale: Floats
        self.basis: Floats | None = None

    def fit(
        self,
        x: Floats,
        targets: ArrayLike,
        weights: ArrayLike | None = None,
        origin: LogisticHead | None = None,
        moving: Moving | None = None,
    ) -> LogisticHead:
        """x: (n, d). targets: P(label = 1) or {0, 1}, (n,). weights: non-negative, (n,).

        origin: a fitted head of the same columns; the ridge then pulls towards it, and its standardisation stays.
        moving: asked for new targets ROUNDS times after the first fit. Raises ValueError for wrong shapes, values, NaN.
        """
        y, w = checked(len(x), targets, weights)
        a = self._standardised(np.asarray(x, np.float32), origin)
        first = None if origin is None else origin.parameters()
        centre = None if first is None else first[:-1]
        found = fit_logistic(a, y, w, self.ridge, self.iterations, start=first, centre=centre)
        for step in range(ROUNDS if moving else 0):
            assert moving is not None
            y = np.asarray(moving(a @ found[:-1] + found[-1], np.arange(len(a)), (step + 1) / ROUNDS), np.float32)
            found = fit_logistic(a, y, w, self.ridge, STEPS, start=found, centre=centre)
        self.coef, self.intercept = found[:-1], float(found[-1])
        return self

    def _standardised(self, x: Floats, origin: LogisticHead | None) -> Floats:
        """x as the head sees it; learns mean, scale and basis, or takes them from `origin`."""
        self.mean = x.mean(0) if origin is None else origin.mean
        if not np.isfinite(self.mean).all():
            raise ValueError(f"features hold NaN or infinity in {int((~np.isfinite(self.mean)).sum())} columns")
        a = x - self.mean
        if origin is not None:
            self.scale, self.basis = origin.scale, origin.basis
        else:
            # einsum squares and sums in one pass: np.std would make another copy of the matrix
            spread = np.sqrt(np.einsum("ij,ij->j", a, a) / np.float32(len(x))) + np.float32(1e-6)
            columns = 1 if self.column_weights is None else self.column_weights
            self.scale = np.asarray(spread / np.sqrt(columns), np.float32)
        a /= self.scale
        if origin is None and self.components:
            self.basis = principal(a, self.components)
        return a if self.basis is None else a @ self.basis

    def parameters(self) -> Floats:
        """(coef, intercept) in the head's own columns, float32 (d + 1,), or (components + 1,)."""
        found: Floats = np.append(self.coef, np.float32(self.intercept)).astype(np.float32)
        return found

    def with_parameters(self, values: ArrayLike) -> LogisticHead:
        """The same standardisation with other parameters. Raises ValueError for another shape."""
        new = np.asarray(values, np.float32)
        if new.shape != (len(self.coef) + 1,):
            raise ValueError(f"parameters have shape {new.shape}; this head has ({len(self.coef) + 1},)")
        other = copy(self)
        other.coef, other.intercept = new[:-1], float(new[-1])
        return other

    def logits(self, x: Floats) -> Floats:
        """Log-odds of label 1, (n,), for x of shape (n, d)."""
        # folding basis and standardisation into the coefficients saves copying x
        coef = (self.coef if self.basis is None else self.basis @ self.coef) / self.scale
        out: Floats = np.asarray(x, np.float32) @ coef + np.float32(self.intercept - float(np.dot(self.mean, coef)))
        return out

    def predict(self, x: Floats) -> Floats:
        """P(label = 1), (n,)."""
        return expit(self.logits(x))


def checked(n: int, targets: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats]:
    """Targets and weights as float32 (n,), the weights summing to 1. Raises ValueError naming what is wrong."""
    y = np.asarray(targets, np.float32)
    if n == 0:
        raise ValueError("no items to fit on")
    if y.shape != (n,):
        raise ValueError(f"targets have shape {y.shape}; {n} items need shape ({n},)")
    if not np.isfinite(y).all() or (y < 0).any() or (y > 1).any():
        raise ValueError("targets must be probabilities between 0 and 1, without NaN")
    w = np.ones_like(y) if weights is None else np.asarray(weights, np.float32)
    if w.shape != y.shape or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
        raise ValueError("weights must be finite, non-negative, not all zero, and one per item")
    return y, w / w.sum()
