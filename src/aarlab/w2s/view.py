"""From a task's inputs and one seed's draw to what a method is given."""

from __future__ import annotations

import numpy as np

from aarlab.w2s.students.probe import ProbeStudent
from aarlab.w2s.task import Draw, Items, TaskInputs, W2STask


def view(inputs: TaskInputs, draw: Draw) -> W2STask:
    """Put a task's inputs and one seed's draw together."""
    rng = np.random.default_rng(draw.seed)
    names = np.array([f"{v:012x}" for v in rng.integers(1 << 48, size=len(draw.train) + len(draw.test))])
    cut = len(draw.train)
    return W2STask(
        train=Items(inputs, draw.train, names[:cut]),
        test=Items(inputs, draw.test, names[cut:]),
        weak_labels=draw.weak_labels.astype(np.float32),
        student=ProbeStudent(inputs.student, tuple(inputs.layers)),
    )
