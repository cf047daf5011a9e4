"""Teacher permutation: the weak labels are shuffled among the train items, so that they say nothing about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.records import Finding
from aarlab.w2s.task import Draw

SHUFFLES = 2


class TeacherPermutation(Audit):
    """Share of the skill that goes with the teacher's information: 1 for a method with no other source, 0 for one that
    ignores the weak labels.

    Every shuffle also runs inverted, q becomes 1 - q, and the two count as one: a shuffle that happens to lean towards
    the truth leans away from it inverted. Harder on partial use than the flip: what the teacher adds to another source
    turns into noise that drowns the other source too, or stays out of its way.
    """

    name = "teacher-permutation"
    channel = "teacher"
    title = "weak labels shuffled among the train items"
    level = "full"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        draws = tuple(d for base in setting.base[:SHUFFLES] for d in shuffled(base, rng))
        return {"teacher-permutation": Condition(draws)}

    def measure(self, results: Results) -> Finding:
        base = results.get(BASE)[:SHUFFLES]
        runs = results.get("teacher-permutation")
        lost = measure.share_lost(results.setting.task, base, runs, results.rng, members=2)
        sentence = f"with the weak labels shuffled among the train items the method loses {lost.mean:.0%} of its skill"
        return Finding(self.name, self.channel, "measured", sentence, lost.mean, lost.low, lost.high, lost.items)


def shuffled(draw: Draw, rng: np.random.Generator) -> tuple[Draw, Draw]:
    """A draw with its weak labels shuffled, and the same inverted."""
    labels = rng.permutation(draw.weak_labels)
    return replace(draw, weak_labels=labels), replace(draw, weak_labels=1 - labels)
