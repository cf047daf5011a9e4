"""The program that runs commands for the lab inside a sandbox that lives long: one process, one thread, no packages.

Run as `python -I -S attendant.py`. Frames come on stdin and go to stdout; a frame is two lengths (4 bytes each, the
most significant first), a header (a JSON object) and a body (bytes). Every header has "id", the call it belongs to.

To the attendant                                          From it
  {id, op: "exec", argv, cwd, env, timeout, limit}           {id, part: "out" | "err"} + bytes   the last `limit` bytes
  {id, op: "data"} + bytes   more input, or file content     {id, done: {...}}                   the call is over
  {id, op: "end"}            the input or content is over    {id, error: {kind, text}}           it could not be done
  {id, op: "read", path, limit}
  {id, op: "write", path}
  {id, op: "kill"}           end that call's processes
  {id, op: "ping"}

A command is a session of its own; at its timeout the session and everything below its first process is killed. What
it leaves running in the background may run on, and does not hold the call: it ends with the first process. Commands run
under the attendant's own user and may kill it, which ends the sandbox; they cannot read or write its descriptors.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import selectors
import signal
import stat
import struct
import subprocess
import sys
import time
from collections import deque
from typing import Any

PIECE = 1 << 18  # bytes of a body, in either direction
MOST_HEADER = 8 << 20  # of a frame from the host: a command line may be long
MOST_BODY = 1 << 20
PIPE = 1 << 20  # the most that a pipe can hold
LEFTOVERS = 32  # pipes of ended commands that something in the background still writes to
PR_SET_DUMPABLE = 4


class Tail:
    """The last `limit` bytes of a stream, and how many came in all."""

    def __init__(self, limit: int) -> None:
        self.limit, self.total, self._kept = limit, 0, 0
        self._pieces: deque[bytes] = deque()

    def add(self, piece: bytes) -> None:
        self.total += len(piece)
        self._pieces.append(piece)
        self._kept += len(piece)
        while self._kept - len(self._pieces[0]) >= self.limit:
            self._kept -= len(self._pieces.popleft())

    def content(self) -> bytes:
        joined = b"".join(self._pieces)
        return joined[max(0, len(joined) - self.limit) :]


class Pipes:
    """Ends of a command's stdin, stdout and stderr. Ours never block."""

    def __init__(self) -> None:
        ends = [os.pipe() for _ in range(3)]
        self.ours = [ends[0][1], ends[1][0], ends[2][0]]
        self.theirs = [ends[0][0], ends[1][1], ends[2][1]]
        for descriptor in self.ours:
            os.set_blocking(descriptor, False)

    @staticmethod
    def close(descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)


class Command:
    """One running command. `stdin` is -1 once closed."""

    def __init__(
        self, number: int, popen: subprocess.Popen[bytes], ends: list[int], deadline: float | None, limit: int
    ) -> None:
        self.number, self.popen, self.deadline = number, popen, deadline
        self.stdin, self.out, self.err = ends
        self.tails = {"out": Tail(limit), "err": Tail(limit)}
        self.input: deque[bytes] = deque()
        self.input_over = False
        self.timed_out = False

    def kill(self) -> None:
        """End its session and everything below its first process, wherever that moved."""
        below = descendants(self.popen.pid)
        with contextlib.suppress(OSError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        for pid in below:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


class Attendant:
    """Reads orders, watches commands, answers."""

    def __init__(self, orders: int, answers: int) -> None:
        self.orders, self.answers = orders, answers
        self.buffer = bytearray()
        self.commands: dict[int, Command] = {}  # by call
        self.by_pid: dict[int, Command] = {}
        self.files: dict[int, int] = {}  # descriptors that calls write to
        self.leftovers: deque[int] = deque()
        self.selector = selectors.DefaultSelector()
        self.selector.register(orders, selectors.EVENT_READ, ("orders", None))
        wake, self.waker = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.waker, False)
        self.selector.register(wake, selectors.EVENT_READ, ("wake", None))
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Until the host closes our stdin."""
        while True:
            for key, _ in self.selector.select(self._patience()):
                kind, command = key.data
                if kind == "orders":
                    if not self._take():
                        return
                elif kind == "wake":
                    with contextlib.suppress(BlockingIOError):
                        os.read(key.fd, 512)
                elif kind == "in":
                    self._feed(command)
                elif kind == "rest":
                    self._drop(key.fd)
                else:
                    self._collect(key.fd, command, kind)
            self._reap()
            self._expire()

    # what the host asks

    def _take(self) -> bool:
        piece = os.read(self.orders, PIECE)
        self.buffer += piece
        while len(self.buffer) >= 8:
            header, body = struct.unpack(">II", self.buffer[:8])
            if header > MOST_HEADER or body > MOST_BODY:
                return False
            if len(self.buffer) < 8 + header + body:
                break
            order = json.loads(bytes(self.buffer[8 : 8 + header]))
            content = bytes(self.buffer[8 + header : 8 + header + body])
            del self.buffer[: 8 + header + body]
            self._obey(order, content)
        return bool(piece)

    def _obey(self, order: dict[str, Any], content: bytes) -> None:
        number = order["id"]
        try:
            getattr(self, f"_order_{order['op']}")(number, order, content)
        except OSError as error:
            self._drop_file(number)
            self._fail(number, error)
        except (ValueError, MemoryError) as error:  # a null byte in a path; no memory left
            self._drop_file(number)
            self.send({"id": number, "error": {"kind": "other", "text": str(error) or "out of memory"}})

    def _order_ping(self, number: int, order: dict[str, Any], content: bytes) -> None:
        self.send({"id": number, "done": {}})

    def _order_exec(self, number: int, order: dict[str, Any], content: bytes) -> None:
        argv, cwd = order["argv"], order["cwd"]
        if not os.path.isdir(cwd):
            raise NotADirectoryError(errno.ENOTDIR, "no such folder to work in", cwd)
        pipes = Pipes()
        try:
            popen = subprocess.Popen(
                argv, stdin=pipes.theirs[0], stdout=pipes.theirs[1], stderr=pipes.theirs[2], cwd=cwd,
                env={**os.environ, **order["env"]}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            pipes.close(pipes.ours)
            self._refuse(number, argv[0], error)
            return
        except BaseException:
            pipes.close(pipes.ours)
            raise
        finally:
            pipes.close(pipes.theirs)
        timeout = order["timeout"]
        deadline = None if timeout is None else time.monotonic() + timeout
        command = Command(number, popen, pipes.ours, deadline, order["limit"])
        self.commands[number] = self.by_pid[popen.pid] = command
        for kind, descriptor in (("out", command.out), ("err", command.err)):
            self.selector.register(descriptor, selectors.EVENT_READ, (kind, command))

    def _refuse(self, number: int, program: str, error: OSError) -> None:
        """A command that cannot start fails as it would in a shell; only a missing right is an error of its own."""
        if error.errno == errno.EACCES:
            raise error
        if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE):
            self.send({"id": number, "error": {"kind": "busy", "text": f"{program}: {error.strerror}"}})
            return
        missing = error.errno == errno.ENOENT
        said = f"{program}: {'not found' if missing else error.strerror}\n".encode()[:4096]
        self.send({"id": number, "part": "err"}, said)
        code = 127 if missing else 126
        self.send({"id": number, "done": {"code": code, "timed_out": False, "out": 0, "err": len(said)}})

    def _order_data(self, number: int, order: dict[str, Any], content: bytes) -> None:
        if number in self.files:
            left = memoryview(content)
            while left:
                left = left[os.write(self.files[number], left) :]
        elif number in self.commands:
            self.commands[number].input.append(content)
            self._feed(self.commands[number])

    def _order_end(self, number: int, order: dict[str, Any], content: bytes) -> None:
        if number in self.files:
            os.close(self.files.pop(number))
            self.send({"id": number, "done": {}})
        elif number in self.commands:
            self.commands[number].input_over = True
            self._feed(self.commands[number])

    def _order_kill(self, number: int, order: dict[str, Any], content: bytes) -> None:
        self._drop_file(number)
        if number in self.commands:
            self.commands[number].kill()

    def _order_read(self, number: int, order: dict[str, Any], content: bytes) -> None:
        descriptor = os.open(order["path"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            _only_regular(file.fileno(), order["path"])
            size, limit = os.fstat(file.fileno()).st_size, order["limit"]
            sent = 0
            while size <= limit and sent <= limit and (piece := file.read(PIECE)):
                sent += len(piece)  # in /proc files have content without having a size
                if sent <= limit:
                    self.send({"id": number, "part": "out"}, piece)
        if max(size, sent) > limit:
            self.send({"id": number, "error": {"kind": "large", "text": f"{max(size, sent)} bytes"}})
        else:
            self.send({"id": number, "done": {}})

    def _order_write(self, number: int, order: dict[str, Any], content: bytes) -> None:
        path = order["path"]
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        try:
            _only_regular(descriptor, path)
            os.ftruncate(descriptor, 0)
        except OSError:
            os.close(descriptor)
            raise
        self.files[number] = descriptor

    def _drop_file(self, number: int) -> None:
        if number in self.files:
            os.close(self.files.pop(number))

    # what commands do

    def _feed(self, command: Command) -> None:
        """Give it as much input as it takes; close its stdin after the last."""
        if command.stdin < 0:
            command.input.clear()
            return
        blocked = False
        try:
            while command.input and not blocked:
                piece = command.input[0]
                taken = os.write(command.stdin, piece)
                if taken == len(piece):
                    command.input.popleft()
                else:
                    command.input[0] = piece[taken:]
        except BlockingIOError:
            blocked = True
        except OSError:  # it reads no more
            command.input.clear()
            command.input_over = True
        self._watch_input(command, blocked)
        if command.input_over and not command.input:
            self._close_input(command)

    def _close_input(self, command: Command) -> None:
        if command.stdin >= 0:
            self._watch_input(command, False)
            os.close(command.stdin)
            command.stdin = -1

    def _watch_input(self, command: Command, wanted: bool) -> None:
        known = command.stdin in self.selector.get_map()
        if wanted and not known:
            self.selector.register(command.stdin, selectors.EVENT_WRITE, ("in", command))
        elif known and not wanted:
            self.selector.unregister(command.stdin)

    def _collect(self, descriptor: int, command: Command, kind: str, most: int = PIECE) -> None:
        """Take what a pipe holds now, up to `most` bytes."""
        if descriptor not in self.selector.get_map():
            return
        with contextlib.suppress(BlockingIOError):
            while most > 0:
                piece = os.read(descriptor, 65536)
                if not piece:
                    self.selector.unregister(descriptor)
                    return
                command.tails[kind].add(piece)
                most -= len(piece)

    def _drop(self, descriptor: int) -> None:
        """Read and forget what the background says, so that it neither blocks nor dies of a closed pipe."""
        with contextlib.suppress(BlockingIOError):
            if os.read(descriptor, 65536):
                return
            self._close_leftover(descriptor)

    def _close_leftover(self, descriptor: int) -> None:
        self.leftovers.remove(descriptor)
        self.selector.unregister(descriptor)
        os.close(descriptor)

    def _reap(self) -> None:
        """Of children, which as a namespace's first process are other processes' orphans, too."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                command = self.by_pid.pop(found[0], None)
                if command is not None:
                    self._finish(command, os.waitstatus_to_exitcode(found[1]))

    def _finish(self, command: Command, code: int) -> None:
        command.popen.returncode = code
        self._close_input(command)
        for kind, descriptor in (("out", command.out), ("err", command.err)):
            self._collect(descriptor, command, kind, PIPE)
            self._part_with(descriptor)
            self._say(command.number, kind, command.tails[kind].content())
        del self.commands[command.number]
        done = {kind: tail.total for kind, tail in command.tails.items()}
        code = 128 - code if code < 0 else code
        self.send({"id": command.number, "done": {"code": code, "timed_out": command.timed_out, **done}})

    def _part_with(self, descriptor: int) -> None:
        """Close a pipe at its end; keep one that something in the background still holds."""
        if descriptor not in self.selector.get_map():
            os.close(descriptor)
            return
        self.selector.modify(descriptor, selectors.EVENT_READ, ("rest", None))
        self.leftovers.append(descriptor)
        if len(self.leftovers) > LEFTOVERS:
            self._close_leftover(self.leftovers[0])

    def _expire(self) -> None:
        now = time.monotonic()
        for command in list(self.commands.values()):
            if command.deadline is not None and now >= command.deadline:
                command.timed_out = True
                command.deadline = now + 1  # again, should it have forked meanwhile
                command.kill()

    def _patience(self) -> float | None:
        """Seconds until the next deadline."""
        deadlines = [c.deadline for c in self.commands.values() if c.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    # answers

    def _say(self, number: int, kind: str, content: bytes) -> None:
        for start in range(0, len(content), PIECE):
            self.send({"id": number, "part": kind}, content[start : start + PIECE])

    def _fail(self, number: int, error: OSError) -> None:
        kinds = {
            errno.ENOENT: "missing", errno.ENOTDIR: "missing", errno.ENAMETOOLONG: "missing",
            errno.EEXIST: "missing", errno.ELOOP: "missing", errno.EISDIR: "directory",
            errno.EACCES: "permission", errno.EPERM: "permission", errno.EROFS: "permission",
            errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EFBIG: "full",
        }  # fmt: skip
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        self.send({"id": number, "error": {"kind": kinds.get(error.errno or 0, "other"), "text": text[:4096]}})

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Waits until the host has taken it."""
        said = json.dumps(header).encode()
        left = memoryview(struct.pack(">II", len(said), len(body)) + said + body)
        while left:
            left = left[os.write(self.answers, left) :]


def _only_regular(descriptor: int, path: str) -> None:
    """Raises OSError for a folder, and for pipes and devices, which would hold us or belong to us."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    if not stat.S_ISREG(mode):
        raise PermissionError(errno.EACCES, "is not an ordinary file", path)


def descendants(pid: int) -> list[int]:
    """Everything below `pid`, as far as this kernel tells."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children") as file:
                    waiting += (below := [int(c) for c in file.read().split()])
                    found += below
    return found


def guard() -> tuple[int, int]:
    """Descriptors of orders and answers, closed to every other process: they cannot be opened through /proc, either.

    Descriptors 0 and 1 become the null device, so that nothing we call by accident reads orders or writes answers.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    orders, answers = os.dup(0), os.dup(1)
    with open(os.devnull, "r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    return orders, answers


if __name__ == "__main__":
    Attendant(*guard()).run()
