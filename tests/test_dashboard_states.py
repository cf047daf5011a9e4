"""Labs in bad states, in a real browser: every page says what is so and what to do, and so does its twin in JSON."""

from __future__ import annotations

import fcntl
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aarlab.dashboard import labs
from aarlab.dashboard.lab import in_shell, killed, locker
from aarlab.fleet.lock import LabLock, holder
from dashboard_site import Site, chromium, served, until
from recorded_lab import make

pytestmark = pytest.mark.timeout(300)

PAGES = {
    "run": "/labs/{lab}", "leaderboard": "/labs/{lab}/leaderboard", "forum": "/labs/{lab}/forum",
    "ideas": "/labs/{lab}/ideas", "trust": "/labs/{lab}/trust", "compare": "/compare?lab={lab}",
}  # fmt: skip
QUICK = 10.0  # seconds; generous, since the machine may be busy

EXCLUSIVE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute(f"PRAGMA locking_mode={sys.argv[2]}")
c.execute("BEGIN EXCLUSIVE")
c.execute("UPDATE schema_version SET version = version")
print("held", flush=True)
sys.stdin.read()
"""
SUPERVISOR = """
import sys, pathlib
from aarlab.fleet.lock import LabLock
with LabLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished lab and one in the middle of research, to copy."""
    root = tmp_path_factory.mktemp("recorded")
    make(root / "over", submissions=12, posts=5, events=False)
    make(root / "going", submissions=12, posts=5, events=False, phase="research")
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


class Visitor:
    """An operator's browser at one dashboard."""

    def __init__(self, browser: Any, site: Site) -> None:
        self.site, self.context = site, browser.new_context()
        self.page = self.context.new_page()
        self.page.goto(site.link())

    def open(self, path: str) -> tuple[int, str]:
        """The status of a page, and its words."""
        answer = self.page.goto(self.site.address + path)
        return answer.status, self.page.inner_text("main")

    def twin(self, path: str) -> tuple[int, dict[str, Any]]:
        """The status of the same in JSON, and what it holds."""
        answer = self.context.request.get(self.site.address + path, headers={"Accept": "application/json"})
        return answer.status, json.loads(answer.text())

    def each(self, lab: str) -> Iterator[tuple[str, int, str, int, dict[str, Any]]]:
        """Every page of a lab: (address, status, words, status and content of its twin)."""
        for path in PAGES.values():
            address = path.format(lab=lab)
            yield address, *self.open(address), *self.twin(address)


@pytest.fixture
def visitor(tmp_path: Path, browser: Any) -> Iterator[Visitor]:
    """At a dashboard of the labs below `tmp_path/labs`, of which there are none yet."""
    (tmp_path / "labs").mkdir()
    with served(tmp_path / "labs") as site:
        found = Visitor(browser, site)
        yield found
        found.context.close()


def lab(visitor: Visitor, recorded: Path, kind: str, name: str = "mine") -> Path:
    """A copy of a recorded lab, below this visitor's dashboard."""
    return Path(shutil.copytree(recorded / kind, visitor.site.labs.root / name))


@contextmanager
def holding(script: str, *argv: object) -> Iterator[subprocess.Popen[str]]:
    """A process that holds something; it lets go when its input ends."""
    command = [sys.executable, "-c", script, *map(str, argv)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.poll() is None:
            process.communicate("", timeout=20)


def say(visitor: Visitor, name: str, *words: str, but: str = "\0") -> None:
    """Every page of a lab is there and has these words, and so has its twin."""
    for address, status, text, twin_status, twin in visitor.each(name):
        assert (status, twin_status) == (200, 200), address
        notices = " ".join(n["text"] for n in twin["notices"])
        for found in (text, notices):
            assert all(w in found for w in words), (address, found[:1000])
            assert but not in found, address


def refuse(visitor: Visitor, name: str, allowed: int, *words: str) -> None:
    """No page of a lab is there: a sentence is, on the page and in its twin."""
    for address, status, text, twin_status, twin in visitor.each(name):
        assert (status, twin_status) == (allowed, allowed), address
        for found in (text, twin["error"]):
            assert all(w in found for w in words), (address, found)


# No lab, or none yet


def test_no_lab_there(visitor: Visitor) -> None:
    """The list says how to start one; every page of a lab that is not there says where was looked."""
    root = str(visitor.site.labs.root)
    status, text = visitor.open("/")
    assert status == 200
    assert "No lab here yet" in text
    assert "aarlab run" in text
    assert visitor.twin("/")[1]["labs"] == []
    refuse(visitor, "nowhere", 404, "there is no lab 'nowhere'", root, "aarlab run")
    assert "There is no lab in this folder yet" in visitor.open("/compare")[1]


def test_a_lab_that_is_being_made(visitor: Visitor) -> None:
    """Its process has made no folder yet: pages wait for it by themselves, and a comparison says to wait."""
    log = visitor.site.labs.root / "mine.log"
    log.write_text("aarlab is copying data\n")
    with log.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for address, status, text, twin_status, twin in visitor.each("mine"):
            wanted = 409 if address.startswith("/compare") else 202
            assert (status, twin_status) == (wanted, wanted), address
            for found in (text, twin.get("sentence") or twin["error"]):
                assert "mine is being made" in found
                assert "Wait" in found
    assert "did not start" in visitor.open("/labs/mine")[1]
    assert visitor.twin("/labs/mine")[1]["sentence"].startswith("mine did not start: aarlab is copying data.")


def test_a_lab_that_is_starting(visitor: Visitor, recorded: Path) -> None:
    """Its supervisor lives and its service does not answer yet."""
    folder = lab(visitor, recorded, "going")
    (folder / "run" / "server.json").unlink(missing_ok=True)
    with LabLock(folder):
        say(visitor, "mine", "This lab is starting", "Wait")


# Over, stopped, killed


def test_a_finished_lab(visitor: Visitor, recorded: Path) -> None:
    folder = lab(visitor, recorded, "over")
    say(visitor, "mine", "This run is over", f"`aarlab report {folder}` writes its report")
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "report.html").write_text("<p>")
    assert f"its report is {folder}/report/report.html" in visitor.open("/labs/mine/forum")[1]


def test_a_path_is_short_and_a_shell_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my labs").mkdir()
    shown = [in_shell(tmp_path / "my labs" / "a"), in_shell(Path("/else where"))]
    assert shown == ["~/'my labs/a'", "'/else where'"]
    (tmp_path / "my labs" / "a").mkdir()
    there = subprocess.run(["bash", "-c", f"cd {shown[0]} && pwd"], capture_output=True, text=True)
    assert there.stdout.strip() == str(tmp_path / "my labs" / "a")


def test_a_lab_that_was_stopped(visitor: Visitor, recorded: Path) -> None:
    """Its supervisor ended in order, and has taken its number back."""
    folder = lab(visitor, recorded, "going")
    with LabLock(folder):
        assert (folder / "lab.lock").read_text()
    say(visitor, "mine", "stopped in its phase research", f"`aarlab resume {folder}`", but="killed")


def test_a_run_that_was_killed_in_the_middle(visitor: Visitor, recorded: Path) -> None:
    """kill -9 of its supervisor: an open page turns to killed by itself, and all pages say how to go on."""
    folder = lab(visitor, recorded, "going")
    (folder / "run" / "server.json").write_text("{}")
    with holding(SUPERVISOR, folder) as supervisor:
        _, text = visitor.open("/labs/mine/forum")
        assert "resume" not in text
        assert "running" in visitor.page.inner_text("#part_state")
        supervisor.kill()
        supervisor.wait()
        until(visitor.page, "document.querySelector('#part_notices').innerText.includes('was killed')", 20)
    assert (holder(folder), killed(folder)) == (None, supervisor.pid)
    words = (f"process {supervisor.pid}", "was killed", "Nothing that was scored is lost", f"`aarlab resume {folder}`")
    say(visitor, "mine", *words)


# The database


def test_a_lab_of_an_older_version(visitor: Visitor, recorded: Path) -> None:
    """It is brought up to date and shown; every page says so, and where the database is kept as it was."""
    folder = lab(visitor, recorded, "going")
    with sqlite3.connect(folder / "lab.db") as c:
        for table in ("events", "spending", "accounts", "ideas"):
            c.execute(f"DROP TABLE {table}")
        c.execute("UPDATE schema_version SET version = 3")
    copy = folder / "lab.schema-3.db"
    say(visitor, "mine", "An older version of aarlab wrote this lab", "brought up to date", str(copy))
    assert len(visitor.twin("/labs/mine/leaderboard")[1]["rows"]) > 3
    with sqlite3.connect(copy) as c:
        assert c.execute("SELECT version FROM schema_version").fetchall() == [(3,)]
    copy.unlink()
    assert "older version" not in visitor.open("/labs/mine")[1]


def test_a_lab_of_a_newer_version(visitor: Visitor, recorded: Path) -> None:
    folder = lab(visitor, recorded, "going")
    with sqlite3.connect(folder / "lab.db") as c:
        c.execute("UPDATE schema_version SET version = 99")
    refuse(visitor, "mine", 400, "schema 99", "use a newer aarlab")


def test_a_database_that_is_locked(visitor: Visitor, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds it is named, soon; other labs are shown meanwhile, and the page comes by itself once it is free."""
    folder = lab(visitor, recorded, "going")
    lab(visitor, recorded, "over", "other")
    with holding(EXCLUSIVE, folder / "lab.db", "EXCLUSIVE") as process:
        assert locker(folder / "lab.db") == process.pid
        began = time.monotonic()
        assert visitor.twin("/labs/mine")[0] == 503
        assert time.monotonic() - began < QUICK
        monkeypatch.setattr(labs, "PATIENCE", 0.1)
        refuse(visitor, "mine", 503, f"{folder}/lab.db is locked by process {process.pid}", "wait", "`kill ")
        assert visitor.open("/labs/other")[0] == 200
        assert visitor.open("/")[0] == 200
        assert "tries again by itself" in visitor.open("/labs/mine/trust")[1]
    visitor.page.locator("#part_state").wait_for(timeout=20_000)
    assert visitor.open("/labs/mine")[0] == 200


def test_a_database_that_somebody_writes_to(visitor: Visitor, recorded: Path) -> None:
    """SQLite's BEGIN EXCLUSIVE keeps other writers out and no reader, so pages are shown as ever."""
    folder = lab(visitor, recorded, "going")
    with holding(EXCLUSIVE, folder / "lab.db", "NORMAL"):
        began = time.monotonic()
        say(visitor, "mine", "stopped")
        assert time.monotonic() - began < 3 * QUICK


def test_a_damaged_database_is_named(visitor: Visitor, recorded: Path) -> None:
    folder = lab(visitor, recorded, "going")
    for end in ("-wal", "-shm"):
        (folder / f"lab.db{end}").unlink(missing_ok=True)
    (folder / "lab.db").write_bytes(b"no database at all" * 500)
    refuse(visitor, "mine", 503, f"{folder}/lab.db", "restore the lab folder from a copy")


def test_without_the_kernels_list_no_lock_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own wait decides then; other lines of the list are no locks of this file."""
    from aarlab.dashboard import lab as module

    path, listed = tmp_path / "lab.db", tmp_path / "locks"
    path.touch()
    monkeypatch.setattr(module, "LOCKS", listed)
    assert locker(path) is None
    inode = path.stat().st_ino
    listed.write_text(
        f"1: FLOCK  ADVISORY  WRITE 7 fe:00:{inode} 0 EOF\n1: -> POSIX  ADVISORY  WRITE 7 fe:00:{inode} 0 EOF\n"
        f"2: POSIX  ADVISORY  READ 8 fe:00:{inode} 1073741826 1073742335\n"
        f"3: POSIX  ADVISORY  WRITE 9 fe:00:{inode} 1073741825 1073741825\n"
    )
    assert locker(path) is None
    listed.write_text(f"4: POSIX  ADVISORY  WRITE 10 fe:00:{inode} 1073741824 1073742335\n")
    assert locker(path) == 10
