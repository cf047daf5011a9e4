"""What every student can do: the contract between methods and whatever is trained.

Two students keep it: `probe.ProbeStudent` (a logistic head on frozen features, milliseconds on a CPU) and
`lora.LoraStudent` (a language model fine-tuned with low-rank adapters). A method written against it runs on both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from numpy.typing import ArrayLike

from aarlab.w2s.task import Floats, Ints, Items, StudentSpec

Moving = Callable[[Floats, Ints, float], Floats]
"""Targets that change while a student learns: `moving(logits, rows, progress)` gives targets (b,) for some items.

logits: (b,) the student's present log-odds of label 1; rows: (b,) which of the items given to `fit` they belong to;
progress: share of the training done, 0 to 1. The student descends cross-entropy with these targets held fixed, so
its gradient in the log-odds is p - target. Any loss with gradient g in the log-odds is therefore the target p - g,
which may leave [0, 1] a little: that is how the confidence losses and reverse KL divergence are written. Its curvature
must be no larger than that of cross-entropy, or the probe's steps overshoot.
"""


class Head(Protocol):
    """A trained student."""

    def logits(self, items: Items) -> Floats:
        """Log-odds of label 1, float32 (n,)."""
        ...

    def predict(self, items: Items) -> Floats:
        """P(label = 1), float32 (n,)."""
        ...

    def parameters(self) -> Floats:
        """Everything that training moved, as one vector, float32 (d,)."""
        ...

    def with_parameters(self, values: Floats) -> Head:
        """The same head with other parameters (d,)."""
        ...


class Student(Protocol):
    """A strong model to be trained. `layers`: names of features it can show; `spec`: what the problem fixes."""

    spec: StudentSpec
    layers: tuple[str, ...]

    def features(self, items: Items, layer: str) -> Floats:
        """The untrained student's features of one layer, float32 (n, width)."""
        ...

    def zero_shot(self, items: Items) -> Floats:
        """The untrained student's own opinion, float32 (n,): higher means label 1 is likelier. Not a probability."""
        ...

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
    ) -> Head:
        """Train on P(label = 1) targets, shape (n,), with non-negative weights (n,).

        start: go on from this head of the same student. effort: share of the usual amount of training. rate: share of
        the usual learning rate. moving: replaces the targets while training (the first targets are `targets`).
        Raises ValueError for labels outside [0, 1], NaN, no items, or shapes that do not match.
        """
        ...

    def in_context(self, items: Items, shown: Items, labels: ArrayLike) -> Floats:
        """Log-odds (n,) of the untrained student after it was shown a few examples with labels (k,)."""
        ...

    def smaller(self, share: float) -> Student:
        """A less capable student of the same kind, with about `share` (0 to 1) of this one's capacity."""
        ...

    def views(self) -> Sequence[Student]:
        """Students of the same kind that each see the items in another way."""
        ...

    def generate(self, prompts: Sequence[str], tokens: int, seed: int = 0) -> list[str]:
        """Text the untrained student writes after each prompt. Raises NotApplicable where it cannot write."""
        ...


class Teacher(Protocol):
    """A weak supervisor that may be asked again."""

    def predict(self, items: Items, notes: Sequence[str] | None = None) -> Floats:
        """P(label = 1), (n,); `notes`: a critique shown beside each item before the teacher judges."""
        ...
