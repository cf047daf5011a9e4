"""Worlds for calibration: a random part of a real task each, with part of its teachers; and a quick executor.

A world keeps about `TEST_ITEMS` test items and `TRAIN_SHARE` of the train items of a feedback task, whole groups of
both, and `TEACHERS` of its teachers. Methods run in this process, without a sandbox: they are our own files, and there
are tens of thousands of runs. The same draw of the same file is run once.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import AarlabError, MethodError, NotApplicable
from aarlab.execution.base import MethodRun, RunResult
from aarlab.problems.audit_task import AuditTask
from aarlab.w2s.open_task import checked_output, load_run, part
from aarlab.w2s.task import Draw, Floats, TaskInputs
from aarlab.w2s.view import view

TEST_ITEMS = 1150
TRAIN_SHARE = 0.6
TEACHERS = 24


def world(task: AuditTask, number: int) -> AuditTask:
    """World `number` of a task: the same for everybody who asks."""
    rng = np.random.default_rng([number, 20_260_424])
    kept = np.zeros(len(task.inputs), bool)
    for rows, share in ((task.test, min(1.0, TEST_ITEMS / task.test_items)), (task.pool, TRAIN_SHARE)):
        own = task.inputs.groups[rows]
        groups = np.unique(own)
        kept[rows] = np.isin(own, rng.choice(groups, round(share * len(groups)), replace=False))
    teachers = rng.choice(len(task.weak), min(TEACHERS, len(task.weak)), replace=False)
    rows = np.flatnonzero(kept)
    return replace(
        task,
        inputs=part(task.inputs, rows),
        weak=task.weak[teachers][:, rows],
        labels=task.labels[rows],
        is_test=task.is_test[rows],
        sources=None if task.sources is None else task.sources[rows],
        renamed=None if task.renamed is None else part(task.renamed, rows),
        reworded=None if task.reworded is None else task.reworded[rows],
    )


class InProcess:
    """Runs method files of our own here. Isolates nothing."""

    def __init__(self) -> None:
        self._known: dict[bytes, Floats] = {}

    def run(self, what: MethodRun) -> RunResult:
        """Raises MethodError where the method fails; NotApplicable goes through."""
        inputs = TaskInputs.from_bytes(what.inputs)
        where = hashlib.sha256(what.inputs + what.source.encode()).digest()
        outputs = tuple(self._one(what.source, inputs, draw, where) for draw in what.draws)
        nothing = tuple(0.0 for _ in outputs)
        return RunResult(outputs, nothing, nothing)

    def _one(self, source: str, inputs: TaskInputs, draw: Draw, where: bytes) -> Floats:
        key = hashlib.sha256(where + _digest(draw)).digest()
        if key not in self._known:
            self._known[key] = _output(source, inputs, draw)
        return self._known[key]

    def close(self) -> None:
        self._known.clear()


def _output(source: str, inputs: TaskInputs, draw: Draw) -> Floats:
    try:
        found = load_run(source)(view(inputs, draw), draw.seed)
        return checked_output(found, len(draw.test)).astype(np.float32)
    except (NotApplicable, MethodError):
        raise
    except AarlabError as error:
        raise MethodError("crashed", str(error)) from error
    except Exception as error:
        raise MethodError("crashed", repr(error)) from error


def _digest(draw: Draw) -> bytes:
    arrays: list[NDArray[Any]] = [draw.train, draw.test, draw.weak_labels]
    return b"".join(a.tobytes() for a in arrays) + str(draw.seed).encode()
