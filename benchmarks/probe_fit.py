"""Fitting one probe head: ours against scikit-learn's LogisticRegression, on the same data, in one run.

    python benchmarks/probe_fit.py [--repeats 7] [--json]

Features of w2s-code's feedback task at 1,400 x 1,948, of w2s-pref's at 2,600 x 1,152 (products of columns fill up the
width). Both minimise mean cross-entropy + ridge |w|^2 over the same standardised float32 matrix, for true labels and
for a teacher's probabilities. scikit-learn takes no soft labels: an item becomes two rows, label 1 with weight q and
label 0 with weight 1 - q, which is the same loss. Each of its solvers runs at a grid of tolerances, and the quickest
that comes within 1e-4 (nats per item) of the best loss anybody reached counts. Times are CPU seconds of one thread,
median over `--repeats`, taken in turn so that other load on the machine meets all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # as in the sandbox; libraries read it when they are loaded
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **one})

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from aarlab.problems.base import load
from aarlab.problems.measure import Truth
from aarlab.w2s.heads import fit_logistic

CLOSE = 1e-4
"""Equal loss: within this of the best (nats per item)."""

SIZES = (("w2s-code", 1400, 1948), ("w2s-pref", 2600, 1152))
SOLVERS = ("lbfgs", "newton-cholesky", "liblinear")
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5)

Fit = Callable[[], np.ndarray]


def matrix(problem: str, n: int, d: int) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
    """Standardised real features (n, d), {"true", "soft"} labels (n,) and the problem's ridge."""
    loaded = load(problem, check=False)
    truth = Truth.load(loaded.folder, "feedback")
    rng = np.random.default_rng(0)
    count = len(truth.labels)
    rows = rng.permutation(count)[:n] if count >= n else rng.integers(count, size=n)
    x = np.concatenate([truth.inputs.features(rows, layer) for layer in truth.inputs.layers], axis=1)
    if x.shape[1] < d:  # the domain's width lies below the wanted one: products of columns fill up
        more = d - x.shape[1]
        a, b = rng.integers(x.shape[1], size=(2, more))
        x = np.concatenate([x, x[:, a] * x[:, b]], axis=1)
    x = x[:, :d]
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    labels = {"true": truth.labels[rows].astype(np.float32), "soft": truth.weak[0, rows].astype(np.float32)}
    return np.ascontiguousarray(x, np.float32), labels, truth.inputs.student.ridge


def loss(x: np.ndarray, y: np.ndarray, ridge: float, found: np.ndarray) -> float:
    """Mean cross-entropy + ridge |coef|^2 in double precision. found: (d + 1,)."""
    z = x.astype(np.float64) @ found[:-1].astype(np.float64) + float(found[-1])
    return float(np.mean(np.logaddexp(0, z) - y * z) + ridge * np.sum(found[:-1].astype(np.float64) ** 2))


def ours(x: np.ndarray, y: np.ndarray, ridge: float) -> Fit:
    w = np.full(len(y), 1 / len(y), np.float32)
    return lambda: fit_logistic(x, y, w, ridge)


def theirs(x: np.ndarray, y: np.ndarray, ridge: float, solver: str, tolerance: float) -> Fit:
    """C: scikit-learn minimises 1/2 |w|^2 + C sum CE. Making two rows of an item is not timed."""
    weights = None
    rows, labels = x, y > 0.5
    if not np.isin(y, (0, 1)).all():
        rows, labels = np.concatenate([x, x]), np.repeat([True, False], len(y))
        weights = np.concatenate([y, 1 - y])

    def fit() -> np.ndarray:
        model = LogisticRegression(C=1 / (2 * ridge * len(y)), solver=solver, tol=tolerance, max_iter=2000)
        model.fit(rows, labels, weights)
        return np.append(model.coef_[0], model.intercept_[0])

    return fit


def measure(x: np.ndarray, y: np.ndarray, ridge: float, repeats: int) -> dict[str, tuple[float, float]]:
    """{name: (loss, median CPU seconds)} of ours and of scikit-learn's solvers at each tolerance."""
    fits: dict[str, Fit] = {"ours": ours(x, y, ridge)}
    for solver in SOLVERS:
        fits.update({f"{solver} tol {t:g}": theirs(x, y, ridge, solver, t) for t in TOLERANCES})
    losses = {name: loss(x, y, ridge, fit()) for name, fit in fits.items()}
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    for _ in range(repeats):
        for name, fit in fits.items():
            began = time.process_time()
            fit()
            seconds[name].append(time.process_time() - began)
    return {name: (losses[name], statistics.median(seconds[name])) for name in fits}


def compare(problem: str, n: int, d: int, kind: str, repeats: int) -> dict[str, Any]:
    """One size: our time, the quickest of scikit-learn at equal loss, and the ratio."""
    x, labels, ridge = matrix(problem, n, d)
    y = labels[kind]
    found = measure(x, y, ridge, repeats)
    best = min(value for value, _ in found.values())
    equal = {name: s for name, (value, s) in found.items() if value - best <= CLOSE and name != "ours"}
    quickest = min(equal, key=lambda name: equal[name])
    return {
        "problem": problem, "labels": kind, "rows": n, "columns": d, "ridge": ridge, "ours_seconds": found["ours"][1],
        "ours_excess_loss": found["ours"][0] - best, "sklearn": quickest, "sklearn_seconds": equal[quickest],
        "sklearn_excess_loss": found[quickest][0] - best, "ratio": equal[quickest] / found["ours"][1],
        "all": {name: {"excess_loss": v - best, "seconds": s} for name, (v, s) in found.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [compare(*size, kind, options.repeats) for size in SIZES for kind in ("true", "soft")]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['rows']:,} x {row['columns']:,} ({row['problem']}, ridge {row['ridge']:g}), {row['labels']} labels"
        )
        for who, name in (("ours", "ours"), ("sklearn", f"scikit-learn, {row['sklearn']}")):
            milliseconds, excess = 1e3 * row[f"{who}_seconds"], row[f"{who}_excess_loss"]
            print(f"  {name:36} {milliseconds:7.1f} ms, loss {excess:.1e} above the best")
        print(f"  ratio {row['ratio']:37.1f}")


if __name__ == "__main__":
    main()
