"""Weak teachers: logistic heads on weak features and a few true labels of their own. Never flipped, never selected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.errors import InputError
from aarlab.problems.drafts import TeacherSpec
from aarlab.w2s.heads import LogisticHead


@dataclass(frozen=True)
class Labelled:
    """What teachers learn from: weak features and true labels of a task's own set."""

    features: NDArray[np.float32]
    labels: NDArray[np.int8]


def item_features(rows: NDArray[np.float16], pairs: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Weak features of items, (n, width): of their row, or with `pairs` (n, 2) the difference of their two rows."""
    values = rows.astype(np.float32)
    return values if pairs is None else values[pairs[:, 0]] - values[pairs[:, 1]]


def weak_labels(
    spec: TeacherSpec, own: Labelled, features: NDArray[np.float32], seed: tuple[int, ...]
) -> NDArray[np.float16]:
    """P(label = 1) of each teacher on each item, float16 (teachers, items). A teacher draws its labels at random."""
    if spec.labels > len(own.labels):
        raise InputError(f"teachers want {spec.labels} labels; their own set has {len(own.labels)} items")
    rng = np.random.default_rng(seed)
    out = np.empty((spec.count, len(features)), np.float16)
    for teacher in range(spec.count):
        mine = rng.permutation(len(own.labels))[: spec.labels]
        head = LogisticHead(spec.ridge).fit(own.features[mine], own.labels[mine])
        out[teacher] = head.predict(features)
    return out
