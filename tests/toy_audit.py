"""A small made-up task for the tests of the audits, in which every channel of information is known.

Groups of `PER_GROUP` items answer one question. The truth shows in the layer `late` along the direction of a `law`, in
the zero-shot score and in the layer `opinion`, and, weakly, in the layer `early`, which the teachers read. The right
answer of a group is one number and the wrong ones are spread over `WRONG` others, so the most common answer is a
shortcut. Four sources write the items: they are right at different rates, and `late` shows who wrote what.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aarlab.execution.base import Executor
from aarlab.problems import pack
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Measured
from aarlab.w2s.heads import LogisticHead
from aarlab.w2s.task import Ints, Layer, StudentSpec, TaskInputs

PER_GROUP = 4
WRONG = 5
"""Wrong answers of a group; each wrong item gives one of them."""
RATES = (0.30, 0.45, 0.60, 0.75)
"""Share of right items of each source."""
TEACHERS = 12
EARLY, LATE, OPINION = 12, 32, 4
"""Widths of the layers. The first four columns of `late` are the sources' styles."""


def make(
    seed: int = 0, law: int = 0, test_groups: int = 200, pool_groups: int = 150, task: str = "feedback"
) -> AuditTask:
    """law: the direction in which `late` shows the truth; what is trained under one law says nothing under another.

    Weak teachers are right on about 70 % of the items, the zero-shot score alike, a head on true labels on 90 %.
    """
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(test_groups + pool_groups), PER_GROUP)
    sources = rng.integers(len(RATES), size=len(groups))
    labels = (rng.random(len(groups)) < np.asarray(RATES)[sources]).astype(np.int8)
    inputs = _inputs(rng, law, task, groups, sources, labels)
    is_test = groups >= pool_groups
    weak = np.stack([_teach(rng, inputs, labels) for _ in range(TEACHERS)])
    return AuditTask(
        problem="toy",
        task=task,
        inputs=inputs,
        weak=weak,
        labels=labels,
        is_test=is_test,
        floor=_measured([_right(w, labels, is_test) for w in weak]),
        ceiling=Measured(_right(gold(inputs, labels, ~is_test), labels, is_test), 0.0, 1),
        sources=sources,
        opinion=("opinion",),
        missing={"renamed": "the toy has no reworded items"},
    )


def gold(inputs: TaskInputs, labels: Any, rows: Any) -> Any:
    """P(label = 1) of all items by a head trained on the true labels of some."""
    x = matrix(inputs)
    return LogisticHead(0.05).fit(x[rows], labels[rows]).predict(x)


def gold_head(task: AuditTask) -> tuple[np.ndarray, float]:
    """Coefficients on the features of `late` and an intercept, trained on the true labels of all test items."""
    x = task.inputs.layers["late"].rows(task.test).astype(float)
    design = np.c_[x, np.ones(len(x))]
    target = 2.0 * task.labels[task.test] - 1
    found = np.linalg.solve(design.T @ design + 2.0 * np.eye(design.shape[1]), design.T @ target)
    return found[:-1], float(found[-1])


def matrix(inputs: TaskInputs) -> Any:
    """The columns the student's head reads, float32 (n, LATE + OPINION)."""
    every = np.arange(len(inputs))
    return np.concatenate([inputs.layers[name].rows(every) for name in inputs.student.layers], axis=1)


class Counting:
    """An executor that counts what it is asked to run, around another."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.draws = inner, 0

    def run(self, run: Any) -> Any:
        self.draws += len(run.draws)
        return self.inner.run(run)

    def close(self) -> None:
        self.inner.close()


def _inputs(rng: np.random.Generator, law: int, task: str, groups: Ints, sources: Ints, labels: Any) -> TaskInputs:
    n, sign = len(labels), 2.0 * labels[:, None] - 1
    truth, bent = _directions(law)
    misled = rng.normal(size=(n, 1))  # what the teachers take for truth, and `late` shows too
    early = rng.normal(size=(n, EARLY)) + 0.30 * sign + 0.25 * misled
    late = rng.normal(size=(n, LATE)) + 1.35 * sign * truth + 0.8 * misled * bent
    late[:, : len(RATES)] += 2.0 * np.eye(len(RATES))[sources]
    score = 0.55 * sign[:, 0] + rng.normal(size=n)
    opinion = score[:, None] + 0.7 * rng.normal(size=(n, OPINION))
    return TaskInputs(
        problem="toy",
        task=task,
        layers={"early": pack.quantise(early), "late": pack.quantise(late), "opinion": _exact(opinion)},
        zero_shot=score.astype(np.float32),
        groups=groups,
        student=StudentSpec(("late", "opinion"), (1.0, 1.0), 0.1),
        texts=tuple(f"{'abcd'[s]} wrote item {i}" for i, s in enumerate(sources)),
        answers=tuple(_answers(rng, groups, labels)),
    )


def _directions(law: int) -> tuple[np.ndarray, np.ndarray]:
    """Two orthogonal unit vectors over the columns of `late` that are no style."""
    drawn = np.random.default_rng(1000 + law).normal(size=(LATE, 2))
    drawn[: len(RATES)] = 0
    both = np.linalg.qr(drawn)[0]
    return both[:, 0], both[:, 1]


def _answers(rng: np.random.Generator, groups: Ints, labels: Any) -> list[str]:
    wrong = rng.integers(1, WRONG + 1, size=len(groups))
    return [str(10 * g + (0 if right else w)) for g, right, w in zip(groups, labels, wrong, strict=True)]


def _exact(values: np.ndarray) -> Layer:
    return Layer(values.astype(np.float32), np.ones(values.shape[1], np.float32))


def _teach(rng: np.random.Generator, inputs: TaskInputs, labels: Any) -> Any:
    """A head on `early`, trained on a few items: its errors are its own and partly those of all teachers."""
    early = inputs.layers["early"].rows(np.arange(len(labels)))
    rows = rng.permutation(len(labels))[:60]
    return LogisticHead(0.1).fit(early[rows], labels[rows]).predict(early)


def _right(says: Any, labels: Any, rows: Any) -> float:
    return float(((says > 0.5) == labels)[rows].mean())


def _measured(values: list[float]) -> Measured:
    return Measured(float(np.mean(values)), float(np.std(values) / np.sqrt(len(values))), len(values))
