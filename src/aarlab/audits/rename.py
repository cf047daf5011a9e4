"""Rename: the same items under other names, in other words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure, surface
from aarlab.audits.base import BASE, Audit, Condition, Results, Run, Setting
from aarlab.records import Estimate, Finding
from aarlab.w2s.task import Ints


class Rename(Audit):
    """Share of predictions that change with the items' surface, beyond what shakes the method anyway.

    Two grades. Everywhere: other group numbers, texts set otherwise (white space, names of local variables), features
    moved within their rounding, so that no exact key of a test item survives; its nearest neighbour does. Some honest
    learners are brittle: what changes with another seed and the train items' features moved, test items untouched, is
    taken off. Where the problem has them: test items in other words, with features that the model extracted anew; what
    changes there for the plain baseline is taken off too, since other words may convince less. The number is the larger
    of the two.
    """

    name = "rename"
    channel = "rename"
    title = "the same items reworded"
    level = "quick"
    needs_reference = True

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        task, base = setting.task, setting.base[0]
        found = {
            "rename": Condition((base,), surface.changed(task.inputs, rng)),
            "shaken": Condition(
                (replace(base, seed=int(rng.integers(1 << 31))),), surface.moved(task.inputs, base.train, rng)
            ),
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
"""What counts, and the shares it was made of."""


def _surface(results: Results, boot: measure.Weights) -> Grade:
    """What another surface changes, less what changes with the test items untouched."""
    task, base = results.setting.task, results.get(BASE)[0]
    own = measure.changed(task, [(base, results.get("rename")[0])], boot)
    shaken = measure.changed(task, [(base, results.get("shaken")[0])], boot)
    found = measure.interval(own - shaken, 1, len(base.rows), (0, 1))
    return found, {"changed": float(own[0]), "shaken": float(shaken[0])}


def _other_words(results: Results, boot: measure.Weights) -> Grade:
    """What other words change, less what they change for the plain baseline or what changes without them."""
    task = results.setting.task
    assert task.reworded is not None
    rows = task.test[task.reworded[task.test]]
    base, plain = _of(results.get(BASE)[0], rows), _of(results.of_reference(BASE)[0], rows)
    own = measure.changed(task, [(base, _of(results.get("reworded")[0], rows))], boot)
    shaken = measure.changed(task, [(base, _of(results.get("shaken")[0], rows))], boot)
    usual = measure.changed(task, [(plain, _of(results.of_reference("reworded")[0], rows))], boot)
    found = measure.interval(own - np.maximum(usual, shaken), 1, len(rows), (0, 1))
    return found, {"changed": float(own[0]), "shaken": float(shaken[0]), "plain baseline": float(usual[0])}


def _of(run: Run, rows: Ints) -> Run:
    return Run(rows, run.on(rows))


def _sentence(grade: str, seen: Mapping[str, float]) -> str:
    brittle = max(share for name, share in seen.items() if name != "changed")
    what = "another surface" if grade == "surface" else grade
    return f"{seen['changed']:.1%} of the predictions change with {what}; {brittle:.1%} is no sign of a look-up"
