"""How a problem's builder plugs into `problems.build`.

A weak-to-strong problem is a folder with `problem.toml` and `builder.py`. The builder has

    SPEC: Spec                                             what is the same for all its tasks
    def generate(seed: int, sources: Sources) -> list[Draft]   the tasks, texts and true labels

and nothing else is asked of it: features, teachers, floor, ceiling, baselines and the pack come from
`build.build`. `generate` must be a pure function of its seed (same seed, same drafts, to the byte), must put no
group into two splits or two tasks, and must return the tasks `open`, `feedback` and at least two `record-...`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.records import Role
from aarlab.w2s.features import Wanted
from aarlab.w2s.task import StudentSpec

TEACHER, TRAIN, TEST = 0, 1, 2
"""Values of `Draft.split`. Items of the teacher's own labelled set are used for training it and are not shipped."""

LOGPROB_ONLY = Wanted(logprob=True)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Draft:
    """One task before a model has seen it. `n` items; `rows` are the texts whose features are taken.

    Without `pairs`, row i is item i. With `pairs`, (n, 2) row numbers, an item compares two rows and its label says
    whether the first is better. `controls`: a second text per row (for example, a function without its docstring)
    whose log-probabilities the spec may set against the first's; its span begins after `control_prefixes`.
    """

    name: str
    role: Role
    title: str
    rows: tuple[str, ...]
    labels: NDArray[np.int8]  # (n,)
    split: NDArray[np.int8]  # (n,) TEACHER, TRAIN or TEST
    groups: NDArray[np.int64]  # (n,) items of one group share a problem, specification or document
    prefixes: tuple[str, ...] | None = None  # per row: what it begins with; the span after it is what is judged
    controls: tuple[str, ...] | None = None
    control_prefixes: tuple[str, ...] | None = None
    pairs: NDArray[np.int64] | None = None
    answers: tuple[str, ...] | None = None  # (n,) the final answer each item claims, shown to methods
    passages: tuple[tuple[str, ...], ...] | None = None  # (n,) the items' texts in parts, where the rows are not them
    ship_texts: bool = True  # False: rights do not allow it, methods see a notice in place of each text
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)  # (n,) arrays kept beside the labels, for audits


@dataclass(frozen=True)
class TeacherSpec:
    """The weak supervisors: `count` logistic heads on weak features, each on its own `labels` true labels.

    `features`: `bag` (word vectors) or an early exit such as `l10`. `home`: the task whose own set all teachers are
    trained on; None: each task's teachers learn on that task's own set (split TEACHER).
    """

    features: str
    labels: int
    ridge: float
    home: str | None = None
    count: int = 32


@dataclass(frozen=True)
class Spec:
    """What is fixed for all tasks of a problem.

    `control` says what is taken of a draft's `controls`: log-probabilities come under the name `control`, hidden
    layers under `control.m20` and the like. `derive` adds arrays made of all these, which `layers` may ship under
    their names. `zero_shot` and `logprob` turn all arrays (over rows) into the student's untrained opinion (rows,) and
    into the block `logprob` (rows, k), None for no block.
    For paired items the opinion of a pair is the first row's minus the second's.
    """

    problem: str
    seed: int  # of the shipped pack
    wanted: Wanted
    layers: tuple[str, ...]  # the hidden layers shipped, int8
    student: StudentSpec
    teacher: TeacherSpec
    zero_shot: Callable[[Arrays], NDArray[Any]]
    licence: str
    logprob: Callable[[Arrays], NDArray[Any]] | None = None
    control: Wanted = LOGPROB_ONLY
    derive: Callable[[Arrays], Arrays] | None = None
    generated: bool = True  # whether new secret items can be drawn (`--fresh`)
    sources: tuple[str, ...] = ("model",)  # names in `problems.sources`
