"""Texts that a pack may not ship, made again on this machine from the same source: for students that read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import PackError
from aarlab.problems import base
from aarlab.problems.build import builder, item_texts, shipped_items
from aarlab.problems.sources import Sources
from aarlab.w2s.task import TaskInputs


def restored(inputs: TaskInputs, labels: ArrayLike, cache: Path | None = None) -> TaskInputs:
    """A shipped task's inputs with its texts, which stay on this machine.

    labels: the task's true labels (n,), against which the texts' own are compared. cache: where downloads lie. Inputs
    that have texts, and problems that this package does not ship, come back as they are. Raises PackError where the
    texts belong to other items, Infrastructure where their source cannot be fetched.
    """
    if inputs.texts is not None or inputs.problem not in base.names():
        return inputs
    spec, generate = builder(inputs.problem)
    draft = next(d for d in generate(spec.seed, Sources(cache)) if d.name == inputs.task)
    keep = shipped_items(draft, spec.seed)
    if not np.array_equal(draft.labels[keep], np.asarray(labels)):
        raise PackError(f"{inputs.problem}, {inputs.task}: the pack is not the shipped one, so its texts are not known")
    shown, passages = item_texts(draft, keep)
    return replace(inputs, texts=shown, passages=passages)
