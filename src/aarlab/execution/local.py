"""Methods in sandboxes on this machine: a pool of warm workers, each used for one method on one task.

A worker has its libraries imported and waits on its standard input, so a run pays neither for the start of a
sandbox nor for imports. After one run the worker is killed, and another is started in the background.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import select
import signal
import struct
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from aarlab.errors import AarlabError, Infrastructure, MethodError
from aarlab.execution import events
from aarlab.execution.base import Event, MethodRun, RunResult
from aarlab.sandbox.base import Limits, Sandbox, SandboxProcess, SandboxSpec
from aarlab.sandbox.library import LIBRARY, PYTHON, library_binds, sites_inside
from aarlab.w2s.task import Draw, Floats

DEFAULT = Limits(memory_mb=1024, cpu_seconds=0, processes=64, file_mb=0, disk_mb=0, open_files=64, tmp_mb=0)
WORKER_MEMORY_MB = 512  # beside the method's own share: interpreter, libraries, the task's inputs
FIRST_INDEX = 500  # host users of method sandboxes, apart from the researchers'
START_SECONDS = 60.0
GRACE_SECONDS = 15.0  # for the worker to report, after the method's time is over
MOST_ANSWER = 1 << 28
PRELOADED = ("sklearn", "scipy", "aarlab.w2s")
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # n_jobs=2 then works in this process, and does not fail where none may be started
}  # fmt: skip
DTYPES = {"<f2": np.float16, "<f4": np.float32, "<f8": np.float64}
STARTED = b"S"


class LocalExecutor:
    """Runs methods, at most `workers` at a time. `run` may be called from any thread.

    `hidden` names folders (the lab's) that no method may see even if they lie below a system folder.
    """

    def __init__(
        self, sandbox: Sandbox, workers: int = 2, limits: Limits | None = None, hidden: tuple[Path, ...] = ()
    ) -> None:
        self.sandbox, self.workers, self.hidden = sandbox, workers, hidden
        # no files and no CPU limit: a method has no disk, and its wall time is bounded
        self.limits = replace(limits or DEFAULT, cpu_seconds=0, file_mb=0, disk_mb=0, tmp_mb=0)
        self._slots = threading.BoundedSemaphore(workers)
        self._change = threading.Condition()
        self._ready: deque[Worker] = deque()
        self._in_use: set[Worker] = set()
        self._spent: list[Worker] = []
        self._problem: Exception | None = None
        self._closed = False
        self._filler = threading.Thread(target=self._fill, name="method-workers", daemon=True)
        self._filler.start()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, what: MethodRun) -> RunResult:
        """Run one method on one task, once for each draw.

        Raises MethodError with reason and traceback for the method's fault, Infrastructure for ours.
        """
        with self._slots:
            worker = self._take()
            try:
                return worker.run(what, self.limits.memory_mb)
            finally:
                self._drop(worker)

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until every standby is warm. Raises Infrastructure if that takes longer."""
        with self._change:
            full = self._change.wait_for(lambda: self._closed or len(self._ready) >= self.workers, seconds)
        if not full:
            raise Infrastructure(f"{self.workers} method sandboxes were not ready within {seconds:.0f} s")

    def close(self) -> None:
        """Kill every worker; runs in progress end with Infrastructure."""
        with self._change:
            self._closed = True
            self._change.notify_all()
            doomed = [*self._ready, *self._in_use]
            self._ready.clear()
        for worker in doomed:
            worker.process.kill()
        self._filler.join(START_SECONDS)
        with self._change:
            doomed = [*self._ready, *self._spent]
            self._ready.clear()
            self._spent.clear()
        for worker in doomed:
            worker.process.close()

    def _take(self) -> Worker:
        """A warm worker. Raises Infrastructure if none comes up."""
        deadline = time.monotonic() + START_SECONDS
        with self._change:
            while True:
                if self._closed:
                    raise Infrastructure("this executor is closed")
                if self._ready:
                    worker = self._ready.popleft()
                    self._in_use.add(worker)
                    self._change.notify_all()
                    if worker.process.poll() is None:
                        return worker
                    self._drop(worker)
                    continue
                if self._problem is not None:
                    problem, self._problem = self._problem, None
                    self._change.notify_all()
                    raise problem
                if not self._change.wait(max(0.0, deadline - time.monotonic())):
                    raise Infrastructure(f"no method sandbox came up within {START_SECONDS:.0f} s")

    def _drop(self, worker: Worker) -> None:
        """Leave a used worker to the background thread: ending a sandbox takes longer than a result should wait."""
        with self._change:
            self._in_use.discard(worker)
            self._spent.append(worker)
            self._change.notify_all()

    def _index(self) -> int:
        """The lowest number no worker has; it decides the host user."""
        taken = {w.index for w in (*self._ready, *self._in_use, *self._spent)}
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _fill(self) -> None:
        """End used sandboxes and keep `workers` warm, until closed. A failed start is handed to the next `run`."""
        while True:
            with self._change:
                self._change.wait_for(self._has_work)
                if self._closed:
                    return
                spent = list(self._spent)
                index = None if spent else self._index()
            if index is None:
                for worker in spent:
                    worker.process.close()
                with self._change:
                    self._spent = [w for w in self._spent if w not in spent]
                continue
            try:
                ready = Worker.start(self.sandbox, self.limits, index, self.hidden)
            except Exception as error:
                with self._change:
                    known = isinstance(error, AarlabError)
                    self._problem = error if known else Infrastructure(f"a method sandbox did not start: {error!r}")
                    self._change.notify_all()
                continue
            with self._change:
                self._ready.append(ready)
                self._change.notify_all()

    def _has_work(self) -> bool:
        if self._closed or self._spent:
            return True
        return self._problem is None and len(self._ready) < self.workers


class Worker:
    """One sandbox with one warm worker process."""

    def __init__(self, process: SandboxProcess, index: int) -> None:
        self.process, self.index = process, index
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)

    @classmethod
    def start(cls, sandbox: Sandbox, limits: Limits, index: int, hidden: tuple[Path, ...] = ()) -> Worker:
        """Start a sandbox and wait until its imports are done. Raises Infrastructure."""
        spec = SandboxSpec(
            argv=(PYTHON, "-I", "-S", f"{LIBRARY}/aarlab/execution/worker.py", *sites_inside()),
            workspace=None,
            read_only=library_binds(),
            sockets=(),
            env=ENVIRONMENT,
            limits=replace(limits, memory_mb=limits.memory_mb + WORKER_MEMORY_MB if limits.memory_mb else 0),
            uid_index=FIRST_INDEX + index,
            hidden=hidden,
        )
        worker = cls(sandbox.start(spec), index)
        try:
            if worker._receive(time.monotonic() + START_SECONDS) != b"ready":
                raise Infrastructure("a method worker said something else than that it is ready")
        except BaseException:
            worker.process.close()
            raise
        return worker

    def run(self, what: MethodRun, memory_mb: int) -> RunResult:
        self._begin(what, memory_mb)
        outputs, cpu, wall = [], [], []
        seen: list[Event] = []
        try:
            for draw in what.draws:
                output, facts = self._one(draw, what.timeout, seen)
                outputs.append(output)
                cpu.append(float(facts["cpu"]))
                wall.append(float(facts["wall"]))
        except MethodError as error:
            error.events = events.added(seen)
            raise
        return RunResult(tuple(outputs), tuple(cpu), tuple(wall), events.added(seen))

    def _begin(self, what: MethodRun, memory_mb: int) -> None:
        job = {
            "draws": len(what.draws),
            "timeout": what.timeout,
            "memory_mb": memory_mb,
            "preload": imports(what.source),
        }
        deadline = time.monotonic() + START_SECONDS
        for part in (json.dumps(job).encode(), what.inputs, what.source.encode(errors="replace")):
            self._send(part, deadline)

    def _one(self, draw: Draw, timeout: float, seen: list[Event]) -> tuple[Floats, dict[str, Any]]:
        """One draw's answer and facts. Its events are added to `seen`, whatever comes of it."""
        deadline = time.monotonic() + timeout + START_SECONDS
        self._send(json.dumps(int(draw.seed)).encode(), deadline)
        for array, kind in ((draw.train, np.int64), (draw.test, np.int64), (draw.weak_labels, np.float32)):
            self._send(np.ascontiguousarray(array, kind).tobytes(), deadline)
        facts = json.loads(self._receive(time.monotonic() + timeout + GRACE_SECONDS))
        body = self._receive(time.monotonic() + GRACE_SECONDS)
        seen += events.parse(self._receive(time.monotonic() + GRACE_SECONDS), facts["flooded"], facts["cut"])
        if facts["signal"] == signal.SIGSYS:
            seen.append(events.ENDED)
        self._judge_end(facts, body, timeout)
        return decode(body[len(STARTED) :], len(draw.test)), facts

    def _judge_end(self, facts: dict[str, Any], body: bytes, timeout: float) -> None:
        """Raises MethodError or Infrastructure unless the method's process ended in order."""
        ended, number = facts["ended"], facts["signal"]
        if ended == "timeout":
            raise MethodError("timed-out", f"the method took longer than {timeout:g} s on one seed")
        if ended == "too-much":
            raise MethodError("shape", "the method returned far more than one number for each test item")
        if ended == "lingered":
            raise MethodError("crashed", "the method closed the lab's descriptor and went on")
        if not body.startswith(STARTED):
            raise Infrastructure(f"a method's process could not be set up ({self._last_words()})")
        if number == signal.SIGKILL:
            self._judge_kill()
        if number in (signal.SIGXCPU, signal.SIGALRM):
            raise MethodError("timed-out", f"the method's process was ended by {signal.Signals(number).name}")
        if number == signal.SIGSYS:
            raise MethodError("forbidden", "the method made a system call that ends its process")
        if number:
            raise MethodError("crashed", f"the method's process was ended by {signal.strsignal(number) or number}")
        if len(body) == len(STARTED):
            raise MethodError("crashed", f"the method ended its process (exit {facts['exit']})")

    def _judge_kill(self) -> None:
        """A method cannot send itself SIGKILL: it was the kernel for memory, or somebody outside."""
        if self.process.oom_kills() or self.process.verdict == "memory":
            raise MethodError("out-of-memory", "the method used more memory than it may")
        raise Infrastructure("a method's process was killed from outside")

    def _died(self) -> AarlabError:
        if self.process.oom_kills() or self.process.verdict == "memory":
            return MethodError("out-of-memory", "the method used more memory than it may")
        with contextlib.suppress(Exception):
            self.process.wait(5)
        return Infrastructure(f"a method sandbox died (exit {self.process.poll()}; {self._last_words()})")

    def _last_words(self) -> str:
        """The end of the worker's stderr."""
        pipe = self.process.stderr
        if pipe is None or not select.select([pipe], [], [], 0)[0]:
            return "no message"
        return os.read(pipe.fileno(), 65536).decode(errors="replace").strip()[-500:] or "no message"

    def _send(self, content: bytes, deadline: float) -> None:
        rest = memoryview(struct.pack("<Q", len(content)) + content)
        while rest:
            if not select.select([], [self._in], [], max(0.0, deadline - time.monotonic()))[1]:
                raise Infrastructure("a method worker took no input in time")
            try:
                rest = rest[os.write(self._in, rest[: 1 << 20]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._died() from None

    def _receive(self, deadline: float) -> bytes:
        (size,) = struct.unpack("<Q", self._exactly(8, deadline))
        if size > MOST_ANSWER:
            raise Infrastructure(f"a method worker announced {size} bytes")
        return self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            if not select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Infrastructure("a method worker did not answer in time")
            got = os.read(self._out, min(size, 1 << 20))
            if not got:
                raise self._died()
            parts.append(got)
            size -= len(got)
        return b"".join(parts)


def imports(source: str) -> list[str]:
    """Library modules the text imports anywhere, so that the worker imports them once and not in every child."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return sorted(n for n in names if any(n == p or n.startswith(f"{p}.") for p in PRELOADED))


def decode(body: bytes, count: int) -> Floats:
    """A method's answer as float32 (count,) in [0, 1]. Raises MethodError; nothing in the bytes is trusted."""
    head, data = _parts(body)
    if "error" in head:
        _raise_reported(head["error"], data)
    if head.get("shape") != [count] or any(type(n) is not int for n in head["shape"]):
        raise MethodError(
            "shape", f"run returned shape {_shape(head.get('shape'))}; ({count},) is needed, one per test item"
        )
    name = head.get("dtype")
    if not isinstance(name, str) or name not in DTYPES:
        raise MethodError("dtype", f"run returned dtype {str(name)[:40]}; float16, float32 or float64 is needed")
    kind = np.dtype(DTYPES[name])
    if len(data) != count * kind.itemsize:
        raise MethodError("shape", f"run returned {len(data)} bytes for {count} numbers of {kind.itemsize} bytes")
    values = np.frombuffer(data, kind)
    if not np.isfinite(values).all():
        raise MethodError("nan", f"run returned {int((~np.isfinite(values)).sum())} numbers that are NaN or infinite")
    if ((values < 0) | (values > 1)).any():
        raise MethodError(
            "range", f"run returned numbers from {values.min():g} to {values.max():g}; P(label = 1) is in [0, 1]"
        )
    return values.astype(np.float32)


def _parts(body: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON head and the data of an answer. Raises MethodError (crashed) for anything else."""
    try:
        (size,) = struct.unpack_from("<Q", body)
        head = json.loads(body[8 : 8 + size]) if size <= len(body) else None
        (length,) = struct.unpack_from("<Q", body, 8 + size)
    except (struct.error, ValueError, RecursionError, OverflowError):
        head, length, size = None, 0, 0
    data = body[16 + size :]
    if not isinstance(head, dict) or len(data) != length:
        raise MethodError("crashed", "the method's process ended before its answer was complete")
    return head, data


FAILED = {
    "out-of-memory": "ran out of memory (isolation.memory_mb sets the limit)",
    "forbidden": "tried something a method may not do, like starting a program or opening a connection",
}


def _raise_reported(reason: object, traceback: bytes) -> None:
    """An error as the method's process told it; a word of its own invention counts as a crash."""
    told = reason if isinstance(reason, str) and reason in MethodError.REASONS else "crashed"
    text = traceback[-20_000:].decode(errors="replace")
    last = text.strip().splitlines()[-1][:300] if text.strip() else "no message"
    raise MethodError(told, f"the method {FAILED.get(told, 'failed')}: {last}", text)


def _shape(found: object) -> str:
    if isinstance(found, list) and len(found) <= 8 and all(type(n) is int for n in found):
        return "(" + ", ".join(str(n)[:20] for n in found) + ("," if len(found) == 1 else "") + ")"
    return "unknown"
