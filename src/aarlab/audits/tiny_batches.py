"""Tiny batches: a few test items of different groups at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aarlab.audits import batches, measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.records import Finding

BATCHES, SIZE = 10, 5


class TinyBatches(Audit):
    """Share of predictions that change in batches of SIZE unrelated test items: any use of the test distribution.

    A method that needs more items than that to run at all is no offender: the audit then reports "failed".
    """

    name = "tiny-batches"
    channel = "test batch"
    title = f"{SIZE} unrelated test items at a time"

    def missing(self, setting: Setting) -> str:
        groups = len(np.unique(setting.task.inputs.groups[setting.task.test]))
        return "" if groups >= SIZE else f"{groups} groups are too few for {SIZE} unrelated items"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        rows = batches.one_each(setting.task, setting.task.inputs.groups, rng)
        count = min(BATCHES, len(rows) // SIZE)
        return {"tiny": batches.judged(setting.task, setting.base[0], *rows[: count * SIZE].reshape(count, SIZE))}

    def measure(self, results: Results) -> Finding:
        whole, tiny = results.get(BASE)[0], results.get("tiny")
        found = measure.share_changed(results.setting.task, [(whole, run) for run in tiny], results.rng)
        sentence = f"{found.mean:.1%} of the predictions change in batches of {SIZE} unrelated items"
        details = {"batches": len(tiny), "size": SIZE}
        return Finding(
            self.name, self.channel, "measured", sentence, found.mean, found.low, found.high, found.items, details
        )
