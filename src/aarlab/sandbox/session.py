"""A sandbox that lives long and runs one command after the other, or many at once, for the host.

The sandbox itself is one of the kinds that run everything else (namespaces, filter, limits, user); its program is
`attendant.py`, to which the host speaks over the program's stdin and stdout. Whatever comes back from inside counts
as written by an enemy: its size is bounded, its form is checked, and nonsense ends the sandbox. So does silence: the
host keeps deadlines of its own, for a command may stop or kill the attendant, which runs under the same user.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import queue
import struct
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aarlab.errors import InputError, SandboxGone, SandboxUnavailable
from aarlab.sandbox import open_sandbox
from aarlab.sandbox.base import SandboxProcess, SandboxSpec
from aarlab.sandbox.library import PACKAGE, PYTHON
from aarlab.sandbox.process import outside
from aarlab.sandbox.trim import trim
from aarlab.sandbox.watch import WATCH

PROGRAM = "/run/attendant.py"
PIECE = 1 << 18  # bytes of a body that we send
MOST_HEADER, MOST_BODY = 1 << 16, 1 << 20  # of a frame from inside
START_SECONDS = 30.0
PING_SECONDS = 20.0  # without a word from inside until we ask
SILENCE_SECONDS = 60.0  # after that question until the sandbox is ended
LATE_SECONDS = 30.0  # a command's end may come this much after its timeout
OUTPUT = 10 << 20  # bytes kept of each stream of a command, unless the call says otherwise
LARGEST_FILE = 100 << 20  # bytes read_file gives, unless the call says otherwise
KILLED = 137  # code of a command that was ended by SIGKILL
WORDS = 2000  # characters kept of what the attendant itself says on stderr


@dataclass(frozen=True)
class Done:
    """A command that ended. `code`: 128 + n after signal n. `out` and `err`: the last bytes of each stream, up to the
    call's limit; the totals say how many there were. `note`: what the lab has to say about the end, or nothing."""

    code: int
    out: bytes
    err: bytes
    timed_out: bool = False
    out_total: int = 0
    err_total: int = 0
    note: str = ""


@dataclass(frozen=True)
class Refused:
    """The attendant's reason not to do it."""

    kind: str
    text: str


class Call:
    """One order under way. Filled in by the reading thread."""

    def __init__(self, number: int, limit: int) -> None:
        self.number, self.limit = number, limit
        self.parts: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
        self.answer: dict[str, Any] | Refused | None = None
        self.over = threading.Event()

    def take(self, header: dict[str, Any], body: bytes) -> None:
        """Raises ValueError for what no attendant of ours says."""
        part = header.get("part")
        if part is not None:
            kept = self.parts[_one_of(part, self.parts)]
            if len(kept) + len(body) > self.limit:
                raise ValueError(f"more than the {self.limit} bytes it was asked for")
            kept += body
            return
        if "error" in header:
            error = header["error"]
            self.answer = Refused(str(error["kind"])[:40], str(error["text"])[:4096])
        else:
            self.answer = _checked(header["done"])
        self.over.set()


class Session:
    """A sandbox and the calls to it. Every method may be called from many threads.

    A call on a session whose sandbox does not run starts it. When a sandbox ends, the calls under way raise
    SandboxGone, or, if there are none, the next one does: once, so that whoever runs commands knows that /tmp and what
    ran in the background are lost. The workspace is kept.
    """

    def __init__(self, spec: SandboxSpec, kind: str = "bwrap") -> None:
        """`spec.argv` is not used."""
        self.kind = kind
        self.sandbox = open_sandbox(kind)
        bind = (PACKAGE / "sandbox" / "attendant.py", PROGRAM)
        argv = (PYTHON, "-I", "-S", PROGRAM)
        self.spec = replace(spec, argv=argv, read_only=(*spec.read_only, bind))
        self.home = "/work" if spec.workspace is not None else "/"
        self._lock = threading.RLock()
        self._line: Line | None = None
        self._numbers = itertools.count(1)
        self._closed = False

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        line = self._line
        return line is not None and not line.why

    @property
    def process(self) -> SandboxProcess | None:
        """The running sandbox."""
        return self._line.process if self._line is not None and self.alive else None

    def start(self) -> None:
        """Start the sandbox unless it runs. Raises SandboxUnavailable."""
        with self._lock:
            if self._closed:
                raise SandboxUnavailable("this sandbox was closed for good")
            if self.alive:
                return
            if self._line is not None:
                self._line.end("it was replaced")
            line = Line(self.sandbox.start(self.spec), self.spec)
            try:
                self._round(line, {"op": "ping"}, wait=START_SECONDS)
            except SandboxGone as error:
                raise SandboxUnavailable(f"a sandbox was set up, but its attendant does not answer: {error}") from None
            self._line = line

    def close(self) -> None:
        """End the sandbox, and everything in it, for good."""
        with self._lock:
            self._closed = True
            if self._line is not None:
                self._line.end("it was closed")

    def restart(self, why: str) -> None:
        """End the sandbox, with a reason for whoever waits on it, and start another."""
        with self._lock:
            if self._line is not None:
                self._line.end(why)
                self._line.told = True
            self.start()

    def exec(
        self,
        argv: list[str] | tuple[str, ...],
        *,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        cwd: str = "",
        timeout: float | None = None,
        limit: int = OUTPUT,
        cancelled: threading.Event | None = None,
    ) -> Done:
        """Run a command until its first process ends; at `timeout` seconds it and what it started are killed.

        `limit`: bytes kept of each stream. `cancelled`: set it, and the command is killed at once.
        A program that is missing ends with code 127, one that cannot start with 126, as in a shell.
        Raises SandboxGone; PermissionError for a program that may not be executed; FileNotFoundError for `cwd`.
        """
        if not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
            raise InputError(f"{argv!r} is no command: at least one word is needed, and no null characters")
        order = {
            "op": "exec", "argv": [self._there(w) for w in argv], "cwd": self._path(cwd), "env": env or {},
            "timeout": timeout, "limit": limit,
        }  # fmt: skip
        line = self._ready()
        killed = line.process.oom_kills()
        wait = None if timeout is None else timeout + LATE_SECONDS
        call = self._round(line, order, stdin, wait, limit, cancelled)
        answer = call.answer
        if isinstance(answer, Refused):
            if answer.kind == "busy":
                limits = self.spec.limits
                why = f"it was at its limit of {limits.processes} processes or {limits.memory_mb} MB ({answer.text})"
                line.end(why)
                raise SandboxGone(line.sentence())
            raise _error(answer, argv[0])
        assert answer is not None
        now = line.process.oom_kills()
        memory = f"killed: more than the {self.spec.limits.memory_mb} MB of memory that all processes here share"
        note = memory if killed is not None and now is not None and now > killed else ""
        return Done(
            answer["code"], bytes(call.parts["out"]), bytes(call.parts["err"]), answer["timed_out"],
            answer["out"], answer["err"], note,
        )  # fmt: skip

    def read(self, path: str, limit: int = LARGEST_FILE, timeout: float = 180) -> bytes:
        """A file's content, as the sandbox sees it.

        Raises FileNotFoundError, IsADirectoryError, PermissionError, TooLarge, SandboxGone.
        """
        call = self._round(
            self._ready(), {"op": "read", "path": self._path(path), "limit": limit}, None, timeout, limit
        )
        if isinstance(call.answer, Refused):
            raise _error(call.answer, path)
        return bytes(call.parts["out"])

    def write(self, path: str, content: bytes, timeout: float = 180) -> None:
        """Make or replace a file, and the folders above it, as the sandbox's user and as the sandbox sees them.

        Raises IsADirectoryError, PermissionError, OSError (ENOSPC) for a full disk, SandboxGone.
        """
        call = self._round(self._ready(), {"op": "write", "path": self._path(path)}, content, timeout)
        if isinstance(call.answer, Refused):
            raise _error(call.answer, path)

    def _ready(self) -> Line:
        with self._lock:
            if self._line is not None and self._line.why and not self._line.told and not self._closed:
                raise SandboxGone(self._line.sentence())
            self.start()
            assert self._line is not None
            return self._line

    def _path(self, path: str) -> str:
        return self._there(os.path.join(self.home, path))

    def _there(self, word: str) -> str:
        """A path as the attendant has to say it."""
        return word if self.sandbox.isolated else outside(word, self.spec)

    def _round(
        self,
        line: Line,
        order: dict[str, Any],
        content: bytes | None = None,
        wait: float | None = None,
        limit: int = 0,
        cancelled: threading.Event | None = None,
    ) -> Call:
        """Send an order and what belongs to it, and wait for the end. Raises SandboxGone."""
        call = Call(next(self._numbers), limit)
        line.begin(call, order, content)
        deadline = None if wait is None else time.monotonic() + wait
        told = False
        try:
            while not call.over.wait(0.05 if cancelled is not None and not told else 1.0):
                if cancelled is not None and cancelled.is_set() and not told:
                    line.send({"id": call.number, "op": "kill"})
                    told, deadline = True, time.monotonic() + LATE_SECONDS
                if deadline is not None and time.monotonic() > deadline:
                    line.end("it did not answer in time")
                line.listen(next(self._numbers))
        except BaseException:
            line.send({"id": call.number, "op": "kill"})
            raise
        finally:
            line.forget(call)
        # who ends a sandbox kills the command first, perhaps, and the attendant lives long enough to say so
        if line.process.verdict or (line.why and isinstance(call.answer, dict) and call.answer.get("code") == KILLED):
            line.end("a limit was broken")
            call.answer = None
        if call.answer is None:
            raise SandboxGone(line.sentence())
        return call


class Line:
    """One started sandbox and the three threads that speak with it. `why`: the reason of its end, or nothing yet."""

    def __init__(self, process: SandboxProcess, spec: SandboxSpec) -> None:
        self.process, self.spec = process, spec
        self.why = ""
        self.told = False  # whether a call has raised it
        self.heard, self.asked = time.monotonic(), 0.0
        self._trimmed = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._calls: dict[int, Call] = {}
        self._orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._words = b""
        # the reading one last: it is the one that may find the end, and then waits for the others
        threads = (("write", self._write), ("words", self._listen_to_words), ("read", self._read))
        self._threads = [threading.Thread(target=do, name=f"sandbox-{name}", daemon=True) for name, do in threads]
        for thread in self._threads:
            thread.start()

    def begin(self, call: Call, order: dict[str, Any], content: bytes | None) -> None:
        """Queue an order; `content` follows in pieces, None for orders that have none."""
        with self._lock:
            self._calls[call.number] = call
            gone = bool(self.why)
        if gone:
            call.over.set()
            return
        WATCH.stir()
        self.send({**order, "id": call.number})
        if content is not None:
            for start in range(0, len(content), PIECE):
                self.send({"id": call.number, "op": "data"}, content[start : start + PIECE])
            self.send({"id": call.number, "op": "end"})

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        said = json.dumps(header).encode()
        self._orders.put(struct.pack(">II", len(said), len(body)) + said + body)

    def forget(self, call: Call) -> None:
        with self._lock:
            self._calls.pop(call.number, None)

    def listen(self, number: int) -> None:
        """Ask an attendant that is silent; end a sandbox that stays so."""
        now = time.monotonic()
        unanswered = self.asked > self.heard
        if unanswered and now - self.asked > SILENCE_SECONDS:
            self.end("its attendant was silent: stopped, or starved by the commands that ran")
        elif not unanswered and now - self.heard > PING_SECONDS:
            self.asked = now
            self.send({"id": number, "op": "ping"})

    def end(self, why: str) -> None:
        """End the sandbox and every call on it. The first reason stays."""
        with self._lock:
            first, self.why = not self.why, self.why or why
        if not first:
            if threading.current_thread() not in self._threads:  # which are waited for
                self._ended.wait(START_SECONDS)
            return
        self._orders.put(None)
        self.process.kill()
        if self.process.verdict == "disk" and self.spec.workspace is not None and _dead(self.process.inside_pid):
            self._trimmed = trim(self.spec.workspace, self.spec.limits.disk_mb << 20)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5)
        with contextlib.suppress(OSError):
            self.process.close()
        self._ended.set()
        with self._lock:
            for call in self._calls.values():
                call.over.set()

    def sentence(self) -> str:
        """Why it ended, for whoever ran the command."""
        self._ended.wait(START_SECONDS)
        self.told = True
        limits = self.spec.limits
        disk = f"it used more than {limits.disk_mb} MB of disk in the workspace, or too many files in /tmp"
        reasons = {
            "disk": f"{disk}{self._trimmed}",
            "memory": f"it used more than {limits.memory_mb} MB of memory",
            "cpu": f"it used more than {limits.cpu_seconds:g} s of CPU time",
            "processes": f"it had more than {limits.processes} processes",
        }
        return (
            f"the sandbox is gone: {reasons.get(self.process.verdict or '', self.why)}. It starts again with the next "
            "command; files in the workspace are kept, /tmp and background processes are lost"
        )

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        why = "its attendant ended, perhaps killed by a command, or by the kernel for memory"
        try:
            while head := self._exactly(8, end=True):
                header, body = struct.unpack(">II", head)
                if header > MOST_HEADER or body > MOST_BODY:
                    raise ValueError("a frame that is too large")
                said, content = self._exactly(header), self._exactly(body)
                self._heard(json.loads(said), content)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            why = f"its attendant spoke nonsense ({str(error)[:100]})"
        except (OSError, EOFError):
            pass
        if self._words and not self.why:
            why += f"; it said: {self._words.decode(errors='replace').strip()[-400:]}"
        self.end(why)

    def _exactly(self, size: int, end: bool = False) -> bytes:
        """So many bytes; none where the stream may `end` and does. Raises EOFError."""
        assert self.process.stdout is not None
        content = self.process.stdout.read(size)
        if len(content) < size and (content or not end):
            raise EOFError
        return content

    def _heard(self, header: Any, body: bytes) -> None:
        if not isinstance(header, dict) or not isinstance(header.get("id"), int):
            raise ValueError("a header without a call")
        self.heard = time.monotonic()
        with self._lock:
            call = self._calls.get(header["id"])
        if call is not None and not call.over.is_set():
            call.take(header, body)

    def _write(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (order := self._orders.get()) is not None:
                stdin.write(order)
                stdin.flush()

    def _listen_to_words(self) -> None:
        stderr = self.process.stderr
        assert stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while piece := os.read(stderr.fileno(), 4096):
                self._words = (self._words + piece)[-WORDS:]


def _dead(pid: int, seconds: float = 10.0) -> bool:
    """Wait until a namespace's first process is gone; the kernel lets it go as the last one of its namespace."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


class TooLarge(InputError):
    """A file is larger than the reader asked for."""


def _one_of(value: object, known: dict[str, bytearray]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError("an unknown part")
    return value


def _checked(done: Any) -> dict[str, Any]:
    """The end of a command, in the form it must have. Raises ValueError."""
    if not isinstance(done, dict):
        raise ValueError("an end without content")
    found = {"code": 0, "timed_out": False, "out": 0, "err": 0, **done}
    numbers = (found["code"], found["out"], found["err"])
    if not all(type(n) is int and -1 < n < 1 << 62 for n in numbers) or not isinstance(found["timed_out"], bool):
        raise ValueError("an end with numbers that are none")
    return found


def _error(refused: Refused, path: str) -> Exception:
    kinds: dict[str, type[Exception]] = {
        "missing": FileNotFoundError, "directory": IsADirectoryError, "permission": PermissionError, "large": TooLarge,
    }  # fmt: skip
    words = {
        "missing": "no such file or folder", "directory": "is a directory", "permission": "permission denied",
        "large": "larger than may be read",
    }  # fmt: skip
    if refused.kind in kinds:
        return kinds[refused.kind](f"{path}: {words[refused.kind]} ({refused.text})")
    return OSError(errno.ENOSPC if refused.kind == "full" else errno.EIO, refused.text, path)
