"""From a plan to outcomes: what is known comes out of the cache, the rest is measured and kept at once."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aarlab.baselines.cache import Cache, Outcome
from aarlab.baselines.plan import Plan, Run
from aarlab.baselines.pool import Failure, Job, Pool
from aarlab.baselines.progress import Progress
from aarlab.errors import InputError

Key = tuple[str, str, str]  # problem, task, method


@dataclass
class Measured:
    """All outcomes of a plan, in the order of the seeds, and what measuring them took."""

    outcomes: dict[Key, list[Outcome]] = field(default_factory=dict)
    failures: dict[Key, Failure] = field(default_factory=dict)
    measured_now: int = 0  # seeds that did not come out of the cache
    wall_seconds: float = 0.0
    peak_mb: float = 0.0  # this process and its workers together

    @property
    def cpu_seconds(self) -> float:
        """Of all methods, measured now or before."""
        return sum(o.cpu_seconds for seeds in self.outcomes.values() for o in seeds)

    @property
    def failed(self) -> list[Key]:
        return [key for key, failure in self.failures.items() if failure.applicable]


def measure(plan: Plan, cache: Cache, workers: int = 2, fresh: bool = False) -> Measured:
    """Measure what is missing. A method that fails is left out of its task and recorded; the rest goes on."""
    if workers < 1:
        raise InputError(f"--workers is {workers}; at least 1 is needed")
    began, runs = time.monotonic(), list(plan.runs())
    known: list[dict[int, Outcome]] = []
    for run in runs:
        if fresh:
            cache.forget(run)
        known.append(cache.read(run))
    jobs = [
        Job(i, run.problem.folder, run.task, run.source, [s for s in range(plan.seeds) if s not in known[i]])
        for i, run in enumerate(runs)
    ]
    jobs = [job for job in jobs if job.seeds]
    found, pool = Measured(), Pool(workers if plan.student.name == "probe" else 1, plan.student)
    with Progress(sum(len(job.seeds) for job in jobs)) as progress:
        pool.run(jobs, _taker(runs, known, cache, found, progress))
    for run, seeds in zip(runs, known, strict=True):
        if _key(run) not in found.failures:
            found.outcomes[_key(run)] = [seeds[s] for s in range(plan.seeds)]
    found.wall_seconds = time.monotonic() - began
    found.peak_mb = pool.peak + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def _taker(
    runs: list[Run], known: list[dict[int, Outcome]], cache: Cache, found: Measured, progress: Progress
) -> Callable[[Job, Outcome | Failure], None]:
    """What is done with each message of a worker."""

    def take(job: Job, message: Outcome | Failure) -> None:
        run = runs[job.number]
        where = f"{run.problem.name} {run.task} {run.method}"
        if isinstance(message, Outcome):
            known[job.number][message.seed] = message
            cache.add(run, message)
            found.measured_now += 1
            progress.step(where)
            return
        found.failures[_key(run)] = message
        progress.step(where, sum(seed not in known[job.number] for seed in job.seeds))
        if message.applicable:
            progress.say(f"{where} failed: {message.why}")

    return take


def _key(run: Run) -> Key:
    return run.problem.name, run.task, run.method
