"""What a weak-to-strong method is given: items without labels, a teacher's weak labels, and a student.

`TaskInputs` is everything of a task that may enter a sandbox: quantised features, the zero-shot score, texts
and groups, and no labels and no teacher. `Draw` is what one seed makes of it (which items are train and test,
in which order, which weak labels). `view` puts the two together into the `W2STask` that `run(task, seed)` gets.

Where the weak supervisor is at hand and not only its labels, `W2STask.teacher` answers again, also with a note (a
critique) beside each item: `teacher.predict(items, notes)`. `W2STask.extras` may then hold what the teacher was trained
on, the only true labels a method ever sees: `own_items` (Items) and `own_labels` (P(label = 1), (k,)), never items of
`train` or `test`; and `reinforcement`, the settings with which the student's writing is reinforced.
`aarlab.w2s.critic` reads all three; docs/critic.md says how.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import NotApplicable
from aarlab.w2s import texts

if TYPE_CHECKING:
    from aarlab.w2s.students.base import Student, Teacher

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?")


@dataclass(frozen=True)
class Layer:
    """One feature block: `values * scale` are the features. Values int8 (rows, width), scale float32 (width,)."""

    values: NDArray[Any]
    scale: Floats

    def rows(self, index: Ints) -> Floats:
        return self.values[index].astype(np.float32) * self.scale


@dataclass(frozen=True)
class StudentSpec:
    """How the problem fixes its student: which layers the head reads, the weight of each, and the ridge strength.

    A block's standardised features are multiplied by the square root of its weight, so that a few
    log-probabilities can count as much as a hidden layer. `ridge` is part of the problem, not of a method:
    it moves floor and ceiling alike.
    """

    layers: tuple[str, ...]
    weights: tuple[float, ...]
    ridge: float


@dataclass(frozen=True)
class TaskInputs:
    """All of a task that may enter a sandbox. `n` items; feature rows may be sentences that `pairs` refers to."""

    problem: str
    task: str
    layers: dict[str, Layer]
    zero_shot: Floats  # (n,) the student's untrained opinion; higher means label 1 is likelier
    groups: Ints  # (n,) items of one group share a problem, specification or document
    student: StudentSpec
    pairs: Ints | None = None  # (n, 2) rows of the layers; an item's features are the first minus the second
    texts: tuple[str, ...] | None = None  # None where the texts may not be shipped
    answers: tuple[str, ...] | None = None  # the final answer an item claims, where the domain has one
    passages: tuple[tuple[str, ...], ...] | None = None  # the texts in parts, where `aarlab.w2s.texts` cannot tell

    def __len__(self) -> int:
        return len(self.zero_shot)

    @cached_property
    def exclusive(self) -> bool:
        """Whether every answer is a number, so that of the distinct answers of one group at most one is right."""
        return self.answers is not None and all(_NUMBER.fullmatch(a.strip()) for a in set(self.answers))

    def features(self, index: Ints, layer: str) -> Floats:
        """The features of some items, float32 (len(index), width)."""
        block = self.layers[layer]
        if self.pairs is None:
            return block.rows(index)
        pair = self.pairs[index]
        return block.rows(pair[:, 0]) - block.rows(pair[:, 1])

    def to_bytes(self) -> bytes:
        """One npz archive without pickles."""
        arrays: dict[str, NDArray[Any]] = {"zero_shot": self.zero_shot, "groups": self.groups}
        for name, layer in self.layers.items():
            arrays[f"values.{name}"], arrays[f"scale.{name}"] = layer.values, layer.scale
        if self.pairs is not None:
            arrays["pairs"] = self.pairs
        meta = {
            "problem": self.problem, "task": self.task, "layers": list(self.layers), "texts": self.texts,
            "answers": self.answers, "student": vars(self.student), "passages": self.passages,
        }  # fmt: skip
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        out = io.BytesIO()
        np.savez(out, **arrays)  # type: ignore[arg-type]
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TaskInputs:
        with np.load(io.BytesIO(data), allow_pickle=False) as z:
            meta = json.loads(z["meta"].tobytes())
            student = meta["student"]
            return cls(
                problem=meta["problem"],
                task=meta["task"],
                layers={n: Layer(z[f"values.{n}"], z[f"scale.{n}"]) for n in meta["layers"]},
                zero_shot=z["zero_shot"],
                groups=z["groups"],
                student=StudentSpec(tuple(student["layers"]), tuple(student["weights"]), float(student["ridge"])),
                pairs=z.get("pairs"),
                texts=tuple(meta["texts"]) if meta["texts"] is not None else None,
                answers=tuple(meta["answers"]) if meta["answers"] is not None else None,
                passages=tuple(map(tuple, meta["passages"])) if meta.get("passages") is not None else None,
            )


@dataclass(frozen=True)
class Draw:
    """What one seed makes of a task. `train`, `test`: row numbers of the task; `weak_labels` belong to `train`."""

    train: Ints
    test: Ints
    weak_labels: Floats
    seed: int


class Items(Sequence[int]):
    """A list of items without labels. Index it with an integer array, a slice or a mask to get a smaller one."""

    def __init__(
        self,
        inputs: TaskInputs,
        rows: Ints,
        ids: NDArray[np.str_],
        mirrored: NDArray[np.bool_] | None = None,
        notes: NDArray[np.object_] | None = None,
    ) -> None:
        self._inputs, self._rows, self._ids = inputs, rows, ids
        self._mirrored = np.zeros(len(rows), bool) if mirrored is None else mirrored
        self._notes = np.full(len(rows), "", object) if notes is None else notes

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)):
            index = [int(index)]
        return Items(self._inputs, self._rows[index], self._ids[index], self._mirrored[index], self._notes[index])

    def __add__(self, other: Items) -> Items:
        """Both lists one after the other; both of one task."""
        if other._inputs is not self._inputs:
            raise ValueError("items of two different tasks cannot be joined")
        return Items(
            self._inputs,
            np.concatenate([self._rows, other._rows]),
            np.concatenate([self._ids, other._ids]),
            np.concatenate([self._mirrored, other._mirrored]),
            np.concatenate([self._notes, other._notes]),
        )

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Items({len(self)} of {self._inputs.problem})"

    @property
    def ids(self) -> list[str]:
        """Opaque names, different in every run."""
        return [str(i) for i in self._ids]

    @property
    def texts(self) -> list[str]:
        """The items as text. Where a licence forbids shipping the texts, a fixed notice stands in each place."""
        if self._inputs.texts is None:
            return ["(text not shipped: its rights do not allow it)"] * len(self)
        if not self._mirrored.any():
            return [note + self._inputs.texts[i] for note, i in zip(self._notes, self._rows, strict=True)]
        return [texts.whole(parts, self.paired) for parts in self.passages]

    @property
    def passages(self) -> list[tuple[str, ...]]:
        """The texts in parts: (question, answer), or of a comparison (question, first, second); a question may be
        empty. Raises NotApplicable where the texts are not shipped."""
        inputs = self._inputs
        if inputs.texts is None and inputs.passages is None:
            raise NotApplicable(f"{inputs.problem} ships no texts (their rights do not allow it)")
        found = [texts.passage(inputs, int(i)) for i in self._rows]
        turned = [(p[0], p[2], p[1]) if m and self.paired else p for p, m in zip(found, self._mirrored, strict=True)]
        return [(note + p[0], *p[1:]) for note, p in zip(self._notes, turned, strict=True)]

    @property
    def groups(self) -> Ints:
        """Which items belong together (same problem, specification or document); numbers mean nothing else. (n,)"""
        return self._inputs.groups[self._rows]

    @property
    def answers(self) -> list[str] | None:
        """The final answer each item claims, where the domain has one; else None."""
        if self._inputs.answers is None:
            return None
        return [self._inputs.answers[i] for i in self._rows]

    @property
    def exclusive(self) -> bool:
        """Whether distinct answers in one group exclude each other: two results of one sum do, two texts that may do
        the same thing do not. True where every answer is a number."""
        return self._inputs.exclusive

    @property
    def paired(self) -> bool:
        """Whether an item compares two things, so that `mirror()` asks the opposite question."""
        return self._inputs.pairs is not None

    def mirror(self) -> Items:
        """The same comparisons with both sides exchanged: label 1 becomes label 0. Only where `paired`."""
        if not self.paired:
            raise ValueError("these items are no comparisons; only paired items can be mirrored")
        return Items(self._inputs, self._rows, self._ids, ~self._mirrored, self._notes)

    def noted(self, notes: Sequence[str]) -> Items:
        """The same items with a note (a critique) before each text, in the place of any note they had; "" for none.

        Whoever reads texts or passages sees it; features and zero-shot scores do not. A mirrored comparison keeps its
        note as it is. Raises ValueError unless there is one note per item.
        """
        if len(notes) != len(self):
            raise ValueError(f"{len(notes)} notes for {len(self)} items; give one each")
        written = np.array([f"{note}\n\n" if note else "" for note in notes], object)
        return Items(self._inputs, self._rows, self._ids, self._mirrored, written)

    def features(self, layer: str) -> Floats:
        """The student's features of one layer, float32 (n, width)."""
        if layer not in self._inputs.layers:
            raise KeyError(f"no layer {layer!r}; this student has {', '.join(self._inputs.layers)}")
        x = self._inputs.features(self._rows, layer)
        return self._signed(x)

    def zero_shot(self) -> Floats:
        """The untrained student's recorded opinion, float32 (n,): higher means label 1 is likelier."""
        return self._signed(self._inputs.zero_shot[self._rows].astype(np.float32))

    def _signed(self, values: Floats) -> Floats:
        if self._mirrored.any():
            values[self._mirrored] *= -1
        return values


@dataclass(frozen=True)
class W2STask:
    """What `run(task, seed)` gets.

    `weak_labels`: the teacher's P(label = 1) on `train`, float32 (n_train,). No true label is anywhere in here.
    """

    train: Items
    test: Items
    weak_labels: Floats
    student: Student
    extras: dict[str, Any] = field(default_factory=dict)
    teacher: Teacher | None = None  # where the weak supervisor may be asked again
