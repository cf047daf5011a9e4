"""Rules of the logistic head: it finds the minimum it is said to find, quickly, without scipy."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from aarlab.w2s.heads import LogisticHead, expit, fit_logistic, logit


def problem(n: int = 300, d: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32) * rng.uniform(0.1, 5, d).astype(np.float32)
    y = expit((x / x.std(0)) @ rng.standard_normal(d) + 0.5)
    return x, y


def reference(a: np.ndarray, y: np.ndarray, w: np.ndarray, ridge: float) -> np.ndarray:
    """The minimum in double precision by scipy."""
    a = a.astype(float)

    def loss(v: np.ndarray) -> float:
        z = a @ v[:-1] + v[-1]
        return float(w @ (np.logaddexp(0, z) - y * z)) + ridge * float(v[:-1] @ v[:-1])

    return minimize(loss, np.zeros(a.shape[1] + 1), method="BFGS", options={"gtol": 1e-8}).x


@pytest.mark.parametrize("ridge", [0.003, 0.05, 0.5])
def test_the_head_is_at_the_minimum(ridge: float) -> None:
    """Coefficients agree with a double-precision optimiser to what changes no prediction."""
    x, y = problem()
    a = (x - x.mean(0)) / x.std(0)
    w = np.random.default_rng(1).uniform(0.5, 2, len(y)).astype(np.float32)
    w /= w.sum()
    found = fit_logistic(a, y, w, ridge)
    wanted = reference(a, y, w, ridge)
    np.testing.assert_allclose(expit(a @ found[:-1] + found[-1]), expit(a @ wanted[:-1] + wanted[-1]), atol=4e-3)


def test_a_good_start_leads_to_the_same_head() -> None:
    """Starting from another head changes the way there, not the end."""
    x, y = problem()
    a, w = (x - x.mean(0)) / x.std(0), np.full(len(y), 1 / len(y), np.float32)
    cold = fit_logistic(a, y, w, 0.05)
    warm = fit_logistic(a, y, w, 0.05, start=fit_logistic(a, 1 - y, w, 0.05))
    np.testing.assert_allclose(expit(a @ cold[:-1] + cold[-1]), expit(a @ warm[:-1] + warm[-1]), atol=4e-3)


def test_without_intercept_the_mirror_image_gets_the_opposite() -> None:
    """b stays 0, so negated features give negated log-odds."""
    x, y = problem()
    assert fit_logistic(x, y, np.full(len(y), 1 / len(y), np.float32), 0.1, intercept=False)[-1] == 0


def test_column_weights_equal_copies() -> None:
    """A column of weight 4 is worth four copies of it."""
    x, y = problem(d=5)
    weighted = LogisticHead(0.1, np.array([4, 1, 1, 1, 1], np.float32)).fit(x, y)
    copied = LogisticHead(0.1).fit(np.concatenate([x[:, [0, 0, 0]], x], 1), y)
    np.testing.assert_allclose(weighted.predict(x), copied.predict(np.concatenate([x[:, [0, 0, 0]], x], 1)), atol=4e-3)


def test_item_weights_equal_repeats() -> None:
    """An item of weight 3 counts as three items (up to the standardisation, which sees each item once)."""
    x, y = problem()
    a = (x - x.mean(0)) / x.std(0)
    w = np.ones(len(y), np.float32)
    w[:50] = 3
    rows = np.concatenate([np.arange(len(y)), np.arange(50), np.arange(50)])
    one = fit_logistic(a, y, w / w.sum(), 0.1)
    two = fit_logistic(a[rows], y[rows], np.full(len(rows), 1 / len(rows), np.float32), 0.1)
    np.testing.assert_allclose(expit(a @ one[:-1] + one[-1]), expit(a @ two[:-1] + two[-1]), atol=4e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 60), st.integers(0, 1000), st.floats(0.001, 10))
def test_predictions_are_probabilities(n: int, d: int, seed: int, ridge: float) -> None:
    """Any shape, constant columns, one class only: finite numbers in [0, 1]."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32) * 10.0 ** rng.integers(-3, 4, d)
    x[:, 0] = 7
    y = np.full(n, seed % 2) if seed % 3 == 0 else rng.integers(2, size=n)
    p = LogisticHead(ridge).fit(x.astype(np.float32), y).predict(x.astype(np.float32))
    assert p.shape == (n,)
    assert np.isfinite(p).all()
    assert (p >= 0).all()
    assert (p <= 1).all()


@pytest.mark.parametrize(
    ("targets", "weights", "words"),
    [
        (np.zeros(4), None, "shape"),
        (np.full(5, np.nan), None, "probabilities"),
        (np.full(5, 2.0), None, "probabilities"),
        (np.zeros(5), np.zeros(5), "weights"),
        (np.zeros(5), -np.ones(5), "weights"),
        (np.zeros(5), np.ones(4), "weights"),
    ],
)
def test_wrong_targets_and_weights_are_named(targets: np.ndarray, weights: np.ndarray | None, words: str) -> None:
    """ValueError says which of the two cannot be used."""
    with pytest.raises(ValueError, match=words):
        LogisticHead(0.1).fit(np.ones((5, 2), np.float32), targets, weights)


def test_logit_and_expit_are_inverse_and_bounded() -> None:
    """Certainty is clipped instead of becoming infinite."""
    p = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(expit(logit(p)), p, atol=1e-5)
    assert np.isfinite(logit([0.0, 1.0])).all()
    assert expit([-1e9, 1e9]).tolist() == pytest.approx([0, 1], abs=1e-9)


def test_a_fit_at_full_size_is_fast() -> None:
    """2,000 items of 1,750 columns: far below the second that a baseline may take, in one thread's CPU time."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((300, 1750)).astype(np.float32) * (np.arange(1, 301) ** -0.6)[:, None]
    x = (rng.standard_normal((2000, 300)) @ mixing).astype(np.float32)
    y = (x[:, 0] + rng.standard_normal(2000) > 0).astype(np.float32)
    began = time.thread_time()
    LogisticHead(0.2).fit(x, y).predict(x)
    assert time.thread_time() - began < 0.8


def test_heads_need_no_scipy() -> None:
    """A method file starts without importing scipy or sklearn."""
    code = (
        "import sys, aarlab.w2s.methods.zero_shot_elicitation, aarlab.w2s.students.probe\n"
        "print([m for m in ('scipy', 'sklearn', 'optuna', 'httpx') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
