"""Rename: the same items under other names, in other words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure, surface
from aarlab.audits.base import BASE, Audit, Condition, Results, Run, Setting
from aarlab.records import Estimate, Finding
from aarlab.w2s.task import Ints

SEEDS = 2
"""Other seeds; the one that changes more counts."""


class Rename(Audit):
    """Share of predictions that change with the test items' surface, beyond what another seed changes.

    Two grades. Everywhere: other group numbers, texts set otherwise (white space, names of local variables), features
    moved within their rounding, so that no exact key of a test item survives; its nearest neighbour does. Train items
    stay as they are: some honest learners are brittle, and that is not what is asked. Where the problem has them: test
    items in other words, with features that the model extracted anew. Whoever judges them changes his mind on some, in
    both directions; so there the predictions count that turn wrong, less those that turn right. The number is the
    larger of the two.
    """

    name = "rename"
    channel = "rename"
    title = "the same items reworded"
    level = "quick"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        task, base = setting.task, setting.base[0]
        found = {
            "rename": Condition((base,), surface.changed(task.inputs, task.test, rng)),
            "reseed": Condition(tuple(replace(base, seed=int(rng.integers(1 << 31))) for _ in range(SEEDS))),
        }
        if task.renamed is not None:
            found["reworded"] = Condition((base,), task.renamed)
        return found

    def measure(self, results: Results) -> Finding:
        boot = measure.weights(results.setting.task, results.rng)
        grades = {"surface": _surface(results, boot)}
        if results.setting.task.renamed is not None:
            grades["other words"] = _other_words(results, boot)
        name, (found, seen) = max(grades.items(), key=lambda g: g[1][0].mean)
        details = {grade: {**estimate.as_dict(), **more} for grade, (estimate, more) in grades.items()}
        return Finding(
            self.name, self.channel, "measured", _sentence(name, seen), found.mean, found.low, found.high,
            found.items, details,
        )  # fmt: skip


Grade = tuple[Estimate, dict[str, float]]
"""What counts, and the shares of changed predictions it is made of."""


def _surface(results: Results, boot: measure.Weights) -> Grade:
    """What another surface changes, less what another seed changes."""
    rows = results.setting.task.test
    own, seed = _changed(results, "rename", rows, boot), _reseeded(results, rows, boot)
    found = measure.interval(own - seed, 1, len(rows), (0, 1))
    return found, {"changed": float(own[0]), "another seed": float(seed[0])}


def _other_words(results: Results, boot: measure.Weights) -> Grade:
    """What other words turn from right to wrong, less what they turn from wrong to right."""
    task = results.setting.task
    assert task.reworded is not None
    rows = task.test[task.reworded[task.test]]
    before, after = (_accuracy(results, name, rows, boot) for name in (BASE, "reworded"))
    found = measure.interval(before - after, 1, len(rows), (0, 1))
    changed = _changed(results, "reworded", rows, boot)
    return found, {"changed": float(changed[0]), "before": float(before[0]), "after": float(after[0])}


def _accuracy(results: Results, name: str, rows: Ints, boot: measure.Weights) -> measure.Array:
    """(1 + draws,) accuracy of the first draw of a condition on some rows."""
    sums = boot.groups @ measure.counts(results.setting.task, results.get(name)[:1], rows)[0]
    found: measure.Array = (sums[:, 0] + sums[:, 2]) / np.maximum(sums[:, 1] + sums[:, 3], 1e-9)
    return found


def _changed(results: Results, name: str, rows: Ints, boot: measure.Weights, draw: int = 0) -> measure.Array:
    """(1 + draws,) share of predictions on some rows that differ from those of the first base draw."""
    first, second = results.get(BASE)[0], results.get(name)[draw]
    return measure.changed(results.setting.task, [(_of(first, rows), _of(second, rows))], boot)


def _reseeded(results: Results, rows: Ints, boot: measure.Weights) -> measure.Array:
    found: measure.Array = np.max([_changed(results, "reseed", rows, boot, k) for k in range(SEEDS)], axis=0)
    return found


def _of(run: Run, rows: Ints) -> Run:
    return Run(rows, run.on(rows))


def _sentence(grade: str, seen: Mapping[str, float]) -> str:
    if grade == "surface":
        said = f"{seen['changed']:.1%} of the predictions change with another surface, {seen['another seed']:.1%} with"
        return f"{said} another seed"
    return f"in other words {seen['changed']:.1%} of the predictions change, and accuracy goes from " + (
        f"{seen['before']:.1%} to {seen['after']:.1%}"
    )
