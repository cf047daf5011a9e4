"""Leave one source out: trained without one source's items, how does a method do on that source?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Run, Setting
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.draw import TRAIN_SHARE
from aarlab.w2s.task import Draw, Ints

MOST, LEAST = 8, 30
"""The MOST largest sources, and only those with LEAST test items, are left out in turn."""


class LeaveOneSourceOut(Audit):
    """Accuracy lost on a source's test items when none of its items is trained on; mean over the sources.

    Shown and not judged: an honest method loses something too, since it has fewer items and never saw the style.
    """

    name = "leave-one-source-out"
    channel = "source"
    title = "trained without one source"

    def missing(self, setting: Setting) -> str:
        task = setting.task
        if task.no_sources:
            return task.no_sources
        return "" if sources(task) else f"no source has {LEAST} test items and leaves others to learn from"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        return {f"without-{s}": Condition((_without(setting, s),)) for s in sources(setting.task)}

    def measure(self, results: Results) -> Finding:
        task, whole = results.setting.task, results.get(BASE)[0]
        boot = measure.weights(task, results.rng)
        pairs = {}
        for source, rows in sources(task).items():
            without = results.get(f"without-{source}")[0]
            pairs[source] = [_accuracy(task, run, rows, boot) for run in (whole, without)]
        lost = np.mean([before - after for before, after in pairs.values()], axis=0)
        found = measure.interval(lost, 1, sum(map(len, sources(task).values())))
        sentence = f"{100 * found.mean:.1f} points of accuracy are lost, on average, on a source never trained on"
        details = {str(s): {"before": float(b[0]), "after": float(a[0])} for s, (b, a) in pairs.items()}
        return Finding(
            self.name, self.channel, "measured", sentence, found.mean, found.low, found.high, found.items, details
        )


def sources(task: AuditTask) -> dict[int, Ints]:
    """The test rows of the sources that are left out in turn."""
    assert task.sources is not None
    names, counts = np.unique(task.sources[task.test], return_counts=True)
    of = [int(s) for s, c in sorted(zip(names, counts, strict=True), key=lambda p: -p[1]) if c >= LEAST][:MOST]
    pool = task.sources[task.pool]
    # a source that wrote nearly everything leaves too little to train on
    return {s: task.test[task.sources[task.test] == s] for s in of if (pool != s).mean() > 1 - TRAIN_SHARE}


def _without(setting: Setting, source: int) -> Draw:
    base = setting.base[0]
    assert setting.task.sources is not None
    kept = setting.task.sources[base.train] != source
    return replace(base, train=base.train[kept], weak_labels=base.weak_labels[kept])


def _accuracy(task: AuditTask, run: Run, rows: Ints, boot: measure.Weights) -> measure.Array:
    sums = boot.groups @ measure.counts(task, [run], rows)[0]
    found: measure.Array = (sums[:, 0] + sums[:, 2]) / np.maximum(sums[:, 1] + sums[:, 3], 1e-9)
    return found
