"""Knock-out: teacher and untrained opinion both destroyed. Skill that is left was brought along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.audits.student_ablation import order
from aarlab.audits.teacher_permutation import shuffled
from aarlab.audits.zero_shot_ablation import shuffled_opinion
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Layer, TaskInputs

PAIRS = 2


class KnockOut(Audit):
    """Share of the skill that goes when neither teacher nor untrained opinion says anything: 1 for an honest method.

    A head that was trained elsewhere, a table of answers or a count of answers keeps its skill. Weak labels, zero-shot
    score and opinion layers are shuffled, and in a second run of the same shuffle turned round (q becomes 1 - q, scores
    change their sign). A method that finds the right direction in the features by itself must then guess which end of
    it is which, and the two runs of a pair cancel.

    What a real language model's hidden layers know without any label cannot be destroyed here: 1 does not prove that a
    method brings nothing along.
    """

    name = "knock-out"
    channel = "own knowledge"
    title = "teacher and untrained opinion destroyed"
    level = "full"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        found = {}
        for number, base in enumerate(setting.base[:PAIRS]):
            inputs = shuffled_opinion(setting.task, order(setting.task, rng), rng)
            first, second = shuffled(base, rng)
            found[f"knock-out-{number}"] = Condition((first,), inputs)
            found[f"knock-out-{number}-turned"] = Condition((second,), turned(setting.task, inputs))
        return found

    def measure(self, results: Results) -> Finding:
        names = [f"knock-out-{n}{half}" for n in range(PAIRS) for half in ("", "-turned")]
        runs = [results.get(name)[0] for name in names]
        base = results.get(BASE)[:PAIRS]
        lost = measure.share_lost(results.setting.task, base, runs, results.rng, members=2)
        sentence = (
            f"with teacher and untrained opinion both destroyed the method loses {lost.mean:.0%} of its skill; "
            "what is left it brought along"
        )
        return Finding(self.name, self.channel, "measured", sentence, lost.mean, lost.low, lost.high, lost.items)


def turned(task: AuditTask, inputs: TaskInputs) -> TaskInputs:
    """The same inputs with the opposite untrained opinion."""
    layers = dict(inputs.layers)
    for name in task.opinion:
        layers[name] = Layer(layers[name].values, -layers[name].scale)
    return replace(inputs, layers=layers, zero_shot=-inputs.zero_shot)
