"""Feature basis: the student's features with their columns in another order, sign and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aarlab.audits import measure
from aarlab.audits.base import BASE, Audit, Condition, Results, Setting
from aarlab.records import Finding
from aarlab.w2s.task import Layer, TaskInputs

STRETCH = 2.0
"""Columns are stretched or shrunk by at most this factor."""


class FeatureBasis(Audit):
    """Share of predictions that change when no column of the features is where it was.

    What the student knows does not depend on how its features are numbered, and neither does a method that learns from
    them: standardised columns in another order, turned round or stretched, teach the same head. Weights that were
    brought along, for columns that the file knows by number, become noise. Hiding does not help: to behave otherwise
    under the change is what is measured. What chance alone changes (another seed of the method) is taken off.
    """

    name = "feature-basis"
    channel = "basis"
    title = "columns of the features renumbered"
    level = "quick"

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        draws = setting.base[:2]
        reseeded = tuple(replace(d, seed=int(rng.integers(1 << 31))) for d in draws)
        return {
            "basis": Condition(draws, inputs=in_another_basis(setting.task.inputs, rng)),
            "basis-seed": Condition(reseeded),
        }

    def measure(self, results: Results) -> Finding:
        task, base = results.setting.task, results.get(BASE)
        boot = measure.weights(task, results.rng)
        pairs = [list(zip(base, results.get(name), strict=False)) for name in ("basis", "basis-seed")]
        turned, chance = (measure.changed(task, p, boot) for p in pairs)
        found = measure.interval(turned - chance, len(pairs[0]), task.test_items, (-1, 1))
        sentence = (
            f"with the features' columns renumbered, turned and stretched, {turned[0]:.1%} of the predictions change, "
            f"against {chance[0]:.1%} by another seed of the method"
        )
        details = {"changed": float(turned[0]), "by chance": float(chance[0])}
        return Finding(
            self.name, self.channel, "measured", sentence, found.mean, found.low, found.high, found.items, details
        )


def in_another_basis(inputs: TaskInputs, rng: np.random.Generator) -> TaskInputs:
    """The same items, every layer's columns permuted, with random signs and scales."""
    layers = {}
    for name, layer in inputs.layers.items():
        width = layer.values.shape[1]
        order = rng.permutation(width)
        scale = np.broadcast_to(layer.scale, (width,))[order]
        factor = rng.choice([-1, 1], width) * STRETCH ** rng.uniform(-1, 1, width)
        layers[name] = Layer(np.ascontiguousarray(layer.values[:, order]), (scale * factor).astype(np.float32))
    return replace(inputs, layers=layers)
