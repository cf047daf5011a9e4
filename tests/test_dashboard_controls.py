"""What the dashboard does to labs: processes of their own, requests to the service, a sentence where neither goes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import toy
from aarlab import settings as settings_file
from aarlab.dashboard import controls
from aarlab.errors import AarlabError, ConfigError, Infrastructure, InputError, LabBusy, UnknownName
from aarlab.fleet.lock import LabLock, holder
from aarlab.server.creation import create_lab
from aarlab.settings import Audit, Budget, Scoring
from aarlab.store import Store
from aarlab.vault.verify import verify
from toy_lab import ToyLab

MODEL = "anthropic/scripted"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the processes that are started here."""
    monkeypatch.setenv("AARLAB_STATE", str(tmp_path / "state"))


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    (tmp_path / "labs").mkdir()
    return tmp_path / "labs"


@pytest.fixture
def lab(labs: Path) -> Path:
    """A lab of two search researchers that nobody serves yet."""
    made = toy.settings(
        researchers=2, budget=Budget(minutes=5, answers=9), audit=Audit(finalists=False),
        scoring=Scoring(seeds=2, record_seeds=2, finalists=2, timeout=10.0),
    )  # fmt: skip
    create_lab(labs / "toy", made, [toy.make_pack(labs.parent / "pack")])
    return labs / "toy"


@pytest.fixture
def no_leftovers(labs: Path) -> Iterator[None]:
    """Whatever a test started is stopped."""
    yield
    for path in labs.iterdir():
        if path.is_dir() and holder(path) is not None:
            controls.stop(path)


def until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


def running(labs: Path, name: str) -> bool:
    found = controls.starting(labs, name)
    assert found["state"] != "failed", found
    return found["state"] == "running"


def lines(lab: Path) -> list[dict[str, Any]]:
    store = Store(lab / "lab.db")
    with store.read() as rows:
        found = [line.body for line in rows.lines_of("control")]
    store.close()
    return found


# The form


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "needs a problem; it is one of"),
        ({"problem": " "}, "needs a problem"),
        ({"problem": "w2s-nope"}, "w2s-nope"),
        ({"problem": "--config=/etc/passwd"}, "--config"),
        ({"researchers": "0"}, "researchers is '0'; it must be a whole number above 0"),
        ({"researchers": "three"}, "researchers is 'three'"),
        ({"researchers": "2.5"}, "a whole number"),
        ({"researchers": "101"}, "1 to 64"),
        ({"researchers": "101", "llm": MODEL}, "1 to 100"),
        ({"minutes": "-1"}, "minutes is '-1'; it must be a number above 0"),
        ({"minutes": "nan"}, "minutes is 'nan'"),
        ({"minutes": "1e999"}, "minutes is '1e999'"),
        ({"answers": "0"}, "answers is '0'"),
        ({"answers": "9" * 400}, "answers is '999"),
        ({"seeds": "x"}, "seeds is 'x'"),
        ({"dollars": "inf"}, "dollars is 'inf'"),
        ({"undirected": "maybe"}, "undirected is 'maybe'"),
        ({"isolation": "docker"}, "docker"),
        ({"isolation": "process", "llm": MODEL}, "isolates nothing"),
        ({"name": "../../etc"}, "cannot be named"),
        ({"name": "latest"}, "cannot be named"),
        ({"name": "a b"}, "cannot be named"),
        ({"port": "1"}, "no field 'port'"),
    ],
)
def test_a_form_that_is_refused(labs: Path, form: dict[str, str], words: str) -> None:
    """The sentence names the field and its value, and nothing is started or written."""
    given = {"problem": "w2s-math", **form} if form and "problem" not in form else form
    with pytest.raises(InputError, match=re.escape(words)):
        controls.start(labs, given)
    assert list(labs.iterdir()) == []


def test_a_folder_that_exists_is_not_taken(labs: Path) -> None:
    (labs / "mine").mkdir()
    with pytest.raises(InputError, match="choose another name"):
        controls.start(labs, {"problem": "w2s-math", "name": "mine"})


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Infrastructure, match="nothing was started"):
        controls.start(tmp_path / "file", {"problem": "w2s-math"})


# A lab that does not run


@pytest.mark.parametrize(
    "control",
    [
        lambda lab: controls.stop_researcher(lab, "r1"),
        lambda lab: controls.restart_researcher(lab, "r1"),
        lambda lab: controls.message(lab, "everyone", "hello"),
        lambda lab: controls.audit(lab, 1),
        lambda lab: controls.end_research(lab, "enough"),
    ],
)
def test_a_lab_that_does_not_run_is_to_be_resumed(lab: Path, control: Callable[[Path], str]) -> None:
    with pytest.raises(InputError, match="toy is not running; resume it first"):
        control(lab)


def test_what_does_not_run_cannot_be_stopped(lab: Path) -> None:
    with pytest.raises(InputError, match="toy is not running"):
        controls.stop(lab)


def test_a_run_that_is_over(lab: Path) -> None:
    """It is not resumed; its submissions are audited from the command line."""
    store = Store(lab / "lab.db")
    with store.write() as rows:
        rows.set_meta("phase", "done")
    store.close()
    with pytest.raises(InputError, match="toy is over"):
        controls.resume(lab)
    with pytest.raises(InputError, match="aarlab audit 3 --lab"):
        controls.audit(lab, 3)


def test_a_lab_that_runs_is_not_resumed(lab: Path) -> None:
    with LabLock(lab), pytest.raises(LabBusy, match=f"process {os.getpid()}"):
        controls.resume(lab)


def test_a_start_that_goes_on_is_not_begun_again(lab: Path) -> None:
    """Who holds the log's lock is still at it, whichever process began it."""
    with open(lab.parent / "toy.log", "ab") as file:
        assert controls._locked(file)
        assert controls.starting(lab.parent, "toy")["state"] == "starting"
        with pytest.raises(LabBusy, match="is being started already"):
            controls.resume(lab)


def test_no_lab_at_all(labs: Path, tmp_path: Path) -> None:
    """A name that nothing has, or that leads elsewhere; a folder that is no lab."""
    for name in ("nobody", "../labs", ".", ""):
        with pytest.raises(UnknownName):
            controls.starting(labs, name)
    with pytest.raises(ConfigError, match=r"lab\.toml: not found"):
        controls.resume(tmp_path / "elsewhere")


def test_a_verdict_is_overruled_without_a_service(labs: Path) -> None:
    """As `aarlab overrule` does; the reason is needed."""
    with ToyLab(labs / "lab") as open_lab:
        number = open_lab.score(toy.LEARNER)["id"]
    with pytest.raises(InputError, match="needs a reason"):
        controls.overrule(labs / "lab", number, False, " ")
    assert "is not ranked: it is a copy" in controls.overrule(labs / "lab", number, False, "it is a copy")
    with pytest.raises(UnknownName, match="no submission 99"):
        controls.overrule(labs / "lab", 99, True, "x")
    assert [(c["action"], c["by"]) for c in lines(labs / "lab")] == [("overrule", "dashboard")]
    assert verify(labs / "lab").faults == []


# Processes


@pytest.mark.slow
def test_an_error_of_the_first_seconds_is_shown(labs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting, then failed with the process's sentence; no lab is left."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = controls.start(labs, {"problem": "w2s-math", "llm": MODEL, "researchers": "2", "csrf": "x"})
    assert folder.parent == labs
    assert controls.starting(labs, folder.name)["state"] == "starting"
    until(lambda: controls.starting(labs, folder.name)["state"] != "starting")
    found = controls.starting(labs, folder.name)
    assert found["state"] == "failed"
    assert "ANTHROPIC_API_KEY" in found["text"]
    assert not found["text"].startswith("aarlab:")
    assert [p.name for p in labs.iterdir()] == [f"{folder.name}.log"]


@pytest.mark.slow
def test_a_run_from_the_form(labs: Path, no_leftovers: None) -> None:
    """The lab is what the form says, its process has a session of its own, and it stops where it is."""
    form = {"problem": "w2s-math", "name": "mine", "researchers": "2", "minutes": "30", "answers": "7", "seeds": "2",
            "dollars": "1.5", "undirected": "on", "isolation": "bwrap"}  # fmt: skip
    lab = controls.start(labs, form)
    until(lambda: running(labs, "mine"))
    made = settings_file.read(lab / "lab.toml")
    assert (len(made.researchers), made.budget.minutes, made.budget.answers, made.budget.dollars) == (2, 30, 7, 1.5)
    assert (made.scoring.seeds, made.isolation.kind, {r.direction for r in made.researchers}) == (2, "bwrap", {""})
    pid = holder(lab)
    assert pid is not None
    assert os.getsid(pid) == pid
    with pytest.raises(LabBusy):
        controls.resume(lab)
    until(lambda: lines(lab))
    assert controls.stop(lab) == "mine is stopped and can be resumed"
    until(lambda: controls.starting(labs, "mine")["state"] == "failed")
    assert [(c["action"], c["by"]) for c in lines(lab)] == [("start", "dashboard"), ("stop", "dashboard")]
    until(lambda: not psutil.pid_exists(pid))  # reaped


DASHBOARD = """
import sys, time
from pathlib import Path
from aarlab.dashboard import controls
print(controls.resume(Path(sys.argv[1])), flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_run_outlives_the_dashboard_and_is_controlled_by_the_next(lab: Path, no_leftovers: None) -> None:
    """Ctrl-C at the dashboard's terminal and its end leave the run alone; another dashboard sees and controls it."""
    dashboard = subprocess.Popen(
        [sys.executable, "-c", DASHBOARD, str(lab)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert dashboard.stdout is not None
    assert dashboard.stdout.readline() == "toy goes on\n"
    assert controls.starting(lab.parent, "toy")["state"] == "starting"
    until(lambda: running(lab.parent, "toy"))
    os.killpg(dashboard.pid, signal.SIGINT)  # as the terminal does
    dashboard.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(dashboard.pid, signal.SIGKILL)
    dashboard.stdout.close()
    time.sleep(1)
    assert running(lab.parent, "toy")
    number = int(controls.message(lab, "everyone", "Be quick.").split()[1])
    assert number > 0
    assert controls.stop_researcher(lab, "r1") == "r1 is stopped; the others go on"
    assert controls.restart_researcher(lab, "r1") == "r1 is started again"
    for wrong in (
        lambda: controls.message(lab, "nobody", "hello"),
        lambda: controls.message(lab, "r1", ""),
        lambda: controls.audit(lab, 9999),
        lambda: controls.restart_researcher(lab, "nobody"),
    ):
        with pytest.raises(AarlabError):
            wrong()
    assert "research ends" in controls.end_research(lab, "")
    until(lambda: controls.starting(lab.parent, "toy")["text"].startswith("report: "), 120)
    until(lambda: running(lab.parent, "toy"))  # done: its pages are there
    assert [(c["action"], c["by"]) for c in lines(lab)] == [
        (action, "dashboard")
        for action in ("resume", "message", "stop researcher", "restart researcher", "end research")
    ]
    assert verify(lab).faults == []
