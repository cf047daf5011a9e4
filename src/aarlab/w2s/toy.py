"""A small synthetic open task with the traits of the real ones: for a first look, for examples and for tests.

Truth is a direction in the student's features. The teacher sees a noisy version of another, correlated direction, so
its errors are partly readable from the features; the zero-shot score is a third, independent noisy view of truth.

`AttentiveTeacher` is the toy's teacher for critic training: it can be asked again, and a critique can help it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.w2s.heads import expit
from aarlab.w2s.open_task import OpenTask
from aarlab.w2s.task import Floats, Items, Layer, StudentSpec, TaskInputs


def make(kind: str = "math", groups: int = 220, seed: int = 0) -> OpenTask:
    """kind: `math` (answers that exclude each other, a logprob layer), `code` (answers that do not), `pref` (pairs)."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 4)
    n = len(group)
    truth = (rng.random(n) < 0.5).astype(np.int8)
    sign = 2.0 * truth - 1
    misled = rng.standard_normal(n)
    hidden = rng.standard_normal((n, 48)).astype(np.float32)
    hidden[:, :6] += 0.55 * sign[:, None]
    hidden[:, 6:12] += 0.8 * misled[:, None]
    score = (sign + 1.3 * rng.standard_normal(n)).astype(np.float32)
    weak = np.stack([_teacher(sign, misled, np.random.default_rng(100 + t)) for t in range(24)])
    layers = {"m20": _layer(hidden[:, :24]), "l20": _layer(hidden[:, 24:] + 0.2 * sign[:, None])}
    names: tuple[str, ...] = ("m20", "l20")
    answers = None
    if kind != "pref":
        logprob = np.stack([score + 0.5 * rng.standard_normal(n) for _ in range(6)], 1).astype(np.float32)
        layers["logprob"] = _layer(logprob)
        names = ("m20", "logprob")
        # the right answer of a group is one number, each wrong item has its own
        answers = tuple(
            str(1000 + g) if t else str(2000 + i) for i, (g, t) in enumerate(zip(group, truth, strict=True))
        )
    if kind == "code":
        answers = tuple(f"k{a}" for a in answers or ())
    pairs = None
    if kind == "pref":
        flat = np.zeros((2 * n, 24), np.float32)
        flat[:n], flat[n:] = hidden[:, :24] / 2, -hidden[:, :24] / 2
        layers = {"m20": _layer(flat), "l20": _layer(np.concatenate([hidden[:, 24:], 0 * hidden[:, 24:]]))}
        pairs = np.stack([np.arange(n), np.arange(n) + n], 1)
    inputs = TaskInputs(
        problem=f"toy-{kind}", task="open", layers=layers, zero_shot=score, groups=group,
        student=StudentSpec(names, (1.0, 1.0), 0.2), pairs=pairs,
        texts=tuple(f"item {i}" for i in range(n)), answers=answers, passages=_passages(group, pairs is not None),
    )  # fmt: skip
    return OpenTask(inputs, weak.astype(np.float16), truth, group % 5 < 2)


class AttentiveTeacher:
    """A weak teacher that overlooks the evidence unless a critique contains its word; keeps the `Teacher` protocol.

    Alone it judges by the columns of the toy's layer `m20` that mislead. The weight of the columns that tell the truth
    grows with how often `word` stands in the note, up to `enough` times. So a critic that learns the word helps the
    teacher, and by how much is known: about 65 % of its labels are right without help and 90 % with all of it.
    """

    def __init__(self, word: str = "evidence", enough: int = 1) -> None:
        self.word, self.enough = word, enough

    def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
        """P(label = 1), (n,), with a critique beside each item."""
        seen = items.features("m20")
        heard = np.zeros(len(items)) if notes is None else np.array([note.count(self.word) for note in notes])
        attention = np.minimum(heard / self.enough, 1)
        return expit(0.15 * seen[:, 6:12].sum(1) + (0.1 + attention) * seen[:, :6].sum(1))


def save(task: OpenTask, folder: Path) -> Path:
    """Write the three files and card.json as the lab lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open.inputs.npz").write_bytes(task.inputs.to_bytes())
    np.savez(folder / "open.teachers.npz", weak=task.weak)
    np.savez(folder / "open.labels.npz", labels=task.labels, is_test=task.is_test)
    row = {
        "name": "open", "role": "open",
        "floor": {"mean": task.floor, "se": 0.003, "seeds": 24},
        "ceiling": {"mean": task.ceiling, "se": 0.003, "seeds": 20},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps({"problem": task.inputs.problem, "tasks": [row]}))
    return folder


def _teacher(sign: Any, misled: Any, rng: np.random.Generator) -> Any:
    odds = 0.35 * sign + 0.7 * misled + 0.5 * rng.standard_normal(len(sign))
    return 1 / (1 + np.exp(-odds))


def _passages(group: Any, paired: bool) -> tuple[tuple[str, ...], ...]:
    return tuple((f"Question {g}. ", f"item {i}", f"other {i}")[: 3 if paired else 2] for i, g in enumerate(group))


def _layer(values: Any) -> Layer:
    return Layer(values.astype(np.float32), np.ones(values.shape[1], np.float32))
