"""Rules of aarlab.statistics: PGR, intervals over seeds x items clustered by group, paired differences."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aarlab import statistics
from aarlab.errors import InputError
from aarlab.records import Measured

FLOOR, CEILING = Measured(0.6, 0.003, 16), Measured(0.8, 0.003, 16)
SURE_FLOOR, SURE_CEILING = Measured(0.6, 0.0, 16), Measured(0.8, 0.0, 16)

outcomes = st.tuples(st.integers(1, 5), st.integers(4, 60)).flatmap(lambda s: arrays(np.bool_, s))


def groups_of(items: int, size: int = 2) -> np.ndarray:
    return np.arange(items) // size


def test_pgr_is_zero_at_the_floor_and_one_at_the_ceiling() -> None:
    """The definition of Burns et al. 2023, for any shape."""
    np.testing.assert_allclose(statistics.pgr([0.6, 0.8, 0.7, 0.5], 0.6, 0.8), [0, 1, 0.5, -0.5], atol=1e-12)


@given(st.floats(0, 1), st.floats(0, 0.4), st.floats(0.6, 1))
def test_pgr_is_linear_in_accuracy(accuracy: float, floor: float, ceiling: float) -> None:
    """Scaling back by the gap gives the accuracy again."""
    score = float(statistics.pgr(accuracy, floor, ceiling))
    assert score * (ceiling - floor) + floor == pytest.approx(accuracy, abs=1e-9)


@pytest.mark.parametrize(("floor", "ceiling"), [(0.7, 0.7), (0.8, 0.6), (math.nan, 0.8)])
def test_no_gap_is_refused(floor: float, ceiling: float) -> None:
    """A ceiling not above the floor leaves nothing to recover; the sentence names both."""
    with pytest.raises(InputError, match="no gap"):
        statistics.pgr(0.7, floor, ceiling)


@settings(max_examples=12, deadline=None)
@given(outcomes)
def test_interval_holds_its_mean_and_is_finite(correct: np.ndarray) -> None:
    """low <= mean <= high, all finite, seeds and items as given, whatever the outcomes."""
    found = statistics.estimate_pgr(correct, groups_of(correct.shape[1]), FLOOR, CEILING)
    assert found.low <= found.mean <= found.high
    assert np.isfinite([found.low, found.mean, found.high]).all()
    assert (found.seeds, found.items) == correct.shape
    assert found.mean == pytest.approx((correct.mean() - 0.6) / 0.2)


@settings(max_examples=12, deadline=None)
@given(outcomes, st.data())
def test_paired_difference_is_antisymmetric(a: np.ndarray, data: st.DataObject) -> None:
    """Exchanging the methods negates the mean exactly and the interval up to the draws' own noise."""
    b = data.draw(arrays(np.bool_, a.shape))
    ab = statistics.paired_difference(a, b, groups_of(a.shape[1]), 0.2)
    ba = statistics.paired_difference(b, a, groups_of(a.shape[1]), 0.2)
    assert ab.mean == pytest.approx(-ba.mean)
    assert ab.low == pytest.approx(-ba.high, abs=0.25 * (ab.high - ab.low) + 1e-9)


@settings(max_examples=12, deadline=None)
@given(outcomes)
def test_a_method_does_not_differ_from_itself(a: np.ndarray) -> None:
    """Paired with itself: mean 0, and 0 is inside the interval."""
    found = statistics.paired_difference(a, a, groups_of(a.shape[1]), 0.2)
    assert found.mean == 0
    assert found.low <= 0 <= found.high


def test_order_of_items_does_not_matter() -> None:
    """Permuting items together with their groups changes the interval by no more than draws do."""
    rng = np.random.default_rng(0)
    correct, groups = rng.random((5, 600)) < 0.7, groups_of(600, 5)
    mixed = rng.permutation(600)
    a = statistics.estimate_pgr(correct, groups, FLOOR, CEILING)
    b = statistics.estimate_pgr(correct[:, mixed], groups[mixed], FLOOR, CEILING)
    assert a.mean == pytest.approx(b.mean)
    assert a.low == pytest.approx(b.low, abs=0.02)
    assert a.high == pytest.approx(b.high, abs=0.02)


def test_independent_items_agree_with_the_binomial() -> None:
    """One item a group, one seed, sure floor and ceiling: the interval is the normal approximation's."""
    correct = (np.arange(2000) % 10 < 7)[None]
    found = statistics.estimate_pgr(correct, np.arange(2000), SURE_FLOOR, SURE_CEILING)
    half = 1.96 * math.sqrt(0.7 * 0.3 / 2000) / 0.2
    assert found.mean == pytest.approx(0.5)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)


def test_clustering_widens() -> None:
    """Items that are right or wrong by whole groups of 5 give an interval about sqrt(5) times wider."""
    rng = np.random.default_rng(1)
    correct = np.repeat(rng.random(400) < 0.7, 5)[None]
    alone = statistics.estimate_accuracy(correct, np.arange(2000))
    together = statistics.estimate_accuracy(correct, groups_of(2000, 5))
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.1)


def test_uncertain_floor_and_ceiling_widen() -> None:
    """The same outcomes with uncertain floor and ceiling have a wider interval around the same mean."""
    correct = np.random.default_rng(2).random((5, 2000)) < 0.7
    sure = statistics.estimate_pgr(correct, np.arange(2000), SURE_FLOOR, SURE_CEILING)
    unsure = statistics.estimate_pgr(correct, np.arange(2000), Measured(0.6, 0.02, 16), Measured(0.8, 0.02, 16))
    assert unsure.mean == sure.mean
    assert unsure.high - unsure.low > 1.5 * (sure.high - sure.low)


def test_seeds_that_differ_widen() -> None:
    """Five seeds whose accuracies scatter give the interval Student's t gives for their mean."""
    rng = np.random.default_rng(3)
    levels = np.array([0.62, 0.66, 0.70, 0.74, 0.78])
    correct = rng.random((5, 20000)) < levels[:, None]
    found = statistics.estimate_accuracy(correct, np.arange(20000))
    half = 2.776 * statistics.standard_error(correct.mean(1))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.12)


@pytest.mark.parametrize("value", [True, False])
def test_all_right_and_all_wrong_keep_some_doubt(value: bool) -> None:
    """Without a single error the interval still has width: about 3 / groups, the rule of three."""
    found = statistics.estimate_accuracy(np.full((3, 300), value), groups_of(300, 3))
    assert 0.01 < found.high - found.low < 0.05
    assert 0 <= found.low <= found.high <= 1


def test_more_comparisons_widen() -> None:
    """Bonferroni: the best of ten is compared with a wider interval, same mean."""
    rng = np.random.default_rng(4)
    a, b = rng.random((5, 1000)) < 0.75, rng.random((5, 1000)) < 0.70
    one = statistics.paired_difference(a, b, np.arange(1000), 0.2)
    ten = statistics.paired_difference(a, b, np.arange(1000), 0.2, comparisons=10)
    assert one.mean == ten.mean
    assert ten.low < one.low
    assert ten.high > one.high


def test_pairing_narrows() -> None:
    """Methods that err on the same items are told apart by differences that unpaired intervals cannot see."""
    rng = np.random.default_rng(5)
    b = np.repeat(rng.random((1, 2000)) < 0.7, 5, axis=0)
    a = b | (rng.random((5, 2000)) < 0.05)
    found = statistics.paired_difference(a, b, np.arange(2000), 0.2)
    alone = statistics.estimate_pgr(a, np.arange(2000), SURE_FLOOR, SURE_CEILING)
    assert found.low > 0
    assert found.high - found.low < 0.5 * (alone.high - alone.low)


def test_best_of_inflation_matches_closed_forms() -> None:
    """Nothing for one, se / sqrt(pi) for two, 1.5 se / sqrt(pi) for three; grows with m."""
    assert statistics.best_of_inflation(0.1, 1) == pytest.approx(0, abs=1e-9)
    assert statistics.best_of_inflation(0.1, 2) == pytest.approx(0.1 / math.sqrt(math.pi), rel=1e-4)
    assert statistics.best_of_inflation(0.1, 3) == pytest.approx(0.15 / math.sqrt(math.pi), rel=1e-4)
    values = [statistics.best_of_inflation(1.0, m) for m in range(1, 60)]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("correct", "groups", "words"),
    [
        (np.ones(5), np.arange(5), "shape"),
        (np.ones((0, 5)), np.arange(5), "shape"),
        (np.ones((2, 5)), np.arange(4), "groups have shape"),
        (np.ones((2, 5)), np.zeros(5), "one group"),
        (np.full((2, 5), np.nan), np.arange(5), "NaN"),
    ],
)
def test_wrong_input_is_one_clear_sentence(correct: np.ndarray, groups: np.ndarray, words: str) -> None:
    """Shapes, groups and values that cannot be used raise InputError naming them."""
    with pytest.raises(InputError, match=words):
        statistics.estimate_pgr(correct, groups, FLOOR, CEILING)


def test_paired_input_is_checked() -> None:
    """Different shapes, no gap and no comparison are refused."""
    a = np.ones((2, 6), bool)
    with pytest.raises(InputError, match="shapes"):
        statistics.paired_difference(a, np.ones((3, 6), bool), np.arange(6), 0.2)
    with pytest.raises(InputError, match="gap"):
        statistics.paired_difference(a, a, np.arange(6), 0.0)
    with pytest.raises(InputError, match="comparisons"):
        statistics.paired_difference(a, a, np.arange(6), 0.2, comparisons=0)
    with pytest.raises(InputError, match="m is 0"):
        statistics.best_of_inflation(0.1, 0)


def simulate(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of 5 seeds on 150 groups of 4 items: accuracy has a group effect, a seed effect and chance."""
    group = np.repeat(0.8 * rng.standard_normal(150), 4)
    seed = 0.12 * rng.standard_normal((5, 1))
    chance = 1 / (1 + np.exp(-(0.9 + group + seed)))
    return rng.random((5, 600)) < chance, groups_of(600, 4)


def test_nominal_95_percent_covers_roughly_right() -> None:
    """The true accuracy lies inside about 95 of 100 intervals (at least 92 here), with group and seed effects."""
    rng = np.random.default_rng(7)
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    spread = math.hypot(0.8, 0.12)
    truth = float((weights / weights.sum()) @ (1 / (1 + np.exp(-(0.9 + spread * nodes)))))
    inside = 0
    for _ in range(150):
        correct, groups = simulate(rng)
        found = statistics.estimate_accuracy(correct, groups, rng)
        inside += found.low <= truth <= found.high
    assert 137 <= inside <= 149


def test_importing_statistics_is_light() -> None:
    """Neither scipy nor optuna is imported: reports and tools start fast."""
    code = (
        "import sys, aarlab, aarlab.statistics; print([m for m in ('scipy', 'sklearn', 'optuna') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
