"""Transcripts and families as the lab keeps them, and the pace of the forum."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import toy
from aarlab import errors
from aarlab.records import ResearcherRow
from aarlab.server import forum, transcript
from aarlab.store import Store
from toy_lab import ToyLab
from toy_server import ToyServer


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyLab]:
    folder = tmp_path_factory.mktemp("events")
    with ToyLab(folder / "lab", packs=[toy.make_pack(folder / "pack", below=0.1)]) as lab:
        yield lab


def event(key: str, text: str = "x", kind: str = "assistant", **more: Any) -> dict[str, Any]:
    return {"key": key, "session": 1, "turn": 2, "kind": kind, "body": {"text": text}, **more}


def write(lab: ToyLab, *events: dict[str, Any], name: str = "r1", who: str = "fleet") -> Any:
    return lab.post("/events", {"researcher": name, "events": list(events)}, who)


def read(lab: ToyLab, name: str, more: str = "", who: str = "fleet") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.get(f"/events?researcher={name}{more}", who)["events"]
    return found


def test_steps_come_back_in_order_and_once(tmp_path: Path) -> None:
    """Numbers in the order given; a key that is known changes nothing; keys are personal; `since` goes on."""
    lab = ToyLab(tmp_path / "lab")
    first = write(lab, event("a"), event("b", "y", "tool", log="one.eval")).json()["ids"]
    again = write(lab, event("b", "changed"), event("c"), event("a")).json()["ids"]
    assert (again[0], again[2]) == (first[1], first[0])
    write(lab, event("a"), name="r2")
    found = read(lab, "r1")
    assert [e["key"] for e in found] == ["a", "b", "c"]
    assert found[1] == {
        "id": first[1], "researcher": "r1", "key": "b", "session": 1, "turn": 2, "kind": "tool", "body": {"text": "y"},
        "submission": None, "post": None, "log": "one.eval", "time": found[1]["time"],
    }  # fmt: skip
    assert [e["key"] for e in read(lab, "r1", f"&since={first[0]}&limit=1")] == ["b"]
    assert len(lab.get("/events", "operator")["events"]) == 4
    assert lab.get("/run", "operator")["researchers"][2]["heartbeat"] is not None
    lab.lab.close()


def test_one_bad_step_writes_none(lab: ToyLab) -> None:
    """All of a request's events or none; the sentence says which one and why."""
    for bad, word in [
        ({"kind": "thought"}, "kind"), ({"session": -1}, "session"), ({"key": ""}, "key"), ({"body": []}, "body"),
        ({"submission": 10**6}, "r1 has no submission"), ({"post": 10**6}, "r1 has no post"), ({"name": "x"}, "name"),
    ]:  # fmt: skip
        reply = write(lab, event("fine"), event("bad") | bad)
        assert reply.status_code in (400, 404), reply.text
        assert word in reply.json()["error"]
    assert write(lab, event("x"), name="nobody").status_code == 404
    nan = '{"researcher": "r1", "events": [{"key": "n", "kind": "note", "body": {"x": NaN}}]}'
    assert "NaN" in lab.raw("/events", nan, "fleet").json()["error"]
    assert read(lab, "r1") == []


def test_large_steps_and_odd_characters(lab: ToyLab) -> None:
    """Two megabytes pass, more than the limit is refused in words; halves of surrogate pairs come back as they were."""
    big = "é" * 300_000 + "x" * 200_000  # 2 MB as the lab keeps it
    assert write(lab, event("big", big), name="r3").status_code == 201
    text = '{"researcher": "r3", "events": [{"key": "odd", "kind": "note", "body": {"text": "\\ud83d \\u0000"}}]}'
    assert lab.raw("/events", text, "fleet").status_code == 201
    found = read(lab, "r3")
    assert [e["body"]["text"] for e in found] == [big, "\ud83d \x00"]
    reply = write(lab, event("huge", "x" * (transcript.MOST_BYTES + 1)), name="r3")
    assert (reply.status_code, reply.json()["kind"]) == (400, "InputError")
    assert "'huge'" in reply.json()["error"]
    body = json.dumps({"researcher": "r3", "events": [event("most", "x" * 11_000_000)]})
    assert lab.raw("/events", body, "fleet").status_code == 413
    assert lab.raw("/events", json.dumps({"x": "y" * 700_000}), "r1").status_code == 413  # room is for the fleet alone


def test_a_long_transcript_is_read_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply holds as many events as fit, at least one, and the client reads on until none is left."""
    monkeypatch.setattr(transcript, "PAGE_BYTES", 1000)
    lab = ToyLab(tmp_path / "lab")
    write(lab, *(event(str(i), "x" * 400) for i in range(5)), event("5", "x" * 5000), event("6"))
    sizes, last = [], 0
    while page := read(lab, "r1", f"&since={last}"):
        sizes.append(len(page))
        last = page[-1]["id"]
    assert sizes == [2, 2, 1, 1, 1]
    lab.lab.close()


def test_a_submission_shows_where_it_was_made(lab: ToyLab) -> None:
    """Its researcher and the operator see log, session, turn and event, at once; it is the first step that named it."""
    number = lab.score(toy.LEARNER, who="r2")["id"]
    assert lab.get(f"/submissions/{number}", "r2")["transcript"] is None
    [made] = write(lab, event("s", kind="tool", submission=number, log="r2-1.eval"), name="r2").json()["ids"]
    write(lab, event("later", kind="tool", submission=number), name="r2")
    place = {"log": "r2-1.eval", "session": 1, "turn": 2, "event": made}
    assert lab.get(f"/submissions/{number}", "r2")["transcript"] == place
    assert lab.get("/submissions", "r2")["submissions"][-1]["transcript"] == place
    [shown] = [s for s in lab.get("/run", "operator")["submissions"] if s["id"] == number]
    assert shown["transcript"] == place
    assert write(lab, event("not mine", submission=number), name="r1").status_code == 404


def test_transcripts_are_not_for_researchers(tmp_path: Path) -> None:
    """Nobody reads or writes them with a researcher's token, not even their own, and trying is in the ledger once."""
    lab = ToyLab(tmp_path / "lab")
    for _ in range(2):
        assert write(lab, event("x"), who="r1").status_code == 403
        for name in ("r1", "r2"):
            assert lab.http.get(f"/v1/events?researcher={name}", headers=lab.header("r1")).status_code == 403
    assert write(lab, event("x"), who="viewer").status_code == 403
    assert read(lab, "r1", who="viewer") == []
    alarms = [x["body"] for x in lab.get("/ledger", "operator")["lines"] if x["kind"] == "alarm"]
    assert alarms == [{"what": "tried to write or read a transcript", "who": "r1", "in": "POST /v1/events"}]
    assert lab.verify()
    lab.lab.close()


# Families


def test_families_are_declared_and_read(lab: ToyLab) -> None:
    """A known family is kept as its researcher's word, another is refused by name; others' words stand beside it."""
    sent = lab.submit(toy.variant(5), family="Data_Filtering").json()
    assert sent["family"] == "data filtering"
    assert lab.get(f"/submissions/{sent['id']}")["family"] == "data filtering"
    made = lab.post("/posts", {"kind": "insight", "title": "t", "body": "", "family": "ensemble"}).json()
    assert lab.get(f"/posts/{made['id']}")["family"] == "ensemble"
    assert "'magic'" in lab.submit(toy.variant(6), family="magic").json()["error"]
    idea = {"kind": "submission", "number": sent["id"], "family": "ensemble", "by": "rules"}
    assert lab.post("/ideas", {"ideas": [idea]}, "fleet").json() == {"kept": 1}
    lab.post("/ideas", {"ideas": [{**idea, "family": "other"}]}, "fleet")
    assert lab.post("/ideas", {"ideas": [{**idea, "by": "researcher"}]}, "fleet").status_code == 400
    assert lab.post("/ideas", {"ideas": [{**idea, "number": 10**6}]}, "fleet").status_code == 404
    assert lab.post("/ideas", {"ideas": [idea]}, "r1").status_code == 403
    said = {
        (i["kind"], i["by"]): i["family"] for i in lab.get("/run", "operator")["ideas"] if i["number"] == sent["id"]
    }
    assert said["submission", "researcher"] == "data filtering"
    assert said["submission", "rules"] == "other"


def test_a_key_from_before_families_still_fits(lab: ToyLab) -> None:
    """A request without a family is what it was before there were any, so that its key gives the first reply."""
    body = {"kind": "insight", "title": "once", "body": "text"}
    first = lab.post("/posts", body, "r3", key="k").json()
    assert lab.post("/posts", {**body, "family": ""}, "r3", key="k").json() == first
    assert lab.post("/posts", {**body, "family": "other"}, "r3", key="k").status_code == 400


# The forum's pace


def test_the_forum_takes_ten_posts_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The eleventh is refused with the time to wait; a repeated key costs nothing; others post on; a minute frees."""
    now = 1000.0
    monkeypatch.setattr(forum.time, "monotonic", lambda: now)
    lab = ToyLab(tmp_path / "lab")

    def post(who: str = "r1", key: str | None = None) -> Any:
        return lab.post("/posts", {"kind": "insight", "title": "t", "body": ""}, who, key)

    for i in range(forum.POSTS_A_MINUTE):
        assert post(key=f"k{i}").status_code == 201
        now += 1
    refused = post()
    assert (refused.status_code, refused.json()["kind"]) == (429, "RateLimited")
    assert "wait 50 s" in refused.json()["error"]
    assert post(key="k0").status_code == 201
    assert post("r2").status_code == 201
    now = 1060.0
    assert post().status_code == 201
    assert post().status_code == 429
    lab.lab.close()


# Store and client


def test_a_database_from_before_opens(tmp_path: Path) -> None:
    """One that knows nothing of events, calls and families gets their tables, and keeps what it had."""
    path = tmp_path / "lab.db"
    with Store(path).write() as rows:
        rows.add_researcher(ResearcherRow("ada", "search", "", token_hash="t"))
    db = sqlite3.connect(path)
    for table in ("events", "spending", "accounts", "ideas"):
        db.execute(f"DROP TABLE {table}")
    db.execute("UPDATE schema_version SET version = 3")
    db.commit()
    db.close()
    with Store(path).write() as rows:
        assert [r.name for r in rows.researchers()] == ["ada"]
        assert (list(rows.events()), rows.accounts(), rows.ideas(), rows.calls()) == ([], {}, [], [])
    db = sqlite3.connect(path)
    found = {r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {"events_in_order", "events_by_submission", "spending_outstanding"} <= found


def test_the_client_has_the_words(tmp_path: Path) -> None:
    """Every call of the fleet over a socket; errors arrive as they were raised; NaN does not leave the house."""
    with ToyServer(tmp_path / "lab") as server:
        fleet, r1, operator = server.client("fleet"), server.client("r1"), server.client("operator")
        assert fleet.reserve("r1", "a", 0.5, 100)["granted"]
        assert fleet.settle("r1", "a", {"model": "m", "input_tokens": 3}, 0.25)["llm_dollars"] == 0.25
        assert fleet.release("r1", "a")["released"] == 0
        ids = fleet.add_events("r1", [event("a", "\ud800 half"), event("b")])
        assert [e["id"] for e in fleet.events("r1")] == ids
        assert fleet.events("r1", since=ids[0], limit=1)[0]["key"] == "b"
        assert fleet.events("r1", since=ids[1]) == []
        operator.clock(100.0, {"r1": 0.1}, {"r1": 2.0})
        assert r1.budget()["dollars"]["yours"]["spent"] == 0.35
        made = r1.submit("m", toy.LEARNER, family="other")
        fleet.classify([{"kind": "submission", "number": made["id"], "family": "other", "by": "llm"}])
        with pytest.raises(errors.InputError, match="dollars"):
            fleet.reserve("r1", "b", -1.0, 1)
        with pytest.raises(errors.InputError, match="JSON"):
            fleet.reserve("r1", "b", float("nan"), 1)
        with pytest.raises(errors.NotAllowed, match="fleet's token"):
            r1.reserve("r1", "b", 0.0, 1)
        for _ in range(forum.POSTS_A_MINUTE):
            r1.post("insight", "t", "b", family="ensemble")
        with pytest.raises(errors.RateLimited, match="wait"):
            r1.post("insight", "t", "b")
