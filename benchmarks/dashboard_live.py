"""What viewers of live updates cost: `python benchmarks/dashboard_live.py [--viewers 100] [--seconds 20]`.

A uvicorn process of its own serves server-sent events behind the dashboard's guard; each second all parts of a page
change (5 of 4 KB). This process holds so many connections, reads what comes, and compares the other's processor time
with the clock. Rendering a page is left out: it happens once a change however many look, and `benchmarks/dashboard.py`
measures it. Goal: 100 viewers take at most 10 % of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import socket
import subprocess
import sys
import threading
import time

import psutil
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from aarlab.dashboard.live import Pulse, stream
from aarlab.dashboard.security import Doors, Guard

PARTS, BYTES, EVERY = 5, 4096, 1.0
TOKEN = "a-token-of-the-benchmark-alone"  # of this process's own server, for as long as it runs
GOAL = 10.0  # percent of one core
START_UP = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--serve", type=int, metavar="SOCKET", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        argv = [sys.executable, __file__, "--serve", str(listening.fileno())]
        with subprocess.Popen(argv, pass_fds=[listening.fileno()]) as server:
            try:
                asyncio.run(measure(port, psutil.Process(server.pid), options.viewers, options.seconds))
            finally:
                server.kill()


def serve(number: int) -> None:
    """The server's side: parts that all change each second."""
    count = itertools.count()
    padding = '<li class="dim">what a page holds</li>' * (BYTES // 38)

    def render(page: str) -> dict[str, str]:
        now = next(count)
        return {f"part_{i}": f'<ol id="part_{i}">{now}{padding}</ol>'[:BYTES] for i in range(PARTS)}

    pulse, app = Pulse(render, EVERY), FastAPI()

    @app.get("/live", response_model=None)
    async def live(request: Request) -> Response:
        return StreamingResponse(stream(pulse, "run", request.is_disconnected), media_type="text/event-stream")

    def change() -> None:
        while True:
            time.sleep(EVERY / 5)  # more often than anything is sent, as a busy run does
            pulse.changed()

    threading.Thread(target=change, daemon=True).start()
    guarded = Guard(app, Doors(lambda: [(TOKEN, "viewer")]), lambda status, sentence: sentence.encode())
    uvicorn.Server(uvicorn.Config(guarded, log_level="warning", lifespan="off")).run([socket.socket(fileno=number)])


async def measure(port: int, server: psutil.Process, viewers: int, seconds: float) -> None:
    got = [0] * viewers
    watching = [asyncio.create_task(watch(port, got, i)) for i in range(viewers)]
    async with asyncio.timeout(START_UP):
        while not all(got):
            await asyncio.sleep(0.1)
    before, start, used = sum(got), time.monotonic(), busy(server)
    await asyncio.sleep(seconds)
    took = time.monotonic() - start
    share = 100 * (busy(server) - used) / took
    messages = (sum(got) - before) / took
    for task in watching:
        task.cancel()
    memory = server.memory_info().rss / 2**20
    print(f"{viewers} viewers for {took:.0f} s, {PARTS} parts of {BYTES} bytes each second")
    print(f"messages    {messages:8.0f} /s   ({viewers * PARTS / EVERY:.0f} wanted)")
    verdict = "ok" if share <= GOAL else "MISSED"
    print(f"server      {share:8.1f} % of one core, {memory:.0f} MB   goal {GOAL:.0f} %: {verdict}")


def busy(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


async def watch(port: int, got: list[int], number: int) -> None:
    """One viewer: counts its messages."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)
    head = f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    writer.write(head.encode())
    async for line in reader:
        got[number] += line.startswith(b"event: part")
    raise AssertionError("the stream ended")


if __name__ == "__main__":
    main()
