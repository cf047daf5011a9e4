"""`python -m aarlab.server --lab DIR`: serve one lab until SIGTERM or the parent's death."""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn

from aarlab.errors import AarlabError, InputError, LabBusy
from aarlab.execution.local import DEFAULT, LocalExecutor
from aarlab.sandbox import open_sandbox
from aarlab.server.app import create_app
from aarlab.server.creation import add_fleet_token
from aarlab.server.lab import Lab, write_json
from aarlab.server.scorer import Scorer
from aarlab.settings import Settings

PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m aarlab.server", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True, metavar="DIR", help="a lab folder")
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="end when this process does")
    given = parser.parse_args(arguments)
    lab = given.lab.resolve()
    die_with_parent(given.parent or os.getppid())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with only_server(lab):
            serve(lab)
    except AarlabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the thread that started us ends; Linux only, harmless elsewhere."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the request
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def only_server(folder: Path) -> Iterator[None]:
    """Hold run/server.lock; the kernel lets go of it however the process ends."""
    if not (folder / "lab.toml").is_file():
        raise InputError(f"{folder} is no lab folder: it has no lab.toml")
    with open(folder / "run" / "server.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabBusy(f"{folder} is served by another process already; stop that one first") from None
        yield


def serve(folder: Path) -> None:
    """Open the lab, start the scorer, and listen until told to stop."""
    address = folder / "run" / "server.json"
    address.unlink(missing_ok=True)  # a killed server leaves one behind
    lab = Lab(folder)
    add_fleet_token(lab)
    lab.canaries.put_in_environment()
    sockets = [tcp_socket(lab.settings.port), unix_socket(folder / "run" / "aarlab.sock")]
    scorer = Scorer(lab, local_executor(lab.settings, folder))
    config = uvicorn.Config(
        create_app(lab), http="httptools", loop="auto", log_level="warning", access_log=False, lifespan="off",
        timeout_graceful_shutdown=1, backlog=256, timeout_keep_alive=60,
    )  # fmt: skip
    server = Listening(config, lambda: write_json(address, describe(folder, sockets[0])))
    scorer.start()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, server.ask_to_end)
    try:
        server.run(sockets=sockets)
    finally:
        address.unlink(missing_ok=True)
        scorer.close()
        lab.close()


class Listening(uvicorn.Server):
    """A server that says when it can be reached."""

    def __init__(self, config: uvicorn.Config, ready: object) -> None:
        super().__init__(config)
        self.ready = ready

    def ask_to_end(self, *_: object) -> None:
        """Also for a signal that comes before uvicorn listens for it, or that it raises again after it has stopped."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if callable(self.ready):
            self.ready()


def local_executor(settings: Settings, lab: Path) -> LocalExecutor:
    """Where this lab's methods run. Raises SandboxUnavailable with the reason where they cannot."""
    sandbox = open_sandbox(settings.isolation.kind)
    sandbox.check()
    limits = replace(DEFAULT, memory_mb=settings.isolation.memory_mb)
    return LocalExecutor(sandbox, settings.scoring.workers, limits, hidden=(lab,))


def describe(folder: Path, tcp: socket.socket) -> dict[str, object]:
    port = tcp.getsockname()[1]
    return {
        "socket": str(folder / "run" / "aarlab.sock"),
        "port": port,
        "url": f"http://127.0.0.1:{port}",
        "pid": os.getpid(),
    }


def tcp_socket(port: int) -> socket.socket:
    """Listen on the loopback address only. Raises InputError when the port is taken."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; else answers wait 40 ms for an ACK
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError as error:
        sock.close()
        raise InputError(
            f"port {port} cannot be used ({error.strerror}); set another `port`, or 0 for any free one"
        ) from None
    return sock


def unix_socket(path: Path) -> socket.socket:
    """Listen on a socket file that every uid may connect to; the token decides who is heard.

    The file lies in a folder of its own and `path` is a link to it: sandboxes bind that folder, and so find the new
    file when a restarted server has made it. Bound through the folder's descriptor, since a socket address holds no
    more than 107 bytes.
    """
    home = path.parent / "api"
    home.mkdir(exist_ok=True)
    home.chmod(0o755)
    (home / path.name).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(home, os.O_PATH)
    try:
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    (home / path.name).chmod(0o666)
    path.symlink_to(Path("api") / path.name)
    return sock


if __name__ == "__main__":
    sys.exit(main())
