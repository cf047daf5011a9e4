"""kill -9 of any process at any moment: the run ends, nothing is lost, nothing is counted twice.

Each drill starts a real lab (real sandboxes, server, supervisor, search researchers, on toy tasks), kills one process
at a random moment, lets `aarlab resume` finish where that is needed, and goes through the books.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

import toy
from aarlab.fleet import usage
from aarlab.server.creation import create_lab
from aarlab.settings import Audit, Budget, Scoring
from aarlab.store import Store
from aarlab.vault.verify import verify

MOMENTS = {"early": (0.5, 2.5), "middle": (4.0, 9.0), "late": (11.0, 14.0)}
ANSWERS = 9
FINAL = {"scored", "failed", "timed_out", "refused"}
LIMIT = 240


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))
    settings = toy.settings(
        researchers=3,
        budget=Budget(minutes=0.2, answers=ANSWERS),
        scoring=Scoring(seeds=2, record_seeds=2, finalists=3, timeout=10.0),
        audit=Audit(level="quick"),  # what is drilled is death, not thoroughness
    )
    create_lab(tmp_path / "lab", settings, [toy.make_pack(tmp_path / "pack")])
    return tmp_path / "lab"


def start(lab):
    argv = [sys.executable, "-m", "aarlab", "resume", str(lab)]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=open(lab / "run" / "terminal.log", "ab"))


def finish(process, lab):
    """Wait for the end; the exit code."""
    try:
        return process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        pytest.fail(f"the run did not end in {LIMIT} s: {(lab / 'run' / 'terminal.log').read_text()[-2000:]}")


def target(process, what):
    """The process to kill: the supervisor itself, its server, a researcher's sandbox, or a method's sandbox."""
    supervisor = psutil.Process(process.pid)
    children = supervisor.children()
    servers = [c for c in children if "aarlab.server" in c.cmdline()]
    found = {
        "supervisor": lambda: [supervisor],
        "server": lambda: servers,
        "researcher": lambda: [c for c in children if c not in servers],
        "method": lambda: [c for s in servers for c in s.children()],
    }[what]()
    return random.choice(found) if found else None


def kill_one(process, what, moment):
    """kill -9 at a random time within the moment; says whether there was something to kill."""
    time.sleep(random.uniform(*MOMENTS[moment]))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(psutil.Error):
            if victim := target(process, what):
                victim.send_signal(signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def audit(lab):
    """Everything that must hold of the books of a finished run."""
    found = verify(lab)
    assert not found.faults
    store = Store(lab / "lab.db")
    with store.read() as rows:
        assert rows.meta("phase") == "done"
        submissions, evaluations, scores = rows.submissions(), rows.evaluations(), rows.scores()
        given, _ = rows.ladder_state()
        lines = rows.lines()
    store.close()
    assert {s.status for s in submissions} <= FINAL, "a submission was lost"
    assert {e.status for e in evaluations} <= FINAL, "an evaluation was lost"
    per = Counter(s.evaluation for s in scores)
    graded = [e for e in evaluations if e.status == "scored" and e.purpose != "audit"]
    assert per == {e.id: 2 for e in graded}, "an evaluation was scored twice or not at all"
    feedback = [e for e in evaluations if e.purpose == "feedback" and e.status == "scored"]
    assert given == len(feedback) <= ANSWERS, "the budget does not add up"
    answered = Counter(line.body["submission"] for line in lines if line.kind == "answer")
    assert set(answered.values()) <= {1}, "an answer was given twice"
    assert set(answered) == {e.submission for e in feedback}
    own = [s for s in submissions if s.researcher != "lab" and s.repeat_of is None]
    assert len({s.normal_hash for s in own}) == len(own), "a method was submitted twice"
    used = usage.read(lab / "run")
    assert used.research_seconds < 12 + 5, "time was counted twice"
    report = json.loads((lab / "report" / "report.json").read_text())
    assert report["budget"]
    return submissions


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("what", ["supervisor", "server", "researcher", "method"])
def test_a_run_survives_kill_9(lab, what, moment):
    """Whatever is killed, whenever: `aarlab resume` ends the run and the books are right."""
    process = start(lab)
    killed = kill_one(process, what, moment)
    code = finish(process, lab)
    if what == "supervisor" and killed:
        assert code == -signal.SIGKILL
        await_no_leftovers(lab)
    if code != 0:  # killed, or not yet up without what was killed
        code = finish(start(lab), lab)
    assert code == 0, (lab / "run" / "terminal.log").read_text()[-2000:]
    assert len(audit(lab)) > len(toy.BASELINES), "nobody submitted anything"


def await_no_leftovers(lab):
    """Nothing outlives its supervisor by more than a few seconds."""
    deadline = time.monotonic() + 10
    while leftovers(lab) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not leftovers(lab), [psutil.Process(p).cmdline() for p in leftovers(lab)]


def leftovers(lab):
    """Processes of this lab that still live."""
    found = []
    for p in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if p.pid != os.getpid() and any(str(lab) in part for part in p.info["cmdline"] or ()):
                found.append(p.pid)
    return found


@pytest.mark.slow
def test_ctrl_c_leaves_a_lab_that_resume_finishes(lab):
    """Interrupted in the middle of research, exit code 130; resume goes on to the report."""
    process = start(lab)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    assert finish(process, lab) == 130
    assert not leftovers(lab)
    assert "aarlab resume" in (lab / "run" / "terminal.log").read_text()
    assert finish(start(lab), lab) == 0
    audit(lab)
