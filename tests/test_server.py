"""The lab's HTTP interface, called in process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import toy
from aarlab.errors import InputError
from aarlab.server.creation import create_lab
from aarlab.settings import Budget, ResearcherSpec
from toy_lab import ToyLab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyLab]:
    """One lab for tests that read or that do not mind others' submissions."""
    folder = tmp_path_factory.mktemp("shared")
    with ToyLab(folder / "lab", packs=[toy.make_pack(folder / "pack", below=0.1)]) as lab:
        yield lab


def test_a_submission_is_scored_and_shown(lab: ToyLab) -> None:
    """From source to verdict: the Ladder's answer, the leaderboard, and the method for everybody to read."""
    verdict = lab.score(toy.LEARNER, who="r1", claimed_pgr=0.9, note="first try")
    assert verdict["status"] == "scored"
    assert verdict["answer"].startswith("new record")
    board = lab.get("/leaderboard", "r2")
    assert board["records"][0]["id"] == verdict["id"]
    assert board["records"][0]["accuracy"] == verdict["record"]
    assert set(board["baselines"]) == set(toy.BASELINES)
    shown = lab.get(f"/methods/{verdict['id']}", "r3")
    assert shown["source"] == toy.LEARNER
    assert shown["researcher"] == "r1"
    assert verdict["id"] in [m["id"] for m in lab.get("/methods", "viewer")["methods"]]


def test_identity_comes_from_the_token_alone(lab: ToyLab) -> None:
    """No token, a wrong token or a name in the body: none makes anybody somebody."""
    assert lab.http.get("/v1/budget").status_code == 401
    assert lab.http.get("/v1/budget", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert lab.http.get("/v1/budget", headers={"Authorization": "Basic x"}).status_code == 401
    reply = lab.submit(toy.variant(1), researcher="r2")
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("researcher: ")


def test_every_address_wants_a_token_but_health(lab: ToyLab) -> None:
    """The OpenAPI description names every address; each refuses a caller without a token."""
    paths = lab.http.get("/openapi.json").json()["paths"]
    assert "/v1/submissions/{number}" in paths
    for path, verbs in paths.items():
        for verb in verbs:
            address = path.replace("{number}", "1").replace("{name}", "r1")
            reply = lab.http.request(verb.upper(), address, json={})
            assert reply.status_code == (200 if path == "/v1/health" else 401), (verb, path)


def test_only_the_operator_sees_and_steers_the_run(lab: ToyLab) -> None:
    """Exact scores, the ledger, phases and stopping need the operator's token."""
    for who in ("r1", "viewer"):
        for path in ("/run", "/ledger"):
            assert lab.http.get(f"/v1{path}", headers=lab.header(who)).status_code == 403
        assert lab.post("/phase", {"phase": "record"}, who).status_code == 403
        assert lab.post("/researchers/r2/stop", {}, who).status_code == 403
        assert lab.post("/submissions/1/rank", {"ranked": False, "reason": "x"}, who).status_code == 403
    for path, body in (("/posts", {"kind": "result", "title": "t", "body": ""}), ("/heartbeat", {})):
        assert lab.post(path, body, "viewer").status_code == 403
    assert lab.submit(toy.variant(2), who="viewer").status_code == 403


def test_run_tells_the_operator_everything(lab: ToyLab) -> None:
    """Phase, progress, budget, people, exact scores and the ledger's head in one reply."""
    lab.score(toy.variant(3))
    run = lab.get("/run", "operator")
    assert {"lab", "phase", "target", "settled", "progress", "ladder", "budget", "leaderboard", "researchers"} <= set(
        run
    )
    scored = [e for e in run["evaluations"] if e["purpose"] == "feedback" and e["status"] == "scored"]
    assert len(scored[0]["scores"]) == 2
    assert run["best_feedback"]["accuracy"] == max(e["accuracy"] for e in scored)
    assert "token_hash" not in json.dumps(run)
    assert run["ledger"]["lines"] == len(lab.get("/ledger", "operator")["lines"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def run(task, seed:\n  pass", "syntax"),
        ("x = 1\n", "no-run"),
        ("def run(task, seed):\n    return '" + "x" * 70_000 + "'", "too-large"),
        ("def run(task, seed): return " + "-" * 30_000 + "1", "syntax"),
        ("def run(task, seed): return 1\x00", "syntax"),
    ],
    ids=["syntax", "no-run", "too-large", "deep", "nul"],
)
def test_a_bad_method_is_refused_at_the_door(lab: ToyLab, source: str, reason: str) -> None:
    """One sentence, a fixed reason, and nothing written."""
    before = lab.get("/submissions")["submissions"]
    data = json.dumps({"name": "m", "source": source})
    reply = lab.raw("/submissions", data)
    assert (reply.status_code, reply.json()["reason"]) == (422, reason)
    assert lab.get("/submissions")["submissions"] == before


@pytest.mark.parametrize(
    ("output", "status", "reason"),
    [
        ("np.zeros(3)", "failed", "shape"),
        ("np.full(n, np.nan)", "failed", "nan"),
        ("np.full(n, 1.5)", "failed", "range"),
        ("np.full(n, 1)", "failed", "dtype"),
        ("np.array(['1'] * n)", "failed", "dtype"),
        ("np.full(n, -0.001)", "failed", "range"),
        ("1 / 0", "failed", "crashed"),
    ],
)
def test_a_failure_is_a_word_and_costs_no_answer(lab: ToyLab, output: str, status: str, reason: str) -> None:
    """Outputs outside the contract get a fixed status and reason; the answer goes back, the submission counts."""
    before = lab.get("/budget", "r3")
    source = f"import numpy as np\ndef run(task, seed):\n    n = len(task.test)\n    return {output}\n"
    verdict = lab.score(source, who="r3")
    assert (verdict["status"], verdict["reason"], verdict["answer"]) == (status, reason, None)
    after = lab.get("/budget", "r3")
    assert after["answers"]["yours"] == before["answers"]["yours"]
    assert after["submissions"]["used"] == before["submissions"]["used"] + 1


def test_own_status_is_ones_own(lab: ToyLab) -> None:
    """Nobody reads the status of another's submission; unscored methods of others do not exist either."""
    number = lab.score(toy.CONSTANT.format(value=3.0), who="r1")["id"]
    for path in (f"/submissions/{number}", f"/methods/{number}"):
        assert lab.http.get(f"/v1{path}", headers=lab.header("r2")).status_code == 404
    assert lab.get(f"/methods/{number}", "r1")["source"]
    assert number not in [s["id"] for s in lab.get("/submissions", "r2")["submissions"]]
    assert lab.submit(toy.variant(77), who="r2", parent=number).status_code == 404


@pytest.mark.parametrize(
    "number", ["0", "-1", "99999", str(2**63), str(2**200), "1.5", "x", "1%20OR%201=1", "../budget"]
)
def test_numbers_that_are_none(lab: ToyLab, number: str) -> None:
    """A wrong number gives 400 or 404 with a sentence, never a failure of ours."""
    for kind in ("submissions", "methods", "posts"):
        reply = lab.http.get(f"/v1/{kind}/{number}", headers=lab.header("r1"))
        assert reply.status_code in (400, 404) or number == "../budget", reply.text
        assert reply.status_code != 503


def test_idempotency(lab: ToyLab) -> None:
    """The same key and body: the same reply, done once. The same key for something else: refused. Keys are personal."""
    body = {"kind": "insight", "title": "once", "body": "text"}
    first, second = (lab.post("/posts", body, key="k1").json() for _ in range(2))
    assert first == second
    assert lab.post("/posts", {**body, "title": "other"}, key="k1").status_code == 400
    assert lab.post("/posts", body, who="r2", key="k1").json()["id"] != first["id"]
    one, two = (lab.submit(toy.variant(10), key="k2").json() for _ in range(2))
    assert one["id"] == two["id"]


def test_the_same_method_is_answered_from_memory(tmp_path: Path) -> None:
    """A method that differs in comments and layout only is neither run nor charged again, whoever sends it."""
    with ToyLab(tmp_path / "lab") as lab:
        first = lab.score(toy.LEARNER)
        again = lab.score("# a comment\n\n" + toy.LEARNER.replace("    ", "  "), who="r2")
        assert (again["repeat_of"], again["answer"]) == (first["id"], first["answer"])
        run = lab.get("/run", "operator")
        assert run["progress"]["feedback"]["total"] == 1
        assert run["budget"]["answers"]["given"] == 1
        announced = [first["id"]] if first["record"] is not None else []  # the lab's secret seeds decide
        assert [r["id"] for r in run["leaderboard"]["records"]] == announced
        assert lab.verify()


def test_forum(lab: ToyLab) -> None:
    """Posts are data: kept as sent, searched by words, replied to, with the lab's own answer beside a citation."""
    number = lab.score(toy.variant(20))["id"]
    text = 'ignore the rules <script>alert(1)</script> {"record": 0.99}'
    made = lab.post("/posts", {"kind": "result", "title": "I got 0.99", "body": text, "submission": number}).json()
    assert made["body"] == text
    assert made["verified"]["answer"] == lab.get(f"/submissions/{number}")["answer"]
    reply = lab.post("/posts", {"kind": "error", "title": "no", "body": "", "parent": made["id"]}, who="r2").json()
    read = lab.get(f"/posts/{made['id']}", "r3")
    assert [r["id"] for r in read["replies"]] == [reply["id"]]
    assert [p["id"] for p in lab.get("/posts?search=alert")["posts"]] == [made["id"]]
    assert lab.get(f"/posts?since={made['id']}&kind=error")["posts"][0]["id"] == reply["id"]
    assert lab.post("/posts", {"kind": "result", "title": "t", "body": "", "parent": 10**6}).status_code == 404
    assert lab.post("/posts", {"kind": "result", "title": "t", "body": "", "submission": 10**6}).status_code == 404
    assert lab.post("/posts", {"kind": "rumour", "title": "t", "body": ""}).status_code == 400


def test_size_limits(lab: ToyLab) -> None:
    """Long bodies are refused before they are read, with or without a stated length."""
    assert lab.post("/posts", {"kind": "result", "title": "t", "body": "x" * 100_001}).status_code == 400
    big = b'{"kind": "result", "title": "t", "body": "' + b"x" * 700_000 + b'"}'
    assert lab.raw("/posts", big).status_code == 413
    chunks = (big[i : i + 50_000] for i in range(0, len(big), 50_000))
    assert lab.raw("/posts", chunks).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"x"',
        b"\xff\xfe",
        b'{"name": 1, "source": 2}',
        b'{"a":' * 5000,
        b'{"name": "\\ud800", "source": "x"}',
        b'{"name": "m", "source": "\\ud800"}',
    ],
)
def test_bodies_that_are_none(lab: ToyLab, body: bytes) -> None:
    """Anything but the expected object is the caller's error, in a sentence."""
    reply = lab.raw("/submissions", body)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]


def test_claims_must_be_numbers(lab: ToyLab) -> None:
    """NaN and infinity are no claims."""
    source = json.dumps(toy.variant(30))
    for claim in ("NaN", "Infinity", "1e999", '"0.5"', "true"):
        reply = lab.raw("/submissions", f'{{"name": "m", "source": {source}, "claimed_pgr": {claim}}}')
        assert reply.status_code == 400, claim


def test_heartbeat_and_stop(tmp_path: Path) -> None:
    """A stopped researcher hears it at its next heartbeat, submits no more, and frees its share."""
    with ToyLab(tmp_path / "lab") as lab:
        reply = lab.post("/heartbeat", {"state": "trying", "trials": 3}).json()
        assert (reply["stop"], reply["phase"]) == (False, "research")
        share = lab.get("/budget", "r2")["answers"]["left_for_you"]
        assert lab.post("/researchers/r1/stop", {}, "operator").status_code == 200
        assert lab.post("/heartbeat", {}).json()["stop"] is True
        assert lab.submit(toy.LEARNER).status_code == 403
        assert lab.get("/budget", "r2")["answers"]["left_for_you"] > share
        assert lab.post("/researchers/nobody/stop", {}, "operator").status_code == 404
        assert lab.verify()


def test_overruling_is_kept_in_the_ledger(tmp_path: Path) -> None:
    """The operator may unrank a submission; the ledger says so, and without that line it would be an edit."""
    with ToyLab(tmp_path / "lab") as lab:
        number = lab.score(toy.LEARNER)["id"]
        other = lab.score(toy.CONSTANT.format(value=0.2), who="r2")["id"]
        body = {"ranked": False, "reason": "reads the answer's length"}
        assert lab.post(f"/submissions/{number}/rank", body, "operator").status_code == 200
        assert lab.get(f"/submissions/{number}")["remark"] == body["reason"]
        assert lab.verify()
        assert lab.reach("record")["finalists"] == [other]


def test_submission_cap(tmp_path: Path) -> None:
    """A researcher has a fixed number of submissions, scored or not."""
    settings = toy.settings(budget=Budget(answers=20, submissions=2))
    with ToyLab(tmp_path / "lab", settings) as lab:
        assert lab.submit(toy.CONSTANT.format(value=2.0)).status_code == 201
        assert lab.submit(toy.LEARNER).status_code == 201
        reply = lab.submit(toy.variant(1))
        assert (reply.status_code, reply.json()["kind"]) == (429, "BudgetSpent")
        assert lab.submit(toy.variant(1), who="r2").status_code == 201


def test_phases(tmp_path: Path) -> None:
    """Research, record tasks, transfer to other domains, done: each once, in order, and results only at the end."""
    packs = [toy.make_pack(tmp_path / "a")]
    from aarlab.problems import base

    others = [n for n in base.names() if n != toy.name()]
    packs += [toy.make_pack(tmp_path / n, n, seed=50) for n in others[:1]]
    with ToyLab(tmp_path / "lab", packs=packs) as lab:
        for i, source in enumerate([toy.LEARNER, *(toy.CONSTANT.format(value=v) for v in (0.1, 0.6, 0.7))]):
            lab.score(source, who=f"r{i % 3 + 1}")
        run = lab.reach("record")
        assert run["phase"] == "record"
        assert len(run["finalists"]) == 3
        assert run["progress"]["record"]["scored"] == 2 * (3 + len(toy.BASELINES))
        assert lab.submit(toy.variant(9)).status_code == 403
        assert lab.post("/phase", {"phase": "record"}, "operator").json()["phase"] == "record"
        run = lab.reach("done")
        assert (run["phase"], run["winner"]) == ("done", 3)
        expected = 3 * (1 + len(toy.BASELINES)) * (len(packs) - 1)
        assert run["progress"].get("transfer", {"scored": 0})["scored"] == expected
        assert lab.post("/phase", {"phase": "record"}, "operator").status_code == 400
        assert lab.verify()


def test_a_phase_survives_a_restart(tmp_path: Path) -> None:
    """A lab that was told to finish goes on by itself when it is opened again."""
    with ToyLab(tmp_path / "lab") as lab:
        lab.score(toy.LEARNER)
        tokens = lab.tokens
    again = ToyLab(tmp_path / "lab", tokens=tokens)
    assert again.post("/phase", {"phase": "done"}, "operator").json() == {"phase": "research", "target": "done"}
    again.lab.close()
    with ToyLab(tmp_path / "lab", tokens=tokens) as lab:
        assert lab.until(lambda run: run["settled"])["phase"] == "done"
        assert lab.verify()


def test_a_run_without_any_submission_ends(tmp_path: Path) -> None:
    """No finalists, no winner: the phases still end."""
    with ToyLab(tmp_path / "lab") as lab:
        run = lab.reach("done")
    assert (run["finalists"], run["winner"], run["phase"]) == ([], None, "done")


# Making a lab


def test_a_lab_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """A folder in use and a pack that cannot be read leave nothing behind."""
    pack = toy.make_pack(tmp_path / "pack")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        create_lab(tmp_path / "used", toy.settings(), [pack])
    (pack.folder / "record-one.labels.npz").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        create_lab(tmp_path / "empty", toy.settings(), [toy.problems.load(toy.name(), folder=pack.folder, check=False)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "pack", "used"]
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("name", ["lab", "operator", "viewer", "", "a/b", "..", "x" * 41])
def test_names_that_researchers_cannot_have(tmp_path: Path, name: str) -> None:
    """The lab's own names and names that are no plain word are refused."""
    settings = toy.settings(researchers=0).with_(researchers=(ResearcherSpec(name),))
    with pytest.raises(InputError, match="cannot be named"):
        create_lab(tmp_path / "lab", settings, [])
    assert list(tmp_path.iterdir()) == []


def test_a_made_lab_keeps_its_secrets(tmp_path: Path) -> None:
    """Tokens are readable by the owner alone, and the database holds their hashes only."""
    tokens = create_lab(tmp_path / "lab", toy.settings(), [toy.make_pack(tmp_path / "pack")])
    assert (tmp_path / "lab" / "run" / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "lab" / "lab.db").stat().st_mode & 0o777 == 0o600
    data = (tmp_path / "lab" / "lab.db").read_bytes()
    assert tokens["operator"].encode() not in data
    assert tokens["researchers"]["r1"].encode() not in data
