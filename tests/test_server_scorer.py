"""The scorer: nothing lost, nothing scored twice, and our failures never charged to anybody."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import toy
from aarlab.errors import Infrastructure
from aarlab.execution.base import MethodRun, RunResult
from aarlab.server import results
from aarlab.server.scorer import Scorer
from toy_lab import ToyLab


class Troubled(toy.InProcess):
    """Raises the given errors first, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def run(self, run: MethodRun) -> RunResult:
        if self.errors:
            raise self.errors.pop(0)
        return super().run(run)


class Gated(toy.InProcess):
    """Lets runs through when `gate` is open, and counts them."""

    def __init__(self) -> None:
        self.gate, self.entered, self.runs = threading.Event(), threading.Event(), 0

    def run(self, run: MethodRun) -> RunResult:
        self.runs += 1
        self.entered.set()
        if not self.gate.wait(20):
            raise Infrastructure("the gate stayed closed")
        return super().run(run)

    def close(self) -> None:
        self.gate.set()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aarlab.server.scorer.PAUSE", 0.01)


@pytest.mark.parametrize(
    "error",
    [Infrastructure("a worker was killed"), OSError(errno.ENOSPC, "No space left"), RuntimeError("a bug of ours")],
    ids=["killed", "disk-full", "bug"],
)
def test_our_failure_is_retried_and_not_charged(tmp_path: Path, quick: None, error: Exception) -> None:
    """A killed worker, a full disk or a bug costs time only: the method gets its score in the end."""
    with ToyLab(tmp_path / "lab", executor=Troubled(*[error] * 3)) as lab:
        assert lab.score(toy.LEARNER)["status"] == "scored"
        assert lab.get("/budget")["answers"]["yours"] == 1
        assert lab.verify()


def test_after_five_failures_of_ours_nobody_is_charged(tmp_path: Path, quick: None) -> None:
    """What the lab cannot run ends with reason `infrastructure`; neither answer nor submission is charged."""
    trouble = Infrastructure("no sandbox comes up")
    with ToyLab(tmp_path / "lab", executor=Troubled(*[trouble] * 100)) as lab:
        verdict = lab.score(toy.LEARNER)
        assert (verdict["status"], verdict["reason"]) == ("failed", "infrastructure")
        budget = lab.get("/budget")
        assert (budget["answers"]["yours"], budget["submissions"]["used"]) == (0, 0)
        assert lab.verify()


def test_a_killed_server_leaves_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    """A second server queues again what the first was running; the first one's late result is not written."""
    gated = Gated()
    lab = ToyLab(tmp_path / "lab", executor=gated)
    with lab:
        gated.entered.wait(5)
        number = lab.submit(toy.LEARNER).json()["id"]
        lab.until(lambda run: run["progress"]["baseline"]["running"] == 2)
        second = ToyLab(tmp_path / "lab", tokens=lab.tokens)  # what a restart sees: rows still running
        with second:
            second.until(lambda run: run["progress"]["feedback"]["scored"] == 1 and run["settled"])
            before = second.get("/run", "operator")
            gated.gate.set()
            time.sleep(0.5)
            after = second.get("/run", "operator")
            assert after["evaluations"] == before["evaluations"]
            assert after["ledger"] == before["ledger"]
            assert second.get(f"/submissions/{number}")["status"] == "scored"
            assert second.verify()


def test_a_lost_lease_writes_nothing(tmp_path: Path) -> None:
    """Only who still holds the lease may end an evaluation, and only once."""
    lab = ToyLab(tmp_path / "lab")
    with lab.lab.store.write() as rows:
        evaluation = rows.claim("mine")
    assert evaluation is not None
    name = toy.name()
    outputs = toy.InProcess().run(
        MethodRun(
            toy.LEARNER, lab.lab.vault.inputs(name, "feedback"), lab.lab.vault.draws(name, "feedback", "feedback"), 9
        )
    )
    correct = lab.lab.vault.grade(name, "feedback", "feedback", outputs.outputs)
    outcome = lab.lab.vault.save_outcomes(evaluation.id, name, "feedback", correct)
    graded = results.Graded(correct, outcome, outputs.cpu_seconds, outputs.wall_seconds)
    assert results.record_score(lab.lab, evaluation, graded)
    assert not results.record_score(lab.lab, evaluation, graded)
    assert not results.record_trouble(lab.lab, evaluation)
    lab.lab.close()


def test_a_stopping_server_hands_work_back(tmp_path: Path) -> None:
    """SIGTERM in the middle of a run: the evaluation is queued again and counts as no failure."""

    class Closing(Gated):
        def run(self, run: MethodRun) -> RunResult:
            super().run(run)
            raise Infrastructure("killed by close")

    lab = ToyLab(tmp_path / "lab", executor=Closing())
    with lab:
        lab.until(lambda run: run["progress"]["baseline"]["running"] == 2)
    with ToyLab(tmp_path / "lab", tokens=lab.tokens) as again:
        run = again.until(lambda run: run["progress"]["baseline"]["scored"] == 2)
        assert [e["failures"] for e in run["evaluations"]] == [0, 0]


def test_a_result_waits_for_a_full_disk(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the score cannot be written, the measured result is kept and written as soon as there is room."""
    real, full = results.record_score, [3]

    def record(*arguments: Any) -> bool:
        if full[0]:
            full[0] -= 1
            raise Infrastructure("database or disk is full")
        return real(*arguments)

    monkeypatch.setattr(results, "record_score", record)
    gated = Gated()
    gated.gate.set()
    with ToyLab(tmp_path / "lab", executor=gated) as lab:
        assert lab.score(toy.LEARNER)["status"] == "scored"
        run = lab.until(lambda run: run["settled"] and run["progress"]["baseline"]["scored"] == 2)
        assert gated.runs == len(run["evaluations"])


def test_an_edited_method_file_is_not_run(tmp_path: Path, quick: None) -> None:
    """A method file that changed on disk is never scored under the old name."""
    gated = Gated()
    with ToyLab(tmp_path / "lab", executor=gated) as lab:
        lab.until(lambda run: run["progress"]["baseline"]["running"] == 2)
        number = lab.submit(toy.LEARNER).json()["id"]
        (tmp_path / "lab" / "artifacts" / f"{toy.sha(toy.LEARNER)}.py").write_text(toy.CONSTANT.format(value=1.0))
        gated.gate.set()
        assert lab.get(f"/submissions/{number}?wait=20")["reason"] == "infrastructure"
        assert "was edited" in lab.verify().text()


def test_a_clock_set_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the clock jumping back by a day between submissions, all is scored and the ledger's times stay in order."""
    with ToyLab(tmp_path / "lab") as lab:
        lab.score(toy.LEARNER)
        now = time.time
        monkeypatch.setattr(lab.lab, "now", lambda: now() - 86_400)
        assert lab.score(toy.variant(1))["status"] == "scored"
        times = [x["time"] for x in lab.get("/ledger", "operator")["lines"]]
        assert times == sorted(times)
        assert lab.verify()


def test_repeats_of_a_running_method_share_its_verdict(tmp_path: Path) -> None:
    """A repeat that arrives while the original runs waits for it; one run, one answer."""
    gated = Gated()
    with ToyLab(tmp_path / "lab", executor=gated) as lab:
        first = lab.submit(toy.LEARNER).json()
        repeats = [lab.submit(toy.LEARNER + "#" * i, who="r2").json() for i in range(3)]
        assert {r["status"] for r in repeats} == {"queued"}
        gated.gate.set()
        answer = lab.get(f"/submissions/{first['id']}?wait=20")["answer"]
        for row in repeats:
            found = lab.get(f"/submissions/{row['id']}?wait=20", "r2")
            assert (found["status"], found["answer"], found["repeat_of"]) == ("scored", answer, first["id"])
        assert lab.get("/budget")["answers"]["taken"] == 1
        assert lab.verify()


def test_durations_are_rounded_up(tmp_path: Path) -> None:
    """How long a method takes on hidden inputs shows in whole quanta only."""
    lab = ToyLab(tmp_path / "lab")
    lab.scorer = Scorer(lab.lab, toy.InProcess(), quantum=2.0)
    with lab:
        lab.until(lambda run: run["progress"]["baseline"]["scored"] == 2)
        for source in (toy.CONSTANT.format(value=0.4), "import time\n" + toy.LEARNER + "    time.sleep(0.1)\n"):
            started = time.monotonic()
            lab.score(source)
            assert 2.0 <= time.monotonic() - started < 2.0 + 1.9


def test_long_poll_returns_at_once_when_done(tmp_path: Path) -> None:
    """Many waiters cost no thread each and hear of the verdict together; without one, the wait ends in time."""
    gated = Gated()
    with ToyLab(tmp_path / "lab", executor=gated) as lab:
        number = lab.submit(toy.LEARNER).json()["id"]
        started = time.monotonic()
        assert lab.get(f"/submissions/{number}?wait=0.3")["status"] in ("queued", "running")
        assert 0.3 <= time.monotonic() - started < 10
        gated.gate.set()
        assert lab.get(f"/submissions/{number}?wait=30")["status"] == "scored"


def test_a_full_database_is_said_and_survived(tmp_path: Path) -> None:
    """When the database cannot grow, a submission gets one clear sentence and 503, and works again later."""
    lab = ToyLab(tmp_path / "lab")
    store = lab.lab.store
    with store.read() as rows:
        pages = rows.c.execute(text("PRAGMA page_count")).scalar_one()

    from sqlalchemy import event

    def limit(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(store.engine, "checkout", limit)
    replies = [lab.post("/posts", {"kind": "insight", "title": "t", "body": "x" * 90_000}) for _ in range(3)]
    assert replies[-1].status_code == 503
    assert "full" in replies[-1].json()["error"]
    event.remove(store.engine, "checkout", limit)
    store.engine.dispose()
    assert lab.post("/posts", {"kind": "insight", "title": "t", "body": "x"}).status_code == 201
    lab.lab.close()
