"""The probe student: a frozen language model's features and a logistic head. Runs in milliseconds on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from aarlab.errors import InputError, NotApplicable
from aarlab.w2s.heads import LogisticHead, expit
from aarlab.w2s.students.base import Head, Moving
from aarlab.w2s.task import Floats, Items, StudentSpec


class ProbeHead:
    """A fitted head together with the student whose features it reads."""

    def __init__(self, student: ProbeStudent, head: LogisticHead) -> None:
        self.student, self.head = student, head

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers it reads."""
        return self.student.spec.layers

    def logits(self, items: Items) -> Floats:
        """Log-odds of label 1, (n,)."""
        return self.head.logits(self.student.matrix(items))

    def predict(self, items: Items) -> Floats:
        """P(label = 1), (n,)."""
        return expit(self.logits(items))

    def parameters(self) -> Floats:
        """Coefficients of the standardised columns, then the intercept, (d + 1,)."""
        return self.head.parameters()

    def with_parameters(self, values: Floats) -> ProbeHead:
        return ProbeHead(self.student, self.head.with_parameters(values))


class ProbeStudent:
    """Frozen features, one head. `layers` are all that can be read; `spec.layers` are what `fit` reads.

    components: the head sees only that many principal components of the items it is fitted on; 0 for everything.
    """

    def __init__(self, spec: StudentSpec, layers: tuple[str, ...], components: int = 0) -> None:
        self.spec, self.layers, self.components = spec, layers, components

    def features(self, items: Items, layer: str) -> Floats:
        """One layer's features, float32 (n, width). Layer names are in `layers`."""
        return items.features(layer)

    def zero_shot(self, items: Items) -> Floats:
        """The untrained student's own opinion, (n,): higher means label 1 is likelier. Not a probability."""
        return items.zero_shot()

    def matrix(self, items: Items) -> Floats:
        """The layers of the spec side by side, float32 (n, sum of widths)."""
        return np.concatenate([items.features(name) for name in self.spec.layers], axis=1)

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
        layers: tuple[str, ...] | None = None,
    ) -> ProbeHead:
        """Train a head on P(label = 1) targets, shape (n,). Deterministic: `seed` is there for students that draw.

        A head has no epochs; its ridge is what holds it back, so effort * rate divides the ridge, and with `start` the
        ridge pulls towards that head instead of towards zero. layers: read these instead of the spec's.
        """
        if layers is not None:
            return self.reading(tuple(layers)).fit(
                items, targets, weights, seed, start=start, effort=effort, rate=rate, moving=moving
            )
        if not effort * rate > 0:
            raise InputError(f"effort is {effort} and rate is {rate}; both must be above 0")
        if start is not None and not isinstance(start, ProbeHead):
            raise InputError(f"a probe head cannot start from a {type(start).__name__}; give a head of this student")
        x = self.matrix(items)
        head = LogisticHead(
            self.spec.ridge / (effort * rate), column_weights=self._column_weights(items), components=self.components
        )
        origin = None if start is None else start.head
        return ProbeHead(self, head.fit(x, targets, weights, origin=origin, moving=moving))

    def in_context(self, items: Items, shown: Items, labels: ArrayLike) -> Floats:
        """Log-odds (n,) of a head fitted on the few shown examples alone: a frozen student's way to read examples."""
        return self.fit(shown, labels).logits(items)

    def smaller(self, share: float) -> ProbeStudent:
        """A student whose heads see `share` of the principal components that this one's could see."""
        if not 0 < share <= 1:
            raise InputError(f"share is {share}; a smaller student has between 0 and 1 of the capacity")
        most = self.components or 256  # beyond a few hundred components the rest hardly counts
        return ProbeStudent(self.spec, self.layers, max(1, round(share * most)))

    def reading(self, layers: tuple[str, ...]) -> ProbeStudent:
        """The same student reading other layers; a layer that the spec does not weigh has weight 1."""
        known = dict(zip(self.spec.layers, self.spec.weights, strict=True))
        weights = tuple(known.get(name, 1.0) for name in layers)
        return ProbeStudent(replace(self.spec, layers=layers, weights=weights), self.layers, self.components)

    def views(self) -> list[ProbeStudent]:
        """One student per layer that `fit` reads."""
        return [self.reading((name,)) for name in self.spec.layers]

    def generate(self, prompts: Sequence[str], tokens: int, seed: int = 0) -> list[str]:
        raise NotApplicable("the probe student is a head on frozen features and writes no text; use the LoRA student")

    def _column_weights(self, items: Items) -> Floats:
        widths = [items[:1].features(name).shape[1] for name in self.spec.layers]
        return np.repeat(np.asarray(self.spec.weights, np.float32), widths)
