"""Other test batches than a score's, in which everything that does not belong to the batch is blank."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from aarlab.audits.base import Bools, Condition
from aarlab.problems.audit_task import AuditTask
from aarlab.w2s.task import Draw, Ints, Layer, TaskInputs

T = TypeVar("T")


def one_each(task: AuditTask, keys: Ints, rng: np.random.Generator) -> Ints:
    """One random test item of every different key, in random order. keys: (n,) over all items of the task."""
    rows = rng.permutation(task.test)
    _, first = np.unique(keys[rows], return_index=True)
    found: Ints = rng.permutation(rows[first])
    return found


def judged(task: AuditTask, base: Draw, *batches: Ints) -> Condition:
    """The draw `base` with other test batches, one after the other; no other test item can be read in any way."""
    kept = np.concatenate([base.train, *batches])
    return Condition(tuple(replace(base, test=batch) for batch in batches), only(task.inputs, kept))


def only(inputs: TaskInputs, rows: Ints) -> TaskInputs:
    """The same inputs, row numbers and all, with nothing in them of items outside `rows`.

    Without this a method that reaches behind its `Items` would still see the whole task.
    """
    kept = np.zeros(len(inputs), bool)
    kept[rows] = True
    first = int(rows[0])
    pairs = None if inputs.pairs is None else np.where(kept[:, None], inputs.pairs, inputs.pairs[first])
    seen = kept if pairs is None else np.isin(np.arange(_height(inputs)), pairs)
    strangers = inputs.groups.max() + 1 + np.arange(len(inputs))
    return replace(
        inputs,
        layers={name: _blank(layer, seen) for name, layer in inputs.layers.items()},
        zero_shot=np.where(kept, inputs.zero_shot, 0).astype(inputs.zero_shot.dtype),
        groups=np.where(kept, inputs.groups, strangers),
        pairs=pairs,
        texts=_blanks(inputs.texts, kept, ""),
        # an answer from the batch, so that `exclusive` says what it said
        answers=_blanks(inputs.answers, kept, inputs.answers[first] if inputs.answers else ""),
        passages=_blanks(inputs.passages, kept, ("",) * (2 if pairs is None else 3)),
    )


def answer_keys(task: AuditTask) -> Ints:
    """One number for each different answer of each group, (n,). The task must have answers."""
    _, words = np.unique(np.asarray(task.inputs.answers), return_inverse=True)
    pairs = np.stack([task.inputs.groups, words], axis=1)
    found: Ints = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return found


def no_repeats(task: AuditTask) -> str:
    """Why nothing can be said about how often an answer is given; empty where something can."""
    if task.inputs.answers is None:
        return f"the items of {task.problem} have no answers to compare"
    keys = answer_keys(task)[task.test]
    return "" if len(np.unique(keys)) < len(keys) else "no answer is given twice in a group"


def _height(inputs: TaskInputs) -> int:
    return len(next(iter(inputs.layers.values())).values)


def _blank(layer: Layer, kept: Bools) -> Layer:
    return Layer(np.where(kept[:, None], layer.values, 0).astype(layer.values.dtype), layer.scale)


def _blanks(values: tuple[T, ...] | None, kept: Bools, blank: T) -> tuple[T, ...] | None:
    return None if values is None else tuple(v if k else blank for v, k in zip(values, kept.tolist(), strict=True))
