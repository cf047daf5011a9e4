"""Trying methods on an open task: its labels are public, so anybody may measure as often as they like."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aarlab.errors import InputError, MethodError, PackError
from aarlab.records import Estimate, Measured
from aarlab.statistics import estimate_pgr, measured, paired_difference, pgr
from aarlab.w2s.draw import draw
from aarlab.w2s.students.base import Student
from aarlab.w2s.task import Draw, TaskInputs, W2STask
from aarlab.w2s.view import view

Method = Callable[[W2STask, int], ArrayLike]


@dataclass(frozen=True)
class Trial:
    """What a method reached on an open task, one entry per seed; `seconds` of CPU in all.

    correct: bool (seeds, n_test), whether each test item was judged rightly, items in the task's order.
    """

    task: OpenTask
    seeds: tuple[int, ...]
    correct: NDArray[np.bool_]
    seconds: float

    @property
    def accuracy(self) -> tuple[float, ...]:
        return tuple(float(a) for a in self.correct.mean(1))

    @cached_property
    def pgr(self) -> tuple[float, ...]:
        return tuple(float(v) for v in pgr(self.accuracy, self.task.floor, self.task.ceiling))

    @property
    def mean(self) -> float:
        """Mean PGR over the seeds."""
        return float(np.mean(self.pgr))

    def estimate(self) -> Estimate:
        """PGR with its 95 % interval over seeds and items, floor and ceiling uncertain too."""
        return estimate_pgr(self.correct, self._groups, *self.task.ends)

    def minus(self, other: Trial) -> Estimate:
        """PGR of this method minus another's on the same seeds and items, with a 95 % interval.

        Raises InputError where seeds or tasks differ: such scores cannot be paired.
        """
        if other.task.inputs is not self.task.inputs or other.seeds != self.seeds:
            raise InputError("the two trials are of different tasks or seeds; evaluate both on the same ones")
        gap = self.task.ceiling - self.task.floor
        return paired_difference(self.correct, other.correct, self._groups, gap)

    @property
    def _groups(self) -> NDArray[Any]:
        return self.task.inputs.groups[self.task.is_test]

    def __str__(self) -> str:
        e = self.estimate()
        return f"PGR {e.mean:.2f} [{e.low:.2f}, {e.high:.2f}], accuracy {np.mean(self.accuracy):.3f}, {e.seeds} seeds"


@dataclass(frozen=True)
class OpenTask:
    """An open task with its labels. labels: int8 (n,), is_test: bool (n,), weak: (teachers, n) P(label = 1)."""

    inputs: TaskInputs
    weak: NDArray[Any]
    labels: NDArray[np.int8]
    is_test: NDArray[np.bool_]
    known: tuple[Measured, Measured] | None = None  # published accuracy of floor and ceiling
    student: Student | None = None  # None: the problem's probe student, for which `known` was measured

    @classmethod
    def load(cls, place: str | Path, task: str = "open", student: Student | None = None) -> OpenTask:
        """An open task with its labels, floor and ceiling, by the name of a shipped problem or from a pack's folder.

        Floor and ceiling come from card.json or manifest.json beside the files; with an own `student` the ceiling
        is measured when first asked for. Raises PackError for a missing or unreadable file.
        """
        home = _home(place)
        try:
            inputs = TaskInputs.from_bytes((home / f"{task}.inputs.npz").read_bytes())
            with np.load(home / f"{task}.teachers.npz", allow_pickle=False) as z:
                weak = z["weak"]
            with np.load(home / f"{task}.labels.npz", allow_pickle=False) as z:
                labels, is_test = z["labels"], z["is_test"]
        except (OSError, KeyError, ValueError) as error:
            raise PackError(f"open task {task!r} cannot be read from {home}: {error}") from None
        known = None if student else _published(home, task)
        return cls(inputs, weak, labels, is_test.astype(bool), known, student)

    @cached_property
    def ends(self) -> tuple[Measured, Measured]:
        """Floor and ceiling: the teachers' accuracy on the test items, and that of the student trained on true labels;
        measured (the ceiling on two seeds) where none is published."""
        if self.known is not None:
            return self.known
        right = (self.weak[:, self.is_test] > 0.5) == (self.labels[self.is_test] > 0)
        return measured(right.mean(1)), measured([self._taught_truth(seed) for seed in range(2)])

    def _taught_truth(self, seed: int) -> float:
        drawn = self.draw(seed)
        task = view(self.inputs, drawn, self.student)
        head = task.student.fit(task.train, self.labels[drawn.train] > 0, seed=seed)
        return self.accuracy(head.predict(task.test), drawn)

    @property
    def floor(self) -> float:
        """The teachers' mean accuracy on the test items."""
        return self.ends[0].mean

    @property
    def ceiling(self) -> float:
        """Mean accuracy of the student trained on true labels."""
        return self.ends[1].mean

    def draw(self, seed: int) -> Draw:
        """Teacher, train items and order of one seed. Seeds are the caller's own; the lab scores with others."""
        return draw(self.weak, self.is_test, seed)

    def view(self, seed: int) -> W2STask:
        """What `run(task, seed)` gets."""
        return view(self.inputs, self.draw(seed), self.student)

    def evaluate(self, run: Method, seeds: Sequence[int]) -> Trial:
        """Run a method on some seeds. Raises MethodError where its output breaks the contract."""
        began, correct = time.process_time(), []
        for seed in seeds:
            drawn = self.draw(seed)
            output = checked_output(run(view(self.inputs, drawn, self.student), seed), len(drawn.test))
            correct.append(self.right(output, drawn)[np.argsort(drawn.test)])
        return Trial(self, tuple(seeds), np.stack(correct), time.process_time() - began)

    def part(self, share: float, seed: int = 0) -> OpenTask:
        """A random share of the groups, train and test alike: a quicker, noisier look. Published floor
        and ceiling stay."""
        names = np.unique(self.inputs.groups)
        rng = np.random.default_rng(seed)
        kept = np.isin(self.inputs.groups, rng.choice(names, max(4, round(share * len(names))), replace=False))
        return self._only(kept)

    def swapped(self) -> OpenTask:
        """Train and test items exchanged: a second test set out of the same labels, against too fine a tuning.

        Its floor and ceiling are measured when first asked for.
        """
        return replace(self, is_test=~self.is_test, known=None)

    def _only(self, kept: NDArray[np.bool_]) -> OpenTask:
        rows = np.flatnonzero(kept)
        inputs = part(self.inputs, rows)
        return OpenTask(inputs, self.weak[:, rows], self.labels[rows], self.is_test[rows], self.known, self.student)

    def right(self, output: NDArray[Any], drawn: Draw) -> NDArray[np.bool_]:
        """Whether each test item is judged rightly, in the draw's order. output: P(label = 1), (n_test,)."""
        found: NDArray[np.bool_] = (output > 0.5) == (self.labels[drawn.test] > 0)
        return found

    def accuracy(self, output: NDArray[Any], drawn: Draw) -> float:
        """Share of the test items judged rightly."""
        return float(self.right(output, drawn).mean())


def part(old: TaskInputs, rows: NDArray[np.intp]) -> TaskInputs:
    """The inputs of some items, numbered anew. Layers that pairs refer to stay whole."""
    layers = old.layers
    if old.pairs is None:
        layers = {n: replace(b, values=b.values[rows]) for n, b in layers.items()}
    return replace(
        old,
        layers=layers,
        zero_shot=old.zero_shot[rows],
        groups=old.groups[rows],
        pairs=None if old.pairs is None else old.pairs[rows],
        texts=None if old.texts is None else tuple(old.texts[i] for i in rows),
        answers=None if old.answers is None else tuple(old.answers[i] for i in rows),
        passages=None if old.passages is None else tuple(old.passages[i] for i in rows),
    )


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


def _published(home: Path, task: str) -> tuple[Measured, Measured] | None:
    for file in ("card.json", "manifest.json"):
        path = home / file
        if not path.is_file():
            continue
        try:
            for row in json.loads(path.read_text("utf-8"))["tasks"]:
                if row["name"] == task:
                    return Measured(**row["floor"]), Measured(**row["ceiling"])
        except (ValueError, KeyError, TypeError) as error:
            raise PackError(f"{path}: floor and ceiling of {task!r} cannot be read ({error!r})") from None
    return None


def _home(place: str | Path) -> Path:
    """The folder of a pack: `place` itself, or the pack of the shipped problem of that name."""
    shipped = Path(str(resources.files("aarlab"))) / "problems" / str(place).replace("-", "_") / "pack"
    return shipped if not Path(place).exists() and shipped.is_dir() else Path(place)
