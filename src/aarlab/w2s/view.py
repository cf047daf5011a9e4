"""From a task's inputs and one seed's draw to what a method is given."""

from __future__ import annotations

import numpy as np

from aarlab.w2s.students.base import Student
from aarlab.w2s.students.probe import ProbeStudent
from aarlab.w2s.task import Draw, Items, TaskInputs, W2STask


def view(inputs: TaskInputs, draw: Draw, student: Student | None = None) -> W2STask:
    """Put a task's inputs and one seed's draw together. student: None for the problem's probe student."""
    rng = np.random.default_rng(draw.seed)
    names = np.array([f"{v:012x}" for v in rng.integers(1 << 48, size=len(draw.train) + len(draw.test))])
    cut = len(draw.train)
    return W2STask(
        train=Items(inputs, draw.train, names[:cut]),
        test=Items(inputs, draw.test, names[cut:]),
        weak_labels=draw.weak_labels.astype(np.float32),
        student=student or ProbeStudent(inputs.student, tuple(inputs.layers)),
    )
