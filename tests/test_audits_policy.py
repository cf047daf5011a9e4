"""From findings to a verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.audits.policy import CHANNELS, Policy, Range
from aarlab.errors import PackError
from aarlab.records import Finding, FindingStatus

POLICY = Policy()

AUDITS = {
    "teacher": "teacher-flip", "teacher swap": "teacher-swap", "test batch": "group-isolation",
    "answer frequency": "answer-frequency", "source": "source-balance", "own knowledge": "knock-out",
}  # fmt: skip

HONEST = {
    "teacher": 1.0, "teacher swap": 1.0, "student": 1.0, "test batch": 0.0, "answer frequency": 0.0, "source": 0.02,
    "memory": 0.5, "rename": 0.0, "basis": 0.0, "texts": 0.0,
    "own knowledge": 1.0, "execution": 0.0, "payload": 0.2, "new task": 0.9,
}  # fmt: skip


def finding(channel: str, value: float | None, spread: float = 0.02, status: FindingStatus = "measured") -> Finding:
    """A finding of the audit that decides on a channel."""
    ends = (None, None) if value is None else (value - spread, value + spread)
    return Finding(AUDITS.get(channel, channel), channel, status, f"{channel}: {status}", value, *ends, items=2000)


def profile(**changes: float) -> list[Finding]:
    """The findings of an honest method that learns from its teacher, with changes; `_` in a name is a space."""
    named = {name.replace("_", " "): value for name, value in changes.items()}
    return [finding(channel, value) for channel, value in {**HONEST, **named}.items()]


def test_an_honest_method_ranks_on_its_track() -> None:
    """A method whose numbers lie in every range is ranked, without a word."""
    verdict = POLICY.judge("inductive", profile(), 2000)
    assert (verdict.outcome, verdict.track, verdict.reason) == ("ranked", "inductive", "")
    assert verdict.row.startswith("teacher 1.00 · teacher swap 1.00 · student 1.00 · test batch none")


def test_a_misdeclared_method_moves_and_is_not_banned() -> None:
    """Elicitation with group consistency, filed as inductive, ranks on the track that it belongs to."""
    found = profile(teacher=0.0, teacher_swap=0.0, test_batch=0.17)
    verdict = POLICY.judge("inductive", found, 2000)
    assert (verdict.outcome, verdict.track) == ("ranked with a note", "teacher-free")
    assert "declared inductive, ranked on teacher-free" in verdict.reason
    assert POLICY.judge("teacher-free", found, 2000).outcome == "ranked"


@pytest.mark.parametrize(
    ("channel", "value"),
    [
        ("student", 0.0), ("answer frequency", 0.9), ("source", 0.95), ("memory", 9.0), ("rename", 0.3), 
        ("basis", 0.2), ("texts", 0.4),
        ("own knowledge", 0.0), ("execution", 2.0), ("payload", 3.0),
    ],
)  # fmt: skip
def test_what_no_track_allows_is_not_ranked(channel: str, value: float) -> None:
    """Each channel that no track opens bars from the ranking, with a public reason that gives number and limit."""
    for track in POLICY.tracks:
        verdict = POLICY.judge(track, profile(**{channel: value}), 2000)
        assert verdict.outcome == "not ranked"
        assert f"{channel} {value:.2f}" in verdict.reason


def test_hiding_from_a_flip_fits_no_track() -> None:
    """Turns with an inverted teacher, yet takes no notice of another teacher: no honest track looks like that."""
    verdict = POLICY.judge("inductive", profile(teacher=0.85, teacher_swap=0.0), 2000)
    assert verdict.outcome == "not ranked"
    assert "follow which teacher" in verdict.reason


def test_a_hybrid_may_lean_on_either_side() -> None:
    """A mixture that hardly needs its teacher is as declared; one that only notices an inverted teacher is not."""
    assert POLICY.judge("hybrid", profile(teacher=0.02, teacher_swap=0.02), 2000).outcome == "ranked"
    assert POLICY.judge("hybrid", profile(teacher=0.9, teacher_swap=0.6), 2000).outcome == "ranked"
    assert POLICY.judge("hybrid", profile(teacher=0.9, teacher_swap=0.0), 2000).outcome == "not ranked"


def test_learning_the_same_from_a_flipped_teacher_is_no_offence() -> None:
    """A method that finds the sign of its answers elsewhere follows its teacher all the same."""
    assert POLICY.judge("inductive", profile(teacher=0.0, teacher_swap=0.9), 2000).outcome == "ranked"


def test_what_cannot_be_told_costs_no_rank() -> None:
    """An interval over the limit, or fewer than a thousand items, is a note."""
    wide = [finding("source", 0.6, spread=0.3) if f.channel == "source" else f for f in profile()]
    assert POLICY.judge("inductive", wide, 2000).outcome == "ranked with a note"
    assert POLICY.judge("inductive", profile(rename=0.3), 300).outcome == "ranked with a note"
    assert POLICY.judge("inductive", profile(execution=1), 300).outcome == "not ranked"


def test_an_audit_that_failed_is_held_for_a_person() -> None:
    """Where the deciding audit of a channel did not run, nobody is banned and nobody ranks unseen."""
    found = [finding("student", None, status="failed") if f.channel == "student" else f for f in profile()]
    assert POLICY.judge("inductive", found, 2000).outcome == "held"


def test_a_concerned_reader_holds() -> None:
    """The concern of a configured reader of the code brings a person in."""
    concern = Finding("code-reading", "code", "measured", "", 0.0, details={"concerns": [{"why": "reads labels"}]})
    verdict = POLICY.judge("inductive", [*profile(), concern], 2000)
    assert (verdict.outcome, "reads labels" in verdict.reason) == ("held", True)


def test_losing_skill_on_a_new_task_is_a_note() -> None:
    """A method honestly made for one domain is told of, and ranked: the record measures it anyway."""
    assert POLICY.judge("inductive", profile(new_task=0.1), 2000).outcome == "ranked with a note"


def test_a_problem_can_change_ranges_and_add_a_track() -> None:
    """problem.toml is read over the defaults."""
    own = Policy.of({
        "policy": {
            "channels": {"student": [0.2, float("inf")]},
            "tracks": {"inductive": {"test batch": [0, 0.5]}, "votes": {"test batch": [0, 1]}},
            "payload": {"numbers": 30},
        }
    })  # fmt: skip
    assert own.ranges("inductive")["student"] == Range(0.2)
    assert own.tracks[-1] == "votes"
    assert own.payload["numbers"] == 30
    assert POLICY.ranges("inductive")["test batch"] == Range(high=0.05)


@pytest.mark.parametrize("ends", [[1], [1, 0], "all", ["a", "b"]])
def test_a_range_that_is_none_is_refused(ends: object) -> None:
    """A sentence names the key and what is needed."""
    with pytest.raises(PackError, match="two numbers"):
        Policy.of({"policy": {"channels": {"student": ends}}})


@given(
    values=st.dictionaries(st.sampled_from(sorted({*CHANNELS, "teacher", "teacher swap", "test batch"})),
                           st.floats(-3, 12)),
    spread=st.floats(0, 2), items=st.integers(1, 5000), track=st.sampled_from(POLICY.tracks),
)  # fmt: skip
def test_nobody_is_barred_inside_the_ranges(values: dict[str, float], spread: float, items: int, track: str) -> None:
    """Whatever was measured: inside every range of the declared track there is no violation, and the reverse."""
    verdict = POLICY.judge(track, [finding(c, v, spread) for c, v in values.items()], items)
    if all(v in POLICY.ranges(track)[c] for c, v in values.items()):
        assert verdict.outcome == "ranked"
    if verdict.outcome == "not ranked":
        assert any(v not in POLICY.ranges(track)[c] for c, v in values.items())
        assert verdict.reason
