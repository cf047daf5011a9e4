"""Inside a method sandbox: one worker process, and one forked child for every seed.

The worker imports the libraries, reads the task and the method's text from standard input, and forks a child for each
draw. The child reads its own draw (so the worker's memory never holds one), gives up its rights for good, and
only then executes the method. What it sends back is forwarded unread: bytes, judged by the lab outside.

    to the worker      job: JSON, then `inputs` and `source`; then for each draw: JSON and three arrays
    from the worker    "ready"; for each draw: JSON, then the child's answer (JSON and an array, or an error)

Every part is an 8-byte length and so many bytes. The worker cannot be read or stopped by its children: it is not
dumpable, and they cannot signal it (aarlab.sandbox.seccomp).
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import linecache
import mmap
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
import types
from typing import Any, NoReturn

sys.dont_write_bytecode = True
LIBRARY = "/opt/aarlab"
if __name__ == "__main__" and os.path.isdir(LIBRARY):  # an isolated interpreter ignores PYTHONPATH
    extra = [f"/opt/site/{n}" for n in sorted(os.listdir("/opt/site"))] if os.path.isdir("/opt/site") else []
    sys.path[:0] = [LIBRARY, *extra]

import numpy as np  # noqa: E402
import scipy.optimize  # noqa: E402
import scipy.special  # noqa: E402, F401

from aarlab.sandbox import seccomp  # noqa: E402
from aarlab.w2s.heads import LogisticHead  # noqa: E402
from aarlab.w2s.task import Draw, TaskInputs  # noqa: E402
from aarlab.w2s.view import view  # noqa: E402

MOST_DETAIL = 20_000
"""Bytes of a traceback that go back."""
SLACK = 64 * 1024
"""Room in an answer beside the array itself."""
ANSWER = 3
"""The one descriptor a method's process keeps."""
STARTED = b"S"
"""First byte of an answer: everything was set up and the method's own code is next."""
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
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child(job, inputs, source, writing)
    os.close(writing)
    # an own mapping, given back afterwards: nothing of an answer stays in memory that the next child inherits
    with mmap.mmap(-1, len(inputs) * 16 + SLACK) as buffer:
        size, ended = collect(reading, buffer, start + job["timeout"])
        os.close(reading)
        ended, status, usage = end(pid, ended)
        facts = {
            "ended": ended,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
            "cpu": usage.ru_utime + usage.ru_stime,
            "wall": time.monotonic() - start,
        }
        send(1, json.dumps(facts).encode())
        write_all(1, struct.pack("<Q", size))
        with memoryview(buffer) as whole, whole[:size] as part:
            write_all(1, part)


def collect(descriptor: int, buffer: mmap.mmap, deadline: float) -> tuple[int, str]:
    """Read until the child closes the pipe: (bytes, "closed"), or (0, "timeout"), or (0, "too-much")."""
    size = 0
    with memoryview(buffer) as space:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                return 0, "timeout"
            if size == len(space):
                return (0, "too-much") if os.read(descriptor, 1) else (size, "closed")
            with space[size:] as rest:
                got = os.readv(descriptor, [rest])
            if got == 0:
                return size, "closed"
            size += got


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


def child(job: dict[str, Any], inputs: TaskInputs, source: str, answer: int) -> NoReturn:
    """Read the draw, give up every right, run the method, answer, end. Never returns, whatever happens."""
    try:
        draw = receive_draw()
        descend(job, answer)
    except BaseException:
        with contextlib.suppress(BaseException):
            os.write(2, traceback.format_exc().encode())
        os._exit(70)
    try:
        body = encode(execute(source, inputs, draw), len(draw.test))
    except BaseException as error:
        body = failure(error)
    with contextlib.suppress(BaseException):
        write_all(ANSWER, memoryview(body))
    os._exit(0)


def receive_draw() -> Draw:
    seed = json.loads(receive(0))
    train, test = (np.frombuffer(receive(0), np.int64) for _ in range(2))
    return Draw(train, test, np.frombuffer(receive(0), np.float32), seed)


def descend(job: dict[str, Any], answer: int) -> None:
    """Keep one descriptor, a share of the memory, and no rights."""
    if sys.platform == "linux":
        seccomp.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if memory runs out, this process goes first
    null = os.open(os.devnull, os.O_RDWR)
    kept = os.dup(answer) if answer != ANSWER else answer
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if kept != ANSWER:
        os.dup2(kept, ANSWER)
    os.closerange(ANSWER + 1, 65536)
    if job["memory_mb"] and sys.platform == "linux":
        with open("/proc/self/statm") as statm:
            mapped = int(statm.read().split()[0]) * mmap.PAGESIZE
        limit(resource.RLIMIT_AS, mapped + (job["memory_mb"] << 20))
    limit(resource.RLIMIT_CORE, 0)
    os.write(ANSWER, STARTED)
    if sys.platform == "linux":
        seccomp.install(seccomp.method_filter(os.getpid()))


def limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def execute(source: str, inputs: TaskInputs, draw: Draw) -> Any:
    """Run the text as a module and call its `run`."""
    module = types.ModuleType("method")
    module.__file__ = "method.py"
    sys.modules["method"] = module
    linecache.cache["method.py"] = (len(source), None, source.splitlines(keepends=True), "method.py")
    try:
        code = compile(source, "method.py", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused("syntax") from error
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
