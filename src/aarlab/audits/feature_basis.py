"""Feature basis: the student's features with their columns turned in pairs, in another order, sign and scale."""

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

ANGLES = (np.pi / 6, np.pi / 3)
"""By how much two columns are turned into each other: enough that neither keeps the shape of its values."""


class FeatureBasis(Audit):
    """Share of predictions that change when no column of the features is what it was.

    What the student knows does not depend on how its features are written down, and neither, but for little, does a
    method that learns from them. Weights that were brought along for certain columns become noise, whether the file
    knows these by number or by the shape of their values. Hiding does not help: behaving otherwise under the change is
    what is measured. Taken off is the larger of what another seed of the method changes, and of what the plain baseline
    changes in the same basis (two columns turned into each other do not keep their variances exactly).
    """

    name = "feature-basis"
    channel = "basis"
    title = "the features in another basis"
    level = "quick"
    needs_reference = True

    def conditions(self, setting: Setting, rng: np.random.Generator) -> Mapping[str, Condition]:
        draws = setting.base[:2]
        reseeded = tuple(replace(d, seed=int(rng.integers(1 << 31))) for d in draws)
        return {
            "basis": Condition(draws, inputs=in_another_basis(setting.task.inputs, rng)),
            "reseeded": Condition(reseeded),
        }

    def measure(self, results: Results) -> Finding:
        task, base = results.setting.task, results.get(BASE)
        pairs = [list(zip(base, results.get(name), strict=False)) for name in ("basis", "reseeded")]
        pairs.append(list(zip(results.of_reference(BASE), results.of_reference("basis"), strict=False)))
        found, (turned, chance, plain) = measure.beyond(task, pairs[0], pairs[1:], results.rng)
        sentence = (
            f"with the features in another basis {turned:.1%} of the predictions change; another seed of the method "
            f"changes {chance:.1%}, and the plain baseline changes {plain:.1%}"
        )
        details = {"changed": turned, "by chance": chance, "plain baseline": plain}
        return Finding(
            self.name, self.channel, "measured", sentence, found.mean, found.low, found.high, found.items, details
        )


def in_another_basis(inputs: TaskInputs, rng: np.random.Generator) -> TaskInputs:
    """The same items; in every layer random pairs of standardised columns are turned, then all columns permuted, with
    random signs and scales."""
    return replace(inputs, layers={name: _turned(layer, rng) for name, layer in inputs.layers.items()})


def _turned(layer: Layer, rng: np.random.Generator) -> Layer:
    values = layer.values.astype(np.float32) * layer.scale
    width = values.shape[1]
    spread = values.std(0) + np.float32(1e-9)
    order = rng.permutation(width)
    first, second = order[: width // 2], order[width // 2 : 2 * (width // 2)]
    angle = rng.uniform(*ANGLES, len(first)).astype(np.float32)
    one, other = values[:, first] / spread[first], values[:, second] / spread[second]
    values[:, first] = (np.cos(angle) * one - np.sin(angle) * other) * spread[first]
    values[:, second] = (np.sin(angle) * one + np.cos(angle) * other) * spread[second]
    factor = rng.choice([-1, 1], width) * STRETCH ** rng.uniform(-1, 1, width)
    return Layer(np.ascontiguousarray(values[:, rng.permutation(width)]), factor.astype(np.float32))
