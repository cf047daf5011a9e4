"""The code problem's tasks: lists of numbers in the open, words and dictionaries for the record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aarlab.problems.drafts import TEACHER, TEST, TRAIN, Arrays, Draft, Spec, TeacherSpec
from aarlab.problems.sources import Sources
from aarlab.problems.w2s_code.families import FAMILIES
from aarlab.problems.w2s_code.generate import Item, draw_items
from aarlab.problems.w2s_code.write import head
from aarlab.records import Role
from aarlab.w2s.features import LOGPROB_NAMES, Wanted
from aarlab.w2s.task import Floats, StudentSpec

MEAN, LENGTH = LOGPROB_NAMES.index("mean"), LOGPROB_NAMES.index("length")


@dataclass(frozen=True)
class Part:
    """One task: a family, the specifications it may use (a range of `generate.share`), and the size of each split."""

    name: str
    role: Role
    title: str
    family: str
    within: tuple[float, float]
    sizes: tuple[int, int, int]  # TEACHER, TRAIN, TEST


PARTS = (
    Part("open", "open", "choose, change and combine numbers of a list", "lists", (0.0, 0.4), (600, 900, 600)),
    Part("feedback", "feedback", "the same kind, other specifications", "lists", (0.4, 1.0), (600, 900, 2000)),
    Part("record-words", "record", "words of a sentence", "strings", (0.0, 1.0), (600, 800, 1000)),
    Part("record-entries", "record", "entries of a dictionary", "mappings", (0.0, 1.0), (600, 800, 1000)),
)


def _information(found: Arrays) -> Floats:
    """log p(body | docstring) - log p(body), in nats: their pointwise mutual information to the model."""
    told, untold = found["logprob"], found["control"]
    out: Floats = told[:, MEAN] * told[:, LENGTH] - untold[:, MEAN] * untold[:, LENGTH]
    return out


def _logprob(found: Arrays) -> Floats:
    """The information, the six numbers with the docstring, and how far the docstring moves each of the first five."""
    told, untold = found["logprob"], found["control"]
    return np.concatenate([_information(found)[:, None], told, told[:, :LENGTH] - untold[:, :LENGTH]], axis=1)


def _contrast(found: Arrays) -> Arrays:
    """What the docstring changes in the body's states: with it minus without it."""
    return {"d20": found["m20"].astype(np.float32) - found["control.m20"].astype(np.float32)}


SPEC = Spec(
    problem="w2s-code",
    seed=4127,
    wanted=Wanted(hidden=("m20", "l13"), logprob=True),
    control=Wanted(hidden=("m20",), logprob=True),
    derive=_contrast,
    layers=("m20", "d20"),
    student=StudentSpec(layers=("m20", "d20", "logprob"), weights=(1.0, 1.0, 100.0), ridge=0.5),
    teacher=TeacherSpec(features="l13", labels=300, ridge=0.1),
    zero_shot=_information,
    logprob=_logprob,
    licence="generated, Apache-2.0; features of SmolLM2-135M-Instruct (Apache-2.0)",
)


def generate(seed: int, sources: Sources | None = None) -> list[Draft]:
    """The four tasks, texts and labels. A specification belongs to one task whatever the seed, and to one split."""
    return [_draft(part, seed) for part in PARTS]


def _draft(part: Part, seed: int) -> Draft:
    drawn = draw_items(part.family, part.sizes, seed, part.within)
    items: list[Item] = [item for split in drawn for item in split]
    _, groups = np.unique([i.spec for i in items], return_inverse=True)
    signature = head(FAMILIES[part.family])
    return Draft(
        name=part.name,
        role=part.role,
        title=part.title,
        rows=tuple(i.text for i in items),
        labels=np.array([i.label for i in items], np.int8),
        split=np.repeat(np.array([TEACHER, TRAIN, TEST], np.int8), part.sizes),
        groups=groups.astype(np.int64),
        prefixes=tuple(i.prefix for i in items),
        controls=tuple(i.bare for i in items),
        control_prefixes=(signature,) * len(items),
        answers=tuple(i.answer for i in items),
        extras={"author": np.array([i.author for i in items], np.int8)},
    )
