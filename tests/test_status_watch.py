"""`aarlab status --watch`: the dashboard's first page in text, on terminals, in logs and for programs."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from aarlab.dashboard.lab import WatchedLab
from aarlab.fleet import watch
from aarlab.fleet.lock import LabLock
from aarlab.store import Store
from recorded_lab import make


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return make(tmp_path_factory.mktemp("labs") / "halted", submissions=12, posts=10, phase="research", hostile=True)


@pytest.fixture(scope="module")
def view(stopped):
    lab = WatchedLab(stopped)
    try:
        while (found := watch.look(lab))["drawing"]:
            pass
        return found
    finally:
        lab.close()


def shown(view, width=100, height=None):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(watch.frame(view, console, height))
    return console.file.getvalue()


def lines_of(view):
    return shown(view).splitlines()


def test_it_says_what_the_page_says(view):
    """Headline, advice, budgets, researchers with condition, best and cost, and the last events."""
    text = " ".join(shown(view, width=400).split())
    assert watch.words(view["headline"], 1000) in text
    assert all(a["text"] in text for a in view["advice"])
    assert f"{view['budget']['answers']['used']} of {view['budget']['answers']['limit']}" in text
    for r in view["researchers"]:
        assert {r["name"], r["condition"]} <= set(text.split()), r
        assert watch.best(r) in text
    assert watch.words(view["events"][0]["text"]) in text


def test_a_frame_fits_the_terminal(view):
    """On 24 lines of 80 characters, the head and at least some researchers stay; what is left out is counted."""
    text = shown(view, 80, 23).splitlines()
    assert (len(text), max(map(len, text))) <= (24, 80)
    assert "more)" in shown(view, 80, 23)
    assert len(shown(view, 80).splitlines()) > 24


def test_text_of_researchers_cannot_move_the_cursor(view):
    """Escape sequences and direction marks are shown, not obeyed."""
    nasty = "\x1b[2J\u202eevil [bold]x[/bold]\nnext"
    changed = {**view, "events": [{**view["events"][0], "text": nasty}]}
    changed["researchers"] = [{**view["researchers"][0], "state": nasty}]
    text = shown(changed, 200)
    assert not {"\x1b", "\u202e"} & set(text)
    assert text.count("\\u001b[2J\\u202eevil [bold]x[/bold] next") == 2


def test_the_curve_goes_from_the_lowest_to_the_highest():
    assert watch.sparkline([None, 0.0, 0.5, 1.0]) == " ▁▅█"
    assert watch.sparkline([0.4, 0.4]) == "▁▁"
    assert watch.sparkline([]) == watch.sparkline([None]) == ""


def test_a_lab_with_nothing_in_it_has_a_frame(view):
    """No researchers, no events, nothing verified."""
    empty = {**view, "researchers": [], "events": [], "fleet_best": [], "budget": {}, "best": None}
    assert "no researchers" in shown(empty)


def aarlab(*argv, **more):
    return subprocess.run(
        [sys.executable, "-m", "aarlab", "status", *map(str, argv)], capture_output=True, text=True, timeout=90, **more
    )


@pytest.mark.slow
def test_programs_get_a_line_for_each_change(stopped):
    """Each line is an object; the last says that the lab is stopped, and so does the exit code."""
    found = aarlab(stopped, "--watch", "--json")
    assert found.returncode == watch.STOPPED, found.stderr
    views = [json.loads(line) for line in found.stdout.splitlines()]
    assert {v["state"] for v in views} == {"stopped"}
    assert len({(v["version"], v["drawing"]) for v in views}) == len(views)


@pytest.mark.slow
def test_a_finished_lab_is_shown_once(tmp_path):
    """Without a terminal: one frame, with the report's headline, and code 0."""
    lab = make(tmp_path / "finished-lab", submissions=12, posts=5, events=False)
    found = aarlab(lab, "--watch", env={**os.environ, "COLUMNS": "100"})
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("This run is over") == found.stdout.count("Look at what the winner depends on") == 1
    assert "record task" in found.stdout


def test_no_lab_is_one_sentence(tmp_path):
    found = aarlab(tmp_path / "none", "--watch")
    assert found.returncode == 2
    assert found.stderr.startswith("aarlab: ")
    assert "is no lab folder" in found.stderr


class Collected(watch.Shown):
    """Keeps the views; ends the run when it has seen the first."""

    patient = True

    def __init__(self, then):
        self.views, self.ended, self.then = [], None, then

    def __call__(self, view):
        self.views.append(view)
        if len(self.views) == 1:
            self.then()

    def last(self, view):
        self.ended = view


@pytest.mark.slow
def test_it_ends_when_the_run_does(tmp_path, monkeypatch):
    """A lab that runs is shown until its supervisor is gone and its phase is done; then once more."""
    monkeypatch.setattr(watch, "EVERY", 0.05)
    lab = make(tmp_path / "lab", submissions=6, posts=2, events=False, outcomes=False)
    (lab / "run" / "server.json").write_text("{}")
    lock = LabLock(lab)
    lock.__enter__()
    shown, watched = Collected(lambda: lock.__exit__(None, None, None)), WatchedLab(lab)
    try:
        assert watch._follow(watched, shown) == watch.DONE
    finally:
        watched.close()
    assert (shown.views[0]["state"], shown.ended["state"]) == ("running", "done")
    assert shown.ended["settled"]


def test_new_rows_are_seen(tmp_path):
    """What the service writes between two frames is in a later one."""
    lab = WatchedLab(make(tmp_path / "lab", submissions=6, posts=2, phase="research", events=False, outcomes=False))
    before, store = watch.look(lab), Store(tmp_path / "lab" / "lab.db")
    name = before["researchers"][0]["name"]
    with store.write() as rows:
        rows.set_researcher(name, state="thinks of something else")
    end, after = time.monotonic() + 20, before
    while after["version"] == before["version"] and time.monotonic() < end:
        after = watch.look(lab)
    store.close()
    lab.close()
    assert next(r for r in after["researchers"] if r["name"] == name)["state"] == "thinks of something else"


@pytest.mark.slow
def test_ctrl_c_ends_it_on_a_terminal(stopped):
    """It draws in place, waits for a stopped lab to go on, and Ctrl-C ends it with code 0 and no traceback."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "aarlab", "status", str(stopped), "--watch"])
    out, end = b"", time.monotonic() + 60
    while out.count(b"halted") < 2 and time.monotonic() < end:
        out += os.read(terminal, 65536) if select.select([terminal], [], [], 0.5)[0] else b""
    os.kill(child, signal.SIGINT)
    while select.select([terminal], [], [], 10)[0]:
        try:
            out += os.read(terminal, 65536)
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert out.count(b"halted") >= 2
    assert b"Traceback" not in out
    assert b"\x1b[?1049h" not in out  # no alternate screen
