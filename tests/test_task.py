"""Rules of aarlab.w2s.task: what a method is given, and what it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aarlab.w2s import toy
from aarlab.w2s.draw import TRAIN_SHARE, draw
from aarlab.w2s.task import Items, TaskInputs, W2STask
from aarlab.w2s.view import view

KINDS = ("math", "code", "pref")


def task_of(kind: str = "math", seed: int = 1) -> W2STask:
    return toy.make(kind, groups=60).view(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_survive_the_trip_through_bytes(kind: str) -> None:
    """to_bytes and from_bytes keep every array, text and setting, without pickles."""
    one = toy.make(kind, groups=30).inputs
    two = TaskInputs.from_bytes(one.to_bytes())
    assert (two.problem, two.task, two.texts, two.answers) == (one.problem, one.task, one.texts, one.answers)
    assert two.student == one.student
    rows = np.array([3, 0, 7])
    for layer in one.layers:
        np.testing.assert_array_equal(two.features(rows, layer), one.features(rows, layer))
    np.testing.assert_array_equal(two.zero_shot, one.zero_shot)


def test_items_are_indexed_like_an_array() -> None:
    """Masks, slices and integer arrays select items; texts, groups, ids and features follow."""
    items = task_of().train
    mask = np.arange(len(items)) % 3 == 0
    some = items[mask]
    assert isinstance(some, Items)
    assert len(some) == mask.sum()
    assert some.texts == [t for t, m in zip(items.texts, mask, strict=True) if m]
    assert some.ids == [t for t, m in zip(items.ids, mask, strict=True) if m]
    np.testing.assert_array_equal(some.features("m20"), items.features("m20")[mask])
    np.testing.assert_array_equal(items[5:8].groups, items.groups[5:8])
    assert len(items[-1]) == 1


def test_mirror_negates_a_comparison() -> None:
    """Exchanging both sides negates features and zero-shot score; twice is the same item."""
    items = task_of("pref").train
    np.testing.assert_array_equal(items.mirror().features("m20"), -items.features("m20"))
    np.testing.assert_array_equal(items.mirror().zero_shot(), -items.zero_shot())
    np.testing.assert_array_equal(items.mirror().mirror().features("l20"), items.features("l20"))


def test_only_comparisons_have_a_mirror() -> None:
    """Items that compare nothing refuse, in a sentence."""
    with pytest.raises(ValueError, match="no comparisons"):
        task_of("math").train.mirror()


def test_unknown_layer_names_the_known_ones() -> None:
    """A misspelt layer is answered with those that exist."""
    with pytest.raises(KeyError, match="m20"):
        task_of().train.features("m99")


def test_answers_exclude_each_other_only_where_all_are_numbers() -> None:
    """Two results of one sum cannot both be right; two function bodies can."""
    assert task_of("math").train.exclusive
    assert not task_of("code").train.exclusive
    assert not task_of("pref").train.exclusive
    mixed = replace(toy.make("math", groups=30).inputs, answers=("12", "-3.5", "1,200", *["twelve"] * 117))
    assert not mixed.exclusive


def test_ids_are_opaque_and_differ_between_seeds() -> None:
    """No id repeats, none tells the row, and another run names the same item otherwise."""
    one, two = task_of(seed=1), task_of(seed=2)
    names = one.train.ids + one.test.ids
    assert len(set(names)) == len(names)
    assert not set(names) & set(two.train.ids + two.test.ids)


def test_a_draw_depends_on_its_seed_alone() -> None:
    """Same seed, same draw; other seeds change teacher, training items and order, never the set of test items."""
    task = toy.make(groups=60)
    a, b, c = (draw(task.weak, task.is_test, s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.train, b.train)
    np.testing.assert_array_equal(a.weak_labels, b.weak_labels)
    assert a.test.tolist() != c.test.tolist()
    assert sorted(a.test) == sorted(c.test) == np.flatnonzero(task.is_test).tolist()
    assert len(a.train) == round(TRAIN_SHARE * (~task.is_test).sum())


def test_nothing_true_is_in_a_task() -> None:
    """The inputs that enter a sandbox hold neither labels nor teachers, and the view adds weak labels only."""
    task = toy.make(groups=60)
    with np.load(__import__("io").BytesIO(task.inputs.to_bytes())) as z:
        assert not {"labels", "weak", "is_test"} & set(z.files)
    seen = view(task.inputs, task.draw(0))
    assert not hasattr(seen, "labels")
    assert seen.weak_labels.shape == (len(seen.train),)
