"""The leaderboard: who is on it, in which order, what may be asked of it, and that it tells nothing too early."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from aarlab.dashboard import catalogue, charts, leaderboard, render
from aarlab.dashboard.downloads import as_csv
from aarlab.dashboard.lab import Json, Snapshot, WatchedLab
from aarlab.errors import InputError
from aarlab.reports import board
from aarlab.statistics import best_of_inflation
from recorded_lab import make


def settled(lab: WatchedLab) -> WatchedLab:
    lab.look()
    while lab.work():
        lab.look()
    return lab


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedLab]:
    """A finished lab whose names and posts are hostile."""
    lab = settled(WatchedLab(make(tmp_path_factory.mktemp("labs") / "rec", submissions=60, posts=10, hostile=True)))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def going(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedLab]:
    """A lab in the middle of research."""
    folder = tmp_path_factory.mktemp("labs") / "now"
    lab = settled(WatchedLab(make(folder, submissions=40, posts=10, phase="research", events=False)))
    yield lab
    lab.close()


@pytest.fixture
def lab(done: WatchedLab) -> Snapshot:
    return done.snapshot()


def rows(lab: WatchedLab, **query: str) -> list[Json]:
    found: list[Json] = leaderboard.page(lab.snapshot(), lab.store, query)["rows"]
    return found


def html(lab: Snapshot, page: Json) -> str:
    context = {
        "lab": catalogue.brief(lab),
        "page": page,
        "here": "leaderboard",
        "live": "",
        "query": {},
        "address": "/x",
    }
    return render.page("leaderboard.html.j2", {**context, "person": SimpleNamespace(role="viewer", csrf="x")})


# Who and in which order


def test_only_verified_submissions_and_baselines_are_on_it(done: WatchedLab, lab: Snapshot) -> None:
    found = rows(done)
    assert {r["submission"] for r in found if not r["baseline"]} == {e.submission.id for e in lab.entries}
    assert {r["name"] for r in found if r["baseline"]} == set(lab.baselines)
    assert all(r.get("rank") is None for r in found if r["baseline"])


def test_ranks_run_over_ranked_rows_alone_as_in_the_report(done: WatchedLab, lab: Snapshot) -> None:
    """The page and the report agree on who has which rank."""
    assert lab.report is not None
    expected = {r.submission.id: r.rank for r in lab.report[1].rows}
    found = {r["submission"]: r["rank"] for r in rows(done) if not r["baseline"]}
    assert found == {n: expected[n] for n in found}
    assert any(r["rank"] is None and r["audit"]["verdict"] == "not ranked" for r in rows(done) if not r["baseline"])


def test_baselines_stand_among_the_others_by_their_numbers(going: WatchedLab) -> None:
    means = [r["pgr"]["mean"] for r in rows(going)]
    assert means == sorted(means, reverse=True)


def test_the_winner_leads_and_finalists_come_before_the_rest(done: WatchedLab, lab: Snapshot) -> None:
    found = [r for r in rows(done) if not r["baseline"]]
    assert found[0]["winner"]
    assert found[0]["submission"] == lab.winner
    assert {r["submission"] for r in found[: len(lab.finalists)]} == set(lab.finalists)


def test_numbers_of_record_are_sealed_until_the_end(done: WatchedLab, going: WatchedLab, lab: Snapshot) -> None:
    """Also a snapshot that already holds them shows none, and does not sort by them, before the phase is over."""
    page = leaderboard.page(going.snapshot(), going.store, {})
    assert page["record"] == "sealed"
    assert not any(r["record"] for r in page["rows"])
    assert "sealed until the run ends" in html(going.snapshot(), page)
    early = leaderboard.page(replace(lab, phase="transfer", version=-1), done.store, {})
    assert not any(r["record"] or r.get("winner") for r in early["rows"])
    assert "record" not in {r["task"] for r in leaderboard._claim_rows(replace(lab, phase="transfer"), "")}
    assert sum(r["record"] is not None for r in rows(done)) == len(lab.finalists) + len(lab.baselines)


def test_a_lab_without_isolation_ranks_nothing(done: WatchedLab, lab: Snapshot) -> None:
    isolation = replace(lab.settings.isolation, kind="process")
    settings = replace(lab.settings, isolation=isolation, researchers=())
    page = leaderboard.page(replace(lab, settings=settings, version=-2), done.store, {})
    assert not any(r["rank"] for r in page["rows"])
    assert "without isolation" in page["notes"][0]


# Sorting, filtering, paging


@pytest.mark.parametrize("column", [c for c in leaderboard.COLUMNS if c != "rank"])
def test_every_column_sorts_both_ways_and_what_is_unknown_goes_last(done: WatchedLab, column: str) -> None:
    lab = done.snapshot()
    items = {order: leaderboard._sorted(leaderboard.whole_board(lab).items, column, order)
             for order in ("ascending", "descending")}  # fmt: skip
    value = leaderboard.COLUMNS[column].value
    for order, found in items.items():
        known = [value(i) for i in found if value(i) is not None]
        assert known == sorted(known, reverse=order == "descending")
        assert all(value(i) is None for i in found[len(known) :])
    assert len(items["ascending"]) == len(items["descending"]) == len(lab.entries) + len(lab.baselines)


def test_headers_are_links_that_sort_and_then_turn_round(done: WatchedLab, lab: Snapshot) -> None:
    page = leaderboard.page(lab, done.store, {"sort": "claimed", "text": "a b"})
    column = page["columns"]["claimed"]
    assert column["sorted"] == "descending"
    assert "order=ascending" in column["address"]
    assert "text=a+b" in page["columns"]["name"]["address"]
    assert page["columns"]["name"]["sorted"] == ""
    shown = html(lab, leaderboard.page(lab, done.store, {"sort": "claimed"}))
    assert re.search(r'<th[^>]*aria-sort="descending"><a href="[^"]*order=ascending[^"]*">claimed', shown)
    assert shown.count("aria-sort") == 1


def test_filters_hold_together(done: WatchedLab, lab: Snapshot) -> None:
    who = lab.entries[0].submission.researcher
    found = rows(done, researcher=who)
    assert {r["researcher"] for r in found} == {who}
    track = found[0]["track"]
    both = rows(done, researcher=who, track=track)
    assert both
    assert all((r["researcher"], r["track"]) == (who, track) for r in both)
    assert all(r["audit"]["verdict"] == "ranked" for r in rows(done, verdict="ranked"))
    family = next(r["family"] for r in found if r["family"])
    assert {r["family"] for r in rows(done, family=family)} == {family}
    assert [r["submission"] for r in rows(done, text=f"#{found[0]['submission']} {found[0]['name'][:5]}".upper())]
    assert rows(done, text="no such words anywhere") == []


def test_nothing_that_matches_is_said_with_a_way_back(done: WatchedLab, lab: Snapshot) -> None:
    assert "No row matches" in html(lab, leaderboard.page(lab, done.store, {"text": "zzzzz"}))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"sort": "luck"}, "luck"),
        ({"order": "up"}, "up"),
        ({"page": "0"}, "0"),
        ({"page": "²"}, "²"),
        ({"page": "x"}, "x"),
    ],
)
def test_what_there_is_not_is_refused_in_a_sentence(done: WatchedLab, query: dict[str, str], named: str) -> None:
    with pytest.raises(InputError, match=named):
        leaderboard.page(done.snapshot(), done.store, query)


def test_pages_follow_each_other_without_gap_or_repeat(done: WatchedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "SIZE", 20)
    lab = done.snapshot()
    pages = [leaderboard.page(lab, done.store, {"page": str(n), "sort": "pgr"}) for n in (1, 2, 3)]
    names = [(r["name"], r["submission"]) for p in pages for r in p["rows"]]
    assert len(names) == len(set(names)) == pages[0]["found"]["total"]
    assert pages[0]["addresses"]["previous"] is None
    assert pages[2]["addresses"]["next"] is None
    assert pages[1]["addresses"]["next"].endswith("leaderboard?sort=pgr&page=3")
    beyond = leaderboard.page(lab, done.store, {"page": "99"})
    assert beyond["found"]["page"] == 3


def test_the_csv_has_all_rows_that_match_and_a_number_a_cell(done: WatchedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "SIZE", 5)
    lab = done.snapshot()
    found = leaderboard.page(lab, done.store, {"format": "csv", "table": "rows"})["rows"]
    assert len(found) == len(lab.entries) + len(lab.baselines)
    assert all(not isinstance(v, dict | list) for r in found for v in r.values())
    text = as_csv(found)
    assert text.startswith("rank,baseline,name,submission,pgr,pgr_low,pgr_high,lead")
    assert not re.search(r"(^|,)[=@+]", text, re.MULTILINE)  # no formula


# What is said


def test_a_claim_outside_its_interval_is_marked(done: WatchedLab, lab: Snapshot) -> None:
    found = [r for r in rows(done) if not r["baseline"] and r["claimed"] is not None]
    for r in found:
        low, high = r["pgr"]["low"], r["pgr"]["high"]
        assert r["claim"] == ("above" if r["claimed"] > high else "below" if r["claimed"] < low else "inside")
    above = sum(r["claim"] == "above" for r in found)
    assert above
    assert html(lab, leaderboard.page(lab, done.store, {})).count("the claim lies above") == above


def test_an_interval_that_is_not_drawn_is_not_claimed_to_be_known(done: WatchedLab, lab: Snapshot) -> None:
    entry = replace(lab.entries[0], drawn=False, lead=None)
    bare = replace(lab, entries=(entry, *lab.entries[1:]), drawing=1, version=-3)
    page = leaderboard.page(bare, done.store, {})
    row = next(r for r in page["rows"] if r["submission"] == entry.submission.id)
    assert row["pgr"]["low"] is None
    assert row["claim"] == ""
    assert row["lead"] is None
    assert "1 interval still to be drawn" in page["notes"][-1]
    assert "[…]" in html(bare, page)


def test_the_luck_of_the_best_is_one_sentence(done: WatchedLab, lab: Snapshot) -> None:
    found = leaderboard.best_of(lab)
    assert found is not None
    assert found["inflation"] == pytest.approx(best_of_inflation(found["median_se"], len(lab.entries)), abs=1e-3)
    assert found["text"] in html(lab, leaderboard.page(lab, done.store, {}))
    assert leaderboard.best_of(replace(lab, entries=lab.entries[:1])) is None


def test_verdicts_are_marks_with_their_words_in_the_text(done: WatchedLab, lab: Snapshot) -> None:
    """Whoever cannot see colours, hover or see at all reads the verdict and its reason."""
    shown = html(lab, leaderboard.page(lab, done.store, {}))
    barred = next(r for r in rows(done) if not r["baseline"] and r["audit"]["verdict"] == "not ranked")
    text = re.sub(r"<[^>]*>", "", shown)
    assert "✕ not ranked" in text
    assert "○ not audited" in text
    assert barred["audit"]["reason"] in re.sub(r"&#39;|&amp;", "'", text)
    assert barred["audit"]["channels"]
    assert f"▲ {barred['audit']['channels'][0]['channel']}" in text


def test_rows_lead_to_code_and_transcript(done: WatchedLab, lab: Snapshot) -> None:
    found = next(r for r in rows(done) if r.get("transcript"))
    assert found["transcript"]["link"].startswith("http://127.0.0.1:7575/#/logs/")
    shown = html(lab, leaderboard.page(lab, done.store, {}))
    assert f'href="submissions/{found["submission"]}#code"' in shown
    assert found["transcript"]["link"] in shown


def test_hostile_names_are_text(done: WatchedLab, lab: Snapshot) -> None:
    """Nothing of a researcher's becomes markup, and marks that turn the writing direction are visible."""
    shown = html(lab, leaderboard.page(lab, done.store, {}))
    main = shown[shown.index("<main") :]
    assert "alert(1)" in main
    assert "<script" not in main
    assert "<img" not in main
    assert "\u202e" not in main
    assert "style=" not in main
    assert not re.search(r"<[^>]* on\w+=", main)


def test_a_lab_without_scores_says_what_it_waits_for(done: WatchedLab, lab: Snapshot) -> None:
    page = leaderboard.page(replace(lab, entries=(), version=-4), done.store, {})
    assert page["best_of"] is None
    assert "Nothing verified yet" in html(lab, page)


def test_the_table_is_a_live_part(done: WatchedLab, lab: Snapshot) -> None:
    parts = render.parts("leaderboard.html.j2", {"lab": catalogue.brief(lab),
                         "page": leaderboard.page(lab, done.store, {}), "here": "leaderboard"})  # fmt: skip
    assert parts["part_board"].startswith('<div id="part_board">')


# Charts


@pytest.mark.parametrize("name", ["claims", "board"])
def test_charts_draw_and_list_their_numbers(lab: Snapshot, name: str) -> None:
    chart = leaderboard.CHARTS[name]
    assert len(charts.compiled(chart.draw(lab, 760, ""))) > 1000
    assert as_csv(chart.rows(lab, "")).count("\n") > 10
    assert chart.draw(replace(lab, entries=(), baselines={}, version=-5), 340, "") is None


def test_points_of_the_forest_say_and_lead_somewhere(lab: Snapshot) -> None:
    drawn = leaderboard.CHARTS["board"].draw(lab, 760, "").to_dict(validate=False)
    values = [r for data in drawn["datasets"].values() for r in data] if "datasets" in drawn else _inline(drawn)
    links = [r["href"] for r in values if r.get("href")]
    assert f"/labs/rec/submissions/{lab.winner}" in links
    assert {r["kind"] for r in values if "kind" in r} == set(board.LOOKS)


def _inline(chart: Json) -> list[Json]:
    return [r for layer in [chart, *chart["layer"]] for r in layer.get("data", {}).get("values", [])]
