"""The recorded labs that pages and benchmarks look at are whole and consistent, and readable by all that reads labs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import recorded_lab
from aarlab.execution.check import check_source
from aarlab.fleet import usage
from aarlab.reports import report
from aarlab.reports.data import collect
from aarlab.server import views
from aarlab.server.lab import Lab
from aarlab.vault.verify import verify
from recorded_forum import BEYOND_THE_DOOR, SCRIPTS

SUBMISSIONS, POSTS = 60, 40
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A count of answers of its own, before the fixture of every test gives one."""
    path = tmp_path_factory.mktemp("count") / "answers.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AARLAB_STATE", str(path))
        yield path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, state: Path) -> Path:
    folder = tmp_path_factory.mktemp("labs") / "done"
    return recorded_lab.make(folder, submissions=SUBMISSIONS, posts=POSTS, hostile=True, now=NOW)


@pytest.fixture(scope="module")
def going_on(tmp_path_factory: pytest.TempPathFactory, state: Path) -> Path:
    folder = tmp_path_factory.mktemp("labs") / "going-on"
    return recorded_lab.make(
        folder, submissions=SUBMISSIONS, posts=POSTS, phase="research", outcomes=False, events=False, now=NOW
    )


@pytest.fixture
def lab(done: Path) -> Iterator[Lab]:
    opened = Lab(done)
    yield opened
    opened.close()


def test_the_ledger_vouches_for_a_finished_run(done: Path) -> None:
    found = verify(done)
    assert found.signed
    assert found.faults == []


def test_the_ledger_vouches_for_a_run_that_goes_on_without_outcome_files(going_on: Path) -> None:
    assert verify(going_on).faults == []


def test_the_machines_count_of_answers_is_left_alone(done: Path) -> None:
    """Nothing was asked about real labels, so no later run may find its budget smaller."""
    found = verify(done)
    assert found.answers > 30
    assert found.earlier is not None
    assert found.earlier.answers == 0


def test_everything_can_happen_to_a_submission(lab: Lab) -> None:
    with lab.store.read() as rows:
        subs = rows.submissions()
        kinds = {line.kind for line in rows.lines()}
    assert {s.status for s in subs} == {"scored", "failed", "timed_out", "refused"}
    assert {s.reason for s in subs} >= {None, "crashed", "timed-out", "forbidden", "infrastructure"}
    assert any(s.parent for s in subs)
    assert any(s.repeat_of for s in subs)
    assert len({s.track for s in subs}) > 2
    assert kinds >= {"alarm", "stop", "overrule", "repeat", "asked", "audit"}


def test_verdicts_are_of_all_kinds(lab: Lab) -> None:
    """Not ranked, with a note, moved to another track, and held until the operator said otherwise."""
    with lab.store.read() as rows:
        judged = rows.judgements()
        finalists, winner = rows.meta("finalists"), rows.meta("winner")
    assert {j.verdict.outcome for j in judged} == {"ranked", "ranked with a note", "not ranked", "held"}
    assert any(j.verdict.track != j.verdict.declared for j in judged)
    overruled = [j.submission for j in judged if j.by == "operator"]
    assert set(overruled) <= set(finalists)
    assert winner in finalists
    assert len(finalists) == lab.settings.scoring.finalists


def test_scores_follow_from_the_outcome_files(lab: Lab) -> None:
    with lab.store.read() as rows:
        scores = rows.scores()
    for number in {s.evaluation for s in scores}:
        own = [s for s in scores if s.evaluation == number]
        assert np.allclose(lab.vault.outcomes(number).mean(axis=1), [s.accuracy for s in own])
    assert {s.purpose for s in scores} == {"feedback", "baseline", "record", "transfer"}


def test_methods_are_real_and_all_different(lab: Lab) -> None:
    with lab.store.read() as rows:
        subs = [s for s in rows.submissions() if s.researcher != "lab"]
    sources = {s.id: lab.source(s.bundle_hash) for s in subs}
    for source in sources.values():
        check_source(source)
        compile(source, "method.py", "exec")
    first = [s.normal_hash for s in subs if s.repeat_of is None]
    assert len(set(first)) == len(first)
    assert len(set(sources.values())) == len(subs)


def test_the_operators_view_of_a_finished_run(lab: Lab) -> None:
    with lab.store.read() as rows:
        view = views.run_view(lab, rows)
    json.dumps(view, allow_nan=False)
    assert view["settled"]
    assert view["phase"] == "done"
    assert len(view["submissions"]) == SUBMISSIONS + len(lab.feedback.baselines)
    assert Counter(r["kind"] for r in view["researchers"] if r["role"] == "researcher") == {
        "llm": 4, "search": 3, "cli": 1, "human": 1,
    }  # fmt: skip
    assert any(s["transcript"] and s["transcript"]["log"] for s in view["submissions"])
    assert any(s["family"] for s in view["submissions"])
    assert sum(account["llm_dollars"] for account in view["spending"].values()) > 1


def test_times_lie_inside_the_run(lab: Lab) -> None:
    """The run began four hours before `now` and ended about one before it; nothing happened outside."""
    with lab.store.read() as rows:
        times = [s.created for s in rows.submissions()] + [p.created for p in rows.posts()]
        times += [e.time for e in rows.events()] + [line.time for line in rows.lines()]
        began, ended = rows.meta("lab")["created"], rows.last_line().time  # type: ignore[union-attr]
    assert began == NOW - 4 * 3600
    assert min(times) >= began
    assert max(times) == ended
    assert 0.8 * 3600 < NOW - ended < 1.4 * 3600
    assert usage.read(lab.folder / "run").research_seconds == pytest.approx(60 * lab.settings.budget.minutes)


def test_steps_of_a_researcher_are_in_order(lab: Lab) -> None:
    with lab.store.read() as rows:
        steps = list(rows.events("ada"))
        known = {s.id: s.researcher for s in rows.submissions()}
    assert [(e.session, e.turn) for e in steps] == sorted((e.session, e.turn) for e in steps)
    assert {known[e.submission] for e in steps if e.submission} == {"ada"}
    assert {e.kind for e in steps} >= {"assistant", "tool", "compaction"}
    assert all(json.loads(e.body) for e in steps)


def test_posts_form_threads_and_cite(lab: Lab) -> None:
    with lab.store.read() as rows:
        posts = rows.posts()
    by_id = {p.id: p for p in posts}
    assert {p.kind for p in posts} == {"result", "hypothesis", "insight", "error"}
    assert all(by_id[p.parent].created <= p.created for p in posts if p.parent)
    assert any(p.parent and by_id[p.parent].parent for p in posts)
    assert any(p.submission for p in posts)


def test_hostile_text_is_there(done: Path, lab: Lab) -> None:
    with lab.store.read() as rows:
        posts, subs, people = rows.posts(), rows.submissions(), rows.researchers()
    assert any(SCRIPTS in p.title and SCRIPTS in p.body for p in posts)
    assert any("javascript:" in p.body for p in posts)
    assert max(len(p.body) for p in posts) == BEYOND_THE_DOOR
    assert max(len(p.title) for p in posts) > 10_000
    assert any(SCRIPTS in s.name for s in subs)
    assert any(SCRIPTS in r.state for r in people)
    assert any(SCRIPTS in path.read_text() for path in (done / "artifacts").iterdir())
    assert any(sign["kind"] == "forum injection" for sign in json.loads((done / "run/scan.json").read_text())["signs"])


def test_what_a_report_is_made_from(done: Path) -> None:
    data = collect(done)
    assert data.ledger.problem == ""
    assert data.run.done
    assert data.alarms
    assert data.places
    assert len(data.of_purpose("record")) == 2
    assert len(data.of_purpose("transfer")) == 6


@pytest.mark.slow
def test_a_report_is_written(done: Path) -> None:
    """From the page's first sentence to its last table."""
    page = report.write(done)
    assert page.stat().st_size > 100_000
    assert "<script" not in page.read_text("utf-8")


def test_a_run_that_goes_on_waits_for_scores(going_on: Path) -> None:
    lab = Lab(going_on)
    with lab.store.read() as rows:
        view = views.run_view(lab, rows)
        reserved = [a for a in view["spending"].values() if a["outstanding_dollars"]]
        assert not list(rows.events())
    lab.close()
    assert view["phase"] == "research"
    assert Counter(s["status"] for s in view["submissions"])["running"] == 2
    assert Counter(s["status"] for s in view["submissions"])["queued"] == 2
    assert view["budget"]["answers"]["taken"] == view["budget"]["answers"]["given"] + 4
    assert reserved


def test_the_same_seed_gives_the_same_run(going_on: Path, tmp_path: Path) -> None:
    options = {"submissions": SUBMISSIONS, "posts": POSTS, "phase": "research", "outcomes": False, "events": False}
    again = recorded_lab.make(tmp_path / "again", now=NOW, **options)
    found = []
    for folder in (going_on, again):
        lab = Lab(folder)
        with lab.store.read() as rows:
            found.append(([vars(s) for s in rows.submissions()], rows.posts(), [s.accuracy for s in rows.scores()]))
        lab.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("phase", ["done", "research"])
def test_a_lab_in_which_nothing_happened(tmp_path: Path, phase: str) -> None:
    folder = recorded_lab.make(tmp_path / "lab", researchers=2, submissions=0, posts=0, phase=phase, now=NOW)
    assert verify(folder).faults == []
