"""The client: every call against a real server, over both kinds of address, and through its failures."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import toy
from aarlab import errors
from aarlab.client import LabClient
from toy_server import ToyServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyServer]:
    """In a folder whose path is longer than a socket address may be."""
    folder = tmp_path_factory.mktemp("long") / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    with ToyServer(folder / "lab") as server:
        yield server


def url(server: ToyServer) -> str:
    return str(json.loads((server.folder / "run" / "server.json").read_text())["url"])


def test_a_researchers_day(server: ToyServer) -> None:
    """Brief, budget, submit, wait, leaderboard, methods, posts, heartbeat: the whole vocabulary."""
    lab = server.client("r1")
    assert lab.brief()["you"]["name"] == "r1"
    assert lab.budget()["answers"]["left_for_you"] > 0
    sent = lab.submit("learner", toy.LEARNER, claimed_pgr=0.4, note="plain")
    verdict = lab.wait(sent["id"], timeout=60)
    assert verdict["status"] == "scored"
    assert lab.submission(sent["id"]) == verdict
    assert verdict in lab.submissions()
    assert lab.leaderboard()["counts"]["r1"]["scored"] == 1
    assert [m["id"] for m in lab.methods()] == [sent["id"]]
    assert lab.method(sent["id"])["source"] == toy.LEARNER
    post = lab.post("result", "learner works", "text", submission=sent["id"])
    assert lab.posts(search="works") == [post]
    assert lab.read_post(post["id"])["replies"] == []
    assert lab.heartbeat("done", 0.4, 12)["stop"] is False


def test_both_addresses_are_one_lab(server: ToyServer) -> None:
    """A unix socket, however long its path, and a loopback address lead to the same lab."""
    with LabClient(url(server), server.tokens["viewer"]) as lab:
        assert lab.health() == server.client().health()


def test_errors_come_back_as_they_were_raised(server: ToyServer) -> None:
    """The lab's error classes and sentences arrive at the caller."""
    lab = server.client("r2")
    with pytest.raises(errors.MethodError, match="line 1") as caught:
        lab.submit("bad", "def run(")
    assert caught.value.reason == "syntax"
    with pytest.raises(errors.UnknownName, match="no submission 999"):
        lab.submission(999)
    with pytest.raises(errors.NotAllowed):
        lab.run()
    with pytest.raises(errors.InputError, match="kind"):
        lab.post("rumour", "t", "b")
    with LabClient(url(server), "wrong") as stranger, pytest.raises(errors.Unauthorised):
        stranger.budget()


def test_wait_gives_up_in_time(server: ToyServer) -> None:
    """After the timeout the submission comes back as it is."""
    lab = server.client("r2")
    slow = "import time\n" + toy.LEARNER.replace("    head", "    time.sleep(1)\n    head", 1)
    number = lab.submit("slow", slow)["id"]
    started = time.monotonic()
    assert lab.wait(number, timeout=0.2)["status"] in ("queued", "running")
    assert time.monotonic() - started < 10
    assert lab.wait(number, timeout=30)["status"] == "scored"


class Lossy:
    """A relay on loopback that loses the first replies: the request arrives, the answer does not."""

    def __init__(self, port: int, losses: int) -> None:
        self.port, self.losses = port, losses
        self.server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                incoming, _ = self.server.accept()
            except OSError:
                return
            with incoming, socket.create_connection(("127.0.0.1", self.port)) as outgoing:
                self._relay(incoming, outgoing)

    def _relay(self, incoming: socket.socket, outgoing: socket.socket) -> None:
        """One request and one reply."""
        incoming.settimeout(0.3)
        while True:
            try:
                data = incoming.recv(65536)
            except TimeoutError:
                break
            if not data:
                return
            outgoing.sendall(data)
        reply = outgoing.recv(1 << 20)
        if self.losses:
            self.losses -= 1
        else:
            incoming.sendall(reply)


def test_a_lost_reply_does_nothing_twice(server: ToyServer) -> None:
    """When the answer to a post is lost, the client asks again under the same key and the lab does it once."""
    relay = Lossy(int(url(server).rsplit(":", 1)[1]), losses=2)
    before = len(server.client("r3").posts())
    with LabClient(relay.url, server.tokens["researchers"]["r3"]) as lab:
        post = lab.post("insight", "sent three times", "b")
    relay.server.close()
    assert relay.losses == 0
    found = server.client("r3").posts()
    assert len(found) == before + 1
    assert found[-1]["id"] == post["id"]


def test_a_lab_that_stays_away_is_an_infrastructure_failure(tmp_path: Path) -> None:
    """Nobody listens: after the client's patience, one sentence."""
    with (
        LabClient(tmp_path / "no.sock", "t", patience=0.3) as lab,
        pytest.raises(errors.Infrastructure, match="reached"),
    ):
        lab.health()


def test_a_restart_goes_unnoticed(tmp_path: Path) -> None:
    """A client that waits while the server is replaced gets its verdict."""
    with ToyServer(tmp_path / "lab") as server:
        lab, found = server.client(), []
        number = lab.submit("learner", toy.LEARNER)["id"]
        waiting = threading.Thread(target=lambda: found.append(lab.wait(number, 60)))
        waiting.start()
        time.sleep(0.2)
        server.end()
        server.start()
        waiting.join(60)
        assert found[0]["status"] == "scored"
        assert server.verify()
