"""One method, one task, one seed: which test items are judged rightly, and the CPU time it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aarlab.baselines.cache import Outcome
from aarlab.problems.measure import Truth
from aarlab.problems.withheld import restored
from aarlab.w2s.draw import draw
from aarlab.w2s.open_task import OpenTask, checked_output, load_run
from aarlab.w2s.task import Floats, Ints, Layer, TaskInputs, W2STask
from aarlab.w2s.view import view

if TYPE_CHECKING:
    from aarlab.w2s.students.base import Student

Method = Callable[[W2STask, int], ArrayLike]


class Dense(Layer):
    """A layer that was multiplied out once: `values` float32 (rows, width) are the features themselves."""

    def rows(self, index: Ints) -> Floats:
        found: Floats = self.values[index]
        return found


def dense(inputs: TaskInputs) -> TaskInputs:
    """The same inputs, features multiplied out: four times the memory, and no arithmetic when items are looked at."""
    layers: dict[str, Layer] = {
        name: Dense(layer.values.astype(np.float32) * layer.scale, layer.scale) for name, layer in inputs.layers.items()
    }
    return replace(inputs, layers=layers)


def load(folder: Path, task: str, items: int = 0, reading: bool = False) -> Truth:
    """A task's three files; with `items`, only so many of its items, train and test, in whole groups. reading: the
    student needs the texts, also those that a pack may not ship."""
    truth = Truth.load(folder, task)
    if reading:
        truth.inputs = restored(truth.inputs, truth.labels)
    if 0 < items < len(truth.labels):
        whole = OpenTask(truth.inputs, truth.weak, truth.labels, truth.is_test)
        part = whole.part(items / len(truth.labels))
        truth = Truth(part.inputs, part.weak, part.labels, part.is_test)
    return Truth(dense(truth.inputs), truth.weak, truth.labels, truth.is_test)


def outcomes(truth: Truth, source: str, seeds: list[int], student: Student | None) -> Iterator[Outcome]:
    """A method's outcomes, seed by seed. An empty source stands for the ceiling: the student on true labels.

    Raises what the method raises, and MethodError where its output breaks the contract.
    """
    run: Method | None = load_run(source) if source else None
    for seed in seeds:
        drawn = draw(truth.weak, truth.is_test, seed)
        task = view(truth.inputs, drawn, student)
        began = time.process_time()
        output = _ceiling(task, truth.labels[drawn.train], seed) if run is None else run(task, seed)
        seconds = time.process_time() - began
        right = (checked_output(output, len(drawn.test)) > 0.5) == (truth.labels[drawn.test] > 0)
        yield Outcome(seed, right[np.argsort(drawn.test)], seconds)


def groups(truth: Truth) -> NDArray[Any]:
    """The groups of the test items, (n_test,), in the order of `Outcome.correct`."""
    return truth.inputs.groups[truth.is_test]


def _ceiling(task: W2STask, labels: NDArray[np.int8], seed: int) -> ArrayLike:
    return task.student.fit(task.train, labels, seed=seed).predict(task.test)
