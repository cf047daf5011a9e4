"""The preference problem: pairs of rated sentences, and no text in the repository."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from aarlab.errors import PackError
from aarlab.problems import base
from aarlab.problems.drafts import TEACHER, TEST, Draft
from aarlab.problems.measure import Truth
from aarlab.problems.sources import SOURCES, Sources
from aarlab.problems.w2s_pref import builder
from aarlab.problems.w2s_pref.builder import LEAST_GAP, PARTS, Sentence


def made(part: builder.Part, n: int) -> list[Sentence]:
    """Sentences as the archive would give them, with ratings that go up and down."""
    r = random.Random(3)
    return [Sentence(f"sentence number {i} of it", r.uniform(-4, 4), str(i // 10)) for i in range(n)]


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.name)
def test_pairs_stay_in_their_document_and_split(part: builder.Part) -> None:
    """No sentence is in two splits, a pair never leaves its document or block, and groups are these."""
    draft = builder._draft(part, made(part, 6000), random.Random(1))
    assert draft.pairs is not None
    where: dict[int, tuple[int, int]] = {}
    for pair, group, split in zip(draft.pairs, draft.groups, draft.split, strict=True):
        for row in pair:
            assert where.setdefault(int(row), (int(group), int(split))) == (group, split)
    for split, wanted in part.pairs.items():
        assert wanted <= (draft.split == split).sum() < wanted + 40
    if part.documents:
        number = [int(text.split()[2]) // 10 for text in draft.rows]
        assert all(number[a] == number[b] for a, b in draft.pairs)


def test_labels_say_which_rating_is_higher_and_close_pairs_are_left_out() -> None:
    """Ratings of a pair differ by the stated least gap, in either order about equally often."""
    found = made(PARTS[0], 6000)
    rating = {s.text: s.rating for s in found}
    draft = builder._draft(PARTS[0], found, random.Random(1))
    assert draft.pairs is not None
    for (a, b), label in zip(draft.pairs, draft.labels, strict=True):
        gap = rating[draft.rows[a]] - rating[draft.rows[b]]
        assert (gap > 0) == label
        assert abs(gap) >= LEAST_GAP
    assert 0.45 < draft.labels.mean() < 0.55


def test_too_small_a_source_is_said() -> None:
    """Missing pairs are an error, not a smaller task."""
    with pytest.raises(ValueError, match="too small"):
        builder._draft(PARTS[0], made(PARTS[0], 100), random.Random(1))


@pytest.mark.parametrize("task", [p.name for p in PARTS])
def test_no_text_is_shipped(task: str) -> None:
    """The pack holds features, labels and groups; of the sentences, nothing that can be read."""
    inputs = base.load("w2s-pref", check=False).inputs(task)
    assert inputs.texts is None
    assert inputs.answers is None
    assert inputs.pairs is not None
    data = base.load("w2s-pref", check=False).path(task, "inputs").read_bytes()
    assert not any(word in data.lower() for word in (b" movie", b" the film", b" product", b" president"))


def test_a_changed_download_is_refused(tmp_path: Path) -> None:
    """A source whose SHA-256 differs stops the build before anything is read from it."""
    (tmp_path / SOURCES["ratings"].file).write_bytes(b"something else")
    with pytest.raises(PackError, match="SHA-256"):
        Sources(tmp_path).path("ratings")


@pytest.mark.train
def test_the_pack_is_what_the_archive_gives() -> None:
    """Labels, splits and sentences of the shipped pack come from the published ratings, each sentence in one task."""
    drafts = builder.generate(builder.SPEC.seed, Sources())
    texts = [set(d.rows) for d in drafts]
    assert sum(map(len, texts)) == len(set().union(*texts))
    problem = base.load("w2s-pref", check=False)
    for draft in drafts:
        shipped = Truth.load(problem.folder, draft.name)
        order = _order(draft)
        assert (shipped.labels == draft.labels[order]).all()
        assert (shipped.is_test == (draft.split[order] == TEST)).all()


def _order(draft: Draft) -> np.ndarray:
    """The order in which a build ships a draft's items."""
    return np.random.default_rng([builder.SPEC.seed, 1]).permutation(np.flatnonzero(draft.split != TEACHER))
