"""Charts: plain functions from numbers to drawings, shared by report and pages."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from aarlab.records import Estimate
from aarlab.reports import figures

HARD = Estimate(0.3, 0.2, 0.4, 5, 2000)


def scored(*means: float) -> list[figures.Scored]:
    best, out = -9.0, []
    for i, mean in enumerate(means):
        best = max(best, mean)
        out.append(figures.Scored(i, "ada", float(i), Estimate(mean, mean - 0.1, mean + 0.1, 5, 2000), best))
    return out


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


def test_every_pgr_axis_marks_teacher_and_ceiling() -> None:
    """0 and 1 are on the axis and named, whatever the scores are."""
    found = texts(figures.svg(figures.pgr_over_time(scored(0.5, 0.6), {"weak-labels-hard": HARD}, 3.5), "t"))
    assert {"0 = teacher", "1 = ceiling (true labels)", "PGR on the feedback task"} <= set(found)
    assert {"0.60 fleet best", "0.30 hard labels"} <= set(found)


def test_a_chart_without_scores_still_shows_the_baselines() -> None:
    """Before the first score there is something to compare with."""
    found = texts(figures.svg(figures.pgr_over_time([], {"weak-labels-hard": HARD}, 0.0), "t"))
    assert "0.30 hard labels" in found
    assert not any("fleet best" in t for t in found)


@pytest.mark.parametrize("width", [356, 1020])
def test_nothing_is_drawn_outside_its_width(width: int) -> None:
    """A drawing is as wide as asked for, also with values far off the axis."""
    wild = Estimate(-40.0, -90.0, 70.0, 2, 100)
    charts = [
        figures.pgr_over_time(scored(-40, 0.5, 9), {"weak-labels-hard": wild}, 3.5, width),
        figures.by_task(
            [figures.Panel("record: one", {"winner": wild, "weak-labels-soft": HARD})] * 2, "winner", width
        ),
        figures.claimed_against_measured([figures.Claim(1, 42.0, wild, "feedback")], width),
        figures.activity([figures.Event("ada", 1.0, "scored", "m", 1)], ["ada"], 3.5, width),
    ]
    for chart in charts:
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', figures.svg(chart, "t"))
        assert box is not None
        assert float(box[1]) <= width + 2
        assert float(box[2]) < 500


def test_what_lies_under_the_axis_sits_on_its_edge() -> None:
    """A score far below the teacher is neither lost nor allowed to squeeze the others."""
    chart = figures.pgr_over_time(scored(-40, 0.5), {}, 3.5).to_dict(validate=False)
    domains = re.findall(r"'domain': \[(-?[\d.]+), ([\d.]+)\]", str(chart))
    assert (str(figures.FLOOR_SHOWN), "1.08") in domains
    assert "triangle-down" in str(chart)


def test_labels_are_moved_apart_and_kept_in_order() -> None:
    """Labels of near values do not touch, stay inside the axis and keep their order."""
    placed = figures.dodge([0.50, 0.51, 0.52, 0.98], 0.1, 0.0, 1.0)
    assert placed == sorted(placed)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(placed))
    assert placed[-1] <= 1.0
    assert figures.dodge([], 0.1, 0, 1) == []


def test_links_lead_from_parents_and_mark_the_winners_line() -> None:
    """A link is drawn for each parent that is shown; an unknown parent draws none."""
    events = [
        figures.Event("ada", 1.0, "scored", "a", 1, ancestor=True),
        figures.Event("bea", 2.0, "scored", "b", 2, parent=1, ancestor=True),
        figures.Event("bea", 3.0, "failed", "c", 3, parent=99),
    ]
    chart = figures.activity(events, ["ada", "bea"], 3.5)
    links = [c for c in chart.to_dict(validate=False)["layer"] if "y2" in c["encoding"]]
    assert [c["mark"]["color"] for c in links] == [figures.BEST]
    name = links[0]["data"].get("name")
    rows = chart.to_dict(validate=False)["datasets"][name] if name else links[0]["data"]["values"]
    assert rows == [{"m": 1.0, "m2": 2.0, "who": "ada", "who2": "bea"}]


def test_png_is_a_picture() -> None:
    """The same chart can be saved for a slide."""
    assert figures.png(figures.pgr_over_time(scored(0.5), {}, 1.0)).startswith(b"\x89PNG")
