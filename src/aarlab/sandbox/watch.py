"""One thread that looks after all sandboxes of this process: disk, memory, CPU time and processes.

Where the kernel holds a limit itself (cgroups, rlimits) the watch only confirms it. Disk is always watched: a
bind-mounted folder has no quota. The free space of its file system is read every `TICK`, and the folder is
measured when that fell noticeably, and in any case several times a second.

A sandbox in which nothing ran since it was last measured is as it was: where the kernel counts its CPU time to the
microsecond, that one number is read instead, so that a hundred researchers who wait for their models cost nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from aarlab.sandbox import limits as measure
from aarlab.sandbox.base import SandboxProcess
from aarlab.sandbox.limits import Limits

TICK = 0.05
MEASURE = 0.25
REST = 1.0
"""Seconds between looks while nothing runs in any sandbox; a command's start ends the rest at once."""
AT_REST = 5.0
"""Seconds after which a sandbox is measured although nothing ran in it."""
MOST_FILES = 20_000


@dataclass
class Watched:
    """One sandbox under watch."""

    process: SandboxProcess
    inner: int  # a process that sees the sandbox's own memory file systems; 0: there are none
    limits: Limits
    workspace: Path | None
    memory_is_held: bool  # by the kernel
    own: int = 2  # processes of the sandbox itself, which do not count against `limits.processes`
    log: Path | None = None  # a file that it may fill, where the kernel does not hold `limits.file_mb` for it
    due: float = 0.0
    free: int = 0
    device: int = field(default=0)
    ran: float | None = None  # CPU seconds when it was last measured, where the kernel counts them exactly
    measured: float = 0.0
    rests: bool = False

    def look(self) -> str | None:
        """The limit that is broken, if one is."""
        now = time.monotonic()
        if now < self.due and not self._filling():
            return None
        ran = self.process.exact_cpu_seconds()
        self.rests = ran is not None and ran == self.ran
        if self.rests and now < self.measured + AT_REST:
            self.due = now + MEASURE
            return None
        self.ran, self.measured = ran, now  # read before the measuring: what runs meanwhile is seen next time
        verdict = self._measure()
        # a big tree takes long to walk: never spend more than a fifth of the time on it
        self.due = now + max(MEASURE, 5 * (time.monotonic() - now))
        return verdict

    def _filling(self) -> bool:
        """Whether the file system lost an eighth of the allowance since the last measurement."""
        if self.workspace is None or not self.limits.disk_mb:
            return False
        return self.free - _free(self.workspace) > (self.limits.disk_mb << 20) // 8

    def _measure(self) -> str | None:
        limits, pids = self.limits, self.process.pids()
        if self.workspace is not None and limits.disk_mb:
            self.free, allowed = _free(self.workspace), limits.disk_mb << 20
            self.device = self.device or os.stat(self.workspace).st_dev
            used = measure.disk_bytes(self.workspace, allowed + 1)
            if used <= allowed:
                used += measure.deleted_bytes(pids, self.device)
            if used > allowed or self._many_files_in_memory():
                return "disk"
        if self._log_is_full():
            return "disk"
        if limits.memory_mb and not self.memory_is_held and self.process.rss_bytes() > limits.memory_mb << 20:
            return "memory"
        used_cpu = self.process.cpu_seconds()  # read in any case: without a cgroup it is lost when processes end
        if limits.cpu_seconds and used_cpu > limits.cpu_seconds:
            return "cpu"
        return "processes" if len(pids) > limits.processes + self.own else None

    def _log_is_full(self) -> bool:
        return self.log is not None and self.log.stat().st_size > self.limits.file_mb << 20

    def cut_log(self) -> None:
        """Leave half of its allowance to whoever writes it next."""
        if self._log_is_full() and self.log is not None:
            os.truncate(self.log, self.limits.file_mb << 19)

    def _many_files_in_memory(self) -> bool:
        """Whether the memory file systems hold more than `MOST_FILES`: their size limit does not count empty files."""
        for folder in ("tmp", "dev/shm", "var/tmp"):
            with contextlib.suppress(OSError):
                found = os.statvfs(f"/proc/{self.inner}/root/{folder}")
                if found.f_files - found.f_ffree > MOST_FILES:
                    return True
        return False


class Watch:
    """Starts its thread with the first sandbox."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: list[Watched] = []
        self._thread: threading.Thread | None = None
        self._stir = threading.Event()

    def stir(self) -> None:
        """Something begins in a sandbox: look closely again."""
        self._stir.set()

    def add(self, one: Watched) -> None:
        with self._lock:
            self._watched.append(one)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="sandbox-watch", daemon=True)
                self._thread.start()
        self.stir()

    def _run(self) -> None:
        while True:
            with self._lock:
                watched = self._watched = [w for w in self._watched if w.process.poll() is None]
                if not watched:
                    self._thread = None
                    return
            for one in watched:
                with contextlib.suppress(OSError):
                    self._judge(one)
            self._pause(watched)

    def _pause(self, watched: list[Watched]) -> None:
        """Until the next look: long while nothing runs anywhere."""
        if not all(one.rests for one in watched):
            time.sleep(TICK)
        elif self._stir.wait(REST):
            self._stir.clear()
            for one in watched:
                one.rests = False

    def _judge(self, one: Watched) -> None:
        verdict = one.look()
        if verdict and one.process.poll() is None:
            one.process.verdict = verdict
            one.process.kill()
            one.cut_log()


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize


WATCH = Watch()
