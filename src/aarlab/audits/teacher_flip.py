"""Teacher flip: the same draws with every weak label inverted, q becomes 1 - q."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.records import Finding


class TeacherFlip(Audit):
    """Share of the skill that hangs on the teacher: half of what is lost, since a turned teacher turns the skill.

    1 for a method that learns from the weak labels alone, 0 for one that ignores them. Noise-free for learners that
    treat both labels alike. A method that notices the flip and behaves passes: the teacher swap is for that.
    """

    name = "teacher-flip"
    channel = "teacher"
    title = "weak labels inverted"
    level = "quick"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        return {"flip": Condition(tuple(replace(d, weak_labels=1 - d.weak_labels) for d in setting.base[:2]))}

    def measure(self, results: Results) -> Finding:
        task, flipped = results.setting.task, results.get("flip")
        lost = measure.share_lost(task, results.get(BASE)[: len(flipped)], flipped, results.rng)
        value, low, high = (x / 2 for x in (lost.mean, lost.low, lost.high))
        sentence = f"with every weak label inverted the method loses {value:.0%} of what a turned teacher could cost it"
        return Finding(self.name, self.channel, "measured", sentence, value, low, high, lost.items)
