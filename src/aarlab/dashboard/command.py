"""`aarlab serve`: the dashboard as a process of its own. How other commands find it stands in `running`."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aarlab.dashboard.app import create_app
from aarlab.dashboard.charts import WIDTHS, compiled
from aarlab.dashboard.labs import Labs
from aarlab.dashboard.running import Place, Running, announce, link, only_dashboard, show
from aarlab.dashboard.security import Doors
from aarlab.errors import AarlabError, InputError
from aarlab.fleet.lock import holder
from aarlab.reports import figures
from aarlab.server.__main__ import Listening, tcp_socket

PORT, TRIED_PORTS = 8642, 100
LINKS = {"url": "operator", "viewer_url": "viewer"}
"""What is told of a dashboard that has come up -> the role that this link gives."""

IDLE_SECONDS = 600.0
"""After which nobody looks any more."""

CLOSE_SECONDS = 0.3

IDLE_TICKS = 50
"""Of uvicorn, a tenth of a second each, between two looks at whether the dashboard is needed."""


def serve(
    where: Place, port: int | None = None, *, open_browser: bool = False, until_idle: bool = False,
    say: Callable[[dict[str, Any]], None] = lambda found: None,
) -> int:  # fmt: skip
    """Serve the labs until Ctrl-C or SIGTERM; runs go on without it. The exit code.

    port: None takes 8642, or the next free one. until_idle: end also once no lab runs and nobody has looked for ten
    minutes. say: is given {"url", "viewer_url", "address", "port", "pid", "root", "lab"} when the dashboard answers.
    Raises LabBusy where one runs already on this folder.
    """
    _make(where.root)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with only_dashboard(where.root) as file:
        sock = listen(port)
        here = Running(os.getpid(), sock.getsockname()[1], secrets.token_urlsafe(32))
        labs = Labs(where.root)
        doors = Doors(lambda: [(here.secret, "operator"), *tokens(where.root)])

        def ready() -> None:
            announce(file, here)
            links = {k: link(here.address, doors.login_link(r), where.lab) for k, r in LINKS.items()}
            say({**links, "address": here.address, "port": here.port, "pid": here.pid, "root": str(where.root),
                 "lab": where.lab})  # fmt: skip
            if open_browser:
                show(links["url"])

        _listen_until_end(create_app(labs, doors), labs, where.lab, sock, ready, until_idle)
    return 0


def _listen_until_end(
    app: ASGIApp, labs: Labs, lab: str, sock: socket.socket, ready: Callable[[], None], until_idle: bool
) -> None:
    looking = Looking(app)
    config = uvicorn.Config(
        looking, http="httptools", ws="none", loop="auto", log_config=None, log_level="warning", access_log=False,
        lifespan="off", server_header=False, timeout_graceful_shutdown=0, backlog=256, timeout_keep_alive=60,
    )  # fmt: skip
    server = Serving(config, ready, lambda: until_idle and looking.idle() > IDLE_SECONDS and not runs(labs))
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, server.ask_to_end)
    labs.start()
    threading.Thread(target=warm, args=(labs, lab), name="warm", daemon=True).start()
    try:
        server.run(sockets=[sock])
    finally:
        closing = threading.Thread(target=labs.close, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)  # what is being read or drawn is made again by the next one
        gc.freeze()  # the interpreter would look through everything once more before it ends, for a second


def warm(labs: Labs, lab: str) -> None:
    """Do now what the first page and the first chart would otherwise wait for."""
    with contextlib.suppress(AarlabError):
        if lab:
            labs.get(lab).snapshot()
    compiled(figures.pgr_over_time([], {}, 1.0, WIDTHS[0]))


class Serving(Listening):
    """Ends at once when it is asked to, whoever looks; and when there is no need for it any more."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], over: Callable[[], bool]) -> None:
        super().__init__(config, ready)
        self.over = over

    def ask_to_end(self, *_: object) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # live updates that are cut off are no errors
        self.should_exit = self.force_exit = True

    def handle_exit(self, sig: int, frame: object) -> None:
        self.ask_to_end()

    async def on_tick(self, counter: int) -> bool:
        if counter % IDLE_TICKS == 0 and self.over():
            self.ask_to_end()
        return await super().on_tick(counter)


class Looking:
    """Knows when somebody looked last. Scraped metrics and what is refused do not count; an open page does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.last, self.now = time.monotonic(), 0

    def idle(self) -> float:
        """Seconds since then."""
        return 0.0 if self.now else time.monotonic() - self.last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        entered = False

        async def sending(message: Message) -> None:
            nonlocal entered
            if message["type"] == "http.response.start" and message["status"] < 400 and not entered:
                entered, self.now = True, self.now + 1
            await send(message)

        try:
            await self.app(scope, receive, send if scope.get("path") == "/metrics" else sending)
        finally:
            if entered:
                self.last, self.now = time.monotonic(), self.now - 1


def listen(port: int | None) -> socket.socket:
    """Listen on this port alone, or without one on the first free of 8642 and those after it. Raises InputError."""
    if port is not None and not 0 <= port <= 65_535:
        raise InputError(f"--port is {port}; it must be from 0 to 65535, and 0 takes any free one")
    for one in range(PORT, PORT + TRIED_PORTS) if port is None else (port,):
        with contextlib.suppress(InputError, OSError):
            sock = tcp_socket(one)
            sock.listen(256)  # now: until somebody listens, others can bind the same port
            if port is None and one != PORT:
                print(f"port {PORT} is taken, so the dashboard takes {one}", file=sys.stderr)
            return sock
    if port is None:
        raise InputError(f"the ports {PORT} to {PORT + TRIED_PORTS - 1} are all taken; name another with --port")
    raise InputError(f"port {port} cannot be used, most likely since something listens there; name another with --port")


def tokens(root: Path) -> Iterator[tuple[str, str]]:
    """All tokens of the labs in a folder as (token, role): they let programs in as far as the role goes."""
    for path in root.glob("[!.]*/run/tokens.json"):
        if path.parents[1].is_symlink():  # `latest`
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            yield from ((str(found[role]), role) for role in ("operator", "viewer", "fleet") if role in found)
            yield from ((str(token), "researcher") for token in found.get("researchers", {}).values())


def runs(labs: Labs) -> bool:
    """Whether any lab of the folder runs."""
    return any(holder(labs.root / name) is not None for name in labs.names())


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{root}: the folder cannot be made ({error.strerror}); name another with --labs") from None
