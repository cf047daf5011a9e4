"""A toy lab for tests: small made-up tasks in a real pack, a method that learns, and an executor without a sandbox."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.errors import AarlabError, MethodError
from aarlab.execution.base import MethodRun, RunResult
from aarlab.problems import base as problems
from aarlab.problems import pack
from aarlab.problems.base import Problem, TaskCard
from aarlab.records import Measured, Role
from aarlab.settings import Budget, ResearcherSpec, Scoring, Settings
from aarlab.vault.grader import check_output
from aarlab.w2s.heads import LogisticHead
from aarlab.w2s.task import StudentSpec, TaskInputs
from aarlab.w2s.view import view

TEACHERS = 24
WEAK, STRONG = 6, 24  # widths of the layers that teacher and student read
BASELINES = ("weak-labels-hard", "weak-labels-soft")
ROLES: Mapping[str, Role] = {"open": "open", "feedback": "feedback", "record-one": "record", "record-two": "record"}

LEARNER = """
def run(task, seed):
    head = task.student.fit(task.train, task.weak_labels, seed=seed)
    return head.predict(task.test)
"""

SHARPER = """
import numpy as np

def run(task, seed):
    sure = np.abs(task.weak_labels - 0.5) > {margin}
    head = task.student.fit(task.train[sure], (task.weak_labels[sure] > 0.5).astype(float), seed=seed)
    return head.predict(task.test)
"""

CONSTANT = """
import numpy as np

def run(task, seed):
    return np.full(len(task.test), {value})
"""


def name() -> str:
    """A problem whose texts (brief, directions) the toy borrows."""
    return problems.names()[0]


def make_pack(
    folder: Path, problem: str | None = None, items: int = 400, seed: int = 0, below: float = 0.03
) -> Problem:
    """Write a pack of four toy tasks, half of each task's `items` for test, and load it.

    below: how far the shown baselines, and so the Ladder's start, lie under the floor. At 0.1 the LEARNER is a record
    whatever the lab's secret seeds; at 0.03 it nearly always is.
    """
    problem = problem or name()
    cards = [
        make_task(folder, problem, task, role, items, seed + 10 * number, below)
        for number, (task, role) in enumerate(ROLES.items())
    ]
    pack.write_manifest(folder, problem, cards, {"toy": seed})
    return problems.load(problem, folder=folder)


def make_task(
    folder: Path, problem: str, task: str, role: Role, items: int, seed: int, below: float = 0.03
) -> TaskCard:
    """One task: labels that the strong layer knows well and the weak layer a little."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=items).astype(np.int8)
    sign = 2.0 * labels[:, None] - 1
    weak = rng.normal(size=(items, WEAK)) + 0.30 * sign
    strong = rng.normal(size=(items, STRONG)) + 0.28 * sign
    zero_shot = (strong[:, 0] + rng.normal(size=items)).astype(np.float32)
    inputs = TaskInputs(
        problem=problem,
        task=task,
        layers={
            "early": pack.quantise(weak),
            "late": pack.quantise(strong),
            "logprob": pack.quantise(zero_shot[:, None]),
        },
        zero_shot=zero_shot,
        groups=np.arange(items) // 4,
        student=StudentSpec(("late",), (1.0,), 0.01),
        texts=tuple(f"item {i}" for i in range(items)),
    )
    is_test = np.arange(items) >= items // 2
    teachers = np.stack([_teach(rng, weak.astype(np.float32), labels) for _ in range(TEACHERS)])
    pack.write_task(folder, inputs, teachers.astype(np.float16), _labels(rng, labels, is_test))
    accuracy = [float(((t > 0.5) == labels)[is_test].mean()) for t in teachers]
    ceiling = LogisticHead(0.01).fit(strong[~is_test].astype(np.float32), labels[~is_test])
    top = float(((ceiling.predict(strong[is_test].astype(np.float32)) > 0.5) == labels[is_test]).mean())
    floor = Measured(float(np.mean(accuracy)), float(np.std(accuracy) / np.sqrt(TEACHERS)), TEACHERS)
    return TaskCard(
        name=task, role=role, title=f"toy {task}", train_items=int((~is_test).sum()), test_items=int(is_test.sum()),
        floor=floor, ceiling=Measured(top, 0.0, 1), baselines=dict.fromkeys(BASELINES, floor.mean - below),
        licence="none",
    )  # fmt: skip


def _labels(rng: np.random.Generator, labels: np.ndarray, is_test: np.ndarray) -> dict[str, np.ndarray]:
    """The labels file, with a made-up writer of each item: what the borrowed problem promises to audits."""
    return {"labels": labels, "is_test": is_test, "author": rng.integers(4, size=len(labels)).astype(np.int8)}


def _teach(rng: np.random.Generator, weak: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A head on the weak layer, trained on a few items of its own."""
    rows = rng.permutation(len(labels))[:60]
    return LogisticHead(0.1).fit(weak[rows], labels[rows]).predict(weak)


def settings(researchers: int = 3, **changes: Any) -> Settings:
    """A quick run: two seeds, a coarse Ladder, `researchers` of the names r1, r2, ..."""
    base = Settings(
        problem=name(),
        budget=Budget(answers=20, submissions=40),
        scoring=Scoring(seeds=2, record_seeds=2, finalists=3, workers=2, timeout=10.0),
        researchers=tuple(ResearcherSpec(f"r{i + 1}") for i in range(researchers)),
    )
    return replace(base, **changes)


class InProcess:
    """Runs methods in this process: real scores without the cost of a sandbox. Never used outside tests."""

    def run(self, run: MethodRun) -> RunResult:
        inputs = TaskInputs.from_bytes(run.inputs)
        space: dict[str, Any] = {}
        outputs, cpu, wall = [], [], []
        for draw in run.draws:
            started, used = time.monotonic(), time.thread_time()
            try:
                exec(compile(run.source, "method.py", "exec"), space)
                out = np.asarray(space["run"](view(inputs, draw), draw.seed))
            except AarlabError:
                raise
            except Exception as error:
                raise MethodError("crashed", str(error)) from None
            check_output(out, len(draw.test))
            outputs.append(out.astype(np.float32))
            cpu.append(time.thread_time() - used)
            wall.append(time.monotonic() - started)
        return RunResult(tuple(outputs), tuple(cpu), tuple(wall))

    def close(self) -> None:
        """Nothing is left running."""


def variant(number: object) -> str:
    """A method that differs from every other variant in its syntax tree and not in what it does."""
    return LEARNER + f"\nvariant = {number}\n"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
