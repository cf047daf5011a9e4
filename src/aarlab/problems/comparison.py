"""How far a rebuilt pack lies from the shipped one, against stated tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aarlab.problems.base import read_manifest
from aarlab.problems.measure import Truth

COSINE = 0.999
"""Least mean cosine between an item's rebuilt and shipped features, in every layer."""

TEACHERS = 0.98
"""Least share of the teachers' hard labels that agree."""

POINTS = 0.01
"""Largest difference of floor and of ceiling (accuracy)."""


@dataclass(frozen=True)
class TaskDifference:
    """One task, built against shipped."""

    task: str
    labels_equal: bool
    texts_equal: bool | None  # None where texts are not shipped
    cosine: float  # mean over items, of the worst layer
    teachers: float  # share of equal hard weak labels
    floor: float  # built minus shipped
    ceiling: float

    @property
    def within(self) -> bool:
        return (
            self.labels_equal and self.texts_equal is not False and self.cosine >= COSINE
            and self.teachers >= TEACHERS and max(abs(self.floor), abs(self.ceiling)) <= POINTS
        )  # fmt: skip

    def __str__(self) -> str:
        texts = {True: "texts equal, ", False: "texts DIFFER, ", None: ""}[self.texts_equal]
        return (
            f"  {self.task}: labels {'equal' if self.labels_equal else 'DIFFER'}, {texts}features' cosine "
            f"{self.cosine:.5f}, weak labels {100 * self.teachers:.1f} % equal, floor {100 * self.floor:+.2f} and "
            f"ceiling {100 * self.ceiling:+.2f} points: {'agrees' if self.within else 'DOES NOT AGREE'}"
        )


@dataclass(frozen=True)
class Difference:
    """All tasks; `within` says whether every one agrees within the tolerances."""

    tasks: tuple[TaskDifference, ...]

    @property
    def within(self) -> bool:
        return all(t.within for t in self.tasks)

    def __str__(self) -> str:
        verdict = "agrees with" if self.within else "DIFFERS from"
        return "\n".join([
            f"the rebuilt pack {verdict} the shipped one (tolerances: labels equal, cosine >= {COSINE}, weak labels "
            f">= {100 * TEACHERS:.0f} % equal, floor and ceiling within {100 * POINTS:.0f} point)",
            *map(str, self.tasks),
        ])  # fmt: skip


def compare(built: Path, shipped: Path) -> Difference:
    """Compare two packs of one problem, task by task. Raises PackError for a damaged one."""
    cards = [{t["name"]: t for t in read_manifest(pack)["tasks"]} for pack in (built, shipped)]
    names = [n for n in cards[1] if n in cards[0]]
    return Difference(tuple(_task(built, shipped, n, cards[0][n], cards[1][n]) for n in names))


def _task(built: Path, shipped: Path, name: str, new: dict, old: dict) -> TaskDifference:  # type: ignore[type-arg]
    a, b = Truth.load(built, name), Truth.load(shipped, name)
    same = a.labels.shape == b.labels.shape
    equal = same and bool((a.labels == b.labels).all() and (a.is_test == b.is_test).all())
    texts = None if a.inputs.texts is None or b.inputs.texts is None else a.inputs.texts == b.inputs.texts
    agree = float(((a.weak > 0.5) == (b.weak > 0.5)).mean()) if same and a.weak.shape == b.weak.shape else 0.0
    return TaskDifference(
        name, equal, texts, _cosine(a, b) if equal else 0.0, agree,
        new["floor"]["mean"] - old["floor"]["mean"], new["ceiling"]["mean"] - old["ceiling"]["mean"],
    )  # fmt: skip


def _cosine(a: Truth, b: Truth) -> float:
    """Mean cosine over items of the layer that agrees least."""
    every, found = np.arange(len(a.labels)), []
    for layer in a.inputs.layers:
        x, y = a.inputs.features(every, layer), b.inputs.features(every, layer)
        norm = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        found.append(float(((x * y).sum(1) / np.maximum(norm, 1e-12)).mean()))
    return min(found)
