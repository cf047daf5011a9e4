"""The page on ideas: the report's numbers, what is sampled says so, and who built on whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from aarlab.dashboard import catalogue, charts, ideas, render
from aarlab.dashboard.lab import Json, Snapshot, WatchedLab
from aarlab.ideas import entropy
from aarlab.ideas.families import FAMILIES
from aarlab.ideas.gather import Idea
from aarlab.reports import ideas as section
from aarlab.reports.data import collect
from harmless import harmful
from recorded_lab import make


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedLab]:
    """A finished lab of 60 submissions whose names and posts are hostile."""
    folder = tmp_path_factory.mktemp("labs") / "rec"
    lab = WatchedLab(make(folder, submissions=60, posts=60, events=False, hostile=True))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedLab]:
    folder = tmp_path_factory.mktemp("labs") / "new"
    lab = WatchedLab(make(folder, submissions=0, posts=0, phase="research", events=False))
    yield lab
    lab.close()


@pytest.fixture
def lab(watched: WatchedLab) -> Snapshot:
    return watched.snapshot()


@pytest.fixture
def forgotten() -> None:
    """Nothing was computed before."""
    for kept in (ideas.THOUGHTS, ideas.SIZES, ideas.NEWEST, ideas.FAMILY):
        kept._values.clear()


def html(lab: Snapshot, page: Json) -> str:
    context = {"lab": catalogue.brief(lab), "page": page, "here": "ideas", "live": "", "query": {}, "address": "/x"}
    return render.page("ideas.html.j2", {**context, "person": SimpleNamespace(role="operator", csrf="x")})


def test_page_and_report_have_the_same_ideas(watched: WatchedLab, lab: Snapshot) -> None:
    """Every family, who said so, the entropy and the sizes are what the report computes from the lab folder."""
    data, found = collect(watched.folder), ideas.thoughts(lab, watched.store)
    assert found.ideas == data.ideas
    assert found.points == section.entropy(data)
    assert {s.submission: (s.lines, s.nodes) for s in ideas.sizes(lab)} == {
        n: (c.lines, c.nodes) for n, c in data.complexity.items() if lab.entry(n)
    }
    page = ideas.page(lab, watched.store)
    assert [{k: row[k] for k in ("family", "submissions", "posts", "researchers")} for row in page["families"]] == (
        section.families(data.ideas)
    )
    assert {row["by"]: row["ideas"] for row in page["sources"]} == section.classers(data.ideas)
    assert page["left_out"] == []


def test_the_best_of_a_family_is_its_highest_score(watched: WatchedLab, lab: Snapshot) -> None:
    family = {i.number: i.family for i in ideas.thoughts(lab).ideas if i.kind == "submission"}
    for row in ideas.page(lab, watched.store)["families"]:
        own = [e.pgr.mean for e in lab.entries if family[e.submission.id] == row["family"]]
        assert (row["pgr"]["mean"] if row["pgr"] else None) == max(own, default=None)


def test_the_line_of_the_best_follows_parents_to_a_first_method(watched: WatchedLab, lab: Snapshot) -> None:
    """It ends at the winner; the lineage chart draws exactly these strong."""
    line = ideas.page(lab, watched.store)["lineage"]
    assert line[-1]["submission"] == lab.winner
    assert line[0]["parent"] is None
    assert [row["parent"] for row in line[1:]] == [row["submission"] for row in line[:-1]]
    assert {e.submission for e in ideas.events(lab) if e.ancestor} == {row["submission"] for row in line}


def test_a_circle_of_parents_ends(lab: Snapshot) -> None:
    """A damaged lab whose methods name each other as parents is no endless loop."""
    assert lab.winner is not None
    submissions = {n: replace(s, parent=lab.winner) for n, s in lab.submissions.items()}
    assert ideas.leading(replace(lab, submissions=submissions)) == (lab.winner,)


def test_who_built_on_whom_counts_every_child_once(watched: WatchedLab, lab: Snapshot) -> None:
    page = ideas.page(lab, watched.store)
    children = sum(s.parent is not None for s in lab.submissions.values())
    assert sum(row["methods"] for row in page["pairs"]) == children
    assert all(row["own"] == (row["researcher"] == row["built_on"]) for row in page["pairs"])
    first = page["built_on"][0]
    assert first["children"] == max(row["children"] for row in page["built_on"])


def test_large_labs_are_sampled_and_say_so(
    watched: WatchedLab, lab: Snapshot, monkeypatch: pytest.MonkeyPatch, forgotten: None
) -> None:
    """Few files and posts are read and few marks drawn."""
    for name, most in (("READ", 10), ("POSTS", 12), ("DRAWN", 20), ("LINKED", 15)):
        monkeypatch.setattr(ideas, name, most)
    said = " ".join(ideas.page(lab, watched.store)["left_out"])
    assert re.search(r"The code of \d+ of 60 submissions was read so far", said)
    assert re.search(r"The chart of sizes is of \d+ of 60 submissions", said)
    assert "the newest 12 were read" in said
    assert re.search(r"draws \d+ of \d+ ideas", said)
    assert re.search(r"lineage draws 15 of \d+ methods", said)
    assert len(ideas.events(lab)) == 15
    assert set(ideas.leading(lab)) <= {e.submission for e in ideas.events(lab)}
    assert set(ideas.leading(lab)) <= {s.id for s in ideas.spread(lab)}


def test_what_was_read_between_pages_counts(
    watched: WatchedLab, lab: Snapshot, monkeypatch: pytest.MonkeyPatch, forgotten: None
) -> None:
    """Once the lab's background work has classed all methods, nothing is left out of the families."""
    monkeypatch.setattr(ideas, "READ", 10)
    assert sum(row["submissions"] for row in ideas.page(lab, watched.store)["families"]) < 60
    for s in lab.submissions.values():
        ideas.family_of(lab.folder, s.bundle_hash)
    ideas.THOUGHTS._values.clear()
    page = ideas.page(lab, watched.store)
    assert sum(row["submissions"] for row in page["families"]) == 60
    assert not any("was read so far" in s for s in page["left_out"])


def test_an_unchanged_lab_is_thought_about_once(watched: WatchedLab, lab: Snapshot, forgotten: None) -> None:
    """Page and charts share one answer, also where a chart comes without the lab's open database."""
    found = ideas.thoughts(lab)
    assert ideas.thoughts(lab, watched.store) is found
    assert ideas.thoughts(replace(lab, posts=lab.posts + 1), watched.store) is not found


@pytest.mark.parametrize("name", ideas.CHARTS)
@pytest.mark.parametrize("width", [340, 1020])
def test_every_chart_is_drawn_and_is_a_table(lab: Snapshot, name: str, width: int) -> None:
    chart = ideas.CHARTS[name]
    assert len(charts.compiled(chart.draw(lab, width, ""))) > 1000
    rows = chart.rows(lab, "")
    assert rows
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_hostile_names_are_words(watched: WatchedLab, lab: Snapshot) -> None:
    """Whole page and live parts: nothing that a researcher wrote is markup, a script, an image or a style."""
    page = ideas.page(lab, watched.store)
    context = {"lab": catalogue.brief(lab), "page": page, "here": "ideas"}
    for text in (html(lab, page), *render.parts("ideas.html.j2", context).values()):
        assert harmful(text) == []
    assert {"part_ideas", "part_idea_tables"} <= set(render.parts("ideas.html.j2", context))


def test_a_lab_without_ideas_says_so(empty: WatchedLab) -> None:
    lab = empty.snapshot()
    page = ideas.page(lab, empty.store)
    assert page["headline"].startswith("No researcher has proposed anything yet")
    assert (page["families"], page["lineage"], page["pairs"], page["researchers"]) == ([], [], [], [])
    assert all(chart.draw(lab, 760, "") is None for chart in ideas.CHARTS.values())
    assert "No submission names a parent yet." in html(lab, page)


def test_headline_tells_the_end_from_the_way(watched: WatchedLab, lab: Snapshot) -> None:
    found = ideas.thoughts(lab, watched.store)
    assert ideas.headline(lab, found).startswith("The fleet ended at ")
    assert ideas.headline(replace(lab, phase="research"), found).startswith("The fleet is at ")
    assert f"of {section.most(found.points[-1].researchers):.2f} that" in ideas.headline(lab, found)


def test_distinct_families_are_the_points_of_the_entropy(lab: Snapshot) -> None:
    rows = ideas.CHARTS["distinct"].rows(lab, "")
    assert all(1 <= row["families"] <= min(len(FAMILIES), row["researchers"]) for row in rows)


def test_points_at_rising_times_need_one_pass() -> None:
    """The curve is what `at_work` says at every moment, however the ideas are ordered."""
    names = list(FAMILIES)
    told = [Idea(t, f"r{t % 7}", "submission", t, names[t * t % 11], "rules") for t in (9, 3, 5, 1, 7, 2, 8)]
    for p in entropy.curve(told, [2.0, 5.0, 9.0], least=1):
        now = entropy.at_work(told, p.time)
        assert (p.researchers, p.families) == (len(now), len(set(now.values())))
