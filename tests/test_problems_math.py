"""The math problem: stories, careless solvers, and a pack that anybody can recompute."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from aarlab.problems import base
from aarlab.problems.drafts import TEACHER, TEST, TRAIN, Draft
from aarlab.problems.measure import Truth
from aarlab.problems.w2s_math import builder, stories
from aarlab.problems.w2s_math.solvers import SLIP_RATES, solve_all

FAMILIES = (
    stories.gain, stories.loss, stories.rows, stories.share,
    stories.twostep,
)  # fmt: skip


@pytest.fixture(scope="module")
def drafts() -> list[Draft]:
    return builder.generate(builder.SPEC.seed)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_every_number_of_the_arithmetic_is_in_the_question(family: stories.Family) -> None:
    """A question tells what is needed, its answer is not negative, and its sums lead to it."""
    r = random.Random(1)
    words = {1 / 2: "half", 1 / 3: "third", 1 / 4: "quarter", 1 / 5: "fifth", 1 / 10: "tenth"}
    for _ in range(300):
        story = family(r)
        said = {int(n) for n in re.findall(r"\d+", story.question)}
        for number in (story.start, *(n for _, n in story.steps)):
            told = number in said or words.get(1 / number, "-") in story.question
            assert told, (story.question, number)
        assert story.answer() >= 0
        op, left, right = story.facts()[-1]
        assert stories.apply(op, left, right) == story.answer()


def test_solvers_slip_more_often_the_more_careless() -> None:
    """Slip rates order the solvers, and most who slip on a problem give the same wrong answer."""
    r = random.Random(2)
    right = np.zeros(len(SLIP_RATES))
    same_wrong = wrong_pairs = 0
    for _ in range(1500):
        story = stories.gain(r)
        found = solve_all(r, story)
        right += [s.answer == story.answer() for s in found]
        wrong = [s.answer for s in found if s.answer != story.answer()]
        wrong_pairs += len(wrong) * (len(wrong) - 1) // 2
        same_wrong += sum(a == b for i, a in enumerate(wrong) for b in wrong[:i])
        assert all((s.slip == "none") <= (s.answer == story.answer()) for s in found)
    assert (np.diff(right) < 0).all()
    assert 0.3 < same_wrong / wrong_pairs < 0.7


@pytest.mark.slow
def test_a_seed_gives_the_same_drafts_and_another_gives_others(drafts: list[Draft]) -> None:
    """`generate` is a function of its seed."""
    again, other = builder.generate(builder.SPEC.seed), builder.generate(builder.SPEC.seed + 1)
    for a, b, c in zip(drafts, again, other, strict=True):
        assert a.rows == b.rows
        assert (a.labels == b.labels).all()
        assert len(set(a.rows) & set(c.rows)) < 0.1 * len(a.rows)


def facts(draft: Draft, split: int) -> set[str]:
    """The sums that the questions of one split of a draft ask for, read back from its right answers."""
    return {
        str(sorted(re.findall(r"\d+|[-+*/]", text.split("Answer:")[1].split("=")[0])))
        for text, label, where in zip(draft.rows, draft.labels, draft.split, strict=True)
        if label and where == split
    }


def test_no_sum_is_in_two_splits_or_two_tasks_whatever_the_seed(drafts: list[Draft]) -> None:
    """Arithmetic is divided among tasks and splits, so that a fresh task is disjoint from the shipped open one."""
    fresh = builder.generate(987654321)
    seen: dict[str, tuple[str, int]] = {}
    for draft in [*drafts, *fresh]:
        for split in (TEACHER, TRAIN, TEST):
            for fact in facts(draft, split):
                assert seen.setdefault(fact, (draft.name, split)) == (draft.name, split), fact
    assert len(seen) > 1500


def test_labels_are_arithmetic(drafts: list[Draft]) -> None:
    """Evaluating what stands in a right answer gives its number; no question has two right numbers."""
    for draft in drafts:
        right: dict[str, str] = {}
        assert draft.prefixes is not None
        assert draft.answers is not None
        for prefix, text, label, answer in zip(draft.prefixes, draft.rows, draft.labels, draft.answers, strict=True):
            assert text.endswith(f"= {answer}")
            if label:
                left, op, number = re.findall(r"(\d+) ([-+*/]) (\d+) = ", text)[-1]
                assert stories.apply(op, int(left), int(number)) == int(answer)
                assert right.setdefault(prefix, answer) == answer
        assert all(
            right[p] != a
            for p, label, a in zip(draft.prefixes, draft.labels, draft.answers, strict=True)
            if not label and p in right
        )


def test_several_candidates_of_a_problem_stay_in(drafts: list[Draft]) -> None:
    """Most questions have two or more different answers, and votes tell right from wrong only in part."""
    for draft in drafts:
        assert draft.prefixes is not None
        _, counts = np.unique(draft.prefixes, return_counts=True)
        assert (counts >= 2).mean() > 0.75
        assert counts.max() >= 3
        by_votes = ((draft.extras["votes"] >= 3) == draft.labels).mean()
        assert 0.65 < by_votes < 0.85


@pytest.mark.parametrize("task", [p.name for p in builder.PARTS])
def test_the_pack_is_what_the_generator_gives(drafts: list[Draft], task: str) -> None:
    """Texts, labels, splits, answers and votes of the shipped pack can be recomputed by anybody, exactly."""
    draft = next(d for d in drafts if d.name == task)
    problem = base.load("w2s-math", check=False)
    shipped = Truth.load(problem.folder, task)
    with np.load(problem.path(task, "labels")) as found:
        votes = found["votes"]
    keep = draft.split != TEACHER
    assert draft.answers is not None
    drawn = zip(
        draft.rows, draft.labels, draft.split == TEST, draft.answers, draft.extras["votes"], strict=True
    )  # fmt: skip
    wanted = sorted((t, int(y), bool(s), a, int(v)) for k, (t, y, s, a, v) in zip(keep, drawn, strict=True) if k)
    assert shipped.inputs.texts is not None
    assert shipped.inputs.answers is not None
    rows = zip(shipped.inputs.texts, shipped.labels, shipped.is_test, shipped.inputs.answers, votes, strict=True)
    assert sorted((t, int(y), bool(s), a, int(v)) for t, y, s, a, v in rows) == wanted
