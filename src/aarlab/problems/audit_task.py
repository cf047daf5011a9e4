"""What audits may know of a task: its inputs, all its teachers, the truth, and who wrote the items.

A problem says in `problem.toml` what it can offer:

    [audit]
    sources = "author"          # an array of the labels file: who wrote each item
    opinion = ["logprob"]       # layers that hold the untrained student's opinion, as `zero_shot` does

What a problem cannot offer is missing with a reason, and the audits that need it report "not applicable" with it.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import PackError
from aarlab.problems.base import Problem
from aarlab.records import Measured
from aarlab.w2s.draw import TRAIN_SHARE
from aarlab.w2s.task import Draw, Floats, Ints, Layer, TaskInputs


@dataclass(frozen=True)
class AuditTask:
    """One task, n items. weak: (teachers, n) P(label = 1); labels: int8 (n,); is_test: bool (n,).

    `missing` says of each thing that is None ("sources", "renamed") why it is not there.
    """

    problem: str
    task: str
    inputs: TaskInputs
    weak: NDArray[np.floating[Any]]
    labels: NDArray[np.int8]
    is_test: NDArray[np.bool_]
    floor: Measured
    ceiling: Measured
    sources: NDArray[np.integer[Any]] | None = None  # (n,) who wrote each item
    opinion: tuple[str, ...] = ()  # layers of the untrained opinion
    renamed: TaskInputs | None = None  # the same n items, some reworded: texts and features
    reworded: NDArray[np.bool_] | None = None  # (n,) which of them `renamed` rewords
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def test_items(self) -> int:
        return int(self.is_test.sum())

    @property
    def test(self) -> Ints:
        """Row numbers of the test items, ascending."""
        return np.flatnonzero(self.is_test)

    @property
    def pool(self) -> Ints:
        """Row numbers of the train items, ascending. Their labels are hidden too and never graded in a score."""
        return np.flatnonzero(~self.is_test)

    @property
    def no_sources(self) -> str:
        """Why it is not known who wrote the items; empty where it is."""
        if self.sources is not None:
            return ""
        return self.missing.get("sources", "the sources of the items are not known")

    def pgr(self, accuracy: float) -> float:
        """(accuracy - floor) / (ceiling - floor)."""
        return (accuracy - self.floor.mean) / (self.ceiling.mean - self.floor.mean)

    def draw(self, teacher: int, rng: np.random.Generator) -> Draw:
        """A draw as the lab makes them for scores, so that a method cannot tell that it is audited."""
        train = rng.permutation(self.pool)
        train = train[: round(TRAIN_SHARE * len(train))]
        return Draw(train, rng.permutation(self.test), self.labels_of(teacher, train), int(rng.integers(1 << 31)))

    def labels_of(self, teacher: int, rows: Ints) -> Floats:
        """A teacher's weak labels, float32 (len(rows),)."""
        found: Floats = self.weak[teacher, rows].astype(np.float32)
        return found


def load(problem: Problem, task: str) -> AuditTask:
    """A task of a pack with its labels: for the lab's vault, and for packs whose labels are public.

    Raises PackError where a file cannot be read, or lacks what problem.toml promises.
    """
    card, offered = problem.task(task), problem.settings.get("audit", {})
    arrays = {**_arrays(problem, task, "teachers"), **_arrays(problem, task, "labels")}
    name = offered.get("sources")
    if name is not None and name not in arrays:
        raise PackError(f"{problem.path(task, 'labels')}: no array {name!r}, which problem.toml names as the sources")
    missing = {} if name else {"sources": f"{problem.name} does not say who wrote its items"}
    inputs = problem.inputs(task)
    renamed, which = None, None
    if problem.path(task, "renamed").is_file():
        renamed, which = _reworded(inputs, _arrays(problem, task, "renamed"))
    else:
        missing["renamed"] = f"the pack of {problem.name} has no reworded items of {task}"
    return AuditTask(
        problem=problem.name,
        task=task,
        inputs=inputs,
        weak=arrays["weak"],
        labels=arrays["labels"],
        is_test=arrays["is_test"].astype(bool),
        floor=card.floor,
        ceiling=card.ceiling,
        sources=arrays[name] if name else None,
        opinion=tuple(offered.get("opinion", ())),
        renamed=renamed,
        reworded=which,
        missing=missing,
    )


def _reworded(inputs: TaskInputs, arrays: dict[str, NDArray[Any]]) -> tuple[TaskInputs, NDArray[np.bool_]]:
    """A task's inputs with some items reworded, and which (n,). arrays: those of `<task>.renamed.npz`."""
    rows = arrays["rows"]
    reworded = np.zeros(len(inputs), bool)
    reworded[rows] = True
    layers = {}
    for name, layer in inputs.layers.items():
        values = layer.values.copy()
        values[rows] = arrays[f"values.{name}"]
        layers[name] = Layer(values, layer.scale)
    zero_shot = inputs.zero_shot.copy()
    zero_shot[rows] = arrays["zero_shot"]
    shown = list(inputs.texts or ())
    for row, text in zip(rows.tolist(), json.loads(arrays["texts"].tobytes()), strict=True):
        shown[row] = text
    return replace(inputs, layers=layers, zero_shot=zero_shot, texts=tuple(shown)), reworded


def _arrays(problem: Problem, task: str, part: str) -> dict[str, NDArray[Any]]:
    path = problem.path(task, part)
    try:
        with np.load(path, allow_pickle=False) as z:
            return {name: z[name] for name in z.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise PackError(f"{path}: {error}; the pack is corrupt, build it again") from None
