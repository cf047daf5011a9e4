"""Group isolation: the test items come in batches with at most one item of each group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aarlab.audits import batches, measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.records import Estimate, Finding

PASSES, CONTROLS = 3, 2


class GroupIsolation(Audit):
    """Share of predictions that change when an item is judged without the other items of its group.

    0 for a method that judges each item alone. Train items, weak labels and seed are those of the first base draw.
    Groups may be large, so a pass is a sample: one random item of each. The control in the details are batches of the
    same size drawn across groups: a method that changes as much there uses the batch, not the groups.
    """

    name = "group-isolation"
    channel = "test batch"
    title = "one test item of each group at a time"
    level = "quick"

    def missing(self, setting: Setting) -> str:
        groups = setting.task.inputs.groups[setting.task.test]
        return "" if len(np.unique(groups)) < len(groups) else "no group has two test items"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        task, base = setting.task, setting.base[0]
        alone = [batches.one_each(task, task.inputs.groups, rng) for _ in range(PASSES)]
        mixed = [rng.permutation(task.test)[: len(alone[0])] for _ in range(CONTROLS)]
        named = [(f"alone-{i}", rows) for i, rows in enumerate(alone)] + [
            (f"mixed-{i}", r) for i, r in enumerate(mixed)
        ]
        return {name: batches.judged(task, base, rows) for name, rows in named}

    def measure(self, results: Results) -> Finding:
        alone, mixed = (self._changed(results, n, k) for n, k in (("alone", PASSES), ("mixed", CONTROLS)))
        sentence = (
            f"{alone.mean:.1%} of the predictions change when no other item of the group is in the batch "
            f"({mixed.mean:.1%} in batches as small that are drawn across groups)"
        )
        details = {"across groups": mixed.as_dict(), "batch": alone.items // PASSES, "passes": PASSES}
        return Finding(
            self.name, self.channel, "measured", sentence, alone.mean, alone.low, alone.high, alone.items, details
        )

    def _changed(self, results: Results, name: str, passes: int) -> Estimate:
        whole = results.get(BASE)[0]
        pairs = [(whole, run) for i in range(passes) for run in results.get(f"{name}-{i}")]
        return measure.share_changed(results.setting.task, pairs, results.rng)
