"""A chart of very many scores draws a part of them, and which part can be relied on."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.records import Estimate
from aarlab.reports import figures
from aarlab.reports.thinned import BINS, MOST, Scored, new_bests, sentence, thinned


def scored(points: list[tuple[float, float]], names: int = 1) -> list[Scored]:
    """Of (minutes, PGR), as a run has them: in the order of time, with the fleet's best so far."""
    best, found = float("-inf"), []
    for i, (minutes, mean) in enumerate(sorted(points, key=lambda p: p[0])):
        best = max(best, mean)
        found.append(Scored(i + 1, f"r{i % names}", minutes, Estimate(mean, mean - 0.1, mean + 0.1, 5, 99), best))
    return found


def many(count: int = 8600, names: int = 9) -> list[Scored]:
    """A run of which every score is another one, and few are new bests."""
    return scored([(i / 7, 0.3 + (i * 7919 % count) / count * 0.5) for i in range(count)], names)


def stretch(s: Scored, everything: list[Scored]) -> int:
    first, last = everything[0].minutes, everything[-1].minutes
    return min(BINS - 1, int((s.minutes - first) / ((last - first) / BINS or 1.0)))


points = st.lists(st.tuples(st.floats(0, 600), st.floats(-2, 1.5)), min_size=1, max_size=400)


@settings(deadline=None, max_examples=150)
@given(points, st.integers(1, 350))
def test_new_bests_and_the_extremes_of_every_stretch_stay(points: list[tuple[float, float]], most: int) -> None:
    """Whatever the scores: no new best, no best or worst of a stretch of time, no first or last is ever left out."""
    everything = scored(points)
    kept = thinned(everything, most)
    assert {everything[i] for i in new_bests(everything)} <= set(kept)
    assert kept[0] == everything[0]
    assert kept[-1] == everything[-1]
    for place in {stretch(s, everything) for s in everything}:
        there = [s.pgr.mean for s in everything if stretch(s, everything) == place]
        shown = [s.pgr.mean for s in kept if stretch(s, everything) == place]
        assert (min(shown), max(shown)) == (min(there), max(there))


@settings(deadline=None, max_examples=150)
@given(points, st.integers(1, 350))
def test_a_part_is_in_order_and_the_same_each_time(points: list[tuple[float, float]], most: int) -> None:
    """It is no more than asked for, unless what has to stay is more; few scores are all drawn."""
    everything = scored(points)
    kept = thinned(everything, most)
    assert kept == thinned(list(everything), most)
    assert [s.submission for s in kept] == sorted({s.submission for s in kept})
    assert len(kept) <= max(most, len(list(new_bests(everything))) + 3 * BINS + 2)
    assert len(everything) > most or kept == everything


def test_the_part_is_fair_to_every_researcher() -> None:
    """Researchers who take turns are drawn alike, though every so many scores are left out."""
    everything = many()
    kept = thinned(everything)
    assert 0.9 * MOST <= len(kept) <= MOST
    shares = Counter(s.researcher for s in kept)
    assert len(shares) == 9
    assert max(shares.values()) < 1.5 * min(shares.values())


def drawn(scores: list[Scored]) -> tuple[int, str]:
    """(dots, all of the definition) of the chart over time."""
    chart = figures.pgr_over_time(scores, {}, scores[-1].minutes).to_dict(validate=False)
    return str(chart).count("'tip':"), str(chart)


@pytest.mark.parametrize("count", [MOST, MOST + 1, 8600])
def test_a_chart_says_how_many_of_how_many_it_draws(count: int) -> None:
    """And nothing where it draws all."""
    everything = many(count)
    dots, said = drawn(everything)
    assert dots == len(thinned(everything)) <= MOST
    assert ("submissions drawn" in said) == (count > MOST)
    assert count == MOST or sentence(dots, count) in said


def test_the_best_line_is_that_of_all_scores() -> None:
    """It has a step for each new best and ends at the end, however few points are drawn."""
    everything = scored([(float(i), i / 9000) for i in range(8000)])  # each a new best
    dots, said = drawn(everything)
    assert dots == 8000
    assert "submissions drawn" not in said
    assert sentence(920, 8600) == "920 of 8,600 submissions drawn; every new best is."
