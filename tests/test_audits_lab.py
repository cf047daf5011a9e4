"""Audits inside a lab: what is measured of the finalists decides what opens, and every verdict can be checked."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy
from aarlab.audits.policy import Policy, Range
from aarlab.errors import Infrastructure, MethodError
from aarlab.execution.base import MethodRun, RunResult
from aarlab.reports import report
from aarlab.reports.data import collect
from aarlab.server.lab import Lab
from aarlab.settings import Audit, Scoring, Settings
from aarlab.vault.store import Vault
from test_report import SCHEMA, faults
from toy_lab import ToyLab

ITEMS = 2100
"""Above `FEW_ITEMS` test items, so that a verdict can cost a rank."""

OWN_OPINION = """
import numpy as np

def run(task, seed):
    score = task.test.zero_shot()
    return 1 / (1 + np.exp(-(score - np.median(task.train.zero_shot()))))
"""
"""Ignores its teacher: of the teacher-free track, wherever it is filed."""


def settings(opened: int = 1, workers: int = 2, audited: bool = True) -> Settings:
    scoring = Scoring(seeds=2, record_seeds=2, finalists=opened, workers=workers, timeout=10.0)
    return toy.settings(scoring=scoring, audit=Audit(finalists=audited, level="quick"))


def pack(tmp_path: Path, items: int = ITEMS) -> list[Any]:
    return [toy.make_pack(tmp_path / "pack", items=items)]


def barring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy under which the LEARNER's dependence on its teacher is no track's."""
    strict = Policy(by_track={"inductive": {"teacher": Range(high=0.3)}})
    monkeypatch.setattr(Lab, "policy", strict)


def test_finalists_are_audited_before_the_record(tmp_path: Path) -> None:
    """Each finalist has findings, a verdict and a ledger line, and only then the record tasks open."""
    with ToyLab(tmp_path / "lab", settings(2), pack(tmp_path)) as lab:
        numbers = [lab.score(source)["id"] for source in (toy.LEARNER, toy.SHARPER.format(margin=0.1))]
        run = lab.reach("record")
        assert sorted(run["finalists"]) == numbers
        found = lab.get(f"/submissions/{numbers[0]}/audit", "operator")
        assert (found["status"], found["level"], found["verdict"]["outcome"][:6]) == ("scored", "quick", "ranked")
        assert {"teacher-flip", "student-ablation"} <= {f["audit"] for f in found["findings"]}
        kinds = [x["kind"] for x in lab.get("/ledger", "operator")["lines"]]
        assert kinds.index("audit") < max(i for i, k in enumerate(kinds) if k == "phase")
        assert kinds.count("audit") == 2
        assert lab.verify()


def test_a_rejected_finalist_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a verdict keeps the best out, with its public reason, the next best is audited and opened."""
    barring(monkeypatch)
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path)) as lab:
        best, other = lab.score(toy.LEARNER)["id"], lab.score(toy.CONSTANT.format(value=0.7), "r2")["id"]
        run = lab.reach("record")
        assert run["finalists"] == [other]
        shown = lab.get(f"/submissions/{best}")
        assert shown["ranked"] is False
        assert shown["remark"].startswith("not ranked: ")
        assert "teacher 1.0" in shown["remark"]
        assert lab.get("/leaderboard")["verdicts"][str(best)]["outcome"] == "not ranked"
        assert lab.verify()


def test_copies_of_one_method_take_one_slot(tmp_path: Path) -> None:
    """Of submissions that got the very same items right under every seed only the first is a candidate."""
    with ToyLab(tmp_path / "lab", settings(3, audited=False)) as lab:
        first = lab.score(toy.LEARNER)["id"]
        lab.score(toy.variant("'the same again'"))
        other = lab.score(toy.SHARPER.format(margin=0.1), who="r2")["id"]
        assert sorted(lab.reach("record")["finalists"]) == sorted([first, other])


def test_no_more_than_twice_the_finalists_are_audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody ranks, the search for finalists ends; the record then measures the baselines alone."""
    barring(monkeypatch)
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path)) as lab:
        for i in range(4):
            lab.score(toy.SHARPER.format(margin=0.03 * i), f"r{i % 3 + 1}")
        run = lab.reach("done")
        assert run["progress"]["audit"]["total"] == 2
        assert (run["finalists"], run["winner"]) == ([], None)
        assert lab.verify()


def test_a_misdeclared_method_moves(tmp_path: Path) -> None:
    """What ignores its teacher and was filed as inductive ranks, on the track that fits, and says so."""
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path)) as lab:
        number = lab.score(OWN_OPINION)["id"]
        assert lab.reach("record")["finalists"] == [number]
        verdict = lab.get(f"/submissions/{number}", "operator")["audit"]["verdict"]
        assert (verdict["declared"], verdict["outcome"]) == ("inductive", "ranked with a note")
        assert verdict["track"] != "inductive"
        assert lab.get(f"/submissions/{number}")["track"] == "inductive"
        assert verdict["track"] in lab.get(f"/submissions/{number}")["remark"]


class Fails(toy.InProcess):
    """Raises `error` in audits: in every run that is no score's."""

    def __init__(self, error: Exception, times: int = 10**6) -> None:
        self.error, self.left, self.audits = error, times, False

    def run(self, run: MethodRun) -> RunResult:
        if self.audits and self.left > 0:
            self.left -= 1
            raise self.error
        return super().run(run)


def test_a_method_that_does_not_run_in_the_audit_is_held(tmp_path: Path) -> None:
    """It does not open; the reason says what happened, and an operator's overruling opens it."""
    executor = Fails(MethodError("crashed", "boom"))
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path, 400), executor) as lab:
        number = lab.score(toy.LEARNER)["id"]
        executor.audits = True
        run = lab.reach("audit")
        assert run["phase"] == "audit"
        verdict = lab.get(f"/submissions/{number}/audit", "operator")["verdict"]
        assert (verdict["outcome"], "did not run in the audit (crashed)" in verdict["reason"]) == ("held", True)
        executor.audits = False
        body = {"ranked": True, "reason": "the crash was a broken disk"}
        assert lab.post(f"/submissions/{number}/rank", body, "operator").status_code == 200
        assert lab.reach("record")["finalists"] == [number]
        history = lab.get(f"/submissions/{number}/audit", "operator")["history"]
        assert [(h["by"], h["outcome"]) for h in history] == [("lab", "held"), ("operator", "ranked")]
        assert lab.verify()


def test_an_operator_opens_a_held_one_while_the_record_runs(tmp_path: Path) -> None:
    """Ranked during the record phase, a held finalist is measured there too, where there is room."""
    executor = Fails(MethodError("crashed", "boom"))
    with ToyLab(tmp_path / "lab", settings(2), pack(tmp_path, 400), executor) as lab:
        number = lab.score(toy.LEARNER)["id"]
        executor.audits = True
        lab.reach("audit")
        executor.audits = False
        assert lab.reach("record")["finalists"] == []
        assert (
            lab.post(f"/submissions/{number}/rank", {"ranked": True, "reason": "fine"}, "operator").status_code == 200
        )
        run = lab.until(lambda run: run["settled"])
        assert run["finalists"] == [number]
        assert lab.reach("done")["winner"] == number
        assert lab.verify()


def test_our_failure_in_an_audit_is_retried_and_never_the_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed sandbox costs time; five of them hold the submission with a sentence that names the lab."""
    monkeypatch.setattr("aarlab.server.scorer.PAUSE", 0.01)
    executor = Fails(Infrastructure("a worker was killed"), times=3)
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path, 400), executor) as lab:
        first = lab.score(toy.LEARNER)["id"]
        executor.audits = True
        assert lab.reach("record")["finalists"] == [first]
        executor.left = 10**6
        baseline = lab.get("/run", "operator")["submissions"][0]["id"]
        assert lab.post(f"/submissions/{baseline}/audit", {}, "operator").status_code == 200
        lab.until(lambda run: run["settled"])
        assert "of the lab's own" in lab.get(f"/submissions/{baseline}/audit", "operator")["verdict"]["reason"]
        assert lab.verify()


def test_a_restart_in_the_middle_of_an_audit(tmp_path: Path) -> None:
    """What a dead server was auditing is audited again; the first one's late result is not written."""
    gate, entered = threading.Event(), threading.Event()

    class Gated(toy.InProcess):
        closed = False

        def run(self, run: MethodRun) -> RunResult:
            if self.closed:
                entered.set()
                gate.wait(20)
            return super().run(run)

    executor = Gated()
    with ToyLab(tmp_path / "lab", settings(1, workers=1), pack(tmp_path, 400), executor) as lab:
        number = lab.score(toy.LEARNER)["id"]
        executor.closed = True
        lab.post("/phase", {"phase": "record"}, "operator")
        assert entered.wait(20)
        with ToyLab(tmp_path / "lab", tokens=lab.tokens) as second:
            assert second.until(lambda run: run["settled"])["finalists"] == [number]
            before = second.get("/run", "operator")["ledger"]
            gate.set()
            lab.scorer.close()
            assert second.get("/run", "operator")["ledger"] == before
            assert len(second.get(f"/submissions/{number}/audit", "operator")["history"]) == 1
            assert second.verify()


def test_research_hears_nothing_of_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit on demand during research changes nothing that a researcher sees; its verdict counts afterwards."""
    barring(monkeypatch)
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path)) as lab:
        number = lab.score(toy.LEARNER)["id"]
        before = lab.get(f"/submissions/{number}"), lab.get("/leaderboard"), lab.get("/methods")
        assert lab.http.post(f"/v1/submissions/{number}/audit", json={}, headers=lab.header("r1")).status_code == 403
        assert lab.post(f"/submissions/{number}/audit", {"level": "quick"}, "operator").status_code == 200
        lab.until(lambda run: run["settled"])
        assert lab.get(f"/submissions/{number}/audit", "operator")["verdict"]["outcome"] == "not ranked"
        assert (lab.get(f"/submissions/{number}"), lab.get("/leaderboard"), lab.get("/methods")) == before
        assert lab.reach("record")["finalists"] == []
        assert lab.get(f"/submissions/{number}")["ranked"] is False
        assert lab.verify()


def test_an_audit_is_made_once_and_deepened_on_demand(tmp_path: Path) -> None:
    """Asking again shows what is known; asking for more runs it again; a repeat shares its original's findings."""
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path, 400)) as lab:
        number, repeat = lab.score(toy.LEARNER)["id"], lab.score(toy.LEARNER + "# same\n", "r2")["id"]
        for level in ("quick", "quick", "full", "quick"):
            assert lab.post(f"/submissions/{number}/audit", {"level": level}, "operator").status_code == 200
            lab.until(lambda run: run["settled"])
        found = lab.get(f"/submissions/{number}/audit", "operator")
        assert [h["level"] for h in found["history"]] == ["quick", "full"]
        assert "knock-out" in {f["audit"] for f in found["findings"]}
        same = lab.get(f"/submissions/{repeat}/audit", "operator")
        assert (same["findings"], same["evaluation"]) == (found["findings"], found["evaluation"])
        assert same["verdict"]["outcome"] == found["verdict"]["outcome"]
        assert lab.verify()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE verdicts SET outcome = 'held' WHERE submission = 3", "verdict on submission 3 was edited"),
        ("UPDATE verdicts SET reason = 'because'", "verdict on submission 3 was edited"),
        ("DELETE FROM verdicts", "verdict on submission 3 (ledger line"),
        ("INSERT INTO verdicts SELECT NULL, submission, evaluation, outcome, declared, track, reason, row, channels, "
         "time, 'operator', level, cpu_seconds FROM verdicts", "stands in the database and not in the ledger"),
        ("UPDATE findings SET value = 0.9 WHERE audit = 'teacher-flip'", "finding teacher-flip of submission 3"),
        ("DELETE FROM findings WHERE audit = 'payload'", "finding payload of submission 3"),
        ("UPDATE submissions SET ranked = 0, remark = 'out' WHERE id = 3", "submission 3: ranked is False"),
    ],
)  # fmt: skip
def test_tampering_is_named(tmp_path: Path, statement: str, said: str) -> None:
    """An edited, removed or added verdict or finding is named with its submission."""
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path, 400)) as lab:
        assert lab.score(toy.LEARNER)["id"] == 3
        lab.reach("record")
        assert lab.verify()
    db = sqlite3.connect(tmp_path / "lab" / "lab.db")
    db.execute(statement)
    db.commit()
    db.close()
    from aarlab.vault.verify import verify

    assert any(said in fault for fault in verify(tmp_path / "lab").faults), verify(tmp_path / "lab").faults


def test_audits_can_be_switched_off(tmp_path: Path) -> None:
    """`[audit] finalists = false` opens the best without an audit, as labs of older versions did."""
    with ToyLab(tmp_path / "lab", settings(1, audited=False), pack(tmp_path, 400)) as lab:
        number = lab.score(toy.LEARNER)["id"]
        run = lab.reach("done")
        assert (run["finalists"], run["winner"], "audit" in run["progress"]) == ([number], number, False)
        assert lab.verify()


def test_a_track_must_be_known(tmp_path: Path) -> None:
    """A submission on a track that the policy lacks is refused with the names of those it has."""
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path, 400)) as lab:
        reply = lab.submit(toy.LEARNER, track="magic")
        assert reply.status_code == 400
        assert "teacher-free" in reply.json()["error"]
        assert lab.submit(toy.LEARNER, track="hybrid").json()["track"] == "hybrid"


def test_the_report_shows_row_plot_and_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row per audited submission, the plot, the public reason, the overruling; report.json fits its schema."""
    barring(monkeypatch)
    with ToyLab(tmp_path / "lab", settings(1), pack(tmp_path)) as lab:
        out, won = lab.score(toy.LEARNER)["id"], lab.score(toy.CONSTANT.format(value=0.7), "r2")["id"]
        lab.reach("done")
        body = {"ranked": False, "reason": "a constant is no method"}
        assert lab.post(f"/submissions/{won}/rank", body, "operator").status_code == 200
        assert lab.verify()
    page = report.write(tmp_path / "lab").read_text()
    text = (tmp_path / "lab" / "report" / "report.md").read_text()
    data = json.loads((tmp_path / "lab" / "report" / "report.json").read_text())
    assert not list(faults(data, SCHEMA))
    found = {a["submission"]: a for a in data["audits"]}
    assert found[out]["verdict"]["outcome"] == "not ranked"
    assert found[out]["verdict"]["rerun"] is not None
    assert found[won]["kept"] is not None
    for written in (page, text):
        assert "What the methods depend on" in written
        assert "a constant is no method" in written
        assert "teacher 1.0" in written
    assert "one small range per channel" in page
    assert collect(tmp_path / "lab").costs["researchers"]["lab"]["cpu_seconds"] > 0


def test_the_labs_own_chance(tmp_path: Path) -> None:
    """The same for the same audit, another for another, another in every lab; labs without a secret have one too."""
    with ToyLab(tmp_path / "a") as one, ToyLab(tmp_path / "b") as two:
        draw = {what: one.lab.vault.rng(what).integers(1 << 60) for what in ("audit/1", "audit/2")}
        assert draw["audit/1"] == one.lab.vault.rng("audit/1").integers(1 << 60)
        assert len({*draw.values(), two.lab.vault.rng("audit/1").integers(1 << 60)}) == 3
    path = tmp_path / "a" / "vault" / "secret.json"
    kept = json.loads(path.read_text())
    del kept["audit"]
    path.write_text(json.dumps(kept))
    assert Vault(path.parent).rng("audit/1").integers(1 << 60) != draw["audit/1"]


def test_settings_of_older_labs_have_audits_on() -> None:
    """A lab.toml without [audit] means the defaults."""
    from aarlab.settings import parse

    assert parse({}, "lab.toml").audit == Audit()
    assert replace(Settings(), audit=Audit(finalists=False)).audit.finalists is False
