"""`aarlab serve`: one dashboard a folder, links only for its user, and an end that leaves the runs alone."""

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import toy
from aarlab.dashboard import command, running
from aarlab.dashboard.labs import Labs
from aarlab.errors import InputError, LabBusy, UnknownName
from aarlab.fleet.lock import LabLock
from aarlab.server.creation import create_lab

PATIENCE = 60.0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two labs in one folder, and their tokens."""
    root = tmp_path_factory.mktemp("labs")
    pack = toy.make_pack(tmp_path_factory.mktemp("pack"))
    return root, {name: create_lab(root / name, toy.settings(), [pack]) for name in ("first", "two words")}


@pytest.fixture
def root(made):
    return made[0]


def start(*argv, cwd, **env):
    """The real command."""
    return subprocess.Popen(
        [sys.executable, "-m", "aarlab", *map(str, argv)], cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def call(*argv, cwd, **env):
    process = start(*argv, cwd=cwd, **env)
    out, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, out, errors


def end(process, how=signal.SIGINT):
    """Ask it to end: (code, seconds it took, what it had still to say)."""
    began = time.monotonic()
    process.send_signal(how)
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, time.monotonic() - began, errors


@pytest.fixture(scope="module")
def served(made):
    """A dashboard that runs on the folder: what it said of itself."""
    process = start("serve", made[0] / "first", "--port", "0", "--json", cwd=made[0].parent)
    yield json.loads(process.stdout.readline())
    code, _, errors = end(process)
    assert (code, errors) == (0, "")


def ask(served, path, method="GET", body=None, **headers):
    """(status, headers, body)"""
    connection = http.client.HTTPConnection("127.0.0.1", served["port"], timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()


def open_by_hand(served, url):
    """What a browser does with a link from a terminal: the status, and where it is led."""
    parts = urlsplit(url)
    own = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    status, headers, _ = ask(served, f"{parts.path}?{parts.query}", **own)
    return status, headers.get("location")


# Where


def test_a_lab_stands_for_the_folder_it_lies_in(root, tmp_path, monkeypatch):
    """LAB leads to its page; without it ./labs is meant, there or not; a link to a lab is the lab."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latest").symlink_to(root / "first")
    assert running.place(root / "first") == running.place(Path("latest")) == running.Place(root.resolve(), "first")
    assert running.place(None) == running.Place(tmp_path.resolve() / "labs")
    assert running.place(None, root) == running.Place(root.resolve())


def test_what_is_no_lab_is_refused(root, tmp_path):
    with pytest.raises(UnknownName, match="--labs"):
        running.place(root)
    with pytest.raises(InputError, match="leave --labs out"):
        running.place(root / "first", tmp_path)


def test_tokens_of_all_labs_are_known(made):
    """With their roles; a damaged file, a link and a half-made lab give none."""
    root, made_tokens = made
    (root / ".new" / "run").mkdir(parents=True)
    (root / ".new" / "run" / "tokens.json").write_text('{"operator": "secret"}')
    (root / "damaged" / "run").mkdir(parents=True)
    (root / "damaged" / "run" / "tokens.json").write_text("{")
    found = list(command.tokens(root))
    assert len(found) == len(set(found)) == 2 * (3 + len(toy.settings().researchers))
    for one in made_tokens.values():
        assert {(one[role], role) for role in ("operator", "viewer", "fleet")} <= set(found)
        assert {(token, "researcher") for token in one["researchers"].values()} <= set(found)


# Ports


def test_a_taken_port_is_left_to_its_owner(capsys):
    """The next free one is taken and said, unless the person named one."""
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # it may be taken already
            other.bind(("127.0.0.1", command.PORT))
            other.listen()
        with command.listen(None) as found:
            assert command.PORT < found.getsockname()[1] < command.PORT + command.TRIED_PORTS
            assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert f"port {command.PORT} is taken" in capsys.readouterr().err
        with pytest.raises(InputError, match=f"port {command.PORT} cannot be used"):
            command.listen(command.PORT)


def test_two_cannot_bind_one_port():
    """The port is listened on at once, so that nobody else gets it before the server is up."""
    with command.listen(0) as first, pytest.raises(InputError, match="cannot be used"):
        command.listen(first.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_must_be_one(port):
    with pytest.raises(InputError, match=f"--port is {port}"):
        command.listen(port)


# The file by which a dashboard is found


def test_the_file_says_where_a_dashboard_runs_and_only_while_it_does(tmp_path):
    """Nobody but the user may read it, since it holds the secret."""
    here = running.Running(os.getpid(), 4321, "secret")
    assert running.running(tmp_path) is None
    with running.only_dashboard(tmp_path) as file:
        running.announce(file, here)
        assert running.running(tmp_path) == here
        assert stat.S_IMODE((tmp_path / running.FILE).stat().st_mode) == 0o600
        with pytest.raises(LabBusy, match=r"http://127\.0\.0\.1:4321"), running.only_dashboard(tmp_path):
            pass
    assert running.running(tmp_path) is None
    assert "secret" not in (tmp_path / running.FILE).read_text() + repr(here)


def test_a_killed_dashboard_leaves_no_trace_that_is_believed(tmp_path):
    """Its file is there and says much, but nobody holds it."""
    path = tmp_path / running.FILE
    path.write_text('{"pid": 1, "port": 1, "secret": "x"}')
    path.chmod(0o600)
    assert running.running(tmp_path) is None
    with running.only_dashboard(tmp_path):
        pass


@pytest.mark.parametrize("spoil", ["readable", "link"])
def test_a_file_that_is_not_the_users_alone_is_not_believed(tmp_path, spoil):
    """Somebody else could have put it there, to be asked for links or to read the secret."""
    path = tmp_path / running.FILE
    if spoil == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("{}")
        path.chmod(0o644)
    with pytest.raises(InputError, match="remove it"):
        running.running(tmp_path)
    with pytest.raises(InputError, match="remove it"), running.only_dashboard(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


# A dashboard that runs


def test_the_links_let_in_once_and_lead_to_the_lab(served):
    """The operator's as well as the viewer's."""
    for url in (served["url"], served["viewer_url"]):
        assert parse_qs(urlsplit(url).query)["lab"] == ["first"]
        assert open_by_hand(served, url) == (303, "/labs/first")
        assert open_by_hand(served, url)[0] == 401


def test_another_link_comes_from_the_dashboard_that_runs(served, root):
    """`--link` and `--viewer-link`, from any terminal of the user; the name of the lab is escaped."""
    where = running.place(root / "two words")
    assert open_by_hand(served, running.ask(where, "operator")) == (303, "/labs/two%20words")
    assert open_by_hand(served, running.ask(running.Place(root), "viewer")) == (303, "/")
    code, out, errors = call("serve", root / "first", "--link", "--viewer-link", "--json", cwd=root)
    assert (code, errors) == (0, "")
    assert [open_by_hand(served, url) for url in json.loads(out).values()] == [(303, "/labs/first")] * 2


def test_there_is_only_one_on_a_folder(served, root):
    """A second one says where the first is, and ends with code 2."""
    code, out, errors = call("serve", "--labs", root, cwd=root)
    assert (code, out) == (2, "")
    assert errors.startswith("aarlab: ")
    assert served["address"] in errors
    assert "--link" in errors
    assert len(errors.splitlines()) == 1


def test_without_a_dashboard_there_is_no_link(tmp_path):
    with pytest.raises(InputError, match="start one with `aarlab serve"):
        running.ask(running.Place(tmp_path), "operator")
    assert not list(tmp_path.iterdir())


def test_metrics_need_a_token_of_a_lab(served, made):
    """Prometheus sends the viewer's; a researcher's opens nothing."""
    tokens = made[1]["first"]
    status, headers, body = ask(served, "/metrics", Authorization=f"Bearer {tokens['viewer']}")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert b'aarlab_lab_up{lab="first"} 1.0' in body
    assert ask(served, "/metrics", Authorization=f"Bearer {tokens['researchers']['r1']}")[0] == 403
    assert ask(served, "/metrics")[0] == 401


@pytest.mark.slow
def test_it_ends_at_once_and_the_run_goes_on(made, tmp_path):
    """Ctrl-C, while somebody watches live updates and a run holds its lab."""
    root, tokens = tmp_path / "labs", made[1]["first"]
    subprocess.run(["cp", "-r", made[0], root], check=True)
    process = start("serve", root / "first", "--port", "0", "--json", cwd=tmp_path)
    served = json.loads(process.stdout.readline())
    with LabLock(root / "first"), socket.create_connection(("127.0.0.1", served["port"])) as watching:
        watching.sendall(
            f"GET /labs/first/live?page=run HTTP/1.1\r\nHost: 127.0.0.1:{served['port']}\r\n"
            f"Authorization: Bearer {tokens['viewer']}\r\n\r\n".encode()
        )
        assert watching.recv(65536).startswith(b"HTTP/1.1 200")
        code, seconds, errors = end(process)
        assert (code, errors) == (0, "")
        assert seconds < 20  # it waits neither for who looks nor for what is being drawn
        assert command.runs(Labs(root))
    assert running.running(root) is None


# Nobody looks


def test_looking_is_what_people_do():
    """An open page counts while it is open, an answer when it is given; refusals and scraped metrics do not count."""
    import asyncio

    answered = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": scope["status"]})
        answered.append(looking.idle())
        await send({"type": "http.response.body"})

    looking = command.Looking(app)

    def visit(path, status):
        async def send(message):
            pass

        looking.last = time.monotonic() - 900
        asyncio.run(looking({"type": "http", "path": path, "status": status}, None, send))
        return answered.pop(), looking.idle()

    during, after = visit("/labs/first/live", 200)
    assert during == 0
    assert after < 60
    for path, status in (("/labs/first", 401), ("/metrics", 200), ("/", 421)):
        assert min(visit(path, status)) >= 900, path


IMPATIENT = """
import sys
from pathlib import Path
from aarlab.dashboard import command, running
command.IDLE_SECONDS, command.IDLE_TICKS = 0.5, 2
say = lambda found: print(found["port"], flush=True)
sys.exit(command.serve(running.place(Path(sys.argv[1])), 0, until_idle=True, say=say))
"""


@pytest.mark.slow
def test_one_beside_a_run_ends_when_the_run_is_over_and_nobody_looks(root, tmp_path):
    """With ten minutes made half a second: it stays as long as any lab of the folder runs."""
    labs = tmp_path / "labs"
    subprocess.run(["cp", "-r", root, labs], check=True)
    with LabLock(labs / "two words"):
        argv = [sys.executable, "-c", IMPATIENT, str(labs / "first")]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout.readline()
        time.sleep(2)
        assert process.poll() is None
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")


# Browsers


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """A program that notes what it is to open, as BROWSER names it; `opened()` waits for that."""
    script, notes = tmp_path / "browser", tmp_path / "opened"
    script.write_text(f'#!/bin/sh\necho "$1" >> {notes}\n')
    script.chmod(0o755)

    def opened():
        end = time.monotonic() + PATIENCE
        while not notes.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return notes.read_text().split()

    return str(script), opened


def test_a_machine_without_a_browser_says_so(monkeypatch, capsys):
    """None for terminals is started in the place of a graphical one."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert not running.show("http://127.0.0.1:1/")
    assert "open the link yourself" in capsys.readouterr().err


@pytest.mark.slow
def test_open_hands_the_link_to_the_browser(served, root, browser):
    script, opened = browser
    code, out, _ = call("serve", "--labs", root, "--link", "--open", cwd=root, BROWSER=script)
    assert code == 0
    assert opened() == out.split()


@pytest.mark.slow
def test_a_run_that_begins_shows_itself(root, tmp_path, browser):
    """The first run of a folder starts a dashboard that outlives the call; the second one uses it."""
    script, opened = browser
    labs = tmp_path / "labs"
    subprocess.run(["cp", "-r", root, labs], check=True)
    code = "import sys; from pathlib import Path; from aarlab.dashboard import running; " \
           "[running.open_beside(Path(p)) for p in sys.argv[1:]]"  # fmt: skip
    argv = [sys.executable, "-c", code, str(labs / "first"), str(labs / "two words")]
    env = {**os.environ, "BROWSER": script}
    found = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, env=env)
    here = running.running(labs)
    try:
        assert found.stderr.count("dashboard: http://127.0.0.1:") == 2, found.stderr
        links = opened()
        assert [parse_qs(urlsplit(url).query)["lab"] for url in links] == [["first"], ["two words"]]
        assert [open_by_hand({"port": here.port}, url)[0] for url in links] == [303, 303]
        assert (labs / running.LOG).read_text() == ""
    finally:
        os.kill(here.pid, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while running.running(labs) is not None and time.monotonic() < until:
        time.sleep(0.1)
    assert running.running(labs) is None


def test_a_run_never_fails_for_its_dashboard(root, tmp_path, capsys):
    """What goes wrong is one sentence."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.toml").touch()
    (tmp_path / running.FILE).symlink_to("elsewhere")
    running.open_beside(tmp_path / "lab")
    assert capsys.readouterr().err.startswith("no dashboard: ")
