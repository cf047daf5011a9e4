"""What a sandbox is: a specification, a running process, and the two verbs `check` and `start`."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from aarlab.sandbox import limits as measure
from aarlab.sandbox.limits import Cgroup, Limits

__all__ = ["Limits", "Sandbox", "SandboxProcess", "SandboxSpec"]


@dataclass(frozen=True)
class SandboxSpec:
    """One sandbox as data. Paths on the right of a pair are paths inside.

    `workspace` appears read-write at /work and survives; None means no writable disk at all. `read_only` pairs
    are files or folders; they must be readable by everybody, since the sandbox runs as another user. `sockets` are unix
    sockets of the host. `hidden` names host folders that must stay invisible even if they lie under a bound one.
    `uid_index` tells sandboxes apart: as root each index is a host user of its own.
    """

    argv: tuple[str, ...]
    workspace: Path | None
    read_only: tuple[tuple[Path, str], ...]
    sockets: tuple[tuple[Path, str], ...]
    env: dict[str, str]
    limits: Limits
    uid_index: int
    hidden: tuple[Path, ...] = field(default=())


class SandboxProcess:
    """A started sandbox. `verdict` says why the lab itself ended it: "disk", "memory", "cpu", "processes" or None."""

    def __init__(self, popen: subprocess.Popen[bytes], inner: int, cgroup: Cgroup | None) -> None:
        self._popen, self._inner, self._cgroup = popen, inner, cgroup
        self._lock = threading.Lock()
        self._cpu = 0.0
        self._oom: int | None = None
        self.verdict: str | None = None

    def __repr__(self) -> str:
        return f"SandboxProcess(pid={self.pid}, verdict={self.verdict!r})"

    @property
    def pid(self) -> int:
        """Process id of the outermost process, on the host."""
        return self._popen.pid

    @property
    def inside_pid(self) -> int:
        """Process id, on the host, of a process inside all of the sandbox's namespaces."""
        return self._inner

    @property
    def stdin(self) -> IO[bytes] | None:
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        return self._popen.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        return self._popen.stderr

    def poll(self) -> int | None:
        """Exit code, or None while it runs. 128 + n (or -n) after signal n."""
        code = self._popen.poll()
        if code is not None:
            self._sweep()
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Exit code. Raises subprocess.TimeoutExpired."""
        code = self._popen.wait(timeout)
        self._sweep()
        return code

    def kill(self) -> None:
        """End it and everything inside, and wait until it is gone."""
        for pid in reversed(self.pids()):
            measure.signal_process(pid, signal.SIGKILL)
        measure.signal_process(self._inner, signal.SIGKILL)
        if self._popen.poll() is None:
            self._popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)
        self._sweep()

    def close(self) -> None:
        """Kill, and close the pipes."""
        self.kill()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def pids(self) -> list[int]:
        """Host process ids of everything inside, parents first."""
        return [] if self._popen.returncode is not None else measure.descendants(self._popen.pid)

    def cpu_seconds(self) -> float:
        """User and system time of everything that ran inside so far; never falls."""
        with self._lock:
            used = self._cgroup.cpu_seconds() if self._cgroup else None
            if used is None:
                used = measure.cpu_seconds(self.pids())
            self._cpu = max(self._cpu, used)
            return self._cpu

    def exact_cpu_seconds(self) -> float | None:
        """CPU time that ran inside as the kernel counts it, to the microsecond; None where it does not."""
        with self._lock:
            return self._cgroup.cpu_seconds() if self._cgroup else None

    def rss_bytes(self) -> int:
        """Memory in use inside, shared pages counted once."""
        used = self._cgroup.memory_bytes() if self._cgroup else None
        return measure.memory_bytes(self.pids()) if used is None else used

    def oom_kills(self) -> int | None:
        """Processes the kernel killed for memory in here; None where the kernel does not count them."""
        with self._lock:
            found = self._cgroup.oom_kills() if self._cgroup else None
            self._oom = self._oom if found is None else found
            return self._oom

    def _sweep(self) -> None:
        """Forget the cgroup once nothing is left in it."""
        with self._lock:
            if self._cgroup is not None:
                self._cpu = max(self._cpu, self._cgroup.cpu_seconds() or 0.0)
                found = self._cgroup.oom_kills()
                self._oom = self._oom if found is None else found
                self._cgroup.remove()


class Sandbox(Protocol):
    """A way to run untrusted code. `isolated` is False where it can see what the lab sees."""

    name: str
    isolated: bool

    def check(self) -> None:
        """Raise SandboxUnavailable, with the reason, if this machine cannot do it."""

    def start(self, spec: SandboxSpec, log: Path | None = None, nice: int = 0) -> SandboxProcess:
        """Start it and return once the program is about to run.

        With `log`, output is appended to that file and stdin is empty; without, stdin, stdout and stderr are pipes.
        """

    def attach(self, spec: SandboxSpec) -> int:
        """Run it on this terminal until it ends; its exit code."""
