"""Trying methods on an open task: its labels are public, so anybody may measure as often as they like."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aarlab.errors import MethodError, PackError
from aarlab.statistics import pgr
from aarlab.w2s.draw import draw
from aarlab.w2s.students.base import Student
from aarlab.w2s.task import Draw, TaskInputs, W2STask
from aarlab.w2s.view import view

Method = Callable[[W2STask, int], ArrayLike]


@dataclass(frozen=True)
class Trial:
    """What a method reached on an open task, one entry per seed; `seconds` of CPU in all."""

    pgr: tuple[float, ...]
    accuracy: tuple[float, ...]
    seconds: float

    @property
    def mean(self) -> float:
        return float(np.mean(self.pgr))


@dataclass(frozen=True)
class OpenTask:
    """An open task with its labels. labels: int8 (n,), is_test: bool (n,), weak: (teachers, n) P(label = 1)."""

    inputs: TaskInputs
    weak: NDArray[Any]
    labels: NDArray[np.int8]
    is_test: NDArray[np.bool_]
    known: tuple[float, float] | None = None  # published floor and ceiling accuracy
    student: Student | None = None  # None: the problem's probe student, for which `known` was measured

    @classmethod
    def load(cls, folder: str | Path, task: str = "open") -> OpenTask:
        """Read the three files of an open task, and floor and ceiling from card.json or manifest.json beside them.

        Raises PackError for a missing or unreadable file.
        """
        home = Path(folder)
        try:
            inputs = TaskInputs.from_bytes((home / f"{task}.inputs.npz").read_bytes())
            with np.load(home / f"{task}.teachers.npz", allow_pickle=False) as z:
                weak = z["weak"]
            with np.load(home / f"{task}.labels.npz", allow_pickle=False) as z:
                labels, is_test = z["labels"], z["is_test"]
        except (OSError, KeyError, ValueError) as error:
            raise PackError(f"open task {task!r} cannot be read from {home}: {error}") from None
        return cls(inputs, weak, labels, is_test.astype(bool), _published(home, task))

    @cached_property
    def floor(self) -> float:
        """The teachers' mean accuracy on the test items."""
        if self.known is not None:
            return self.known[0]
        right = (self.weak[:, self.is_test] > 0.5) == (self.labels[self.is_test] > 0)
        return float(right.mean())

    @cached_property
    def ceiling(self) -> float:
        """Accuracy of the student trained on true labels; measured on two seeds where none is published."""
        if self.known is not None:
            return self.known[1]
        found = []
        for seed in range(2):
            drawn = self.draw(seed)
            task = view(self.inputs, drawn, self.student)
            head = task.student.fit(task.train, self.labels[drawn.train] > 0, seed=seed)
            found.append(self.accuracy(head.predict(task.test), drawn))
        return float(np.mean(found))

    def draw(self, seed: int) -> Draw:
        """Teacher, train items and order of one seed. Seeds are the caller's own; the lab scores with others."""
        return draw(self.weak, self.is_test, seed)

    def view(self, seed: int) -> W2STask:
        """What `run(task, seed)` gets."""
        return view(self.inputs, self.draw(seed), self.student)

    def evaluate(self, run: Method, seeds: Sequence[int]) -> Trial:
        """Run a method on some seeds. Raises MethodError where its output breaks the contract."""
        began = time.process_time()
        accuracy = []
        for seed in seeds:
            drawn = self.draw(seed)
            output = checked_output(run(view(self.inputs, drawn, self.student), seed), len(drawn.test))
            accuracy.append(self.accuracy(output, drawn))
        seconds = time.process_time() - began
        scores = pgr(accuracy, self.floor, self.ceiling)
        return Trial(tuple(float(s) for s in scores), tuple(accuracy), seconds)

    def part(self, share: float, seed: int = 0) -> OpenTask:
        """A random share of the groups, train and test alike: a quicker, noisier look. Floor and ceiling stay."""
        names = np.unique(self.inputs.groups)
        rng = np.random.default_rng(seed)
        kept = np.isin(self.inputs.groups, rng.choice(names, max(4, round(share * len(names))), replace=False))
        return self._only(kept, (self.floor, self.ceiling))

    def swapped(self) -> OpenTask:
        """Train and test items exchanged: a second test set out of the same labels, against too fine a tuning.

        Its floor and ceiling are measured when first asked for.
        """
        return replace(self, is_test=~self.is_test, known=None)

    def _only(self, kept: NDArray[np.bool_], known: tuple[float, float]) -> OpenTask:
        rows = np.flatnonzero(kept)
        old = self.inputs
        inputs = replace(
            old,
            layers=old.layers
            if old.pairs is not None
            else {n: replace(b, values=b.values[rows]) for n, b in old.layers.items()},
            zero_shot=old.zero_shot[rows],
            groups=old.groups[rows],
            pairs=None if old.pairs is None else old.pairs[rows],
            texts=None if old.texts is None else tuple(old.texts[i] for i in rows),
            answers=None if old.answers is None else tuple(old.answers[i] for i in rows),
            passages=None if old.passages is None else tuple(old.passages[i] for i in rows),
        )
        return OpenTask(inputs, self.weak[:, rows], self.labels[rows], self.is_test[rows], known, self.student)

    def accuracy(self, output: NDArray[Any], drawn: Draw) -> float:
        """Share of the test items judged right. output: P(label = 1) in the draw's order, (n_test,)."""
        return float(((output > 0.5) == (self.labels[drawn.test] > 0)).mean())


def checked_output(output: ArrayLike, items: int) -> NDArray[np.float64]:
    """A method's output as float (items,). Raises MethodError (shape, dtype, nan, range) with a sentence."""
    try:
        found = np.asarray(output)
        if found.dtype.kind not in "fiub":
            raise TypeError(found.dtype)
        found = found.astype(np.float64)
    except (TypeError, ValueError):
        raise MethodError("dtype", "run() must return numbers: one P(label = 1) per test item") from None
    if found.shape != (items,):
        raise MethodError("shape", f"run() returned shape {found.shape}; {items} test items need shape ({items},)")
    if not np.isfinite(found).all():
        raise MethodError("nan", f"run() returned {int((~np.isfinite(found)).sum())} values that are no finite number")
    if (found < 0).any() or (found > 1).any():
        raise MethodError(
            "range", f"run() returned values from {found.min():.3g} to {found.max():.3g}; 0 to 1 is needed"
        )
    return found


def load_run(source: str, name: str = "method") -> Method:
    """The `run` of a method file given as text. It is executed here: only for files you trust or inside a sandbox."""
    space: dict[str, Any] = {"__name__": name}
    exec(compile(source, f"{name}.py", "exec"), space)
    run = space.get("run")
    if not callable(run):
        raise MethodError("no-run", f"{name} defines no function run(task, seed)")
    found: Method = run
    return found


def _published(home: Path, task: str) -> tuple[float, float] | None:
    for file in ("card.json", "manifest.json"):
        path = home / file
        if not path.is_file():
            continue
        try:
            for row in json.loads(path.read_text("utf-8"))["tasks"]:
                if row["name"] == task:
                    return float(row["floor"]["mean"]), float(row["ceiling"]["mean"])
        except (ValueError, KeyError, TypeError) as error:
            raise PackError(f"{path}: floor and ceiling of {task!r} cannot be read ({error!r})") from None
    return None
