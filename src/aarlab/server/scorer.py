"""The worker threads that run submitted methods and write what came out.

A worker claims an evaluation under a lease, runs it in the sandbox, grades it, and ends it in one transaction that
still must hold the lease. What a dead server left running is queued again at the next start, so nothing is lost and
nothing is scored twice. The end of a feedback run is held back to the next full `QUANTUM` of its duration: how long
a method takes on hidden inputs would otherwise be a channel out of the sandbox.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable

from aarlab.errors import AarlabError, Infrastructure, MethodError
from aarlab.execution.base import Executor, MethodRun
from aarlab.records import Evaluation
from aarlab.server import audits, phases, results
from aarlab.server.lab import Lab

log = logging.getLogger("aarlab.server")

QUANTUM = 1.0
"""Seconds to which the visible duration of a feedback run is rounded up."""

IDLE = 0.5
"""Seconds after which an idle worker looks again, whether or not it was told of work."""

PAUSE = 1.0
"""First wait after an infrastructure failure, in seconds; it doubles with each."""


class Scorer:
    """Start it once per server; `close` hands unfinished work back to the queue."""

    def __init__(self, lab: Lab, executor: Executor, quantum: float = QUANTUM) -> None:
        self.lab, self.executor, self.quantum = lab, executor, quantum
        self.stopping = threading.Event()
        self.work = threading.Condition()
        self.resting: dict[int, float] = {}  # evaluation -> monotonic time before which it is left alone
        self.due: list[tuple[float, int, Callable[[], None]]] = []  # ends held back to the next quantum
        self.counter = itertools.count()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        with self.lab.store.write() as rows:
            left = rows.requeue_running()
        if left:
            log.warning("queued again after a restart: evaluations %s", ", ".join(str(e.id) for e in left))
        self.lab.report_answers()
        self.lab.watchers.append(self._changed)
        loops = [self._score_loop] * self.lab.settings.scoring.workers + [self._end_loop]
        self.threads = [threading.Thread(target=loop, name=f"scorer-{i}", daemon=True) for i, loop in enumerate(loops)]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        self.stopping.set()
        with self.work:
            self.work.notify_all()
        self.executor.close()
        for thread in self.threads:
            thread.join(timeout=10)

    def _changed(self, topic: str) -> None:
        if topic == "scores":
            with self.work:
                self.work.notify_all()

    # Running

    def _score_loop(self) -> None:
        while not self.stopping.is_set():
            evaluation = self._next()
            if evaluation is not None:
                self._score(evaluation)

    def _next(self) -> Evaluation | None:
        """Claim work, or move the lab on, or wait a little."""
        with self.work:
            now = time.monotonic()
            self.resting = {k: v for k, v in self.resting.items() if v > now}
            try:
                claimed = self._claim()
                if claimed is not None or phases.advance(self.lab):
                    return claimed
            except AarlabError as error:
                log.error("the queue cannot be read: %s", error)
            soonest = min(self.resting.values(), default=now + IDLE)
            self.work.wait(timeout=max(0.01, min(soonest - now, IDLE)))
            return None

    def _claim(self) -> Evaluation | None:
        with self.lab.store.read() as rows:
            if not rows.queued():
                return None
        with self.lab.store.write() as rows:
            lease = f"{self.lab.incarnation}:{next(self.counter)}"
            return rows.claim(lease, self.resting)

    def _score(self, evaluation: Evaluation) -> None:
        started = time.monotonic()
        self.lab.changed("running")
        if evaluation.purpose == "audit":
            self._audit(evaluation)
            return
        try:
            graded = self._run(evaluation)
        except MethodError as error:
            log.info("evaluation %d: %s: %s", evaluation.id, error.reason, error)
            reason = error
            self._hold(evaluation, started, lambda: results.record_failure(self.lab, evaluation, reason))
        except Exception as error:  # whatever else goes wrong is ours, never the method's
            self._trouble(evaluation, error)
        else:
            self._hold(evaluation, started, lambda: results.record_score(self.lab, evaluation, graded))

    def _audit(self, evaluation: Evaluation) -> None:
        """Two threads may audit two submissions at once: the executor's own workers are the limit."""
        try:
            examined = audits.examine(self.lab, evaluation, self.executor)
            self._insist(lambda: audits.record(self.lab, evaluation, examined), evaluation)
        except Exception as error:  # the method's own failures are among what was examined
            self._trouble(evaluation, error)

    def _run(self, e: Evaluation) -> results.Graded:
        lab = self.lab
        with lab.store.read() as rows:
            submission = rows.submission(e.submission)
        assert submission is not None
        run = MethodRun(
            source=lab.source(submission.bundle_hash), inputs=lab.vault.inputs(e.problem, e.task),
            draws=lab.vault.draws(e.problem, e.task, e.purpose), timeout=lab.settings.scoring.timeout,
        )  # fmt: skip
        out = self.executor.run(run)
        correct = lab.vault.grade(e.problem, e.task, e.purpose, out.outputs)
        outcome = lab.vault.save_outcomes(e.id, e.problem, e.task, correct)
        return results.Graded(correct, outcome, out.cpu_seconds, out.wall_seconds, out.events)

    # Ending

    def _hold(self, evaluation: Evaluation, started: float, end: Callable[[], bool]) -> None:
        """End a feedback run at the next full quantum of its duration, anything else at once."""

        def finish() -> None:
            self._insist(end, evaluation)

        if evaluation.purpose != "feedback":
            finish()
            return
        ran = time.monotonic() - started
        due = started + self.quantum * math.ceil(ran / self.quantum)
        with self.work:
            heapq.heappush(self.due, (due, next(self.counter), finish))
            self.work.notify_all()

    def _end_loop(self) -> None:
        while not self.stopping.is_set():
            with self.work:
                wait = self.due[0][0] - time.monotonic() if self.due else 60.0
                if wait > 0:
                    self.work.wait(timeout=wait)
                    continue
                _, _, finish = heapq.heappop(self.due)
            finish()

    def _insist(self, end: Callable[[], bool], evaluation: Evaluation) -> None:
        """Write a result however long the disk is full; a result measured is not thrown away."""
        pause = PAUSE
        while not self.stopping.is_set():
            try:
                if not end():
                    log.warning("evaluation %d was taken over; this result is dropped", evaluation.id)
                return
            except (Infrastructure, OSError) as error:
                log.error("evaluation %d: the result cannot be written yet: %s", evaluation.id, error)
                self.stopping.wait(pause)
                pause = min(pause * 2, 10.0)

    def _trouble(self, evaluation: Evaluation, error: Exception) -> None:
        """Requeue with back-off; nobody is charged."""
        if self.stopping.is_set():
            self._insist_once(lambda: results.hand_back(self.lab, evaluation))
            return
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            error = Infrastructure(f"no space left on the disk of {self.lab.folder}; free some, the run is retried")
        if isinstance(error, Infrastructure):
            log.error("evaluation %d: %s", evaluation.id, error)
        else:
            log.exception("evaluation %d failed on our side", evaluation.id, exc_info=error)
        with self.work:
            self.resting[evaluation.id] = time.monotonic() + PAUSE * 2**evaluation.failures
        note = audits.record_trouble if evaluation.purpose == "audit" else results.record_trouble
        self._insist(lambda: note(self.lab, evaluation), evaluation)

    def _insist_once(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (Infrastructure, OSError) as error:
            log.error("left for the next start: %s", error)
