"""No sandbox: an ordinary process with rlimits. It sees and can do whatever the lab's user can.

Chosen by name only, for hosts where bubblewrap cannot work and for code one trusts; its scores are marked unranked.
Paths inside a sandbox (`/work`, `/data`, the library) are replaced in arguments and environment by the host's own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from aarlab.errors import Infrastructure
from aarlab.sandbox.base import SandboxProcess, SandboxSpec
from aarlab.sandbox.library import PACKAGE, PYTHON
from aarlab.sandbox.spawn import SPAWNER
from aarlab.sandbox.watch import WATCH, Watched

KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")
START_SECONDS = 30.0


class ProcessSandbox:
    """No isolation at all."""

    name = "process"
    isolated = False

    def check(self) -> None:
        """Always possible."""

    def start(self, spec: SandboxSpec, log: Path | None = None, nice: int = 0) -> SandboxProcess:
        """Start it in the workspace, or in / without one."""
        if log is None:
            pipe = subprocess.PIPE
            return _start(spec, nice, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        with log.open("ab") as out:
            return _start(spec, nice, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def attach(self, spec: SandboxSpec) -> int:
        process = _start(spec, 0)
        try:
            while True:
                with contextlib.suppress(KeyboardInterrupt):
                    return process.wait()
        finally:
            process.kill()


def _start(spec: SandboxSpec, nice: int, **options: Any) -> SandboxProcess:
    if spec.workspace is not None:
        spec.workspace.mkdir(parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        enter = str(PACKAGE / "sandbox" / "enter.py")
        start = [sys.executable, "-I", "-S", enter, str(theirs.fileno())]
        popen = SPAWNER.popen(start, pass_fds=(theirs.fileno(),), **options)
        theirs.close()
        ours.settimeout(START_SECONDS)
        if ours.recv(16) != b"ready\n":
            popen.kill()
            raise Infrastructure(f"{sys.executable} did not start (exit {popen.wait()})")
        process = SandboxProcess(popen, popen.pid, None)
        ours.sendall(json.dumps(_orders(spec, nice)).encode())
        ours.shutdown(socket.SHUT_WR)
    WATCH.add(Watched(process, 0, spec.limits, spec.workspace, memory_is_held=False))
    return process


def _orders(spec: SandboxSpec, nice: int) -> dict[str, Any]:
    limits = spec.limits
    wanted = {"files": limits.open_files, "core": 0}
    if limits.file_mb:
        wanted["file"] = limits.file_mb << 20
    if limits.cpu_seconds:
        wanted["cpu"] = math.ceil(limits.cpu_seconds)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        "limits": wanted,
        "nice": nice,
        "parent": os.getpid(),
        "folder": str(spec.workspace.resolve()) if spec.workspace else "/",
        "argv": [outside(word, spec) for word in spec.argv],
        "env": {**kept, "PYTHONNOUSERSITE": "1", **{k: outside(v, spec) for k, v in spec.env.items()}},
    }


def outside(word: str, spec: SandboxSpec) -> str:
    """A path inside, as the host's path; anything else unchanged."""
    if word == PYTHON:
        return sys.executable
    pairs = [*spec.read_only, *spec.sockets, *([(spec.workspace, "/work")] if spec.workspace else [])]
    for host, inside in sorted(pairs, key=lambda p: -len(p[1])):
        if word == inside or word.startswith(f"{inside}/"):
            return str(host.resolve()) + word[len(inside) :]
    return word
