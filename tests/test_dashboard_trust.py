"""The page on trust: verifying, bits, ledger lines in words, what isolation holds, attacks on file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from aarlab.dashboard import catalogue, charts, lines, protection, render, trust
from aarlab.dashboard.lab import Json, Snapshot, WatchedLab
from aarlab.errors import InputError
from aarlab.records import LedgerLine
from aarlab.settings import Isolation, Scoring
from aarlab.store import Store
from aarlab.store.registry import Registry
from harmless import harmful
from recorded_lab import make

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedLab]:
    """A finished lab of 60 submissions whose names and posts are hostile."""
    folder = tmp_path_factory.mktemp("labs") / "rec"
    lab = WatchedLab(make(folder, submissions=60, posts=30, events=False, hostile=True))
    yield lab
    lab.close()


@pytest.fixture
def lab(watched: WatchedLab) -> Snapshot:
    return watched.snapshot()


def html(lab: Snapshot, page: Json, role: str = "operator") -> str:
    context = {"lab": catalogue.brief(lab), "page": page, "here": "trust", "live": "", "query": {}, "address": "/x"}
    return render.page("trust.html.j2", {**context, "person": SimpleNamespace(role=role, csrf="x")})


# Verifying


def test_verifying_is_kept_with_its_time(watched: WatchedLab, lab: Snapshot) -> None:
    """Before: nobody asked. After: everything fits, up to the newest line."""
    trust.CHECKED._values.clear()
    assert trust.page(lab, watched.store, {})["advice"][0]["level"] == "look"
    found = trust.verify(watched.folder)
    assert (found["ok"], found["signed"], found["lines"], found["head"]) == (
        True, True, lab.ledger["lines"], lab.ledger["head"],
    )  # fmt: skip
    page = trust.page(lab, watched.store, {})
    assert page["check"] == found
    assert page["advice"][0]["level"] == "fine"
    later = replace(lab, ledger={**lab.ledger, "lines": lab.ledger["lines"] + 2})
    assert "2 lines came since" in trust.advice(later, {}, {"found": True})[0]["text"]


def test_an_edited_row_is_a_fault_that_the_page_shows(watched: WatchedLab, tmp_path: Path) -> None:
    folder = tmp_path / "edited"
    shutil.copytree(watched.folder, folder)
    store = Store(folder / "lab.db")
    with store.write() as rows:
        rows.set_submission(min(watched.snapshot().submissions), name="another name")
    store.close()
    found = trust.verify(folder)
    assert not found["ok"]
    assert "name is 'another name'" in found["faults"][0]
    lab = WatchedLab(folder)
    page = trust.page(lab.snapshot(), lab.store, {})
    lab.close()
    assert page["advice"][0]["level"] == "act"
    assert "does not verify: 1 fault." in html(watched.snapshot(), page)


def test_only_operators_have_the_button(watched: WatchedLab, lab: Snapshot) -> None:
    page = trust.page(lab, watched.store, {})
    assert 'action="/labs/rec/verify"' in html(lab, page)
    assert "<form" not in html(lab, page, "viewer")


# Bits


def test_every_answer_is_drawn_with_the_bits_of_the_ledger(watched: WatchedLab, lab: Snapshot) -> None:
    """As many as were given; each with what its own ledger line says the answers up to it carry at most."""
    told = trust.told(lab)
    with watched.store.read() as rows:
        said = {x.body["number"]: x.body["bits_at_most"] for x in rows.lines_of("answer")}
    assert len(told) == lab.budget["answers"]["used"]
    assert {t.number: round(t.bits, 3) for t in told} == said
    assert round(told[-1].bits, 1) == lab.budget["bits"]["used"]


@pytest.mark.parametrize("width", [340, 1020])
def test_the_chart_is_drawn_with_and_without_answers(lab: Snapshot, width: int) -> None:
    chart = trust.CHARTS["bits"]
    assert len(charts.compiled(chart.draw(lab, width, ""))) > 1000
    assert len(charts.compiled(chart.draw(replace(lab, submissions={}), width, ""))) > 1000
    assert chart.rows(lab, "")[-1]["answer"] == lab.budget["answers"]["used"]


def test_earlier_runs_on_the_same_labels_are_counted(lab: Snapshot, own_state: Path) -> None:
    """From the machine's own count, which the page neither makes nor changes."""
    trust.EARLIER._values.clear()
    assert trust.answers(lab)["earlier"] == {"labs": 0, "answers": 0, "bits": 0.0}
    assert not own_state.exists()
    registry = Registry(own_state)
    registry.put(lab.problem.data_hash, "another", "/labs/another", 45, 89.5)
    registry.put(lab.problem.data_hash, lab.lab_id, str(lab.folder), 12, 30.0)
    registry.close()
    trust.EARLIER._values.clear()
    assert trust.answers(lab)["earlier"] == {"labs": 1, "answers": 45, "bits": 89.5}
    trust.EARLIER._values.clear()


def test_what_each_may_still_take_is_within_the_whole(watched: WatchedLab, lab: Snapshot) -> None:
    rows = trust.page(lab, watched.store, {})["researchers"]
    left = lab.budget["answers"]["limit"] - sum(r["answers"] for r in rows)
    assert all(0 <= r["left"] <= left for r in rows)


def test_practice_is_shown_where_it_is_on(lab: Snapshot) -> None:
    assert trust.practised_so_far(lab, 0) is None
    on = replace(lab, settings=replace(lab.settings, scoring=replace(Scoring(), practice=10)))
    found = trust.practised_so_far(on, 4)
    assert found is not None
    assert found["bits"] == pytest.approx(0.4 * found["bound"], abs=0.1)
    assert any("Practice mode is on" in s for s in protection.not_protected(on))


# The ledger


def test_the_ledger_is_paged_newest_first(watched: WatchedLab, lab: Snapshot) -> None:
    """Following `older` from page to page passes every line once; `newer` leads back."""
    seen: list[int] = []
    before: int | None = None
    while True:
        page = trust.page(lab, watched.store, {} if before is None else {"before": str(before)})
        numbers = [row["number"] for row in page["ledger"]]
        seen += numbers
        if before is not None:
            back = trust.page(lab, watched.store, {"before": str(page["pages"]["newer"] or "")})
            assert numbers[0] + 1 in [row["number"] for row in back["ledger"]]
        before = page["pages"]["older"]
        if before is None:
            break
    assert seen == list(range(lab.ledger["lines"], 0, -1))


@pytest.mark.parametrize("before", ["x", "-1", "1.5", "9" * 40])
def test_a_line_that_is_no_number_is_refused(watched: WatchedLab, lab: Snapshot, before: str) -> None:
    with pytest.raises(InputError, match="before is"):
        trust.page(lab, watched.store, {"before": before})


def test_every_line_has_words(watched: WatchedLab) -> None:
    """Every kind that the lab writes is known, and no sentence has a hole."""
    assert set(lines.KINDS) == set(lines.SAYINGS)
    with watched.store.read() as rows:
        everything = rows.lines()
    for x in everything:
        assert x.kind in lines.KINDS, x.kind
        assert not re.search(r"\bNone\b|\{", lines.words(x)), lines.words(x)


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("control", {"action": "stop researcher", "by": "dashboard", "researcher": "ada"},
         "stop researcher, by way of the dashboard (researcher ada)"),
        ("alarm", {"what": "canary", "where": "server's environment", "who": "bea", "in": "post", "post": 7},
         "bea sent the canary of the server's environment in a post post 7: it got out"),
        ("alarm", {"what": "denied", "submission": 3, "purpose": "feedback", "events": [
            {"kind": "socket", "detail": "AF_INET", "count": 2}, {"kind": "program", "detail": "/bin/sh", "count": 1}]},
         "#3 tried what no method may: socket AF_INET (2 times), program /bin/sh (feedback run)"),
        ("alarm", {"what": "asked for /v1/run", "who": "cleo"}, "asked for /v1/run: who cleo"),
        ("phase", {"from": "audit", "to": "record", "finalists": [3, 5]}, "from audit to record; finalists #3, #5"),
        ("something new", {"a": 1, "b": {"c": 2}}, "a 1"),
    ],
)  # fmt: skip
def test_lines_in_words(kind: str, body: Json, said: str) -> None:
    assert lines.words(LedgerLine(1, 0.0, kind, body, "", "")) == said


def test_baselines_go_by_their_names() -> None:
    line = LedgerLine(1, 0.0, "score", {"submission": 2, "task": "t", "problem": "p", "purpose": "record"}, "", "")
    assert lines.words(line, {2: "weak-labels-hard"}).startswith("weak-labels-hard was measured on t")


def test_nothing_of_the_record_is_told_before_the_end(watched: WatchedLab, lab: Snapshot) -> None:
    """Ledger lines name record runs and hold hashes, never a number that was measured."""
    page = trust.page(replace(lab, phase="record", report=None), watched.store, {})
    numbers = {e.record.mean for e in lab.entries if e.record is not None}
    assert not numbers & {v for row in page["ledger"] for v in row["body"].values() if isinstance(v, float)}


# Isolation, audits, attacks


@pytest.mark.parametrize("kind", ["bwrap", "gvisor", "process"])
def test_each_isolation_says_what_it_holds_and_what_not(watched: WatchedLab, lab: Snapshot, kind: str) -> None:
    """Without isolation the page begins with it."""
    other = replace(lab, settings=replace(lab.settings, isolation=Isolation(kind), researchers=()))
    page = trust.page(other, watched.store, {})
    assert page["isolation"]["holds"]
    assert page["isolation"]["lacks"]
    assert set(page["isolation"]["lacks"]) <= set(page["not_protected"])
    assert (kind == "process") == page["headline"].startswith("Nothing here is isolated")
    assert (kind == "process") == any("Isolation is `process`" in a["text"] for a in page["advice"])


def test_the_winners_audit_comes_first(watched: WatchedLab, lab: Snapshot) -> None:
    page = trust.page(lab, watched.store, {})
    assert page["audits"][0]["submission"] == lab.winner
    assert {row["level"] for row in page["audits"]} <= {"quick", "full", ""}
    assert page["audit_settings"]["judged"] == len(lab.judgements)
    unaudited = replace(lab, judgements={})
    assert any("was not audited" in a["text"] for a in trust.advice(unaudited, {}, {"found": True}))


def test_without_attacks_on_file_the_command_is_named(lab: Snapshot) -> None:
    found = trust.redteam(lab)
    assert (found["about"]["found"], found["rows"]) == (False, [])
    assert found["about"]["command"].startswith("aarlab redteam w2s-math --out ")


@pytest.mark.parametrize("place", ["rec", ".", "..", "../docs"])
def test_attacks_on_file_are_shown(watched: WatchedLab, lab: Snapshot, place: str) -> None:
    """In the lab, beside it, beside the labs' folder, or in its docs: those of this lab's problem."""
    folder = watched.folder.parent / place
    folder.mkdir(exist_ok=True)
    file = folder / trust.MATRIX
    shutil.copy(DOCS / "redteam.json", file)
    try:
        page = trust.page(lab, watched.store, {})
        text = html(lab, page)
    finally:
        file.unlink()
    assert (page["redteam"]["made"], page["redteam"]["as_expected"]) == (53, 53)
    assert [row["number"] for row in page["attacks"]] == list(range(1, 54))
    assert "principal axes" in text


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"problem": "w2s-math"}]', json.dumps([{"problem": "other"}])])
def test_a_damaged_file_of_attacks_is_none(watched: WatchedLab, lab: Snapshot, content: str) -> None:
    file = watched.folder / trust.MATRIX
    file.write_text(content)
    try:
        assert not trust.redteam(lab)["about"]["found"]
    finally:
        file.unlink()


def test_hostile_names_are_words(watched: WatchedLab, lab: Snapshot) -> None:
    """Whole page and live parts: nothing that a researcher wrote is markup, a script, an image or a style."""
    page = trust.page(lab, watched.store, {})
    context = {"lab": catalogue.brief(lab), "page": page, "here": "trust"}
    for text in (html(lab, page), *render.parts("trust.html.j2", context).values()):
        assert harmful(text) == []
