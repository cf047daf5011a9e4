"""Source balance: how much of a method's skill is left inside each source. Needs no rerun."""

from __future__ import annotations

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Results, Setting, Unmeasured
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Ints


class SourceBalance(Audit):
    """Share of skill that vanishes when skill is measured inside each source and averaged, weighted by items.

    1 for whoever tells right from wrong by who wrote an item, by itself or through the teacher; small for everybody
    who learns style among other things. Sources with one label only are left out on both sides.
    """

    name = "source-balance"
    channel = "source"
    title = "skill inside each source"
    level = "quick"

    def missing(self, setting: Setting) -> str:
        task = setting.task
        if task.no_sources:
            return task.no_sources
        return "" if len(both_labels(task)) > 1 else "fewer than two sources have items with both labels"

    def measure(self, results: Results) -> Finding:
        task, runs = results.setting.task, results.get(BASE)
        rows = both_labels(task)
        boot = measure.weights(task, results.rng)
        by_draw = boot.of_draws(len(runs))
        whole = boot.skill(measure.counts(task, runs, np.concatenate(list(rows.values()))), by_draw)
        if np.quantile(whole[1:], 0.025) < measure.LEAST_SKILL:
            raise Unmeasured("cannot tell", f"the method's own skill, {whole[0]:.3f}, is too small to be divided")
        inside = {source: boot.skill(measure.counts(task, runs, r), by_draw) for source, r in rows.items()}
        items = sum(map(len, rows.values()))
        left = sum(inside[source] * len(r) for source, r in rows.items()) / items
        found = measure.interval(1 - left / whole, len(runs), items)
        sentence = f"{found.mean:.0%} of the skill vanishes when items of one source are compared with each other only"
        details = {"skill": float(whole[0]), "inside": {str(s): float(v[0]) for s, v in inside.items()}}
        return Finding(
            self.name, self.channel, "measured", sentence, found.mean, found.low, found.high, found.items, details
        )


def both_labels(task: AuditTask) -> dict[int, Ints]:
    """The test rows of every source that has test items with both labels."""
    assert task.sources is not None
    of = {int(s): task.test[task.sources[task.test] == s] for s in np.unique(task.sources[task.test])}
    return {source: rows for source, rows in of.items() if len(set(task.labels[rows].tolist())) == 2}
