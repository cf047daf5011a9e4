"""Every attack of the red team, each a test named after it; `aarlab redteam` makes them all at once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.errors import UnknownName
from aarlab.problems import base
from aarlab.records import Estimate
from aarlab.redteam import show
from aarlab.redteam.attack import Attack, Gains, Line, Notes, Outcome, chosen, every
from aarlab.redteam.command import make
from aarlab.redteam.ground import Ground
from aarlab.redteam.practice import detecting, weighed

PROBLEM = os.environ.get("AARLAB_REDTEAM_PROBLEM", "w2s-math")
ATTACKS = [pytest.param(a, id=a.id, marks=() if a.fast else pytest.mark.slow) for a in every()]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with Ground(base.load(PROBLEM)) as ground:
        yield ground


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(attack: Attack, ground: Ground) -> None:
    """The attack ends as its file says it must; the file's docstring says who attacks, and how."""
    line = make(attack, ground)
    if line.outcome is None:
        pytest.skip(line.missing)
    assert not line.missed


def test_the_table_of_scenarios_is_complete() -> None:
    """Numbers 1 to 35 are the table's, and at least ten more were invented; each file says what it does."""
    numbers = [a.number for a in every()]
    assert numbers == sorted(set(numbers))
    assert set(range(1, 46)) <= set(numbers)
    assert all(len(a.about) > 100 and a.id.startswith(f"a{a.number:02}-") for a in every())
    assert sum("residual" in a.expected for a in every() if a.number > 35) >= 5


def gain(low: float) -> Gains:
    return Gains(record=Estimate(low + 0.1, low, low + 0.2, 4, 1000))


def test_a_sure_gain_that_ranks_is_never_as_expected() -> None:
    """Above 0.02 PGR of record only a residual may rank; what does not rank, or is not sure, gains nothing."""
    ended = Outcome("", "", ("no gain",), gain(0.03))
    assert ended.missed(("no gain",))
    assert not Outcome("", "", ("residual",), gain(0.03)).missed(("residual",))
    assert not Outcome("", "", ("no gain",), gain(0.01)).missed(("no gain",))
    assert not Outcome("", "", ("no gain",), gain(0.03), ranked=False).missed(("no gain",))


def test_an_ending_that_was_missed_is_named() -> None:
    """Expected endings must all be there; a residual that was stopped is no disappointment."""
    assert Outcome("", "", ("counted",)).missed(("counted", "flagged")) == ("it was to end 'flagged', and did not",)
    assert not Outcome("", "", ("flagged",)).missed(("residual",))
    assert Outcome("", "", ("flagged",), broken=("it broke",)).missed(("residual",))[0] == "it broke"


def test_of_two_measured_parts_both_must_end_so() -> None:
    """Joined, an ending counts where both have it, and the part that ranks is shown, however little it gains."""
    caught = Outcome("one", "", ("flagged", "no gain"), gain(0.5), ranked=False)
    free = Outcome("two", "", ("no gain",), gain(-0.1))
    both = caught.joined(free)
    assert (both.endings, both.ranked, both.gains) == (("no gain",), True, free.gains)
    noted = caught.joined(Outcome("", "", ("counted",)))
    assert noted.endings == ("flagged", "no gain", "counted")
    assert noted.gains == caught.gains


def test_one_broken_expectation_takes_all_endings() -> None:
    """Notes give their endings only where everything held, and say what did not."""
    notes = Notes()
    notes.expect(True, "the sky is up")
    assert notes.outcome("t", "refused").endings == ("refused",)
    notes.expect(False, "the door is shut")
    out = notes.outcome("t", "refused")
    assert (out.endings, out.broken) == ((), ("not so: the door is shut",))


@pytest.mark.parametrize(("only", "fast", "first"), [("19", False, 19), ("most-common", False, 19), ("", True, 1)])
def test_attacks_are_chosen_by_number_or_word(only: str, fast: bool, first: int) -> None:
    """A number is that attack, a word all whose name has it, `fast` the quick subset."""
    found = chosen(only, fast)
    assert found[0].number == first
    assert all(a.fast for a in found) or not fast


def test_an_unknown_attack_is_said() -> None:
    """No attack of that name: one sentence."""
    with pytest.raises(UnknownName, match="no attack is called 'nothing-such'"):
        chosen("nothing-such")


@given(st.integers(0, 4), st.integers(0, 2**32))
def test_weighings_find_every_coin(levels: int, seed: int) -> None:
    """The detecting design of 2^k weighings tells any set of (k + 2) 2^(k-1) coins from its sums."""
    design = detecting(levels)
    coins = np.random.default_rng(seed).integers(2, size=design.shape[1])
    assert design.shape == (2**levels, (levels + 2) * 2**levels // 2)
    assert (weighed(design @ coins, levels) == coins).all()


def test_the_page_has_every_row_and_brackets_what_does_not_rank() -> None:
    """A row per attack, the record in brackets where it does not rank, residuals listed with their gain."""
    first, second, third = every()[:3]
    lines = [
        Line(first, Outcome("tried a", "why a", ("flagged",), gain(0.3), ("teacher",), ranked=False)),
        Line(second, Outcome("tried b", "why b", ("residual",), gain(0.3))),
        Line(third, None, "it has no texts"),
    ]
    text = show.page([show.as_dict("w2s-math", lines, 1.0)], every())
    assert "(+0.40 [0.30, 0.50])" in text
    assert f"- **{second.number} {second.name}**: tried b. why b. Record: +0.40 [0.30, 0.50] PGR." in text
    assert "not applicable: it has no texts" in text
    assert all(f"**{a.number} {a.name}**" in text for a in every())
