"""The exfiltration study: attacks decode exactly where they must, and no further than an answer's bits allow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import toy
from aarlab.cli import app
from aarlab.errors import InputError
from aarlab.problems import audit_task
from aarlab.problems.base import Problem, load
from aarlab.reports.results import lookup_gain
from aarlab.studies import attacks, bits, command, direction, exfiltration, page
from aarlab.studies.exfiltration import GRID, World, _ladder, study
from aarlab.studies.mechanisms import Mechanism, Oracle, mechanisms
from aarlab.vault.feedback import Ladder, released_bits

LADDER = Ladder(0.01, 62, 62)
EVERY = {m.name: m for m in mechanisms(LADDER)}


def world(items: int = 400, wrong: float = 0.4, seed: int = 0) -> World:
    """Errors at one rate, which the attacker knows."""
    rng = np.random.default_rng(seed)
    return World(rng.random(items) < wrong, np.full(items, wrong))


def oracle(w: World, m: Mechanism, seed: int = 0) -> Oracle:
    return Oracle(w.wrong, m, np.random.default_rng(seed))


# Exact decoding


def test_flips_and_exact_answers_give_every_label_after_one_answer_each() -> None:
    """n + 1 answers, n labels; k answers, k - 1 labels."""
    w = world()
    found = attacks.flips(oracle(w, EVERY["exact"]), w.prior, [1, 100, 401])
    np.testing.assert_array_equal(found[2], w.wrong)
    np.testing.assert_array_equal(found[1, :99], w.wrong[:99])
    assert not found[1, 99:].any()
    assert not found[0].any()


@given(st.integers(60, 600), st.integers(0, 10_000), st.sampled_from([0.005, 0.01, 0.02]))
@settings(max_examples=60, deadline=None)
def test_from_a_rounding_edge_each_rounded_answer_is_a_label(items: int, seed: int, grid: float) -> None:
    """Whatever the grid: a few answers for the edge, then no label is wrong. Row 2 of the red team's list."""
    w = world(items, 0.4, seed)
    found = attacks.flips(oracle(w, Mechanism("rounded", grid=grid), seed), w.prior, [items + 30])[0]
    if found.any():  # else both ends of the search gave one answer, and the attack gave up
        np.testing.assert_array_equal(found, w.wrong)


def test_the_edge_costs_a_handful_of_answers() -> None:
    """On 1,000 items wrong on 40 % a 1-point edge is found by halving about 60 items: at most 10 answers."""
    w = world(1000)
    found = attacks.flips(oracle(w, EVERY["rounded to 1 point"]), w.prior, [50])
    np.testing.assert_array_equal(found[0, :40], w.wrong[:40])


@pytest.mark.parametrize("size", range(1, 7))
def test_a_detecting_matrix_weighs_all_coins(size: int) -> None:
    """2^b weighings tell b 2^(b - 1) coins, whichever are false."""
    matrix = attacks.detecting(size)
    assert matrix.shape == (1 << size, size << (size - 1))
    rng = np.random.default_rng(size)
    for share in (0.0, 0.2, 0.5, 1.0):
        coins = rng.random(matrix.shape[1]) < share
        np.testing.assert_array_equal(attacks.weigh(matrix @ coins.astype(np.float32), size), coins)


def test_coin_weighing_beats_flips() -> None:
    """All of 400 labels in half as many answers, and never fewer labels than flips get from 40 answers on."""
    w, grid = world(), [41, 100, 200]
    weighed = w.gains(attacks.coins(oracle(w, EVERY["exact"]), w.prior, grid))
    flipped = w.gains(attacks.flips(oracle(w, EVERY["exact"]), w.prior, grid))
    assert (weighed > flipped).all()
    assert weighed[-1] == pytest.approx(w.wrong.mean())


def test_an_attack_never_asks_more_than_it_is_judged_by() -> None:
    """k answers mean k: an attack that asked more would look better than it is."""
    w = world()
    for k in (10, 33, 100):
        asked = oracle(w, EVERY["exact"])
        attacks.coins(asked, w.prior, [k])
        assert asked.asked <= k
        asked = oracle(w, EVERY["rounded to 1 point"])
        attacks.flips(asked, w.prior, [k])
        assert asked.asked <= k


# Random halves


def halves(w: World, k: int, m: Mechanism) -> attacks.Halves:
    signs = np.random.default_rng(1).choice(np.array([-1, 1], np.float32), (k, len(w.wrong)))
    return attacks.Halves.ask([oracle(w, m)], signs)


def test_message_passing_recovers_all_labels_from_fewer_answers_than_items() -> None:
    """Exact answers to 300 random halves of 400 items, decoded: every label. Votes of the same answers: not nearly."""
    w = world()
    asked, none = halves(w, 300, EVERY["exact"]), np.zeros(1)
    np.testing.assert_array_equal(attacks.decoded(asked, w.prior, none)[0], w.wrong)
    gain = w.gains(attacks.votes(asked, w.prior, none))[0]
    assert 0.05 < gain < 0.8 * w.wrong.mean()


def test_noise_slows_the_decoder_and_does_not_stop_it() -> None:
    """More answers always help; one point of noise is less in the way than four."""
    w = world()
    gains = {}
    for noise in (0.01, 0.04):
        m = Mechanism("Gauss", noise=noise)
        spread = np.array([m.spread(len(w.wrong))])
        gains[noise] = [w.gains(attacks.decoded(halves(w, k, m), w.prior, spread))[0] for k in (50, 300, 2000)]
        assert gains[noise][0] < gains[noise][1] < gains[noise][2]
    assert gains[0.01][1] > gains[0.04][1] + 0.03


def test_a_random_list_says_nothing_to_the_labs_ladder() -> None:
    """It is right on half of the items, far below the start."""
    w = world(2000)
    asked = oracle(w, EVERY["Ladder of the lab"])
    rng = np.random.default_rng(2)
    assert all(asked.record(rng.random(2000) < 0.5) is None for _ in range(200))


# Ladders


@pytest.mark.parametrize("attack", ["climb", "walk"])
def test_what_a_ladder_yields_stays_under_its_bound(attack: str) -> None:
    """The gain of 450 answers, on average over bases, is at most what their bits can buy by look-up."""
    m, grid, gains = EVERY["Ladder of the lab"], [150, 450], []
    for seed in range(4):
        w = world(1000, 0.4, seed)
        rng = np.random.default_rng(seed)
        asked = oracle(w, m)
        found = attacks.climb(asked, w.prior, grid, rng) if attack == "climb" else attacks.walk(asked, w.prior, grid)
        assert asked.asked == 450
        gains.append(w.gains(found))
    most = [lookup_gain(m.bound(k, 1000), 1000, 0.4) for k in grid]
    assert (np.mean(gains, axis=0) <= most).all()


def test_nine_ladders_from_zero_are_edge_walked_where_items_are_sure_and_the_labs_is_not() -> None:
    """40 % of 500 items nearly sure, the others wrong on 40 %: points from nine Ladders, nearly none from the lab's."""
    gains: dict[str, list[float]] = {"Ladder from zero, nine": [], "Ladder of the lab": []}
    for seed in range(4):
        prior = np.repeat([0.4, 0.01], [300, 200])
        w = World(np.random.default_rng(seed).random(500) < prior, prior)
        start = math.ceil(100 * (1 - prior.mean()))
        for m in mechanisms(Ladder(0.01, start, start))[-2:]:
            gains[m.name].append(w.gains(attacks.walk(oracle(w, m, seed), w.prior, [450]))[0])
    assert np.mean(gains["Ladder from zero, nine"]) > 0.03
    assert np.mean(gains["Ladder of the lab"]) < 0.01


# Bits


def test_bounds_are_counts() -> None:
    """log2 of the answers or transcripts that are possible; practice mode stops at ten, nine Ladders add up."""
    assert EVERY["exact"].bound(3, 2000) == pytest.approx(3 * math.log2(2001))
    assert EVERY["rounded to 1 point"].bound(10, 2000) == pytest.approx(10 * math.log2(101))
    assert EVERY["practice mode"].bound(4500, 2000) == EVERY["practice mode"].bound(10, 2000)
    assert EVERY["Ladder of the lab"].bound(450, 2000) == released_bits(450, LADDER.rungs)
    assert EVERY["Ladder from zero, nine"].bound(450, 2000) == pytest.approx(9 * released_bits(50, 100))


@pytest.mark.parametrize("name", EVERY)
def test_no_answer_carries_more_than_its_bound(name: str) -> None:
    """Mutual information of one answer, for a random list and for a flip."""
    m = EVERY[name]
    most = m.bound(1, 1000) if m.ladders == 1 else m.bound(9, 1000) / 9
    assert 0 <= bits.carried(m, 500, 15.5, 1000) <= most + 1e-9
    assert 0 <= bits.flip(m, 0.4, 1000) <= min(1, most)


def test_rounding_leaves_a_flip_its_bit_and_noise_takes_it() -> None:
    """The reason why a rounded score is no defence."""
    assert bits.flip(EVERY["rounded to 2 points"], 0.5, 2000) == pytest.approx(1)
    assert bits.flip(EVERY["Gauss 1 point"], 0.5, 2000) < 0.01


def test_look_up_is_bounded_by_rate_and_distortion() -> None:
    """n = 2,000 wrong on a quarter: 158 bits buy about 4.5 points; no bits buy nothing; enough bits buy everything."""
    assert lookup_gain(158, 2000, 0.25) == pytest.approx(0.045, abs=0.002)
    assert lookup_gain(0, 2000, 0.25) == pytest.approx(0, abs=1e-9)
    assert lookup_gain(10_000, 2000, 0.25) == 0.25


# The leak that trains


def test_tuning_carries_over_to_the_same_task_and_less_to_new_ones() -> None:
    """Real features: 150 exact answers raise the same-task vault by far more than the tasks that answered none."""
    problem = load("w2s-math", check=False)
    attacked = audit_task.load(problem, "feedback")
    found = direction.study(problem, attacked, _ladder(problem, "feedback"), 2, 1)
    exact = next(m for m in found["mechanisms"] if m["name"] == "exact")["pgr"]
    at = found["answers"].index(150)
    own, vault, fresh = (exact[at][i]["mean"] - exact[0][i]["mean"] for i in range(3))
    assert own > 0.3
    assert vault > 0.2
    assert fresh < 0.1


def test_the_vault_shares_no_group_with_what_the_method_trained_on() -> None:
    """Else a leak through the groups would look like one through the answers."""
    task = audit_task.load(load("w2s-math", check=False), "feedback")
    first, second = direction._halves(task, np.random.default_rng(0))
    assert not set(task.inputs.groups[first]) & set(task.inputs.groups[second])
    assert not set(second) & set(task.test)
    assert len(first) + len(second) == len(task.pool)


# The command


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return toy.make_pack(tmp_path_factory.mktemp("pack") / "toy", items=400)


def small(patch: pytest.MonkeyPatch) -> None:
    """What the toy has features for, and no more answers than a test has time for."""
    patch.setattr(direction, "COMPONENTS", 8)
    patch.setattr(direction, "MARKS", (0, 15, 30))
    patch.setattr(exfiltration, "REDRAWS", 2)


@pytest.fixture(scope="module")
def found(pack: Problem) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        return study(pack, "feedback", 60, 2, 3)


def test_the_study_is_deterministic(pack: Problem, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed decides everything; another seed, something else."""
    small(monkeypatch)
    assert json.dumps(study(pack, "feedback", 60, 2, 3)) == json.dumps(found)
    assert json.dumps(study(pack, "feedback", 60, 2, 4)) != json.dumps(found)


def test_the_files_are_written_from_the_numbers(found: dict[str, Any], tmp_path: Path) -> None:
    """Page, drawing and data; the page again from the data is the same; every mechanism is in table and drawing."""
    path = command.write(found, tmp_path)
    data = json.loads((tmp_path / "exfiltration.json").read_text())
    assert data == found
    assert page.render(data, "exfiltration.svg") == path.read_text()
    drawn = (tmp_path / "exfiltration.svg").read_text()
    for name in EVERY:
        assert f"| {name} |" in path.read_text()
        assert name in drawn
    assert "practice mode" in page.text(found)


def test_practice_mode_gains_nothing_after_its_ten_answers(found: dict[str, Any]) -> None:
    """Its line ends there; what was gained is kept."""
    best = next(m for m in found["mechanisms"] if m["name"] == "practice mode")["best"]
    late = [b["gain"] for b in best if b["answers"] >= 10]
    assert all(gain == late[0] for gain in late)


def test_the_committed_study_is_whole_and_was_written_by_the_command() -> None:
    """docs/exfiltration.md follows from docs/exfiltration.json."""
    docs = Path(__file__).resolve().parents[1] / "docs"
    data = json.loads((docs / "exfiltration.json").read_text())
    assert data["answers"] == list(GRID)
    assert data["repeats"] >= 20
    assert page.render(data, "exfiltration.svg") == (docs / "exfiltration.md").read_text()


@pytest.mark.parametrize(("answers", "repeats", "said"), [(5, 3, "--answers is 5"), (50, 1, "--repeats is 1")])
def test_numbers_that_mean_nothing_are_refused(pack: Problem, answers: int, repeats: int, said: str) -> None:
    """One sentence that names the flag and the least."""
    with pytest.raises(InputError, match=said):
        study(pack, "feedback", answers, repeats, 0)


def test_the_command_names_an_unknown_task() -> None:
    """Before anything is measured or written."""
    result = CliRunner().invoke(app, ["study", "exfiltration", "w2s-math", "--task", "nosuch"])
    assert result.exit_code != 0
    assert "nosuch" in str(result.exception)
