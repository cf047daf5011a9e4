"""Is this worked answer to a word problem right? Generated problems, careless solvers, labels by arithmetic."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass

import numpy as np

from aarlab.problems.drafts import TEACHER, TEST, TRAIN, Arrays, Draft, Spec, TeacherSpec
from aarlab.problems.sources import Sources
from aarlab.problems.w2s_math import stories
from aarlab.problems.w2s_math.solvers import SLIPS, Solution, solve_all
from aarlab.problems.w2s_math.stories import Family, Story
from aarlab.records import Role
from aarlab.w2s.features import LOGPROB_NAMES, Wanted
from aarlab.w2s.task import Floats, StudentSpec

RIGHT, ONE_MORE = 2, 0.3
"""Different worked answers kept per problem: at most RIGHT right ones, and as many wrong ones (at least one), or with
probability ONE_MORE one more, so that about half of all items are right."""


@dataclass(frozen=True)
class Part:
    """One task: its families, and how many items each split has."""

    name: str
    role: Role
    title: str
    families: tuple[Family, ...]  # drawn in equal parts
    items: dict[int, int]


def _sizes(test: int) -> dict[int, int]:
    return {TEACHER: 1200, TRAIN: 1900, TEST: test}


FIRST = (stories.gain, stories.loss, stories.rows)

PARTS = (
    Part("open", "open", "gains, losses and equal groups", FIRST, _sizes(1200)),
    Part("feedback", "feedback", "gains, losses and equal groups, other sums",
         FIRST, _sizes(2100)),
    Part("record-share", "record", "equal shares and fractions", (stories.share,), _sizes(1200)),
    Part("record-twostep", "record", "two steps in a row", (stories.twostep,), _sizes(1200)),
)  # fmt: skip


def _zero_shot(found: Arrays) -> Floats:
    """How likely the model finds the least likely token of the answer. Likelier means right, fixed in advance."""
    least: Floats = found["logprob"][:, LOGPROB_NAMES.index("least")]
    return least


def _logprob(found: Arrays) -> Floats:
    block: Floats = found["logprob"]
    return block


SPEC = Spec(
    problem="w2s-math",
    seed=2801,
    wanted=Wanted(hidden=("m20", "l20"), logprob=True, sums=True),
    layers=("m20", "l20"),
    student=StudentSpec(layers=("m20", "logprob"), weights=(1.0, 20.0), ridge=0.2),
    teacher=TeacherSpec(features="l14", labels=800, ridge=0.2),
    zero_shot=_zero_shot,
    logprob=_logprob,
    licence="generated, Apache-2.0; features of SmolLM2-135M-Instruct (Apache-2.0)",
)


def generate(seed: int, sources: Sources | None = None) -> list[Draft]:
    """The four tasks. A sum belongs to one split of one task whatever the seed, so fresh tasks stay disjoint too."""
    return [_draft(part, random.Random(f"{seed} {part.name}")) for part in PARTS]


def place(fact: tuple[str, int, int]) -> tuple[str, int]:
    """The task and split that may use a sum, by its hash. Divisions occur in one task only, which gets them all: an
    interval is as wide as the different sums are few."""
    digest = hashlib.sha256(repr(fact).encode()).digest()
    parts = [p for p in PARTS if p.families == (stories.share,)] if fact[0] == "/" else PARTS
    left = int.from_bytes(digest[:8], "big") / 2**64 * sum(sum(p.items.values()) for p in parts)
    for part in parts:
        for split, size in part.items.items():
            left -= size
            if left < 0:
                return part.name, split
    raise AssertionError("a hash is below 1")


def _draft(part: Part, r: random.Random) -> Draft:
    found: dict[int, list[tuple[Story, Solution, int]]] = {split: [] for split in part.items}
    seen: set[str] = set()
    while any(len(found[split]) < size for split, size in part.items.items()):
        story = r.choice(part.families)(r)
        homes = {place(fact) for fact in story.facts()}
        if len(homes) > 1 or story.question in seen:
            continue
        task, split = homes.pop()
        if task == part.name and len(found[split]) < part.items[split]:
            seen.add(story.question)
            found[split] += _candidates(story, r)
    return _assemble(part, found)


def _candidates(story: Story, r: random.Random) -> list[tuple[Story, Solution, int]]:
    """Different solutions of a problem, each with how many solvers agree with its answer."""
    written = solve_all(r, story)
    votes = Counter(s.answer for s in written)
    different = list({s.text: s for s in written}.values())
    r.shuffle(different)
    right = [s for s in different if s.answer == story.answer()][:RIGHT]
    limit = max(1, len(right)) + (r.random() < ONE_MORE)
    wrong = [s for s in different if s.answer != story.answer()][:limit]
    return [(story, s, votes[s.answer]) for s in right + wrong]


def _assemble(part: Part, found: dict[int, list[tuple[Story, Solution, int]]]) -> Draft:
    rows = [row for split in part.items for row in found[split]]
    prefixes = tuple(f"Question: {story.question}\nAnswer:" for story, _, _ in rows)
    facts = [repr(story.facts()) for story, _, _ in rows]
    number = {fact: n for n, fact in enumerate(dict.fromkeys(facts))}
    return Draft(
        name=part.name,
        role=part.role,
        title=part.title,
        rows=tuple(f"{p} {s.text}" for p, (_, s, _) in zip(prefixes, rows, strict=True)),
        prefixes=prefixes,
        labels=np.array([s.answer == story.answer() for story, s, _ in rows], np.int8),
        split=np.concatenate([np.full(len(found[split]), split, np.int8) for split in part.items]),
        groups=np.array([number[fact] for fact in facts]),
        answers=tuple(str(s.answer) for _, s, _ in rows),
        extras={
            "votes": np.array([votes for _, _, votes in rows], np.int8),
            "solver": np.array([s.solver for _, s, _ in rows], np.int8),
            "slip": np.array([SLIPS.index(s.slip) for _, s, _ in rows], np.int8),
        },
    )
