"""A student that learns in small batches, as a network does, and keeps no more than the contract: for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import NotApplicable
from aarlab.w2s.heads import checked, expit
from aarlab.w2s.students.base import Head, Moving
from aarlab.w2s.task import Floats, Items, StudentSpec

BATCH, EPOCHS, RATE, DECAY = 16, 6, 0.05, 0.01


@dataclass(frozen=True)
class BatchHead:
    student: BatchStudent
    values: Floats

    def logits(self, items: Items) -> Floats:
        x = self.student.matrix(items)
        return (x @ self.values[:-1] + self.values[-1]).astype(np.float32)

    def predict(self, items: Items) -> Floats:
        return expit(self.logits(items))

    def parameters(self) -> Floats:
        return self.values

    def with_parameters(self, values: Floats) -> BatchHead:
        return BatchHead(self.student, values)


@dataclass(frozen=True)
class BatchStudent:
    """Logistic regression by stochastic gradient descent on some columns of the spec's layers."""

    spec: StudentSpec
    layers: tuple[str, ...]
    share: float = 1.0

    def features(self, items: Items, layer: str) -> Floats:
        return items.features(layer)

    def zero_shot(self, items: Items) -> Floats:
        return items.zero_shot()

    def matrix(self, items: Items) -> Floats:
        x = np.concatenate([items.features(name) for name in self.spec.layers], axis=1)
        return x[:, : max(1, round(self.share * x.shape[1]))]

    def fit(
        self,
        items: Items,
        targets: ArrayLike,
        weights: ArrayLike | None = None,
        seed: int = 0,
        *,
        start: Head | None = None,
        effort: float = 1.0,
        rate: float = 1.0,
        moving: Moving | None = None,
    ) -> BatchHead:
        y, w = checked(len(items), targets, weights)
        x, rng = self.matrix(items), np.random.default_rng(seed)
        values = np.zeros(x.shape[1] + 1, np.float32) if start is None else start.parameters().copy()
        batches = np.array_split(rng.permutation(len(x)), max(1, len(x) // BATCH))
        steps = max(1, round(effort * EPOCHS * len(batches)))
        for step in range(steps):
            rows = batches[step % len(batches)]
            logits = (x[rows] @ values[:-1] + values[-1]).astype(np.float32)
            aims = y[rows] if moving is None else moving(logits, rows, (step + 1) / steps)
            pull = (expit(logits) - aims) * w[rows] * len(x) / len(rows)
            size = RATE * rate * (1 - step / steps)
            values[:-1] -= size * (pull @ x[rows] + DECAY * values[:-1])
            values[-1] -= size * pull.sum()
        return BatchHead(self, values)

    def in_context(self, items: Items, shown: Items, labels: ArrayLike) -> Floats:
        return self.zero_shot(items) + self.fit(shown, labels).logits(items)

    def smaller(self, share: float) -> BatchStudent:
        return replace(self, share=self.share * share)

    def views(self) -> list[BatchStudent]:
        specs = [replace(self.spec, layers=(name,), weights=(1.0,)) for name in self.spec.layers]
        return [replace(self, spec=spec) for spec in specs]

    def generate(self, prompts: Sequence[str], tokens: int, seed: int = 0) -> list[str]:
        raise NotApplicable("this student writes no text")
