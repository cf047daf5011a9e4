"""Requests per second of the lab service: `python benchmarks/service.py [--seconds 5] [--clients 9]`.

Starts a real server on a lab with the rows that a default run leaves (45 scored submissions, 100 posts), and lets
nine client processes read over loopback, each with one kept-alive connection and no pause. Compared with two figures
measured for a published scorer of the same kind of study: 5.0 requests/s for a call that returns PGR, 114.6 for its
cheapest call.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from aarlab.client import LabClient
from aarlab.fleet import plan
from aarlab.problems import base as problems
from aarlab.records import Answer, Post, Submission
from aarlab.server.creation import create_lab
from aarlab.settings import Settings
from aarlab.store import Store

PUBLISHED = {"with PGR": (5.0, 20), "cheapest call": (114.6, 3)}  # requests/s, and the factor we aim at
SCORED, POSTS = 45, 100
START_UP = 2.0  # seconds for the client processes to start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=9)
    parser.add_argument("--problem", default=problems.names()[0])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AARLAB_STATE"] = f"{folder}/answers.db"
        tokens = record(Path(folder) / "lab", options.problem)
        with subprocess.Popen([sys.executable, "-m", "aarlab.server", "--lab", f"{folder}/lab"]) as server:
            try:
                measure(Path(folder) / "lab", tokens, options.clients, options.seconds)
            finally:
                server.terminate()


def record(lab: Path, name: str) -> dict[str, str]:
    """A lab with the rows of a finished research phase; returns one token per researcher."""
    problem = problems.load(name)
    settings = Settings(problem=name, researchers=plan.researchers(problem, 9, undirected=False))
    settings = replace(settings, isolation=replace(settings.isolation, kind="process"))
    tokens: dict[str, str] = create_lab(lab, settings, [problem])["researchers"]
    store, people = Store(lab / "lab.db"), [r.name for r in settings.researchers]
    with store.write() as rows:
        for i in range(SCORED):
            who, best = people[i % 9], 0.7 + 0.01 * (i // 6) if i % 6 == 0 else None
            text = "no new record" if best is None else f"new record {best:.4g}"
            row = Submission(
                0, who, f"method {i}", "scored", f"{i:064x}", f"{i:064x}", time.time(), time.time(),
                claimed_pgr=0.5, answer=text, record=best, note="a note of usual length " * 3,
            )  # fmt: skip
            number = rows.add_submission(row).id
            rows.reserve_answer(number, who)
            rows.give_answer(number, i + 1, Answer(text, best))
        for i in range(POSTS):
            rows.add_post(Post(0, people[i % 9], "result", f"finding {i}", "some text " * 40, time.time()))
    store.close()
    return tokens


def measure(lab: Path, tokens: dict[str, str], clients: int, seconds: float) -> None:
    port = wait_until_idle(lab)
    own = {name: number(port, token) for name, token in tokens.items()}
    people = [list(tokens)[i % len(tokens)] for i in range(clients)]
    print(f"{clients} clients, {seconds:g} s each, {os.cpu_count()} cores")
    for what, path in (("status", "/v1/submissions/{own}"), ("leaderboard", "/v1/leaderboard")):
        start = time.monotonic() + START_UP  # all at once, so that their rates may be added
        jobs = [(port, tokens[p], path.format(own=own[p]), start, seconds) for p in people]
        with multiprocessing.get_context("fork").Pool(clients) as pool:
            times = sorted(t for part in pool.starmap(ask, jobs) for t in part)
        rate = len(times) / seconds
        p50, p99 = times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3
        print(f"{what:12s} {rate:8.0f} requests/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms")
        for name, (published, goal) in PUBLISHED.items():
            verdict = "ok" if rate >= goal * published else "MISSED"
            print(
                f"{'':12s} {rate / published:8.1f} times the published {name} ({published}/s), goal {goal}: {verdict}"
            )


def wait_until_idle(lab: Path) -> int:
    """The server's port, once the baselines are scored and nothing runs in the background."""
    address, operator = lab / "run" / "server.json", json.loads((lab / "run" / "tokens.json").read_text())["operator"]
    while not address.is_file():
        time.sleep(0.05)
    found = json.loads(address.read_text())
    with LabClient(found["url"], operator) as client:
        while not client.run()["settled"]:
            time.sleep(0.2)
    return int(found["port"])


def number(port: int, token: str) -> int:
    """A submission of one's own."""
    with LabClient(f"http://127.0.0.1:{port}", token) as client:
        return int(client.submissions()[0]["id"])


def ask(port: int, token: str, path: str, start: float, seconds: float) -> list[float]:
    """Ask as fast as one connection allows; the duration of each request in seconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: lab\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        time.sleep(max(0.0, start - time.monotonic()))
        while (started := time.monotonic()) < start + seconds:
            connection.sendall(request)
            read_reply(connection)
            times.append(time.monotonic() - started)
    return times


def read_reply(connection: socket.socket) -> None:
    """One reply with a stated length. Raises when it is no success."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    missing = length - len(body)
    while missing > 0:
        missing -= len(connection.recv(65536))


if __name__ == "__main__":
    main()
