"""The list of all labs: cheap, whole, honest about what cannot be read; and the form that starts a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from aarlab.dashboard import home, render
from aarlab.dashboard.controls import FIELDS
from aarlab.dashboard.lab import Json
from aarlab.dashboard.labs import Labs
from aarlab.fleet.lock import LabLock
from aarlab.reports.data import collect
from aarlab.reports.document import document
from aarlab.reports.results import measure
from aarlab.settings import Budget, Isolation, ResearcherSpec, Scoring, Settings
from aarlab.settings import write as write_settings
from harmless import harmful
from recorded_lab import make


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished lab and the data of its report."""
    root = tmp_path_factory.mktemp("labs")
    data = collect(make(root / "over", submissions=12, posts=5, events=False, hostile=True))
    (root / "over" / "report").mkdir(exist_ok=True)
    (root / "over" / "report" / "report.json").write_text(json.dumps(document(data, measure(data)), indent=1))
    return root


@pytest.fixture
def labs(recorded: Path) -> Iterator[Labs]:
    found = Labs(recorded)
    yield found
    found.close()


def closed(root: Path, name: str, report: Json | None = None, **settings: object) -> Path:
    """A lab folder as far as the list reads one."""
    folder = root / name
    (folder / "report").mkdir(parents=True)
    crew = tuple(ResearcherSpec(n, direction="posterior") for n in ("ada", "bea"))
    write_settings(Settings(researchers=crew).with_(**settings), folder / "lab.toml")
    (folder / "lab.db").touch()
    if report is not None:
        (folder / "report" / "report.json").write_text(json.dumps(report))
    return folder


def report(mean: float = 0.7, done: bool = True) -> Json:
    pgr = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "seeds": 5, "items": 2000}
    return {
        "headline": "It recovers a lot.", "run": {"phase": "done" if done else "research", "done": done},
        "record": {"pgr": pgr if done else None}, "costs": {"dollars": 1.5},
        "leaderboard": [
            {"ranked": True, "pgr": {**pgr, "mean": mean - 0.2}}, {"ranked": False, "pgr": {**pgr, "mean": 9}},
        ],
    }  # fmt: skip


def html(page: Json, role: str = "operator") -> str:
    context = {"page": page, "live": "", "query": {}, "address": "/"}
    return render.page("home.html.j2", {**context, "person": SimpleNamespace(role=role, csrf="the-csrf")})


def row(root: Path, name: str) -> Json:
    return next(r for r in home.page(Labs(root), [])["labs"] if r["lab"] == name)


def test_a_closed_lab_shows_its_last_report_and_stays_closed(labs: Labs, recorded: Path) -> None:
    """State, PGR of record, cost and headline come from files; no database is opened."""
    page = home.page(labs, [])
    found = page["labs"][0]
    said = json.loads((recorded / "over" / "report" / "report.json").read_text())
    assert (found["state"], found["what"], found["best"]) == ("done", "record", said["record"]["pgr"])
    assert found["headline"] == said["headline"]
    assert found["verified"] == len(said["leaderboard"])
    assert labs.seen("over") is None


def test_an_open_lab_shows_what_was_read_last(labs: Labs) -> None:
    snapshot = labs.get("over").snapshot()
    found = home.page(labs, [])["labs"][0]
    assert (found["verified"], found["state"]) == (len(snapshot.entries), "done")
    assert found["dollars"] == round(snapshot.costs["dollars"], 4)
    assert found["best"]["mean"] == (snapshot.best and snapshot.best.pgr.mean)


def test_states_without_opening(tmp_path: Path) -> None:
    """Held lock and a service: running; held lock alone: starting; neither: stopped, or done by its report."""
    closed(tmp_path, "new")
    held = closed(tmp_path, "held", report(done=False))
    closed(tmp_path, "over", report())
    assert (row(tmp_path, "new")["state"], row(tmp_path, "over")["state"]) == ("stopped", "done")
    with LabLock(held):
        assert row(tmp_path, "held")["state"] == "starting"
        (held / "run").mkdir()
        (held / "run" / "server.json").touch()
        assert row(tmp_path, "held")["state"] == "running"
    assert row(tmp_path, "held")["state"] == "stopped"


def test_unranked_scores_are_not_the_best(tmp_path: Path) -> None:
    """Of an unfinished run: the best ranked feedback score."""
    closed(tmp_path, "going-on", report(done=False))
    found = row(tmp_path, "going-on")
    assert (round(found["best"]["mean"], 3), found["what"]) == (0.5, "feedback")


def test_the_row_says_who_is_in_the_fleet(tmp_path: Path) -> None:
    closed(tmp_path, "a", isolation=Isolation("process"))
    closed(tmp_path, "b", researchers=(ResearcherSpec("ada"), ResearcherSpec("me", "human")))
    assert (row(tmp_path, "a")["fleet"], row(tmp_path, "a")["directions"]) == ("2 researchers", "directed")
    assert row(tmp_path, "b")["directions"] == "undirected"
    assert "unranked" in html(home.page(Labs(tmp_path), []))


def test_what_cannot_be_read_is_a_row_with_its_reason(tmp_path: Path) -> None:
    """A broken lab.toml, a lab without database and a damaged report do not hide the others."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "lab.toml").write_text("problem = 3x")
    closed(tmp_path, "young").joinpath("lab.db").unlink()
    (closed(tmp_path, "damaged") / "report" / "report.json").write_text("{")
    closed(tmp_path, "fine", report())
    rows = {r["lab"]: r for r in home.page(Labs(tmp_path), [])["labs"]}
    assert "lab.toml" in rows["broken"]["error"]
    assert rows["young"]["error"].startswith("young has no lab.db")
    assert (rows["damaged"]["state"], rows["damaged"]["best"], rows["damaged"]["error"]) == ("stopped", None, "")
    assert rows["fine"]["best"]["mean"] == 0.7
    text = html(home.page(Labs(tmp_path), []))
    assert 'value="broken" aria-label="Compare broken" disabled' in text


def test_a_report_that_changed_is_read_again(tmp_path: Path) -> None:
    folder = closed(tmp_path, "lab", report(0.7))
    assert row(tmp_path, "lab")["best"]["mean"] == 0.7
    (folder / "report" / "report.json").write_text(json.dumps(report(0.55)))
    assert row(tmp_path, "lab")["best"]["mean"] == 0.55


def test_reports_that_take_long_wait_for_the_next_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        closed(tmp_path, f"lab-{n}", report())
    monkeypatch.setattr(home, "READING_SECONDS", -1.0)
    page = home.page(Labs(tmp_path), [])
    assert page["unread"] == 3
    assert "3 reports were not read yet" in html(page)
    monkeypatch.undo()
    assert home.page(Labs(tmp_path), [])["unread"] == 0


def test_two_hundred_labs_are_listed_quickly(tmp_path: Path) -> None:
    """The second page reads nothing again; generous, since the machine may be busy."""
    for n in range(200):
        closed(tmp_path, f"lab-{n:03}", report())
    labs = Labs(tmp_path)
    home.page(labs, [])
    began = time.process_time()
    page = home.page(labs, [])
    assert time.process_time() - began < 2
    assert len(page["labs"]) == 200


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    """Operators are pointed to the form, viewers to who may start one; both to the command."""
    page = home.page(Labs(tmp_path), [])
    assert page["labs"] == []
    operator, viewer = html(page), html(page, "viewer")
    assert "No lab here yet" in operator
    assert "Start one below" in operator
    assert "Whoever operates this dashboard" in viewer
    assert "aarlab run" in viewer
    assert home.page(Labs(tmp_path / "nowhere"), [])["labs"] == []


def test_the_form_has_the_fields_and_defaults_of_a_run(tmp_path: Path) -> None:
    """Every field of the action is there, and nothing that it would refuse; only operators see it."""
    page = home.page(Labs(tmp_path), [])
    assert (page["form"]["minutes"], page["form"]["answers"]) == (Budget().minutes, Budget().answers)
    assert page["form"]["seeds"] == Scoring().seeds
    assert "w2s-math" in page["form"]["problems"]
    text = html(page)
    assert all(f'name="{field}"' in text for field in FIELDS)
    assert 'action="/labs" class="start"' in text
    assert 'name="csrf" value="the-csrf"' in text
    assert "<form" not in html(page, "viewer")


def test_runs_on_their_way_are_shown(tmp_path: Path) -> None:
    """One that is starting with its last words, one that failed with the reason."""
    starting = [
        {"name": "first", "state": "starting", "text": "baselines"},
        {"name": "second", "state": "failed", "text": "unshare: no <b>rights</b>"},
    ]
    page = home.page(Labs(tmp_path), starting)
    text = html(page)
    assert page["starting"] == starting
    assert "first is starting: baselines" in text
    assert "second did not start: unshare: no &lt;b&gt;rights&lt;/b&gt;" in text


def test_hostile_names_are_words(labs: Labs) -> None:
    """The headline of a lab whose winner has a hostile name."""
    assert harmful(html(home.page(labs, []))) == []
