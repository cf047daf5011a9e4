"""Critiques that help a weak teacher judge: what the critic is asked, how it is rewarded, what it changes.

A strong student writes a critique c of an item x; the teacher judges again with c beside x. Two rewards:

    improvement   r = clip(log P(y | x, c) - log P(y | x), -cap, cap)     y true: only on the teacher's own labelled set
    objection     r = 1[the teacher, reading c, finds the criticised answer wrong]        no label; as the study's code

Nothing here trains: students and teachers come from outside (`aarlab.w2s.students`). docs/critic.md tells the whole
method and what was decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import InputError, NotApplicable
from aarlab.w2s.open_task import OpenTask
from aarlab.w2s.parts.train import folds
from aarlab.w2s.students.base import Student, Teacher
from aarlab.w2s.students.reinforcement import Reinforcement, Reward, Writer
from aarlab.w2s.task import Floats, Ints, Items, W2STask
from aarlab.w2s.view import view

CAP = 2.0
"""Most nats one critique can earn or lose: a teacher that was very sure and wrong must not drown all other items."""

LEAST = 1e-4
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""

FOLDS = 2
"""Parts of the teacher's labelled set; each is judged by a teacher that learnt from the others."""

_FRAME = """An examiner marks the following work. Work like this often contains mistakes.

{work}

What is wrong here, and where? Be specific and brief. If nothing is wrong, say so.

Critique:"""


@runtime_checkable
class Learner(Protocol):
    """A teacher that can be taught anew from true labels, to read critiques."""

    def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
        """As `Teacher.predict`."""
        ...

    def learn(self, items: Items, labels: ArrayLike, notes: Sequence[str], seed: int = 0) -> Teacher:
        """A teacher of the same kind, trained on these items, each once as it is and once with its note."""
        ...


def needs(task: W2STask) -> tuple[Teacher, Student, Writer]:
    """The teacher, and the student as one that is trained and one that writes.

    Raises NotApplicable, naming what this task or student does not have.
    """
    missing = []
    if task.teacher is None:
        missing.append("a teacher that can be asked again (this task holds only its labels)")
    if not isinstance(task.student, Writer):
        kind = type(task.student).__name__
        missing.append(f"a student that writes (the {kind} writes no text; use the LoRA student)")
    if missing:
        raise NotApplicable(f"critic training needs {' and '.join(missing)}")
    return cast("Teacher", task.teacher), task.student, cast("Writer", task.student)


def prompts(items: Items) -> list[str]:
    """What the critic is asked. One prompt per item, (n,); for comparisons one per side, (2n,), all first sides first.

    The critic sees one answer at a time and never which other it competes with. Raises NotApplicable without texts.
    """
    parts = items.passages
    return [_asked(passage[0], passage[side]) for side in range(1, 1 + _sides(items)) for passage in parts]


def notes(texts: Sequence[str], items: Items) -> list[str]:
    """Critiques, in the order of `prompts(items)`, as the teacher reads them: one note per item, (n,)."""
    if len(texts) != _sides(items) * len(items):
        raise InputError(f"{len(texts)} critiques for {len(items)} items; {_sides(items) * len(items)} are needed")
    if not items.paired:
        return [_note("Critique", text) for text in texts]
    first, second = texts[: len(items)], texts[len(items) :]
    both = ((_note("Critique of A", a), _note("Critique of B", b)) for a, b in zip(first, second, strict=True))
    return ["\n".join(filter(None, pair)) for pair in both]


def write(writer: Writer, items: Items, tokens: int, copies: int = 1, seed: int = 0) -> list[list[str]]:
    """`copies` critiques of every item, each list in the order of `prompts(items)`."""
    asked = prompts(items)
    return [[text.strip() for text in writer.generate(asked, tokens, seed + copy)] for copy in range(copies)]


def relabelled(teacher: Teacher, items: Items, copies: Sequence[Sequence[str]]) -> Floats:
    """The teacher's P(label = 1) with critiques beside the items, averaged over the copies, (n,)."""
    if not copies:
        raise InputError("no critiques to relabel with; write at least one copy")
    heard = [teacher.predict(items, notes(texts, items)) for texts in copies]
    helped: Floats = np.mean(heard, axis=0, dtype=np.float32)
    return helped


@dataclass(frozen=True)
class Panel:
    """Who judges which item while critiques are rewarded. `where`: (n,) the teacher of each item.

    others: (sides * n,) a critique for each prompt, standing for the side of a comparison that is not criticised.
    """

    teachers: tuple[Teacher, ...]
    where: Ints
    items: Items
    others: tuple[str, ...]

    def place(self, rows: Ints) -> tuple[Ints, Ints]:
        """Item and side (0 first, 1 second) of some prompts, each (b,)."""
        return rows % len(self.items), rows // len(self.items)

    def alone(self) -> Floats:
        """P(label = 1) without critiques, (n,)."""
        return self._judged(np.arange(len(self.items)), None)

    def helped(self, rows: Ints, texts: Sequence[str]) -> Floats:
        """P(label = 1) with the text beside the item, (b,); rows: which prompt each text answers."""
        which, side = self.place(rows)
        written = list(texts)
        if self.items.paired:
            other = [self.others[at] for at in which + len(self.items) * (1 - side)]
            pairs = list(zip(written, other, side, strict=True))
            written = [b if s else a for a, b, s in pairs] + [a if s else b for a, b, s in pairs]
        return self._judged(which, notes(written, self.items[which]))

    def _judged(self, which: Ints, beside: list[str] | None) -> Floats:
        out = np.zeros(len(which), np.float32)
        for number, teacher in enumerate(self.teachers):
            rows = np.flatnonzero(self.where[which] == number)
            if len(rows):
                shown = None if beside is None else [beside[i] for i in rows]
                out[rows] = teacher.predict(self.items[which[rows]], shown)
        return out


def improvement(panel: Panel, labels: ArrayLike, cap: float = CAP) -> Reward:
    """Reward: how much likelier the critique makes the right label to the teacher, in nats, within -cap and cap.

    labels: the true labels of the panel's items, (n,), 0 or 1; for each prompt that of its item.
    """
    truth = np.asarray(labels, np.float32)
    if truth.shape != (len(panel.items),) or not np.isin(truth, (0, 1)).all():
        raise InputError(f"labels of shape {truth.shape}; {len(panel.items)} labels, each 0 or 1, are needed")
    before = _right(panel.alone(), truth)

    def reward(rows: Ints, texts: Sequence[str]) -> Floats:
        which, _ = panel.place(rows)
        gain: Floats = np.clip(_right(panel.helped(rows, texts), truth[which]) - before[which], -cap, cap)
        return gain

    return reward


def objection(panel: Panel) -> Reward:
    """Reward: 1 where the teacher, reading the critique, finds the criticised answer wrong (or the other better).

    Needs no label. What holds it to the truth is that the teacher learnt from true labels which critiques to believe.
    """

    def reward(rows: Ints, texts: Sequence[str]) -> Floats:
        right = panel.helped(rows, texts)
        _, side = panel.place(rows)
        return np.where(side == 1, right > 0.5, right <= 0.5).astype(np.float32)

    return reward


@dataclass(frozen=True)
class Lesson:
    """All that reinforcing a critic takes, and the teacher that will judge with its critiques afterwards."""

    prompts: list[str]
    reward: Reward
    teacher: Teacher


def lesson(task: W2STask, settings: Reinforcement, seed: int = 0) -> Lesson:
    """By improvement where the task offers the teacher's own labelled set, else by objection on the train items."""
    if "own_items" in task.extras:
        return by_improvement(task, task.extras["own_items"], task.extras["own_labels"], settings, seed)
    return by_objection(task, settings, seed)


def by_improvement(task: W2STask, own: Items, labels: ArrayLike, settings: Reinforcement, seed: int = 0) -> Lesson:
    """A teacher that can learn is taught with the untrained student's critiques, and rewards out of fold.

    A teacher that cannot judges its own training items, of which it is sure already: its rewards are smaller.
    """
    teacher, _, writer = needs(task)
    truth = np.asarray(labels, np.float32)
    drafts = write(writer, own, settings.tokens, 1, seed)[0]
    panel = Panel((teacher,), np.zeros(len(own), np.int64), own, tuple(drafts))
    if isinstance(teacher, Learner):
        beside = np.array(notes(drafts, own), object)
        where = folds(own.groups, FOLDS, np.random.default_rng(seed))
        others = [np.flatnonzero(where != fold) for fold in range(FOLDS)]
        panel = Panel(
            tuple(teacher.learn(own[rows], truth[rows], list(beside[rows]), seed) for rows in others),
            where, own, tuple(drafts),
        )  # fmt: skip
        teacher = teacher.learn(own, truth, list(beside), seed)
    return Lesson(prompts(own), improvement(panel, truth), teacher)


def by_objection(task: W2STask, settings: Reinforcement, seed: int = 0) -> Lesson:
    """The train items, without their labels; a teacher that can learn is first taught to read critiques on its own set.

    The other side of a comparison is held by the untrained student's critique of it.
    """
    teacher, _, writer = needs(task)
    own = task.extras.get("own_items")
    if own is not None and isinstance(teacher, Learner):
        beside = notes(write(writer, own, settings.tokens, 1, seed)[0], own)
        teacher = teacher.learn(own, task.extras["own_labels"], beside, seed)
    drafts = write(writer, task.train, settings.tokens, 1, seed)[0] if task.train.paired else []
    panel = Panel((teacher,), np.zeros(len(task.train), np.int64), task.train, tuple(drafts))
    return Lesson(prompts(task.train), objection(panel), teacher)


def with_teacher(
    open_task: OpenTask, seed: int, teacher: Teacher, own: float = 0.0, student: Student | None = None
) -> W2STask:
    """One seed's view of an open task with a teacher to ask, and its labels anew.

    own: share of the train groups that become the teacher's own labelled set, in place of train items. A teacher that
    can learn is taught on it, without critiques, before it labels. Raises InputError for a share outside [0, 1).
    """
    if not 0 <= own < 1:
        raise InputError(f"own is {own}; the share of the teacher's own items is at least 0 and below 1")
    drawn = open_task.draw(seed)
    names = np.random.default_rng(seed).permutation(np.unique(open_task.inputs.groups[drawn.train]))
    taken = np.isin(open_task.inputs.groups[drawn.train], names[: round(own * len(names))])
    whole = view(open_task.inputs, drawn, student or open_task.student)
    train, mine = whole.train[~taken], whole.train[taken]
    labels = (open_task.labels[drawn.train[taken]] > 0).astype(np.float32)
    extras = {"own_items": mine, "own_labels": labels} if len(mine) else {}
    if len(mine) and isinstance(teacher, Learner):
        teacher = teacher.learn(mine, labels, [""] * len(mine), seed)
    return replace(whole, train=train, weak_labels=teacher.predict(train), extras=extras, teacher=teacher)


def _sides(items: Items) -> int:
    return 2 if items.paired else 1


def _asked(question: str, answer: str) -> str:
    stem = question.strip().removesuffix("Answer:").strip()
    parts = [stem, f"The answer to be marked:\n{answer.strip()}"] if stem else [answer.strip()]
    return _FRAME.format(work="\n\n".join(parts))


def _note(heading: str, text: str) -> str:
    return f"{heading}: {text.strip()}" if text.strip() else ""


def _right(probability: Floats, truth: Floats) -> Floats:
    """Log-probability of the right label, (n,)."""
    right = np.where(truth > 0.5, probability, 1 - probability)
    found: Floats = np.log(np.clip(right, LEAST, 1 - LEAST)).astype(np.float32)
    return found
