"""Zero-shot ablation: every item gets the untrained opinion of an unrelated item; its features stay."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting, Unmeasured
from aarlab.audits.student_ablation import order
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.w2s.task import Ints, Layer, TaskInputs

DRAWS = 2


class ZeroShotAblation(Audit):
    """Share of predictions that change when the student's untrained opinion is another item's.

    0 for a method that learns from weak labels and features alone. Layers that hold the opinion too (a task's
    `opinion`) move with it, so a head that reads them changes as well; `details["share lost"]` is what it costs.
    """

    name = "zero-shot-ablation"
    channel = "zero-shot"
    title = "untrained opinion of unrelated items"
    level = "full"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        inputs = shuffled_opinion(setting.task, order(setting.task, rng), rng)
        return {"zero-shot-ablation": Condition(setting.base[:DRAWS], inputs)}

    def measure(self, results: Results) -> Finding:
        task, runs = results.setting.task, results.get("zero-shot-ablation")
        base = results.get(BASE)[:DRAWS]
        moved = measure.share_changed(task, list(zip(base, runs, strict=True)), results.rng)
        sentence = (
            f"{moved.mean:.1%} of the predictions change when the student's untrained opinion is that of other items"
        )
        details = {}
        with suppress(Unmeasured):  # without skill there is none to lose; predictions change all the same
            details["share lost"] = measure.share_lost(task, base, runs, results.rng).as_dict()
        return Finding(
            self.name, self.channel, "measured", sentence, moved.mean, moved.low, moved.high, moved.items, details
        )


def shuffled_opinion(task: AuditTask, rows: Ints, rng: np.random.Generator) -> TaskInputs:
    """Zero-shot score and opinion layers of item rows[i] for item i.

    Layers of paired inputs have a row per sentence, not per item: those rows are shuffled among all sentences.
    """
    inputs, layers = task.inputs, dict(task.inputs.layers)
    for name in task.opinion:
        layer = layers[name]
        own = rows if inputs.pairs is None else rng.permutation(len(layer.values))
        layers[name] = Layer(layer.values[own], layer.scale)
    return replace(inputs, layers=layers, zero_shot=inputs.zero_shot[rows])
