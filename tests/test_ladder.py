"""The Ladder: what it says, how much that carries, and who may ask how often."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.errors import BudgetSpent
from aarlab.problems.base import TaskCard
from aarlab.records import Measured
from aarlab.vault.feedback import Budget, Ladder, fixed_step, released_bits

CARD = TaskCard(
    name="feedback", role="feedback", title="", train_items=4000, test_items=8000, floor=Measured(0.65, 0.01, 24),
    ceiling=Measured(0.85, 0.01, 24), baselines={"weak-labels-hard": 0.7003}, licence="",
)  # fmt: skip


def test_says_record_only_a_full_step_above() -> None:
    """The first answer needs a full step above the published baseline, each later one a step above the last record."""
    ladder = Ladder.from_card(CARD, 0.005)
    assert ladder.accuracy(ladder.start) == 0.705  # the baseline, rounded up to the grid
    said = []
    for accuracy in (0.7003, 0.7099, 0.71, 0.7149, 0.7233, 0.7249, 0.71, 0.7250):
        answer, ladder = ladder.answer(accuracy)
        said.append(answer.text)
    no = "no new record"
    assert said == [no, no, "new record 0.71", no, "new record 0.72", no, no, "new record 0.725"]


def test_step_is_at_least_one_paired_standard_error() -> None:
    """With few items the step grows, so that a record is more than luck; it depends on public numbers only."""
    assert fixed_step(100_000, 0.005) == 0.005
    assert fixed_step(2000, 0.005) == pytest.approx(0.008)
    assert fixed_step(500, 0.005) == pytest.approx(0.015)
    assert fixed_step(500, 0.02) == 0.02
    assert Ladder.from_card(replace(CARD, test_items=500), 0.005).step == pytest.approx(0.015)


def test_bits_match_the_published_table() -> None:
    """Counted for 30 rungs (one point from a 0.70 baseline): 38, 73, 113, 158 bits for 15, 50, 150, 450 answers."""
    assert [round(released_bits(k, 30)) for k in (15, 50, 150, 450)] == [38, 73, 113, 158]
    assert released_bits(0, 30) == 0


@given(st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_bits_count_every_possible_transcript(answers: int, rungs: int) -> None:
    """All transcripts that any sequence of accuracies can produce: exactly C(k + L, L)."""
    step = 0.01
    start = 100 - rungs
    ladder = Ladder(step, start, start)
    assert ladder.rungs == rungs
    transcripts = set()
    for scores in itertools.product([r * step for r in range(start, 101)], repeat=answers):
        current, said = ladder, []
        for accuracy in scores:
            answer, current = current.answer(accuracy)
            said.append(answer.text)
        transcripts.add(tuple(said))
    assert math.log2(len(transcripts)) == pytest.approx(released_bits(answers, rungs))


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0.001, 0.2), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_answers_rise_on_the_grid_and_never_overstate(scores: list[float], step: float, baseline: float) -> None:
    """Records rise strictly, lie on the grid, and are never above the accuracy they answer."""
    start = math.ceil(baseline / step - 1e-9)
    ladder, last = Ladder(step, start, start), start * step
    for accuracy in scores:
        answer, ladder = ladder.answer(accuracy)
        if answer.record is not None:
            assert answer.record > last
            assert answer.record <= accuracy + 1e-6
            assert answer.record / step == pytest.approx(round(answer.record / step), abs=1e-2)
            last = answer.record
        else:
            assert accuracy < last + step + 1e-6


def test_a_restart_continues_the_same_ladder() -> None:
    """The Ladder is known from its start and its best record alone."""
    ladder = Ladder.from_card(CARD, 0.005)
    answer, after = ladder.answer(0.7368)
    assert ladder.resumed(answer.record) == after
    assert ladder.resumed(None) == ladder


def test_edge_walking_from_a_sandbagged_start_gains_little() -> None:
    """Sit one item under the next rung and probe items one by one: at most half a point on 2,000 items in 450 answers.

    The attacker is sure of 40 % of the items, errs on 40 % of the rest, and is even told its exact count.
    """
    gains = [_edge_walk(np.random.default_rng(seed)) for seed in range(20)]
    assert max(gains) > 0  # the attack works, a little
    assert np.mean(gains) <= 0.005


def test_edge_walking_from_the_worst_score_would_gain_more() -> None:
    """The same attack on a Ladder that starts at zero with half-point steps: what the published start prevents."""
    low = Ladder(0.005, 0, 0)
    gains = [_edge_walk(np.random.default_rng(seed), ladder=low) for seed in range(5)]
    assert np.mean(gains) > 0.02


def _edge_walk(rng: np.random.Generator, items: int = 2000, answers: int = 450, ladder: Ladder | None = None) -> float:
    """The accuracy that the attacker gains over its honest guess."""
    ladder = ladder or Ladder.from_card(replace(CARD, test_items=items), 0.005)
    truth = rng.integers(2, size=items)
    sure = items * 2 // 5
    learnt = np.where(rng.random(items) < 0.4, 1 - truth, truth)
    learnt[:sure] = truth[:sure]
    honest = float((learnt == truth).mean())
    for item in range(sure, min(items, sure + answers)):
        under = math.ceil((ladder.best + 1) * ladder.step * items - 1e-6) - 1
        spoilt = int((learnt == truth).sum()) - under
        if spoilt < 0:
            break  # the next rung is out of reach: nothing more can be learnt
        probe = learnt.copy()
        probe[: min(spoilt, sure)] = 1 - probe[: min(spoilt, sure)]
        probe[item] = 1 - probe[item]
        answer, ladder = ladder.answer(float((probe == truth).mean()))
        if answer.record is not None:
            learnt[item] = probe[item]
    return float((learnt == truth).mean()) - honest


# Shares


def test_everybody_keeps_a_guaranteed_share() -> None:
    """One researcher who asks for all it can get leaves every other its share."""
    budget, taken = Budget(45, tuple(f"r{i}" for i in range(9))), {"r0": 0}
    assert budget.share == 4
    while budget.left(taken, "r0") > 0:
        budget.check(taken, "r0")
        taken["r0"] += 1
    assert taken["r0"] == 45 - 8 * 4
    for i in range(1, 9):
        for _ in range(4):
            budget.check(taken, f"r{i}")
            taken[f"r{i}"] = taken.get(f"r{i}", 0) + 1
    with pytest.raises(BudgetSpent, match="all 45"):
        budget.check(taken, "r3")


def test_a_refusal_says_why() -> None:
    """Beyond the own share while the rest is promised: the sentence says so."""
    budget = Budget(10, ("a", "b"))
    with pytest.raises(BudgetSpent, match="guaranteed to other"):
        budget.check({"a": 7}, "a")


def test_who_leaves_frees_its_share() -> None:
    """A stopped researcher no longer guarantees anything."""
    assert Budget(10, ("a", "b")).left({"a": 7}, "a") == 0
    assert Budget(10, ("a",)).left({"a": 7}, "a") == 3


@given(st.integers(1, 30), st.integers(1, 6), st.lists(st.integers(0, 6), max_size=80))
@settings(max_examples=200, deadline=None)
def test_shares_hold_whatever_the_order(total: int, members: int, asks: list[int]) -> None:
    """In any order of asking: never more than the total, and a member below its share is never refused."""
    budget, taken = Budget(total, tuple(f"r{i}" for i in range(members))), dict[str, int]()
    for ask in asks:
        who = f"r{ask}"
        if budget.left(taken, who) > 0:
            taken[who] = taken.get(who, 0) + 1
        else:
            assert who not in budget.members or taken.get(who, 0) >= budget.share
        assert sum(taken.values()) <= total


def test_the_documented_table_is_what_the_code_counts() -> None:
    """Every row of the table in docs/scoring.md follows from its step and a start at 0.70."""
    text = (Path(__file__).parents[1] / "docs" / "scoring.md").read_text("utf-8")
    table = [[float(x) for x in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| 0.0")]
    assert len(table) == 3
    for step, rungs, *bits in table:
        start = math.ceil(0.70 / step - 1e-9)
        assert Ladder(step, start, start).rungs == rungs
        assert bits == [round(released_bits(k, int(rungs))) for k in (15, 45, 150, 450)]
