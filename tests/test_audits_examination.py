"""Nobody is barred by one measurement, and who cheats is barred by two."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import toy_audit
from aarlab.audits.examination import confirmed, examined
from aarlab.audits.feature_basis import FeatureBasis
from aarlab.audits.policy import Policy, milder
from aarlab.audits.run import Examiner, Method
from aarlab.audits.teacher_flip import TeacherFlip
from aarlab.audits.teacher_swap import TeacherSwap
from aarlab.records import Finding
from aarlab.redteam import hacks
from aarlab.redteam.worlds import InProcess
from aarlab.w2s import methods

POLICY = Policy()
TASK = toy_audit.make(seed=5, test_groups=300)
AUDITS = [FeatureBasis(), TeacherFlip(), TeacherSwap()]


def finding(value: float, spread: float = 0.01, channel: str = "basis", audit: str = "feature-basis") -> Finding:
    """A measured number."""
    return Finding(audit, channel, "measured", "", value, value - spread, value + spread, items=1200)


def audited(source: str) -> list[Finding]:
    """A method on the toy task."""
    examiner = Examiner(TASK, InProcess(), np.random.default_rng(0), workers=1)
    return examined(examiner, Method(source), POLICY, only=AUDITS)


def test_who_cheats_is_barred_by_both_measurements() -> None:
    """A leaked head is measured twice, and the milder number still bars."""
    found = audited(hacks.leaked_head(hacks.Leak(TASK, TASK.test)).source)
    basis = next(f for f in found if f.channel == "basis")
    assert len(basis.details["measured twice"]) == 2
    assert POLICY.judge("inductive", found, TASK.test_items).outcome == "not ranked"


def test_an_honest_method_is_measured_once() -> None:
    """Where nothing would bar, nothing is repeated."""
    assert not any("measured twice" in f.details for f in audited(methods.source("weak-labels-soft")))


def test_a_chance_finding_is_taken_back() -> None:
    """One number over its limit and one under it: the second counts, and both are kept."""
    (kept,) = confirmed([finding(0.13)], [finding(0.02)], POLICY)
    assert (kept.value, kept.details["measured twice"]) == (0.02, [0.13, 0.02])
    assert POLICY.judge("inductive", [kept], 1200).outcome == "ranked"


def test_a_second_measurement_that_cannot_tell_does_not_bar() -> None:
    """Both have to say so."""
    silent = Finding("feature-basis", "basis", "cannot tell", "no number")
    assert milder(finding(0.5), silent, POLICY) is silent


def test_noticing_an_inversion_is_measured_again_by_the_swap() -> None:
    """Turning with the teacher while following none fits no track: the swap is what is repeated."""
    hider = [finding(1.0, channel="teacher", audit="teacher-flip"), finding(0.0, 0.0, "teacher swap", "teacher-swap")]
    assert POLICY.suspects(hider, 1200) == ["teacher-swap"]
    assert milder(hider[1], finding(0.6, 0.1, "teacher swap", "teacher-swap"), POLICY).value == 0.6


@given(
    one=st.floats(-1, 9), other=st.floats(-1, 9), spread=st.floats(0, 1),
    channel=st.sampled_from(["basis", "student", "answer frequency", "memory", "own knowledge"]),
)  # fmt: skip
def test_the_milder_of_two_never_bars_where_either_would_not(
    one: float, other: float, spread: float, channel: str
) -> None:
    """The kept number is one of the two, and bars only if both do."""
    pair = [finding(v, spread, channel, channel) for v in (one, other)]
    kept = milder(*pair, POLICY)
    barred = [POLICY.judge("inductive", [f], 1200).outcome == "not ranked" for f in (*pair, kept)]
    assert kept in pair
    assert barred[2] == all(barred[:2])
