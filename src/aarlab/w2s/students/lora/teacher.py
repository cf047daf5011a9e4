"""A weak supervisor that reads: a fine-tuned weak student that judges an item with a critique before its text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import InputError
from aarlab.w2s.students.base import Head, Student
from aarlab.w2s.task import Floats, Items


class LoraTeacher:
    """A weak student and, once it has learnt, its head; keeps the `Teacher` protocol and `critic.Learner`.

    student: any that reads texts, such as a LoraStudent of a smaller model or `strong.smaller(1 / 3)`.
    """

    def __init__(self, student: Student, head: Head | None = None) -> None:
        self.student, self.head = student, head

    def learn(self, items: Items, labels: ArrayLike, notes: Sequence[str], seed: int = 0) -> LoraTeacher:
        """Train a head on true labels (n,), each item once alone and once with its note where it has one.

        Both, because it will be asked both ways: a teacher that never saw critiques would be thrown by their mere
        presence, one that saw nothing else by their absence.
        """
        truth = np.asarray(labels, np.float32)
        beside = np.flatnonzero([bool(note) for note in notes])
        shown = items + items.noted(notes)[beside]
        return LoraTeacher(self.student, self.student.fit(shown, np.concatenate([truth, truth[beside]]), seed=seed))

    def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
        """P(label = 1), (n,), with a note before each text; None for the texts alone. Raises InputError if untaught."""
        if self.head is None:
            raise InputError("this teacher has learnt nothing yet; call learn(items, labels, notes) first")
        return self.head.predict(items if notes is None else items.noted(notes))
