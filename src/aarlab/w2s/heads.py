"""The one trainable part of the probe student: a ridge-regularised logistic head."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from aarlab.w2s.task import Floats


class LogisticHead:
    """Logistic regression on soft labels: mean cross-entropy + `ridge` * |w|^2, minimised by L-BFGS.

    Features are standardised with the mean and deviation of the items it is fitted on, then multiplied by
    the square root of `column_weights` (d,): a weight of k equals k copies of the column. The intercept is not
    penalised. Fitting is deterministic.
    """

    def __init__(self, ridge: float, column_weights: Floats | None = None, iterations: int = 60) -> None:
        self.ridge, self.column_weights, self.iterations = ridge, column_weights, iterations

    def fit(self, x: Floats, targets: ArrayLike, weights: ArrayLike | None = None) -> LogisticHead:
        """x: (n, d). targets: P(label = 1) or {0, 1}, (n,). weights: non-negative, (n,)."""
        y = np.asarray(targets, np.float32)
        if y.shape != (len(x),):
            raise ValueError(f"targets have shape {y.shape}; {len(x)} items need shape ({len(x)},)")
        w = np.ones_like(y) if weights is None else np.asarray(weights, np.float32)
        if w.shape != y.shape or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
            raise ValueError("weights must be finite, non-negative, not all zero, and one per item")
        w = w / w.sum()
        self.mean, self.scale = x.mean(0), x.std(0) + 1e-6
        if self.column_weights is not None:
            self.scale = self.scale / np.sqrt(self.column_weights)
        a = (x - self.mean) / self.scale
        d = a.shape[1]

        def loss(v: np.ndarray) -> tuple[float, np.ndarray]:
            coef = v[:d].astype(np.float32)
            z = a @ coef + np.float32(v[d])
            p = expit(z)
            value = float(w @ (np.logaddexp(0, z) - y * z)) + self.ridge * float(coef @ coef)
            residual = w * (p - y)
            grad = np.empty(d + 1)
            grad[:d] = residual @ a + 2 * self.ridge * coef
            grad[d] = residual.sum()
            return value, grad

        found = minimize(
            loss, np.zeros(d + 1), jac=True, method="L-BFGS-B",
            options={"maxiter": self.iterations, "maxcor": 10, "ftol": 1e-7, "gtol": 1e-5},
        )  # fmt: skip
        self.coef, self.intercept = found.x[:d].astype(np.float32), float(found.x[d])
        return self

    def logits(self, x: Floats) -> Floats:
        out: Floats = ((x - self.mean) / self.scale) @ self.coef + np.float32(self.intercept)
        return out

    def predict(self, x: Floats) -> Floats:
        out: Floats = expit(self.logits(x))
        return out
