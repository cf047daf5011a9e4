"""Do audits wrong honest methods, and do they see the others? All methods and hacks in many worlds of real tasks.

    python -m aarlab.redteam.calibration --out docs          # about an hour on two cores; killed, it goes on

Every method of the library, on the track its file declares, is audited in `--worlds` worlds (`worlds.py`) of each
problem's feedback task; `ccs-evolution`, which takes ten times as long as others, in six of them, and so is every hack
of `hacks.py`, with the labels of all test items leaked to it. Limits were set while looking at the worlds of even
number; the table reports those of odd number. Nothing is tuned on record tasks; what a hack keeps on them is measured
for the table alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aarlab import audits
from aarlab.audits.examination import examined
from aarlab.audits.policy import SHOWN_ONLY
from aarlab.audits.run import Examiner, Method, packed
from aarlab.baselines.cache import tree
from aarlab.errors import MethodError, NotApplicable
from aarlab.execution.base import MethodRun
from aarlab.problems import audit_task, base
from aarlab.problems.audit_task import AuditTask
from aarlab.redteam import detection, hacks
from aarlab.redteam.detection import policy_of
from aarlab.redteam.worlds import InProcess, world
from aarlab.w2s import methods

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NOT_JUDGED = (*SHOWN_ONLY, "new-task", "execution-trace")
"""Audits that bar nobody, or that need a sandbox: left out here to save an hour."""


FEWER_WORLDS = 6
"""Worlds of hacks, and of the one method that would take a quarter of all the time."""

SLOW = "ccs-evolution"

STATIC = ("payload", "code-reading")


@dataclass(frozen=True)
class Job:
    """One method in one world. `kind`: "honest" or "hack"."""

    problem: str
    kind: str
    name: str
    world: int


def jobs(problems: list[str], worlds: int, only: list[str]) -> Iterator[Job]:
    """Every method and every hack that a problem admits, world by world."""
    for number in range(worlds):
        for problem in problems:
            known = [("honest", n) for n in methods.names()]
            known += [("hack", k.name) for k in hacks.kinds(tasks(problem)["feedback"])]
            for kind, name in known:
                wanted = not only or name in only
                if wanted and (number < FEWER_WORLDS or (kind == "honest" and name != SLOW)):
                    yield Job(problem, kind, name, number)


@lru_cache(maxsize=4)
def tasks(problem: str) -> Mapping[str, AuditTask]:
    loaded = base.load(problem, check=False)
    return {card.name: audit_task.load(loaded, card.name) for card in loaded.tasks.values()}


@lru_cache(maxsize=2)
def place(problem: str, number: int) -> tuple[AuditTask, InProcess]:
    """A world and its executor, kept while its methods come one after the other."""
    return world(tasks(problem)["feedback"], number), InProcess()


def audit(job: Job) -> dict[str, Any]:
    """What came out, ready for JSON. `error` where the method does not run on this student."""
    began, task_and_executor = time.process_time(), place(job.problem, job.world)
    task, executor = task_and_executor
    source, declared = text_of(job, task)
    others = tuple(t for t in tasks(job.problem).values() if t.task == "open")
    examiner = Examiner(task, executor, np.random.default_rng([job.world, 1]), others, workers=1)
    chosen = [a for a in audits.every() if a.name not in NOT_JUDGED]
    out: dict[str, Any] = {**asdict(job), "declared": declared}
    try:
        findings = examined(examiner, Method(source), policy_of(job.problem), only=chosen)
    except (MethodError, NotApplicable) as error:
        return {**out, "error": str(error)}
    verdict = policy_of(job.problem).judge(declared, findings, task.test_items)
    kept = ("audit", "channel", "status", "value", "low", "high")
    out |= {
        "outcome": verdict.outcome,
        "track": verdict.track,
        "reason": verdict.reason,
        "words": {c.channel: c.word for c in verdict.channels},
        "findings": [{k: getattr(f, k) for k in kept} for f in findings],
        "pgr": reached(source, job, executor),
        "items": task.test_items,
    }
    return {**out, "seconds": round(time.process_time() - began, 2)}


def text_of(job: Job, task: AuditTask) -> tuple[str, str]:
    """A method's text and the track it declares. A hack says what its honest counterpart would."""
    if job.kind == "honest":
        return methods.source(job.name), methods.about(job.name).track
    kind = next(k for k in hacks.KINDS if k.name == job.name)
    hack = kind.make(hacks.Leak(task, task.test))
    return hack.source, methods.about(hack.honest).track


def reached(source: str, job: Job, executor: InProcess) -> dict[str, float]:
    """PGR on the world's test items and on the record tasks, two draws each."""
    own, _ = place(job.problem, job.world)
    where = {"feedback": own} | {t.task: t for n, t in tasks(job.problem).items() if n.startswith("record")}
    return {name: round(pgr(source, task, executor, job.world), 4) for name, task in where.items()}


def pgr(source: str, task: AuditTask, executor: InProcess, number: int) -> float:
    """Mean PGR over two draws."""
    rng = np.random.default_rng([number, 2])
    draws = tuple(task.draw(int(t), rng) for t in rng.choice(len(task.weak), 2, replace=False))
    out = executor.run(MethodRun(source, packed(task.inputs), draws, 60.0))
    right = [((o > 0.5) == (task.labels[d.test] > 0)).mean() for o, d in zip(out.outputs, draws, strict=True)]
    return task.pgr(float(np.mean(right)))


STALE_BY = ("run.py", "examination.py", "measure.py", "base.py", "hacks.py", "worlds.py")
"""Files whose change makes all earlier results stale; of audits, those that are judged."""


def code_digest() -> str:
    """SHA-256 over the syntax trees of audits, hacks and worlds: what earlier results depend on."""
    root = resources.files("aarlab")
    files = [p for part in ("audits", "redteam") for p in root.joinpath(part).iterdir() if p.name.endswith(".py")]
    judged = {f"{a.name.replace('-', '_')}.py" for a in audits.every() if a.name not in NOT_JUDGED + STATIC}
    kept = sorted((p for p in files if p.name in (*STALE_BY, *judged, "surface.py")), key=lambda p: p.name)
    trees = [tree(p.read_text("utf-8")) for p in kept]
    return hashlib.sha256("".join(trees).encode()).hexdigest()[:16]


def measure(wanted: list[Job], cache: Path, workers: int) -> list[dict[str, Any]]:
    """Every job's result: from the cache file, else made now and added to it."""
    known = _known(cache)
    found = [known[_key(j)] for j in wanted if _key(j) in known]
    left = [j for j in wanted if _key(j) not in known]
    cache.parent.mkdir(parents=True, exist_ok=True)
    os.environ.update(ONE_THREAD)  # libraries read it when a worker loads them
    with multiprocessing.get_context("spawn").Pool(workers) as pool, _progress() as bar, cache.open("a") as file:
        shown = bar.add_task("audits", total=len(wanted), completed=len(found))
        for result in pool.imap_unordered(audit, left):
            file.write(json.dumps(result) + "\n")
            file.flush()
            found.append(result)
            bar.update(shown, advance=1, description=f"{result['problem']} {result['world']} {result['name']}")
    return found


def _key(job: Job | Mapping[str, Any]) -> tuple[Any, ...]:
    given = asdict(job) if isinstance(job, Job) else job
    return tuple(given[k] for k in ("problem", "kind", "name", "world"))


def _known(cache: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    lines = cache.read_text("utf-8").splitlines() if cache.is_file() else []
    found = {}
    for line in lines:
        try:
            row = json.loads(line)
            found[_key(row)] = row
        except (ValueError, KeyError):
            continue  # cut off when its writer died
    return found


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:48}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m aarlab.redteam.calibration", description=__doc__)
    parser.add_argument("problems", nargs="*", help="default: all shipped ones")
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[], help="names of methods and hacks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("cache/calibration"))
    parser.add_argument("--out", type=Path, default=None, help="folder for detection.md and detection.json")
    given = parser.parse_args(arguments)
    wanted = list(jobs(given.problems or base.names(), given.worlds, given.only))
    results = measure(wanted, given.cache / f"{code_digest()}.jsonl", given.workers)
    table = detection.table(results)
    print(detection.text(table))
    if given.out is not None:
        print(detection.write(table, given.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
