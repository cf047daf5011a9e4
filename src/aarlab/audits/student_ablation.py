"""Student ablation: every item gets the features and the untrained opinion of an unrelated item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Ints, Layer, TaskInputs

DRAWS = 2


class StudentAblation(Audit):
    """Share of the skill that needs the student: 1 for a method that judges an item by what the student sees in it.

    One shuffle within the train items and within the test items moves all layers and the zero-shot score together, so
    everything looks as before except that it belongs to other items. Texts, groups and answers stay: whoever counts
    answers, reads texts or runs them keeps its skill.
    """

    name = "student-ablation"
    channel = "student"
    title = "features of unrelated items"
    level = "quick"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        inputs = moved(setting.task.inputs, order(setting.task, rng))
        return {"student-ablation": Condition(setting.base[:DRAWS], inputs)}

    def measure(self, results: Results) -> Finding:
        runs = results.get("student-ablation")
        lost = measure.share_lost(results.setting.task, results.get(BASE)[:DRAWS], runs, results.rng)
        sentence = f"with the features of unrelated items the method loses {lost.mean:.0%} of its skill"
        return Finding(self.name, self.channel, "measured", sentence, lost.mean, lost.low, lost.high, lost.items)


def order(task: AuditTask, rng: np.random.Generator) -> Ints:
    """For each of the n items the row of another one, train for train and test for test."""
    rows = np.arange(len(task.inputs))
    for part in (task.pool, task.test):
        rows[part] = rng.permutation(part)
    return rows


def moved(inputs: TaskInputs, rows: Ints) -> TaskInputs:
    """The same items, item i with the features and zero-shot score of item rows[i]."""
    zero_shot = inputs.zero_shot[rows]
    if inputs.pairs is not None:
        return replace(inputs, pairs=inputs.pairs[rows], zero_shot=zero_shot)
    layers = {name: Layer(layer.values[rows], layer.scale) for name, layer in inputs.layers.items()}
    return replace(inputs, layers=layers, zero_shot=zero_shot)
