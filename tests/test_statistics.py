"""Rules of aarlab.statistics: PGR and differences with intervals over seeds x items, the best of m, planning."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

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


def test_best_of_inflation_falls_with_what_methods_share() -> None:
    """Errors that all methods share lift nobody: sqrt(1 - correlation) is left."""
    assert statistics.best_of_inflation(0.1, 5, 1.0) == 0
    assert statistics.best_of_inflation(0.1, 5, 0.75) == pytest.approx(statistics.best_of_inflation(0.1, 5) / 2)


def test_noise_of_single_outcomes_counts_once() -> None:
    """Neither seeds nor items matter: the interval is that of seeds x items coins, not of either alone added up."""
    rng = np.random.default_rng(6)
    widths = []
    for _ in range(40):
        found = statistics.estimate_accuracy(rng.random((10, 400)) < 0.7, np.arange(400), rng)
        widths.append(found.high - found.low)
    coins = 2 * 1.96 * math.sqrt(0.7 * 0.3 / 4000)
    assert np.mean(widths) == pytest.approx(coins, rel=0.3)  # adding both would give 1.41


@pytest.mark.parametrize("count", [400, 5000])
def test_many_groups_in_clumps_are_as_wide(count: int) -> None:
    """Beyond 512 groups clumps are drawn; the width stays the binomial's."""
    correct = (np.arange(count) % 10 < 7)[None]
    found = statistics.estimate_accuracy(correct, np.arange(count))
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.21 / count), rel=0.06)


def test_floor_and_ceiling_on_the_same_items_narrow() -> None:
    """What is hard for all moves floor, ceiling and method alike, and drops out of their ratio."""
    rng = np.random.default_rng(8)
    hard = rng.standard_normal(1500)
    low, mine, high = (hard + 0.3 * rng.standard_normal((n, 1500)) < e for n, e in ((16, 0.3), (5, 0.6), (16, 0.9)))
    ends = [Measured(float(c.mean()), statistics.standard_error(c.mean(1)), 16) for c in (low, high)]
    fixed = statistics.estimate_pgr(mine, np.arange(1500), *ends)
    joint = statistics.estimate_pgr(mine, np.arange(1500), low, high)
    assert joint.mean == pytest.approx(fixed.mean)
    assert joint.high - joint.low < 0.7 * (fixed.high - fixed.low)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_a_leaderboard_agrees_with_its_methods(m: int, seeds: int, start: int) -> None:
    """`alone` has each method's own PGR; `together` is at least as wide; shrinking never crosses the mean of all."""
    correct = np.random.default_rng(start).random((m, seeds, 40)) < 0.7
    board = statistics.leaderboard(correct, groups_of(40), FLOOR, CEILING)
    means = np.array([e.mean for e in board.alone])
    np.testing.assert_allclose(means, statistics.pgr(correct.mean((1, 2)), 0.6, 0.8), atol=1e-9)
    for narrow, wide in zip(board.alone, board.together, strict=True):
        assert wide.low <= narrow.low + 1e-9
        assert wide.high >= narrow.high - 1e-9
    assert means[board.best] == means.max()
    assert board.inflation >= -1e-12
    left = np.array(board.shrunk) - means.mean()
    assert (np.abs(left) <= np.abs(means - means.mean()) + 1e-9).all()
    assert (left * (means - means.mean()) >= -1e-12).all()


def test_one_method_needs_no_correction() -> None:
    """A leaderboard of one: same interval alone and together, nothing inflated."""
    correct = np.random.default_rng(9).random((1, 5, 500)) < 0.7
    board = statistics.leaderboard(correct, groups_of(500), FLOOR, CEILING)
    assert board.alone[0].low == pytest.approx(board.together[0].low, rel=0.05)
    assert board.shrunk[0] == pytest.approx(board.alone[0].mean)
    assert board.inflation == pytest.approx(0, abs=1e-12)


def test_shrinking_takes_out_the_noise() -> None:
    """Spread 1 with noise of variance a quarter keeps three quarters; spread below the noise keeps nothing."""
    np.testing.assert_allclose(statistics.shrink([-1, 0, 1], [0.5, 0.5, 0.5]), [-0.75, 0, 0.75])
    np.testing.assert_allclose(statistics.shrink([0.1, 0.2], [1, 1]), [0.15, 0.15])
    np.testing.assert_allclose(statistics.shrink([0.3], [1]), [0.3])
    with pytest.raises(InputError, match="shape"):
        statistics.shrink([1, 2], [1])
    with pytest.raises(InputError, match="finite"):
        statistics.shrink([1, math.nan], [1, 1])


def test_leads_hold_for_all_at_once() -> None:
    """A method that is the baseline itself has lead 0 inside; more methods widen all; shared errors cancel."""
    rng = np.random.default_rng(10)
    base = np.repeat(rng.random((1, 800)) < 0.7, 5, axis=0)
    better = np.stack([base, *(base | (rng.random((5, 800)) < 0.05) for _ in range(9))])
    found = statistics.leads(better, base, np.arange(800), 0.2)
    assert found[0].mean == 0
    assert found[0].low <= 0 <= found[0].high
    assert all(e.low > 0 for e in found[1:])
    alone = statistics.paired_difference(better[1], base, np.arange(800), 0.2)
    assert found[1].high - found[1].low > alone.high - alone.low
    with pytest.raises(InputError, match="baseline has shape"):
        statistics.leads(better, base[:3], np.arange(800), 0.2)


spreads = st.builds(statistics.Spread, st.floats(0.01, 0.5), st.floats(0, 0.05), st.floats(1, 5), st.floats(0, 1))


@settings(max_examples=12, deadline=None)
@given(spreads, st.integers(3, 30), st.integers(100, 5000))
def test_more_seeds_and_items_show_smaller_differences(spread: statistics.Spread, seeds: int, items: int) -> None:
    """The smallest difference falls with seeds and a larger gap; comparisons and power raise it.

    More items lower it too, but for a small rise where few seeds, whose spread is badly known, then weigh more.
    """
    found = statistics.smallest_difference(seeds, items, 0.2, spread)
    assert 0 < found < math.inf
    assert statistics.smallest_difference(2 * seeds, items, 0.2, spread) <= found
    assert statistics.smallest_difference(seeds, 2 * items, 0.2, spread) <= 1.2 * found
    assert statistics.smallest_difference(seeds, items, 0.4, spread) == pytest.approx(found / 2)
    assert statistics.smallest_difference(seeds, items, 0.2, spread, comparisons=5) > found
    assert statistics.smallest_difference(seeds, items, 0.2, spread, power=0.9) > found


@settings(max_examples=15, deadline=None)
@given(spreads, st.floats(0.05, 0.5))
def test_needed_items_and_seeds_are_the_fewest(spread: statistics.Spread, difference: float) -> None:
    """So many suffice and one fewer does not; where no number does, the sentence says what remains."""

    def shown(n: int, by_seeds: bool) -> float:
        return statistics.smallest_difference(*((n, 2000) if by_seeds else (6, n)), 0.2, spread)

    for by_seeds, look in ((True, statistics.needed_seeds), (False, statistics.needed_items)):
        other = 2000 if by_seeds else 6
        if shown(2**31, by_seeds) > difference:
            with pytest.raises(InputError, match="remains"):
                look(difference, other, 0.2, spread)
            continue
        n = look(difference, other, 0.2, spread)
        assert shown(n, by_seeds) <= difference
        assert n == 2 or shown(n - 1, by_seeds) > difference


def test_a_certain_difference_needs_no_items() -> None:
    """Methods that never disagree differ by nothing that could be missed."""
    assert statistics.smallest_difference(5, 1000, 0.2, statistics.Spread(0.0)) == 0


def test_a_pilot_finds_the_spread_it_was_made_with() -> None:
    """Disagreement, seeds, grouping and what is stable over seeds, each from outcomes of many seeds and groups."""
    rng = np.random.default_rng(11)
    groups = groups_of(6000, 4)
    side = np.repeat(rng.choice([-1, 0, 1], 1500, p=[0.1, 0.8, 0.1]), 4)  # whole groups differ, under every seed
    a, b = np.tile(side >= 0, (40, 1)), np.tile(side <= 0, (40, 1))
    found = statistics.pilot(a, b, groups)
    assert found.disagreement == pytest.approx(0.2, abs=0.03)
    assert found.design_effect == pytest.approx(4, rel=0.1)
    assert (found.stable, found.seed_spread) == (pytest.approx(1), pytest.approx(0))
    a, b = rng.random((40, 6000)) < 0.8, rng.random((40, 6000)) < 0.8 + 0.03 * rng.standard_normal((40, 1))
    found = statistics.pilot(a, b, groups)
    assert found.stable < 0.05
    assert found.design_effect == pytest.approx(1, abs=0.1)
    assert found.seed_spread == pytest.approx(0.03, rel=0.35)
    assert statistics.pilot(a, a, groups) == statistics.Spread(0.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: statistics.Spread(1.5), "disagreement is 1.5"),
        (lambda: statistics.Spread(math.nan), "disagreement is nan"),
        (lambda: statistics.smallest_difference(0, 10, 0.2, statistics.Spread(0.1)), "0 seeds"),
        (lambda: statistics.smallest_difference(5, 10, 0.0, statistics.Spread(0.1)), "gap is 0.0"),
        (lambda: statistics.smallest_difference(5, 10, math.nan, statistics.Spread(0.1)), "gap is nan"),
        (lambda: statistics.smallest_difference(5, 10, 0.2, statistics.Spread(0.1), power=1.0), "power is 1.0"),
        (lambda: statistics.smallest_difference(1, 10, 0.2, statistics.Spread(0.1, 0.1)), "one seed"),
        (lambda: statistics.needed_items(0.0, 5, 0.2, statistics.Spread(0.1)), "difference is 0.0"),
        (lambda: statistics.pilot(np.ones((1, 4)), np.ones((1, 4)), np.arange(4)), "two seeds"),
        (lambda: statistics.best_of_inflation(math.nan, 3), "se is nan"),
        (lambda: statistics.best_of_inflation(0.1, 3, 2.0), "correlation is 2.0"),
        (lambda: statistics.leaderboard(np.ones((2, 5)), np.arange(5), FLOOR, CEILING), "methods, seeds, items"),
        (lambda: statistics.estimate_pgr(np.ones((2, 5)), np.arange(5), CEILING, FLOOR), "no gap"),
        (lambda: statistics.estimate_pgr(np.ones((2, 5)), np.arange(5), Measured(0.1, math.inf, 1), CEILING), "inf"),
        (lambda: statistics.estimate_pgr(np.ones((2, 5)), np.arange(5), np.ones((2, 4)), CEILING), "groups have shape"),
        (lambda: statistics.estimate_accuracy(np.ones((2, 5)), np.arange(5), draws=10), "draws is 10"),
        (lambda: statistics.paired_difference(np.ones((2, 5)), np.ones((2, 5)), np.arange(5), math.nan), "gap is nan"),
    ],
)
def test_what_cannot_be_measured_is_refused(call: Callable[[], object], words: str) -> None:
    """One sentence that names the value."""
    with pytest.raises(InputError) as refused:
        call()
    assert words in str(refused.value)


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
