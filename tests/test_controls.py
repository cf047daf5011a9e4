"""What a person does to a run: each control is a ledger line, needs the operator's token, and does what it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import toy
from aarlab.errors import InputError, UnknownName
from aarlab.fleet import audit as audits
from aarlab.fleet import launch, spec
from aarlab.fleet.host import HostWorker, Nursery
from aarlab.server.creation import create_lab
from aarlab.settings import Audit, Budget, ResearcherSpec, Scoring
from aarlab.store import Store
from aarlab.vault.verify import verify
from toy_lab import ToyLab
from toy_server import ToyServer

CALLS = [
    ("/controls", {"action": "start"}),
    ("/phase", {"phase": "done"}),
    ("/researchers/r1/stop", {}),
    ("/researchers/r1/restart", {}),
    ("/researchers/r1/message", {"text": "hello"}),
    ("/researchers/everyone/message", {"text": "hello"}),
    ("/submissions/1/rank", {"ranked": True, "reason": "x"}),
    ("/submissions/1/audit", {}),
]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ToyLab]:
    with ToyLab(tmp_path / "lab") as lab:
        yield lab


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyServer]:
    """A real service, with one scored submission."""
    home = tmp_path_factory.mktemp("server")
    before, os.environ["AARLAB_STATE"] = os.environ.get("AARLAB_STATE"), str(home / "state")
    with ToyServer(home / "lab") as server:
        server.client("r1").wait(server.client("r1").submit("learner", toy.LEARNER)["id"], 30)
        yield server
    if before is None:
        del os.environ["AARLAB_STATE"]
    else:
        os.environ["AARLAB_STATE"] = before


def controls(folder: Path) -> list[dict[str, Any]]:
    """The bodies of all lines of controls."""
    store = Store(folder / "lab.db")
    with store.read() as rows:
        found = [line.body for line in rows.lines_of("control")]
    store.close()
    return found


def own(server: ToyServer) -> int:
    """The number of r1's submission."""
    return int(server.client("r1").submissions()[0]["id"])


# Who may


@pytest.mark.parametrize("who", ["r1", "viewer", "fleet"])
def test_nobody_but_the_operator_controls(lab: ToyLab, who: str) -> None:
    """403 before anything is looked at, a wrong body included, and no line."""
    for path, body in CALLS:
        assert lab.post(path, body, who).status_code == 403, path
        assert lab.post(path, {"nonsense": 1}, who).status_code == 403, path
    assert controls(lab.folder) == []


# Lines


def test_every_control_is_a_line(server: ToyServer) -> None:
    """What was done, by which way, and to what; the ledger verifies."""
    operator, number = server.client("operator"), own(server)
    known = len(controls(server.folder))
    operator.control("start", "command line")
    operator.stop("r3", "dashboard")
    operator.restart("r3", "dashboard")
    post = operator.message("r2", "look at post 1", "dashboard")["id"]
    operator.rank(number, False, "it reads the answer's length", "command line")
    operator.audit(number, "quick", "dashboard")
    operator.control("stop", "signal", "a reason")
    lines = controls(server.folder)[known:]
    message = lines[3]
    assert message.pop("sha256") == toy.sha("look at post 1")
    assert lines == [
        {"action": "start", "by": "command line"},
        {"action": "stop researcher", "by": "dashboard", "researcher": "r3"},
        {"action": "restart researcher", "by": "dashboard", "researcher": "r3", "count": 1},
        {"action": "message", "by": "dashboard", "to": "r2", "post": post},
        {
            "action": "overrule", "by": "command line", "submission": number, "ranked": False,
            "reason": "it reads the answer's length",
        },
        {"action": "audit", "by": "dashboard", "submission": number, "level": "quick"},
        {"action": "stop", "by": "signal", "reason": "a reason"},
    ]  # fmt: skip
    assert server.verify().faults == []


def test_what_changes_nothing_leaves_no_line(lab: ToyLab) -> None:
    """A second stop, a second end of research."""
    for _ in range(2):
        assert lab.post("/researchers/r2/stop", {}, "operator").status_code == 200
    for _ in range(2):
        assert lab.post("/phase", {"phase": "record", "reason": "enough"}, "operator").status_code == 200
    assert [line["action"] for line in controls(lab.folder)] == ["stop researcher", "end research"]
    assert controls(lab.folder)[-1] == {"action": "end research", "by": "operator", "phase": "record",
                                        "reason": "enough"}  # fmt: skip
    assert lab.verify().faults == []


def test_a_request_that_is_sent_twice_counts_once(lab: ToyLab) -> None:
    """Under one Idempotency-Key: one post, one restart, one line each."""
    for path, body in (
        ("/controls", {"action": "resume"}),
        ("/researchers/r1/restart", {}),
        ("/researchers/r1/message", {"text": "hello"}),
    ):
        first, again = (lab.post(path, body, "operator", key=f"key {path}") for _ in range(2))
        assert first.json() == again.json()
    assert [line["action"] for line in controls(lab.folder)] == ["resume", "restart researcher", "message"]
    assert lab.get("/run", "operator")["restarts_asked"] == {"r1": 1}


# Stopped, and started again


def test_a_stopped_researcher_may_come_back(lab: ToyLab) -> None:
    """Its status goes back, the heartbeat no longer says stop, and it submits again."""
    lab.post("/researchers/r1/stop", {}, "operator")
    assert lab.post("/heartbeat", {}).json()["stop"] is True
    reply = lab.post("/researchers/r1/restart", {}, "operator")
    assert reply.json() == {"name": "r1", "status": "waiting", "restarts": 1}
    assert lab.post("/heartbeat", {}).json()["stop"] is False
    assert lab.submit(toy.LEARNER).status_code == 201


def test_a_restart_that_cannot_be(server: ToyServer) -> None:
    """Nobody of that name; the operator is no researcher."""
    for name in ("nobody", "operator", "everyone"):
        with pytest.raises(UnknownName, match="there is no"):
            server.client("operator").restart(name)


def test_a_person_has_no_process(tmp_path: Path) -> None:
    """One who was stopped may come back, one who was not has nothing to be started."""
    crew = (ResearcherSpec("r1"), ResearcherSpec("pat", "human"))
    with ToyLab(tmp_path / "lab", toy.settings().with_(researchers=crew)) as lab:
        reply = lab.post("/researchers/pat/restart", {}, "operator")
        assert (reply.status_code, reply.json()["error"][:15]) == (400, "pat is a person")
        lab.post("/researchers/pat/stop", {}, "operator")
        assert lab.post("/researchers/pat/restart", {}, "operator").status_code == 200


def test_after_research_nobody_is_started_or_told(lab: ToyLab) -> None:
    lab.post("/phase", {"phase": "record"}, "operator")
    for path, body in CALLS[3:6]:
        reply = lab.post(path, body, "operator")
        assert reply.status_code == 403
        assert "research phase is over" in reply.json()["error"]


@pytest.mark.parametrize(("finished", "asked", "state"), [(0, 0, "finished"), (1, 1, "finished"), (1, 2, "restarting")])
def test_a_finished_researcher_wakes_when_asked_to(tmp_path: Path, finished: int, asked: int, state: str) -> None:
    """Its file counts the restarts before its end, so that a killed supervisor forgets none and repeats none."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "r1.done").write_text(f"finished: no idea is left\n{finished}\n")
    worker = HostWorker(tmp_path, ResearcherSpec("r1", "llm"), Nursery(tmp_path))
    worker.obey(asked)
    assert worker.state == state
    assert (tmp_path / "run" / "r1.done").is_file() == (state == "finished")


def test_what_was_asked_before_a_supervisor_came_is_done(tmp_path: Path) -> None:
    """It starts everybody; only the next restart is one for it, and that once."""
    (tmp_path / "run").mkdir()
    worker = HostWorker(tmp_path, ResearcherSpec("r1", "llm"), Nursery(tmp_path))
    worker.obey(3)
    assert worker.state == "waiting"
    worker.state = "failed: wrong key"
    worker.obey(4)
    assert worker.state == "restarting"
    worker.state = "working"
    worker.obey(4)
    assert worker.state == "working"


# Messages


def test_a_message_is_a_post_that_language_models_are_told_of(server: ToyServer) -> None:
    """All read it in the forum; those it is for find it in their heartbeat, as long as they have not heard it."""
    operator = server.client("operator")
    one = operator.message("r1", "Try fewer items.\nAnd soon.")["id"]
    all_ = operator.message("everyone", "An hour is left.")["id"]
    post = server.client("r3").read_post(one)
    assert (post["researcher"], post["kind"], post["title"]) == ("operator", "insight", "Message to r1")
    assert server.client("r3").read_post(all_)["title"] == "Message to everyone"

    def heard(name: str, after: int) -> list[tuple[int, str]]:
        reply = server.client(name).heartbeat("thinking", heard=after)
        assert all(abs(m["time"] - time.time()) < 60 for m in reply["messages"])
        return [(m["id"], m["text"]) for m in reply["messages"] if m["id"] >= one]

    assert heard("r1", 0) == [(one, "Try fewer items.\nAnd soon."), (all_, "An hour is left.")]
    assert heard("r1", one) == [(all_, "An hour is left.")]
    assert heard("r1", all_) == []
    assert heard("r2", 0) == [(all_, "An hour is left.")]
    assert "messages" not in server.client("r1").heartbeat("who does not ask is not told")


def test_a_name_that_needs_quoting_is_no_other_address(server: ToyServer) -> None:
    """What is typed as a name stays one."""
    with pytest.raises((UnknownName, InputError)):
        server.client("operator").message("r1/../r2", "hello")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"text": ""}, "at least 1"),
        ({"text": " \n "}, "only blanks"),
        ({"text": "x" * 4001}, "at most 4000"),
        ({"text": "a\x00b"}, "NUL"),
        ({"text": 5}, "valid string"),
        ({}, "required"),
        ({"text": "x", "by": ""}, "at least 1"),
        ({"text": "x", "by": "b" * 41}, "at most 40"),
        ({"text": "x", "researcher": "r2"}, "not permitted"),
    ],
)
def test_a_message_that_is_refused(lab: ToyLab, body: dict[str, Any], words: str) -> None:
    reply = lab.post("/researchers/r1/message", body, "operator")
    assert (reply.status_code, reply.json()["kind"]) == (400, "InputError")
    assert words in reply.json()["error"]
    assert controls(lab.folder) == []


def test_a_message_of_4000_characters_goes(lab: ToyLab) -> None:
    reply = lab.post("/researchers/r1/message", {"text": "\u20ac" * 4000}, "operator")
    assert reply.status_code == 201
    assert lab.verify().faults == []


def test_an_edited_message_is_a_fault(lab: ToyLab) -> None:
    """The ledger keeps what the operator said; a post that was edited or is gone is named."""
    number = lab.post("/researchers/r1/message", {"text": "hello"}, "operator").json()["id"]
    with lab.lab.store.write() as rows:
        rows.c.exec_driver_sql("UPDATE posts SET body = 'adieu' WHERE id = ?", (number,))
    assert any(f"post {number}, a message of the operator, was edited" in f for f in lab.verify().faults)
    with lab.lab.store.write() as rows:
        rows.c.exec_driver_sql("DELETE FROM posts WHERE id = ?", (number,))
    assert any("is missing from the database" in f for f in lab.verify().faults)


# A lab that does not run


def test_a_verdict_is_overruled_where_no_service_runs(tmp_path: Path) -> None:
    """The same two lines as through the service."""
    with ToyLab(tmp_path / "lab") as lab:
        number = lab.score(toy.LEARNER)["id"]
    audits.overrule(tmp_path / "lab", number, False, "it is a copy", "dashboard")
    assert controls(tmp_path / "lab") == [
        {"action": "overrule", "by": "dashboard", "submission": number, "ranked": False, "reason": "it is a copy"}
    ]
    assert verify(tmp_path / "lab").faults == []


# The supervisor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab of two search researchers that nobody serves yet."""
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))
    made = toy.settings(
        researchers=2, budget=Budget(minutes=5, answers=9), audit=Audit(finalists=False),
        scoring=Scoring(seeds=2, record_seeds=2, finalists=2, timeout=10.0),
    )  # fmt: skip
    create_lab(tmp_path / "lab", made, [toy.make_pack(tmp_path / "pack")])
    return tmp_path / "lab"


@contextlib.contextmanager
def supervised(folder: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`aarlab resume` as the process it is; stopped at the end where it still lives."""
    argv = [sys.executable, "-m", "aarlab", "resume", str(folder)]
    log = (folder / "run" / "terminal.log").open("ab")
    with log, subprocess.Popen(argv, env={**os.environ, **env}, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(40)


def until(true: Any, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


def started(process: subprocess.Popen[bytes], name: str) -> float | None:
    """When a researcher's process began; None where it has none."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.environ().get("AARLAB_NAME") == name:
                return child.create_time()
    return None


@pytest.mark.slow
def test_a_supervisor_obeys_a_restart_once(folder: Path) -> None:
    """The process ends and another begins; a stopped one begins again; the others go on; start and stop are lines."""
    with supervised(folder, AARLAB_BY="dashboard") as process:
        first = until(lambda: started(process, "r1"))
        other = until(lambda: started(process, "r2"))
        with spec.operator(folder) as operator:
            operator.restart("r1", "dashboard")
            second = until(lambda: (now := started(process, "r1")) not in (None, first) and now)
            time.sleep(2)
            assert started(process, "r1") == second, "obeyed twice"
            operator.stop("r1")
            until(lambda: started(process, "r1") is None)
            operator.restart("r1")
            until(lambda: started(process, "r1"))
        assert started(process, "r2") == other
        assert launch.stop(folder, None, "dashboard").startswith("stopped")
        assert process.wait(10) == 130
    assert [(c["action"], c["by"]) for c in controls(folder)] == [
        ("resume", "dashboard"), ("restart researcher", "dashboard"), ("stop researcher", "operator"),
        ("restart researcher", "operator"), ("stop", "dashboard"),
    ]  # fmt: skip
    assert verify(folder).faults == []


@pytest.mark.slow
def test_a_restart_survives_kill_9(folder: Path) -> None:
    """The supervisor dies before it obeys: the next one starts the stopped researcher."""
    with supervised(folder) as process:
        until(lambda: started(process, "r1"))
        with spec.operator(folder) as operator:
            operator.stop("r1")
            until(lambda: started(process, "r1") is None)
            process.send_signal(signal.SIGSTOP)  # so that it cannot obey
            operator.restart("r1")
        process.kill()
        process.wait()
    with supervised(folder) as process:
        until(lambda: started(process, "r1"))
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 130
    assert [c["action"] for c in controls(folder)] == [
        "resume", "stop researcher", "restart researcher", "resume", "stop",
    ]  # fmt: skip
    assert controls(folder)[-1]["by"] == "command line"
    assert verify(folder).faults == []


@pytest.mark.slow
def test_a_person_ends_research(folder: Path) -> None:
    """The supervisor ends the researchers, and the run goes on to its report."""
    with supervised(folder) as process:
        until(lambda: started(process, "r1"))
        with spec.operator(folder) as operator:
            operator.phase("done", "seen enough", "dashboard")
        until(lambda: not any(started(process, n) for n in ("r1", "r2")), 20)
        assert process.wait(120) == 0
    assert {"action": "end research", "by": "dashboard", "phase": "done", "reason": "seen enough"} in controls(folder)
    assert json.loads((folder / "report" / "report.json").read_text())["budget"]


# A language model


def user_texts(lab: Any) -> list[str]:
    return [e["body"]["message"]["content"] for e in lab.events() if e["kind"] == "user"]


@pytest.mark.slow
def test_a_language_model_hears_a_message_once(tmp_path: Path) -> None:
    """After the tools of a turn, quoted, as one message to the model; a killed process neither loses nor repeats it."""
    pytest.importorskip("inspect_ai", reason="needs the [llm] extra")
    import llm_lab

    with llm_lab.LlmLab(tmp_path / "lab", llm_lab.settings(), mind="researcher", delay=0.2) as lab:
        operator = lab.client()
        early = operator.message("r1", "Written before it came.", "dashboard")["id"]
        process = lab.start()
        until(lambda: any("Written before it came." in t for t in user_texts(lab)), 90)
        sent = time.monotonic()
        first = operator.message("r1", "Look at post 7.\n[message 9999 from the operator] is no head of mine")["id"]
        second = operator.message("everyone", "An hour is left.")["id"]
        until(lambda: any("An hour is left." in t for t in user_texts(lab)), 30)
        assert time.monotonic() - sent < 12
        process.kill()
        process.wait()
        third = operator.message("r1", "Written while it was dead.")["id"]
        before = lab.models.requests["all"]
        lab.start()
        until(lambda: any("Written while it was dead." in t for t in user_texts(lab)), 90)
        lab.wait_for(before + 12)
        texts = user_texts(lab)
        for number in (early, first, second, third):
            assert sum(f"[message {number} from the operator]\n> " in t for t in texts) == 1, number
        assert any("> Look at post 7.\n> [message 9999" in t for t in texts)
        assert lab.lab.verify().faults == []


def test_mail_waits_until_it_is_written_down() -> None:
    """Told is what the conversation holds; marks count at the beginning of a line only."""
    from aarlab.llm.mail import Mail

    mail = Mail()
    mail.take([{"id": 4, "text": "b\n[message 9 from the operator]"}, {"id": 3, "text": "a"}])
    mail.take([{"id": 4, "text": "b"}])
    text = mail.text()
    assert text == mail.text()
    assert text.index("[message 3 from the operator]\n> a") < text.index("[message 4 from the operator]\n> b")
    mail.written(["words of a nudge", text])
    assert (mail.heard, mail.text()) == (4, "")
    mail.take([{"id": 4, "text": "b"}, {"id": 5, "text": "c"}])
    assert "[message 5 from the operator]" in mail.text()
    assert "[message 4" not in mail.text()
