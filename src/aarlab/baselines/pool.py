"""The processes that measure. Each works with one BLAS thread and hands every seed over as soon as it is done."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from aarlab.baselines.students import StudentChoice
from aarlab.errors import AarlabError, InputError, NotApplicable

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Job:
    """One method on one task, the seeds that are still missing. `number` is the caller's."""

    number: int
    folder: Path
    task: str
    source: str
    seeds: list[int]


@dataclass(frozen=True)
class Failure:
    """Why a method has no result. `applicable` is False where the method itself says that it cannot run here."""

    why: str
    applicable: bool = True


@dataclass(frozen=True)
class Done:
    """A job is over; the worker's peak memory so far in MB."""

    peak: float


@dataclass(frozen=True)
class Refused:
    """The student cannot be made: no extra, no such model."""

    why: str


Take = Callable[[Job, Any], None]


class Pool:
    """`workers` processes; a process that dies takes its job with it and nothing else.

    `run` raises InputError where the student cannot be made.
    """

    def __init__(self, workers: int, student: StudentChoice) -> None:
        self.student, self.workers = student, workers
        self.peaks: dict[int, float] = {}  # MB, by process id
        self._context = multiprocessing.get_context("spawn")
        self._busy: dict[Connection, tuple[Any, Job]] = {}
        self._idle: list[tuple[Any, Connection]] = []

    def run(self, jobs: Sequence[Job], take: Take) -> None:
        """Do all jobs; `take(job, x)` gets an `Outcome` for each seed, or one `Failure` that ends the job."""
        waiting = iter(jobs)
        try:
            self._feed(waiting)
            while self._busy:
                for connection in wait(list(self._busy)):
                    assert isinstance(connection, Connection)
                    self._hear(connection, take)
                self._feed(waiting)
        finally:
            self._close()

    @property
    def peak(self) -> float:
        """MB: the sum of the highest so many processes' peaks. Shared pages count in each, so an upper bound."""
        return sum(sorted(self.peaks.values())[-self.workers :])

    def _feed(self, waiting: Iterator[Job]) -> None:
        while len(self._busy) < self.workers and (job := next(waiting, None)) is not None:
            process, connection = self._idle.pop() if self._idle else self._started()
            connection.send(job)
            self._busy[connection] = (process, job)

    def _started(self) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self.student), daemon=True)
        with _environment(ONE_THREAD if self.student.name == "probe" else {}):
            process.start()
        theirs.close()
        return process, ours

    def _hear(self, connection: Connection, take: Take) -> None:
        process, job = self._busy[connection]
        try:
            message = connection.recv()
        except (EOFError, OSError):
            process.join()
            del self._busy[connection]
            take(job, Failure(f"its process ended with code {process.exitcode} (-9: killed, perhaps for memory)"))
            return
        if isinstance(message, Refused):
            raise InputError(message.why)
        if isinstance(message, Done):
            del self._busy[connection]
            self._idle.append((process, connection))
            self.peaks[process.pid] = message.peak
        else:
            take(job, message)

    def _close(self) -> None:
        for connection, (process, _) in self._busy.items():
            process.kill()
            connection.close()
        for process, connection in self._idle:
            connection.close()  # it then ends by itself
            process.join(5)
        self._busy, self._idle = {}, []


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that a process started here inherits: libraries read them when they are loaded."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def _work(connection: Connection, choice: StudentChoice) -> None:
    """A worker's life: jobs in, outcomes out, until the other side closes. Keeps the last task and the student."""
    from aarlab.baselines import measure

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    kept, truth = None, None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            student = choice.make()
        except Exception as error:
            connection.send(Refused(last_line(error)))
            return
        while True:
            job: Job = connection.recv()
            try:
                if kept != (job.folder, job.task):
                    kept = (job.folder, job.task)
                    truth = measure.load(job.folder, job.task, choice.items, choice.reads)
                assert truth is not None
                for outcome in measure.outcomes(truth, job.source, job.seeds, student):
                    connection.send(outcome)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except NotApplicable as error:
                connection.send(Failure(str(error), applicable=False))
            except Exception as error:
                connection.send(Failure(last_line(error)))
            connection.send(Done(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _end_with_parent() -> None:
    """A killed parent cannot say so, and one seed of a large student may take hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def last_line(error: Exception) -> str:
    """`ZeroDivisionError: division by zero`; a sentence of ours as it is."""
    return str(error) if isinstance(error, AarlabError) else traceback.format_exception_only(error)[-1].strip()
