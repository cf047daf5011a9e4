"""Inside a method sandbox: one worker process, and one forked child for every seed.

The worker imports the libraries, reads the task and the method's text from standard input, and forks a child for each
draw. The child reads its own draw (so the worker's memory never holds one), gives up its rights for good, and
only then executes the method. What it sends back is forwarded unread: bytes, judged by the lab outside.

    to the worker      job: JSON, then `inputs` and `source`; then for each draw: JSON and three arrays
    from the worker    "ready"; for each draw: JSON, then the child's answer (JSON and an array, or an error), then its
                       trace (aarlab.execution.trace)

Every part is an 8-byte length and so many bytes. The worker cannot be read or stopped by its children: it is not
dumpable, and they cannot signal it (aarlab.sandbox.seccomp). It runs as `python -I -S worker.py SITE...` with the
folders of installed packages: no `site`, so no .pth file, no sitecustomize and no folder of a user is ever read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import importlib
import json
import linecache
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
import types
from typing import Any, NoReturn

sys.dont_write_bytecode = True
LIBRARY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder that holds aarlab."""
SITES = sys.argv[1:] if __name__ == "__main__" else []
"""Folders of installed packages. An isolated interpreter without `site` knows the standard library alone."""
sys.path += [folder for folder in (LIBRARY, *SITES) if folder not in sys.path] if SITES else []

import numpy as np  # noqa: E402
import scipy.optimize  # noqa: E402
import scipy.special  # noqa: E402, F401

from aarlab.execution import trace  # noqa: E402
from aarlab.execution.trace import TRACE  # noqa: E402
from aarlab.sandbox import seccomp  # noqa: E402
from aarlab.w2s.heads import LogisticHead  # noqa: E402
from aarlab.w2s.task import Draw, TaskInputs  # noqa: E402
from aarlab.w2s.view import view  # noqa: E402

MOST_DETAIL = 20_000
"""Bytes of a traceback that go back."""
SLACK = 64 * 1024
"""Room in an answer beside the array itself."""
MOST_TRACE = 64 * 1024
"""Bytes of a trace that are kept; what comes after them is read and dropped."""
ANSWER = 3
"""The descriptor a method's process answers through; beside it, it keeps TRACE alone."""
STARTED = b"S"
"""First byte of an answer: everything was set up and the method's own code is next."""
CUT = 0.5
"""Seconds after which a trace that was closed counts as cut, if the process still holds its answer open."""
LINGER = 1.0
"""Seconds a process may take to end after it closed its answer."""
PR_SET_PDEATHSIG = 1


def main() -> None:
    with contextlib.suppress(OSError):
        seccomp.prctl(seccomp.PR_SET_DUMPABLE, 0)
    warm_up()
    send(1, b"ready")
    job = json.loads(receive(0))
    for name in job["preload"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    inputs = TaskInputs.from_bytes(receive(0))
    source = receive(0).decode()
    gc.collect()
    gc.freeze()  # children's collections then leave the shared pages alone
    for _ in range(job["draws"]):
        one_draw(job, inputs, source)


def warm_up() -> None:
    """Fit a small head once, so that what libraries set up on first use is inherited and not repeated by children."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 32)).astype(np.float32)
    LogisticHead(0.1).fit(x, rng.random(256)).predict(x)


def one_draw(job: dict[str, Any], inputs: TaskInputs, source: str) -> None:
    """Fork a child, wait for its answer, end it, forward."""
    reading, writing = os.pipe()
    # no pipe: one could be opened again through /proc and read by the method itself
    traced, tracing = socket.socketpair()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        traced.close()
        tracing.shutdown(socket.SHUT_RD)
        child(job, inputs, source, writing, tracing.fileno())
    os.close(writing)
    tracing.close()
    # own mappings, given back afterwards: nothing of an answer stays in memory that the next child inherits
    with mmap.mmap(-1, len(inputs) * 16 + SLACK) as buffer, mmap.mmap(-1, MOST_TRACE) as lines, traced:
        log = Log(traced, lines)
        size, ended = collect(reading, buffer, start + job["timeout"], log)
        os.close(reading)
        ended, status, usage = end(pid, ended)
        log.read_all()
        facts = {
            "ended": ended,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
            "cpu": usage.ru_utime + usage.ru_stime,
            "wall": time.monotonic() - start,
            "flooded": log.flooded,
            "cut": log.cut,
        }
        send(1, json.dumps(facts).encode())
        forward(buffer, size)
        forward(lines, log.size)


class Log:
    """The worker's end of a child's trace: bytes, kept unread up to MOST_TRACE."""

    def __init__(self, traced: socket.socket, lines: mmap.mmap) -> None:
        traced.setblocking(False)
        self.traced, self.lines, self.size = traced, lines, 0
        self.open, self.flooded, self.cut = True, False, False

    def read(self) -> bool:
        """Take what is there; False where nothing is."""
        try:
            with memoryview(self.lines) as space, space[self.size :] as rest:
                got = self.traced.recv_into(rest) if len(rest) else len(self.traced.recv(65536))
                self.flooded |= not len(rest) and got > 0
                self.size += got if len(rest) else 0
        except BlockingIOError:
            return False
        except OSError:
            got = 0
        self.open &= got > 0
        return got > 0

    def read_all(self) -> None:
        """What is left once the child has ended."""
        while self.open and self.read():
            pass


def collect(descriptor: int, buffer: mmap.mmap, deadline: float, log: Log) -> tuple[int, str]:
    """Read until the child closes the pipe: (bytes, "closed"), or (0, "timeout"), or (0, "too-much")."""
    size = 0
    with memoryview(buffer) as space:
        while True:
            left = deadline - time.monotonic()
            watched: list[Any] = [descriptor, log.traced] if log.open else [descriptor]
            ready = select.select(watched, [], [], left)[0] if left > 0 else []
            if not ready:
                return 0, "timeout"
            if log.traced in ready and not log.read() and not log.open:
                # a process that ends closes both; where a filter holds, the trace cannot be closed alone
                log.cut = not select.select([descriptor], [], [], min(CUT, left))[0]
            if descriptor not in ready:
                continue
            if size == len(space):
                return (0, "too-much") if os.read(descriptor, 1) else (size, "closed")
            with space[size:] as rest:
                got = os.readv(descriptor, [rest])
            if got == 0:
                return size, "closed"
            size += got


def forward(buffer: mmap.mmap, size: int) -> None:
    """One part, out of a mapping."""
    write_all(1, struct.pack("<Q", size))
    with memoryview(buffer) as whole, whole[:size] as part:
        write_all(1, part)


def end(pid: int, ended: str) -> tuple[str, int, resource.struct_rusage]:
    """Wait for the child's end, not for long: (how it ended, status, usage)."""
    patience = time.monotonic() + (LINGER if ended == "closed" else 0.0)
    pause = 0.0002
    while time.monotonic() < patience:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return ended, status, usage
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return ("lingered" if ended == "closed" else ended), status, usage


def child(job: dict[str, Any], inputs: TaskInputs, source: str, answer: int, tracing: int) -> NoReturn:
    """Read the draw, give up every right, run the method, answer, end. Never returns, whatever happens."""
    try:
        draw = receive_draw()
        descend(job, answer, tracing)
        code = compiled(source)
        trace.install(TRACE, LIBRARY, SITES)
        os.write(ANSWER, STARTED)
    except BaseException:
        with contextlib.suppress(BaseException):
            os.write(2, traceback.format_exc().encode())
        os._exit(70)
    try:
        body = encode(execute(code, inputs, draw), len(draw.test))
    except BaseException as error:
        body = failure(error)
    with contextlib.suppress(BaseException):
        write_all(ANSWER, memoryview(body))
    os._exit(0)


def receive_draw() -> Draw:
    seed = json.loads(receive(0))
    train, test = (np.frombuffer(receive(0), np.int64) for _ in range(2))
    return Draw(train, test, np.frombuffer(receive(0), np.float32), seed)


def descend(job: dict[str, Any], answer: int, tracing: int) -> None:
    """Keep two descriptors, a share of the memory, and no rights."""
    if sys.platform == "linux":
        seccomp.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if memory runs out, this process goes first
    null = os.open(os.devnull, os.O_RDWR)
    away = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, TRACE + 1) for descriptor in (null, null, null, answer, tracing)]
    for number, descriptor in enumerate(away):  # 0 to 4: three times nothing, ANSWER, TRACE
        os.dup2(descriptor, number)
    os.closerange(TRACE + 1, 65536)
    if job["memory_mb"] and sys.platform == "linux":
        with open("/proc/self/statm") as statm:
            mapped = int(statm.read().split()[0]) * mmap.PAGESIZE
        limit(resource.RLIMIT_AS, mapped + (job["memory_mb"] << 20))
    limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        seccomp.install(seccomp.method_filter(os.getpid(), kept=TRACE))


def limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def compiled(source: str) -> types.CodeType | Refused:
    """The method's code, made before anybody watches for code made from text; or why there is none."""
    linecache.cache["method.py"] = (len(source), None, source.splitlines(keepends=True), "method.py")
    try:
        return compile(source, "method.py", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        refused = Refused("syntax")
        refused.__cause__ = error
        return refused


def execute(code: types.CodeType | Refused, inputs: TaskInputs, draw: Draw) -> Any:
    """Run the code as a module and call its `run`."""
    if isinstance(code, Refused):
        raise code
    module = types.ModuleType("method")
    module.__file__ = "method.py"
    sys.modules["method"] = module
    exec(code, module.__dict__)
    run = module.__dict__.get("run")
    if not callable(run):
        raise Refused("no-run")
    return run(view(inputs, draw), draw.seed)


class Refused(Exception):
    """The file is no method; the argument is the reason."""


def encode(result: Any, count: int) -> bytes:
    """What `run` returned: dtype and shape, and the numbers if they can be what is wanted."""
    array = np.asarray(result)
    head = {"dtype": array.dtype.str, "shape": list(array.shape)}
    fits = array.dtype.kind in "biuf" and array.nbytes <= 16 * count
    return part(json.dumps(head).encode()) + part(np.ascontiguousarray(array).tobytes() if fits else b"")


def failure(error: BaseException) -> bytes:
    """The error as a reason and the end of its traceback."""
    reason = "crashed"
    if isinstance(error, Refused):
        reason = error.args[0]
    elif isinstance(error, MemoryError):
        reason = "out-of-memory"
    elif isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES, errno.EROFS, errno.EFBIG):
        reason = "forbidden"
    try:
        text = "".join(traceback.format_exception(error)).encode(errors="replace")[-MOST_DETAIL:]
    except BaseException:
        text = type(error).__name__.encode()
    return part(json.dumps({"error": reason}).encode()) + part(text)


def part(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def send(descriptor: int, content: bytes) -> None:
    write_all(descriptor, memoryview(part(content)))


def write_all(descriptor: int, content: memoryview | bytes) -> None:
    with memoryview(content) as whole:
        done = 0
        while done < len(whole):
            with whole[done:] as rest:
                done += os.write(descriptor, rest)


def receive(descriptor: int) -> bytes:
    """One part. The end of the input ends the process: the lab is gone."""
    (size,) = struct.unpack("<Q", exactly(descriptor, 8))
    return exactly(descriptor, size)


def exactly(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        got = os.read(descriptor, min(size, 1 << 20))
        if not got:
            os._exit(0)
        parts.append(got)
        size -= len(got)
    return b"".join(parts)


if __name__ == "__main__":
    main()
