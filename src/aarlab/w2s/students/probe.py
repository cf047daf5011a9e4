"""The probe student: a frozen language model's features and a logistic head. Runs in milliseconds on a CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aarlab.w2s.heads import LogisticHead
from aarlab.w2s.task import Floats, Items, StudentSpec


class ProbeHead:
    """A fitted head together with the layers it reads."""

    def __init__(self, student: ProbeStudent, head: LogisticHead, layers: tuple[str, ...]) -> None:
        self.student, self.head, self.layers = student, head, layers

    def logits(self, items: Items) -> Floats:
        """Log-odds of label 1, (n,)."""
        return self.head.logits(self.student.matrix(items, self.layers))

    def predict(self, items: Items) -> Floats:
        """P(label = 1), (n,)."""
        return self.head.predict(self.student.matrix(items, self.layers))


class ProbeStudent:
    """Frozen features, one head. `layers` are all that can be read; `spec.layers` are what `fit` reads by default."""

    def __init__(self, spec: StudentSpec, layers: tuple[str, ...]) -> None:
        self.spec, self.layers = spec, layers

    def features(self, items: Items, layer: str) -> Floats:
        """One layer's features, float32 (n, width). Layer names are in `layers`."""
        return items.features(layer)

    def zero_shot(self, items: Items) -> Floats:
        """The untrained student's own opinion, (n,): higher means label 1 is likelier. Not a probability."""
        return items.zero_shot()

    def matrix(self, items: Items, layers: tuple[str, ...]) -> Floats:
        """The named layers side by side, float32 (n, sum of widths)."""
        return np.concatenate([items.features(name) for name in layers], axis=1)

    def fit(
        self,
        items: Items,
        targets: ArrayLike,
        weights: ArrayLike | None = None,
        seed: int = 0,
        layers: tuple[str, ...] | None = None,
    ) -> ProbeHead:
        """Train a head on P(label = 1) targets, shape (n,). Deterministic: `seed` is there for students that draw."""
        names = self.spec.layers if layers is None else tuple(layers)
        blocks = [items.features(name) for name in names]
        known = dict(zip(self.spec.layers, self.spec.weights, strict=True))
        columns = [np.full(b.shape[1], known.get(n, 1.0), np.float32) for n, b in zip(names, blocks, strict=True)]
        head = LogisticHead(self.spec.ridge, column_weights=np.concatenate(columns))
        return ProbeHead(self, head.fit(np.concatenate(blocks, axis=1), targets, weights), names)
