"""The server as a process: its addresses, its end, and what a kill -9 leaves behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

import toy
from aarlab.server.creation import create_lab
from aarlab.settings import Budget
from toy_server import ToyServer, plain


def refused(folder: Path) -> tuple[int, str]:
    """Exit code and words of a server that cannot start."""
    command = [sys.executable, "-m", "aarlab.server", "--lab", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.strip()


def test_serves_both_addresses_and_ends_cleanly(tmp_path: Path) -> None:
    """One process answers on a socket file open to every user and on the loopback address; SIGTERM ends it with 0."""
    with ToyServer(tmp_path / "lab") as server:
        address = server.start() if server.process is None else server.client().health()
        assert address["status"] == "ok"
        socket_file = tmp_path / "lab" / "run" / "aarlab.sock"
        assert socket_file.stat().st_mode & 0o777 == 0o666
        import json

        url = json.loads((tmp_path / "lab" / "run" / "server.json").read_text())["url"]
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/v1/health", trust_env=False).json()["status"] == "ok"
        started = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - started < 8
        assert not (tmp_path / "lab" / "run" / "server.json").exists()


def test_a_lab_has_one_server(tmp_path: Path) -> None:
    """A second server on the same lab is told so in one sentence, exit code 2, and the first goes on."""
    with ToyServer(tmp_path / "lab") as server:
        code, words = refused(tmp_path / "lab")
        assert code == 2
        assert words == f"{tmp_path / 'lab'} is served by another process already; stop that one first"
        assert server.client().health()["status"] == "ok"


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """Port taken: the number, the remedy, exit code 2, nothing left listening."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = plain(toy.settings(port=port))
        create_lab(tmp_path / "lab", settings, [toy.make_pack(tmp_path / "pack")])
        code, words = refused(tmp_path / "lab")
    assert code == 2
    assert words.splitlines() == [
        f"port {port} cannot be used (Address already in use); set another `port`, or 0 for any free one"
    ]


def test_what_is_no_lab_is_said(tmp_path: Path) -> None:
    """A folder without lab.toml, and a lab whose pack was damaged, end with a sentence and exit code 2."""
    code, words = refused(tmp_path)
    assert (code, words) == (2, f"{tmp_path} is no lab folder: it has no lab.toml")
    create_lab(tmp_path / "lab", plain(toy.settings()), [toy.make_pack(tmp_path / "pack")])
    path = tmp_path / "lab" / "vault" / "packs" / toy.name() / "feedback.labels.npz"
    path.write_bytes(path.read_bytes()[:-1])
    code, words = refused(tmp_path / "lab")
    assert code == 2
    assert "feedback.labels.npz" in words
    assert len(words.splitlines()) == 1


def test_dies_with_its_parent(tmp_path: Path) -> None:
    """When whoever started the server is killed, the server ends by itself."""
    create_lab(tmp_path / "lab", plain(toy.settings()), [toy.make_pack(tmp_path / "pack")])
    address = tmp_path / "lab" / "run" / "server.json"
    script = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-m', 'aarlab.server', '--lab', {str(tmp_path / 'lab')!r}])\n"
        "time.sleep(60)\n"
    )
    with open(tmp_path / "log", "wb") as log:
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=log, stderr=log)
    _until(address.is_file)
    parent.kill()
    parent.wait()
    _until(lambda: not address.exists())


@pytest.mark.parametrize("moment", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_kill_9_loses_nothing_and_scores_nothing_twice(tmp_path: Path, moment: int) -> None:
    """Killed at a random moment while three researchers submit and wait: after a restart all is scored once."""
    settings = toy.settings(budget=Budget(answers=20, submissions=40))
    with ToyServer(tmp_path / "lab", settings) as server:
        verdicts: dict[tuple[str, int], dict[str, object]] = {}

        def research(who: str) -> None:
            client = server.client(who)
            for i in range(2):
                sent = client.submit(f"{who}-{i}", toy.variant(f"{who!r}, {i}"))
                verdicts[who, i] = client.wait(sent["id"], 60)

        threads = [threading.Thread(target=research, args=(f"r{i}",)) for i in (1, 2, 3)]
        for t in threads:
            t.start()
        time.sleep(random.Random(moment + time.time_ns()).uniform(0.0, 2.0))
        server.end(signal.SIGKILL)
        server.start()
        for t in threads:
            t.join(60)
        assert len(verdicts) == 6
        assert {v["status"] for v in verdicts.values()} == {"scored"}
        assert len({v["id"] for v in verdicts.values()}) == 6
        run = server.client("operator").run()
        assert run["budget"]["answers"]["given"] == 6
        assert run["progress"]["feedback"] == {"total": 6, "queued": 0, "running": 0, "scored": 6, "failed": 0}
        report = server.verify()
        assert report, report.text()


def test_a_killed_method_run_is_run_again(tmp_path: Path) -> None:
    """kill -9 of the process that runs a method: the researcher gets its score all the same, charged once."""
    slow = "import time\n" + toy.LEARNER.replace("def run(task, seed):", "def run(task, seed):\n    time.sleep(0.7)")
    with ToyServer(tmp_path / "lab") as server:
        client, operator = server.client(), server.client("operator")
        _until(lambda: operator.run()["progress"]["baseline"]["scored"] == len(toy.BASELINES))
        number = client.submit("slow", slow)["id"]
        _until(lambda: client.submission(number)["status"] == "running")
        time.sleep(0.3)
        killed = _kill_busy_worker(server.process.pid if server.process else 0)
        assert killed
        assert client.wait(number, 60)["status"] == "scored"
        assert client.budget()["answers"]["yours"] == 1
        assert server.verify()


def _kill_busy_worker(server: int) -> bool:
    """Kill every method process below the server, warm ones included."""
    import psutil

    children = psutil.Process(server).children(recursive=True)
    for child in children:
        if child.is_running():
            os.kill(child.pid, signal.SIGKILL)
    return bool(children)


def _until(true: object, seconds: float = 30.0) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
