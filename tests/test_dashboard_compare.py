"""Labs side by side: what is compared, how far the best differ, and why some are not compared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from math import hypot
from types import SimpleNamespace

import numpy as np
import pytest

from aarlab.dashboard import charts, compare, ideas, render
from aarlab.dashboard.lab import Json, Snapshot, WatchedLab
from aarlab.records import Estimate
from aarlab.reports import compared
from aarlab.settings import Isolation
from harmless import harmful
from recorded_lab import make


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Snapshot, Snapshot]]:
    """A finished lab, and one that is still at research; intervals and record are measured."""
    root = tmp_path_factory.mktemp("labs")
    make(root / "over", submissions=25, posts=10, events=False, hostile=True)
    make(root / "going-on", submissions=20, posts=10, phase="research", seed=3, events=False)
    opened = [WatchedLab(root / name) for name in ("over", "going-on")]
    yield settled(opened[0]), settled(opened[1])
    for lab in opened:
        lab.close()


def settled(lab: WatchedLab) -> Snapshot:
    """A snapshot in which everything dear is there."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lab.look()
        found = lab.snapshot()
        if not found.drawing and (found.phase != "done" or found.report is not None):
            return found
        if not lab.work():
            time.sleep(0.05)
    raise AssertionError(f"{lab.folder} did not settle")


def html(page: Json) -> str:
    context = {"page": page, "live": "", "query": {}, "address": "/compare"}
    return render.page("compare.html.j2", {**context, "person": SimpleNamespace(role="viewer", csrf="x")})


def test_a_row_is_what_the_lab_says(labs: tuple[Snapshot, Snapshot]) -> None:
    """Each number is the snapshot's own; entropy and families are those of the page on ideas."""
    for lab in labs:
        row = compare.row(lab, "A")
        assert lab.best is not None
        assert (row["best"], row["best_pgr"]) == (lab.best.submission.id, lab.best.pgr.as_dict())
        assert row["dollars_per_hour"] == pytest.approx(row["dollars"] / row["researcher_hours"], rel=0.01)
        point = ideas.thoughts(lab).points[-1]
        assert (row["families"], row["entropy"]["bits"]) == (point.families, round(point.bits, 3))
        assert row["directions"] == "directed"


def test_the_record_is_sealed_until_the_end(labs: tuple[Snapshot, Snapshot]) -> None:
    over, going = (compare.row(lab, "A") for lab in labs)
    assert over["record"] is not None
    assert (going["sealed"], going["record"]) == (True, None)
    winner = labs[0].entry(labs[0].winner or 0)
    assert winner is not None
    assert winner.record is not None
    assert over["record"] == winner.record.as_dict()
    assert compare.row(replace(labs[0], phase="record"), "A")["record"] is None


def test_errors_of_two_labs_are_added_in_quadrature() -> None:
    a, b = Estimate(0.8, 0.7, 0.95, 5, 2000), Estimate(0.5, 0.3, 0.6, 16, 1000)
    found = compare.difference(a, b)
    assert found.mean == pytest.approx(0.3)
    assert found.mean - found.low == pytest.approx(hypot(0.1, 0.1))
    assert found.high - found.mean == pytest.approx(hypot(0.15, 0.2))
    back = compare.difference(b, a)
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_the_interval_of_a_difference_covers_as_it_says() -> None:
    """Two labs with independent normal errors: 95 in 100 intervals hold the true difference."""
    rng, inside = np.random.default_rng(1), 0
    for _ in range(2000):
        x, y = 0.7 + rng.normal(0, 0.05), 0.6 + rng.normal(0, 0.08)
        a = Estimate(x, x - 1.96 * 0.05, x + 1.96 * 0.05, 5, 2000)
        b = Estimate(y, y - 1.96 * 0.08, y + 1.96 * 0.08, 5, 2000)
        found = compare.difference(a, b)
        inside += found.low <= 0.1 <= found.high
    assert 0.935 <= inside / 2000 <= 0.965


def test_differences_have_an_interval_or_a_reason(labs: tuple[Snapshot, Snapshot]) -> None:
    feedback, record = compare.page(labs, [])["differences"]
    assert labs[0].best is not None
    assert labs[1].best is not None
    expected = compare.difference(labs[0].best.pgr, labs[1].best.pgr)
    assert (feedback["difference"], feedback["why_not"]) == (expected.as_dict(), "")
    assert (record["difference"], record["why_not"]) == (None, "the record of going-on is sealed until its run ends")


def test_what_cannot_be_compared_says_why(labs: tuple[Snapshot, Snapshot]) -> None:
    a, b = labs
    assert compare.apart(a, b) == ""
    other = replace(b, problem=replace(b.problem, name="w2s-code"))
    assert compare.apart(a, other).startswith("different problems: w2s-math and w2s-code")
    assert compare.apart(a, replace(b, problem=replace(b.problem, data_hash="0" * 64))).startswith("different items")
    settings = replace(b.settings, isolation=Isolation("process"), researchers=())
    assert "without isolation" in compare.apart(a, replace(b, settings=settings))
    page = compare.page([a, other], [])
    assert all(d["difference"] is None and d["why_not"] for d in page["differences"])
    assert "not compared: different problems" in html(page)


def test_an_interval_that_is_not_drawn_yet_is_waited_for(labs: tuple[Snapshot, Snapshot]) -> None:
    a, b = labs
    entries = tuple(replace(e, drawn=False) for e in b.entries)
    found = compare.page([a, replace(b, entries=entries)], [])["differences"][0]
    assert found["why_not"] == "the interval of going-on is being drawn"
    nothing = compare.page([a, replace(b, entries=())], [])["differences"][0]
    assert nothing["why_not"] == "going-on has nothing verified yet"


def test_unequal_terms_are_named(labs: tuple[Snapshot, Snapshot]) -> None:
    """First of all cautions; equal labs have none of it."""
    a, b = labs
    shorter = replace(b, settings=replace(b.settings, budget=replace(b.settings.budget, minutes=1.0)))
    assert "research time" in compare.cautions([a, shorter])[0]
    assert not any("Not on equal terms" in s for s in compare.cautions([a, replace(a, name="twin")]))
    assert compare.cautions([a]) == []


@pytest.mark.parametrize("name", compare.CHARTS)
@pytest.mark.parametrize("width", [340, 1020])
def test_charts_are_drawn_and_are_tables(labs: tuple[Snapshot, Snapshot], name: str, width: int) -> None:
    chart = compare.CHARTS[name]
    assert len(charts.compiled(chart.draw(labs, width))) > 1000
    assert {row["lab"] for row in chart.rows(labs)} == {"over", "going-on"}
    assert chart.draw([], width) is None
    assert chart.rows([]) == []


def test_best_so_far_only_rises(labs: tuple[Snapshot, Snapshot]) -> None:
    for lab in labs:
        steps = compare.steps(lab)
        assert list(steps) == sorted(steps)
        assert steps[-1][1] == max(e.pgr.mean for e in lab.entries)


def test_far_below_the_teacher_and_above_the_ceiling_stay_inside() -> None:
    """Values beyond the axis are clipped to it, and eight labs find room."""
    lines = [compared.Line(c, ((0.5, -9.0), (1.0, 2.0)), 2.0) for c in "ABCDEFGH"]
    marks = [compared.Mark(c, Estimate(-9, -12, 4, 5, 9), None, 0.1) for c in "ABCDEFGH"]
    assert len(charts.compiled(compared.over_time(lines, {}, 340))) > 1000
    assert len(charts.compiled(compared.reached(marks, 340))) > 1000


def test_the_picker_needs_no_script(labs: tuple[Snapshot, Snapshot]) -> None:
    """A plain form; without a choice the page asks for one, without any lab it says where to start one."""
    text = html(compare.page(labs, ["over", "going-on", "third"]))
    assert '<form method="get" action="/compare">' in text
    assert 'value="over" checked' in text
    assert 'value="third">' in text
    assert "/compare?lab=over&amp;lab=going-on&amp;format=csv&amp;table=labs" in text
    assert "Pick two labs to compare" in html(compare.page([], ["over"]))
    assert "Pick another lab to compare with over" in html(compare.page(labs[:1], ["over"]))
    assert "There is no lab in this folder yet" in html(compare.page([], []))
    assert harmful(text) == []
