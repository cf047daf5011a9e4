"""The page of one submission: every state, scores that stay sealed, audits, code and changes, relatives, ledger."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest

import toy
from aarlab.audits.policy import SHOWN_ONLY
from aarlab.dashboard import catalogue, charts, render, submission
from aarlab.dashboard.changes import MOST_COLOURED, Code, changes, lines
from aarlab.dashboard.downloads import as_csv
from aarlab.dashboard.lab import Json, Snapshot, WatchedLab, source
from aarlab.errors import UnknownName
from aarlab.execution.base import MethodRun, RunResult
from aarlab.records import Submission
from dashboard_pages import parts
from dashboard_site import chromium, served, until
from recorded_lab import make
from toy_lab import ToyLab


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedLab]:
    """A finished lab whose names, posts and one method file are hostile."""
    lab = WatchedLab(make(tmp_path_factory.mktemp("labs") / "rec", submissions=60, posts=60, hostile=True))
    lab.look()
    while lab.work():
        lab.look()
    yield lab
    lab.close()


@pytest.fixture
def lab(done: WatchedLab) -> Snapshot:
    return done.snapshot()


def one(lab: Snapshot, **values: object) -> Submission:
    """The first submission with these values."""
    return next(s for s in lab.submissions.values() if all(getattr(s, k) == v for k, v in values.items()))


def page(done: WatchedLab, number: int, lab: Snapshot | None = None, **query: str) -> Json:
    return submission.page(lab or done.snapshot(), done.store, number, query)


def html(lab: Snapshot, made: Json, role: str = "operator") -> str:
    address = f"/labs/rec/submissions/{made['submission']}"
    context = {"lab": catalogue.brief(lab), "page": made, "here": "submissions", "live": "", "query": {}}
    whole = {**context, "address": address, "person": SimpleNamespace(role=role, csrf="x")}
    return render.page("submission.html.j2", whole)


def test_every_submission_has_a_page_that_is_plain_json(done: WatchedLab, lab: Snapshot) -> None:
    """Whatever its state, the page renders; the code is there as it was handed in, nothing else of it is in there."""
    for number in lab.submissions:
        made = page(done, number)
        assert json.loads(json.dumps(made, allow_nan=False))["source"] == source(lab, number)
        assert f"#{number}" in html(lab, made)


def test_unknown_numbers_and_baselines_have_no_page(done: WatchedLab, lab: Snapshot) -> None:
    with pytest.raises(UnknownName, match=f"no submission 9999; the newest is {max(lab.submissions)}"):
        page(done, 9999)
    with pytest.raises(UnknownName, match="baseline weak-labels-hard"):
        page(done, 1)


# States


@pytest.mark.parametrize("status", ["failed", "timed_out", "refused"])
def test_a_run_without_a_score_says_what_happened_and_what_to_do(done: WatchedLab, lab: Snapshot, status: str) -> None:
    made = page(done, one(lab, status=status).id)
    assert made["state"]["level"] == "act"
    assert made["state"]["todo"]
    assert "no score" in made["state"]["means"]
    assert made["state"]["means"] in unescape(html(lab, made))
    assert made["pgr"] is None
    assert made["scores"] == []


def test_every_reason_of_a_failure_has_words(lab: Snapshot) -> None:
    from aarlab.errors import MethodError

    assert set(submission.REASONS) == {*MethodError.REASONS, "infrastructure"}
    s = one(lab, status="failed")
    crashed = submission.state(lab, replace(s, reason="crashed"))
    assert "`aarlab try FILE`" in crashed["todo"]


def test_one_that_waits_says_so_and_whether_the_lab_runs(lab: Snapshot) -> None:
    s = replace(one(lab, status="scored"), status="queued", reason=None)
    waits = submission.state(replace(lab, state="running"), s)
    assert waits["level"] == "look"
    assert "waits" in waits["means"]
    stopped = submission.state(replace(lab, state="stopped"), replace(s, status="running"))
    assert stopped["level"] == "act"
    assert "resume" in stopped["todo"]


def test_a_repeat_shows_the_numbers_of_its_original(done: WatchedLab, lab: Snapshot) -> None:
    s = next(s for s in lab.submissions.values() if s.repeat_of is not None and s.status == "scored")
    assert s.repeat_of is not None
    made, original = page(done, s.id), page(done, s.repeat_of)
    assert made["pgr"] == original["pgr"]
    assert made["scores"] == original["scores"] != []
    assert f"the method of #{s.repeat_of}" in html(lab, made)
    assert s.id in {r["submission"] for r in original["repeats"]}


# Live


LIVE = {"part_head", "part_seeds", "part_audit", "part_scores", "part_findings", "part_relatives", "part_posts",
        "part_ledger"}  # fmt: skip


def test_every_part_is_an_element_of_the_page(done: WatchedLab, lab: Snapshot) -> None:
    """Parts come without anybody who looks, each as the one element that it renews; the code never changes."""
    for status in ("scored", "failed", "refused"):
        made = page(done, one(lab, status=status).id)
        found, whole = parts(done, "submissions", made), html(lab, made)
        assert set(found) >= LIVE
        for name in LIVE:
            assert re.match(rf'<\w+ [^>]*id="{name}"', found[name]), name
            assert whole.count(f'id="{name}"') == 1
        assert not any('<pre class="code' in p or "csrf" in p for p in found.values())


class Gate(toy.InProcess):
    """Runs methods while it is open."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.opened.set()

    def run(self, run: MethodRun) -> RunResult:
        assert self.opened.wait(60)
        return super().run(run)


@pytest.mark.timeout(180)
def test_the_page_of_a_queued_submission_shows_its_score_without_a_reload(tmp_path: Path) -> None:
    """It waits, is being run, is scored: state, numbers, chart, seeds and ledger lines come by themselves."""
    gate = Gate()
    with ToyLab(tmp_path / "labs" / "toy", executor=gate) as running, served(tmp_path / "labs") as site:
        running.score(toy.LEARNER)
        gate.opened.clear()
        for margin in (0.1, 0.2):  # as many as run at once
            running.submit(toy.SHARPER.format(margin=margin), "r2")
        number = running.submit(toy.SHARPER.format(margin=0.3), "r2").json()["id"]
        with chromium() as browser:
            tab = browser.new_page()  # type: ignore[attr-defined]
            tab.goto(site.link())
            tab.goto(f"{site.address}/labs/toy/submissions/{number}")
            assert "It waits to be run" in tab.inner_text("#part_head")
            assert "queued" in tab.inner_text("h1")
            assert not tab.is_visible("#part_seeds")
            tab.evaluate("window.still = 'the same page'")
            gate.opened.set()
            until(tab, "document.querySelector('#part_head').innerText.includes('PGR on the feedback task')")
            until(tab, "document.querySelector('#part_seeds .chart svg') !== null")
            assert "queued" not in tab.inner_text("h1")
            assert len(tab.query_selector_all("#part_scores .seed")) == 2
            assert "answer" in tab.inner_text("#part_ledger")
            assert tab.evaluate("window.still") == "the same page"


# Scores


def test_scores_are_listed_by_task_and_seed(done: WatchedLab, lab: Snapshot) -> None:
    winner = lab.winner
    assert winner is not None
    made = page(done, winner)
    assert [t["purpose"] for t in made["tasks"]][:3] == ["feedback", "record", "record"]
    assert "transfer" in {t["purpose"] for t in made["tasks"]}
    feedback = made["tasks"][0]
    mine = [x["pgr"] for x in made["scores"] if x["task"] == feedback["key"]]
    entry = lab.entry(winner)
    assert entry is not None
    assert tuple(mine) == entry.seeds
    assert all(t["pgr"]["low"] < t["pgr"]["mean"] < t["pgr"]["high"] for t in made["tasks"])


def test_record_and_transfer_tasks_are_sealed_until_the_end(done: WatchedLab, lab: Snapshot) -> None:
    """A snapshot of the last phase before the end, in which those runs are measured already, shows none of them."""
    assert lab.winner is not None
    early = replace(lab, phase="transfer", version=-1)
    made = page(done, lab.winner, early)
    hidden = [t for t in made["tasks"] if t["purpose"] != "feedback"]
    assert hidden
    assert all(t["status"] == "sealed until the run ends" and t["pgr"] is None for t in hidden)
    assert {x["task"] for x in made["scores"]} == {made["tasks"][0]["key"]}
    assert made["record"] is None
    assert not made["winner"]
    assert not any("winner" in x["body"] for x in made["ledger"])
    assert "sealed until the run ends" in html(early, made)


def test_a_claim_is_held_against_the_interval(done: WatchedLab, lab: Snapshot) -> None:
    entry = next(e for e in lab.entries if e.submission.claimed_pgr is not None)
    assert page(done, entry.submission.id)["claim"] in ("inside", "above", "below")
    bold = replace(entry.submission, claimed_pgr=9.0)
    assert submission._head(replace(lab, submissions={**lab.submissions, bold.id: bold}), bold)["claim"] == "above"


# Audits


def test_findings_stand_beside_what_the_track_allows(done: WatchedLab, lab: Snapshot) -> None:
    """A range is given only where the number is the one that counts on its channel."""
    number = next(n for n, j in lab.judgements.items() if j.verdict.outcome == "not ranked" and j.by == "lab")
    made = page(done, number)
    words = {f["channel"]: f for f in made["findings"] if f["counts"]}
    for channel in lab.judgements[number].verdict.channels:
        if channel.channel in words:
            found = words[channel.channel]
            assert (found["word"], found["least"], found["most"]) == (channel.word, channel.low, channel.high)
    assert "undeclared use" in {f["word"] for f in made["findings"]}
    assert all(f["word"] == "not judged" for f in made["findings"] if f["audit"] in SHOWN_ONLY)
    shown = unescape(html(lab, made))
    assert all(f["sentence"] in shown for f in made["findings"])
    assert made["verdicts"][-1]["reason"] in shown


def test_who_overruled_whom_stays_visible(done: WatchedLab, lab: Snapshot) -> None:
    number = next(n for n, j in lab.judgements.items() if j.by == "operator")
    made = page(done, number)
    assert [v["by"] for v in made["verdicts"]] == ["lab", "operator"]
    shown = html(lab, made)
    assert "the operator, who overruled" in shown
    assert made["verdicts"][1]["reason"] in unescape(shown)


def test_a_viewer_sees_no_controls(done: WatchedLab, lab: Snapshot) -> None:
    number = lab.entries[0].submission.id
    assert f'action="/labs/rec/submissions/{number}/overrule"' in html(lab, page(done, number))
    assert f'action="/labs/rec/submissions/{number}/audit"' in html(lab, page(done, number))
    assert 'method="post"' not in html(lab, page(done, number), "viewer")


# Code


def test_code_is_numbered_text_whatever_it_holds() -> None:
    """Leading blank lines count, elements end on their line, and nothing of the file becomes markup."""
    text = "\n\ndef run(task, seed):\n    '''a\n    <script>alert(1)</script>'''\n    return '\u202e'\n"
    shown = Code(text).__html__()
    rows = re.findall(r'<span class="l" id="L(\d+)">(.*?)\n</span>', shown)
    assert [int(n) for n, _ in rows] == [1, 2, 3, 4, 5, 6]
    assert unescape(re.sub("<[^>]*>", "", shown)) == text.replace("\u202e", "\\u202e")
    assert "<script" not in shown
    assert all(line.count("<span") == line.count("</span>") for _, line in rows)
    assert Code(text) == text


def test_a_long_file_is_shown_without_colours() -> None:
    shown = Code("x = '<b>'\n" * (MOST_COLOURED // 9)).__html__()
    assert '<span class="s' not in shown
    assert "<b>" not in shown


def test_a_hostile_file_stays_inert_on_its_page(done: WatchedLab, lab: Snapshot) -> None:
    number = next(n for n in lab.submissions if "<script" in source(lab, n) or "</pre>" in source(lab, n))
    shown = html(lab, page(done, number))
    main = shown[shown.index("<main") :]
    assert not re.search(r"<(script|img|svg|iframe|style)", main)
    assert not re.search(r"<[^>]* (on\w+|style)=", main)


def test_changes_are_numbered_on_both_sides() -> None:
    old, new = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj", "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk"
    found = changes(old, new)
    assert found is not None
    assert [(x["kind"], x["old"], x["new"], x["text"]) for x in found] == [
        ("same", 1, 1, "a"), ("del", 2, None, "b"), ("add", None, 2, "B"), ("same", 3, 3, "c"), ("same", 4, 4, "d"),
        ("same", 5, 5, "e"), ("gap", None, None, "2 lines alike"), ("same", 8, 8, "h"), ("same", 9, 9, "i"),
        ("same", 10, 10, "j"), ("add", None, 11, "k"),
    ]  # fmt: skip
    assert changes(old, old) == ()
    assert changes("a\r\nb", "a\nb") == ()


def test_files_made_to_hold_up_the_diff_are_not_compared() -> None:
    """The door lets 64 KB through; without a bound some such pairs would take minutes."""
    rng = random.Random(0)
    many = "\n".join(str(rng.randrange(101)) for _ in range(16_000))
    blank = "\n" * 65_000
    every_second = "\n".join(f"x={i}" if i % 2 else f"y={i}" for i in range(8000))
    began = time.process_time()
    assert changes(many, many[::-1]) is None
    assert changes(blank, blank[:-9]) is None
    assert changes("\n".join(f"x={i}" for i in range(8000)), every_second) is None
    assert time.process_time() - began < 2


def test_a_submission_is_compared_with_its_parent_or_with_whatever_is_asked_for(
    done: WatchedLab, lab: Snapshot
) -> None:
    child = next(s for s in lab.submissions.values() if s.parent in lab.submissions)
    made = page(done, child.id)
    assert made["compared"]["base"] == child.parent
    added = [x["text"] for x in made["diff"] if x["kind"] == "add"]
    assert len(added) == made["compared"]["added"]
    assert set(added) <= set(lines(source(lab, child.id)))
    shown = unescape(html(lab, made))
    assert f'<span class="add">     {next(x for x in made["diff"] if x["kind"] == "add")["new"]:>4} + ' in shown
    other = next(n for n in lab.submissions if n not in (child.id, child.parent))
    assert page(done, child.id, against=f"#{other}")["compared"]["base"] == other
    assert page(done, child.id, against=str(child.id))["compared"]["text"] == "The files are alike."
    with pytest.raises(UnknownName, match="'9999' to compare with"):
        page(done, child.id, against="9999")
    with pytest.raises(UnknownName, match="'x' to compare with"):
        page(done, child.id, against="x")


def test_without_a_parent_it_says_so(done: WatchedLab, lab: Snapshot) -> None:
    made = page(done, one(lab, parent=None).id)
    assert made["compared"]["text"] == "It names no parent."
    assert made["diff"] == []


def test_a_file_that_is_gone_is_said_with_the_remedy(done: WatchedLab, lab: Snapshot) -> None:
    s = replace(one(lab, status="scored"), bundle_hash="0" * 64)
    made = page(done, s.id, replace(lab, submissions={**lab.submissions, s.id: s}, version=-2))
    assert "restore the lab folder" in made["trouble"]
    assert "restore the lab folder" in html(lab, made)


# Others


def test_relatives_in_both_directions(done: WatchedLab, lab: Snapshot) -> None:
    child = next(s for s in lab.submissions.values() if s.parent in lab.submissions)
    assert child.parent is not None
    made, above = page(done, child.id), page(done, child.parent)
    assert made["ancestors"][-1]["submission"] == child.parent
    assert child.id in {r["submission"] for r in above["children"]}
    assert above["descendants"] >= len(above["children"])
    assert f'href="/labs/rec/submissions/{child.parent}"' in html(lab, made)


def test_parents_in_a_circle_end(lab: Snapshot) -> None:
    a, b = list(lab.submissions.values())[:2]
    a, b = replace(a, parent=b.id), replace(b, parent=a.id)
    round_ = replace(lab, submissions={a.id: a, b.id: b}, version=-3)
    found = submission._relatives(round_, a)
    assert [r["submission"] for r in found["ancestors"]] == [b.id]
    assert found["descendants"] == 1


def test_posts_and_transcript_are_linked(done: WatchedLab, lab: Snapshot) -> None:
    with done.store.read() as rows:
        cited = next(p for p in rows.posts() if p.submission in lab.submissions)
        maker = next(iter(rows.makers()))
    assert cited.submission is not None
    shown = html(lab, page(done, cited.submission))
    assert f'href="/labs/rec/forum/{cited.id}"' in shown
    made = page(done, maker)
    assert made["transcript"]["link"].startswith("http://127.0.0.1:7575/#/logs/")
    assert made["transcript"]["link"] in unescape(html(lab, made))


def test_ledger_lines_about_it_are_exactly_those_that_name_it(done: WatchedLab, lab: Snapshot) -> None:
    """Read by the quick way and by looking at every line."""
    with done.store.read() as rows:
        everything = rows.lines()
        for number in lab.submissions:
            named = [
                x.number for x in everything
                if x.body.get("submission") == number
                or (x.kind == "submission" and x.body["id"] == number)
                or (x.kind == "phase" and (number in [*x.body.get("finalists", []), *x.body.get("audited", [])]
                                           or number == x.body.get("winner")))
            ]  # fmt: skip
            assert [x.number for x in rows.lines_about(number)] == named
        assert len(rows.lines_about(number, limit=1)) == 1
        assert rows.lines_about(9999) == []
    made = page(done, lab.finalists[0])
    assert [x["kind"] for x in made["ledger"]][:2] == ["submission", "answer"]
    assert made["ledger"][0]["hash"][:12] in html(lab, made)


def test_ledger_lines_are_found_where_the_clock_was_wrong(done: WatchedLab, lab: Snapshot) -> None:
    """A submission that claims to be younger than its lines still has them."""
    number = lab.finalists[-1]
    with done.store.read() as rows:
        right = rows.lines_about(number)
    try:
        with done.store.write() as rows:
            rows.set_submission(number, created=lab.submissions[number].created + 1e6)
            assert rows.lines_about(number) == right
            raise KeyError  # takes the change back
    except KeyError:
        pass


# Charts


def test_charts_draw_and_list_their_numbers(lab: Snapshot) -> None:
    about = str(lab.finalists[0])
    for name, least in (("seeds", 4), ("audit", 8)):
        chart = submission.CHARTS[name]
        for width in (340, 1020):
            assert len(charts.compiled(chart.draw(lab, width, about))) > 1000
        assert as_csv(chart.rows(lab, about)).count("\n") > least


def test_charts_of_what_was_not_measured_are_empty(lab: Snapshot) -> None:
    failed = str(one(lab, status="failed").id)
    assert submission.CHARTS["seeds"].draw(lab, 760, failed) is None
    assert submission.CHARTS["audit"].draw(lab, 760, failed) is None
    for about in ("", "x", "9999", "1"):
        with pytest.raises(UnknownName, match="no submission"):
            submission.CHARTS["seeds"].draw(lab, 760, about)
