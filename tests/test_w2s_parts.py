"""Rules of the building blocks: each does what its docstring promises, on arrays of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.w2s import toy
from aarlab.w2s.heads import expit, logit
from aarlab.w2s.parts import denoise, finish, labels, spaces, train
from aarlab.w2s.task import W2STask

probabilities = st.lists(st.floats(0, 1), min_size=8, max_size=80).map(lambda v: np.array(v, np.float32))


def task_of(kind: str = "math", groups: int = 80) -> W2STask:
    return toy.make(kind, groups=groups).view(5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=60, unique=True))
def test_ranks_keep_order_and_balance(values: list[float]) -> None:
    """Order is kept, half of the items lie above 0, and a monotone change of scale does nothing."""
    odds = labels.rank_logit(values)
    assert (np.argsort(odds) == np.argsort(np.asarray(values, np.float32), kind="stable")).all()
    assert abs(float(odds.sum())) < 1e-2 * len(values)


def test_symmetric_ranks_flip_with_the_item() -> None:
    """A comparison and its mirror image get opposite log-odds."""
    score = np.random.default_rng(0).standard_normal(50)
    np.testing.assert_allclose(labels.rank_logit(score, True), -labels.rank_logit(-score, True), atol=1e-4)


def test_a_mixture_lies_between_its_sources() -> None:
    """Share 1 is the teacher's ranking alone, share 0 the student's alone."""
    task = task_of()
    only_teacher = labels.mixture(task, teacher=1.0)
    only_own = labels.mixture(task, teacher=0.0)
    assert (np.argsort(only_teacher) == np.argsort(task.weak_labels)).mean() > 0.9
    assert np.corrcoef(only_own, task.train.zero_shot())[0, 1] > 0.8


def test_logic_makes_equal_answers_agree() -> None:
    """Items of one group with one answer get one label, whatever they had before."""
    for kind in ("math", "code"):
        items = task_of(kind).train
        odds = labels.consistent(items, np.random.default_rng(0).standard_normal(len(items)).astype(np.float32))
        cells: dict[tuple[int, str], set[float]] = {}
        for group, answer, value in zip(items.groups, items.answers or [], odds, strict=True):
            cells.setdefault((int(group), answer), set()).add(float(value))
        assert all(len(values) == 1 for values in cells.values())


def test_logic_lets_at_most_one_answer_be_right() -> None:
    """Where answers exclude each other, the probabilities of a group's distinct answers add up to at most 1."""
    items = task_of("math").train
    p = expit(labels.consistent(items, np.full(len(items), 2.0, np.float32)))
    for group in np.unique(items.groups)[:30]:
        rows = np.flatnonzero(items.groups == group)
        distinct = {items.answers[r]: p[r] for r in rows}  # type: ignore[index]
        assert sum(distinct.values()) <= 1 + 1e-4


def test_logic_does_not_count_votes() -> None:
    """How often an answer was given does not matter: with equal opinions, a majority gains nothing."""
    items = task_of("math").train
    odds = labels.consistent(items, np.zeros(len(items), np.float32))
    for group in np.unique(items.groups)[:30]:
        assert np.ptp(odds[items.groups == group]) < 1e-5


def test_logic_leaves_items_without_answers_alone() -> None:
    """Comparisons come back as they were; so does everything at strength 0."""
    for kind, strength in (("pref", 1.0), ("math", 0.0)):
        items = task_of(kind).train
        odds = np.random.default_rng(0).standard_normal(len(items)).astype(np.float32)
        np.testing.assert_array_equal(labels.consistent(items, odds, strength), odds)


def test_posterior_learns_how_much_a_teacher_is_worth() -> None:
    """A teacher who tells the truth is followed; one who says noise is ignored."""
    open_task = toy.make("math", groups=120)
    drawn, task = open_task.draw(0), open_task.view(0)
    truth = open_task.labels[drawn.train].astype(np.float32)
    noise = np.random.default_rng(0).random(len(truth)).astype(np.float32)
    believed = {}
    for name, weak in (("truth", 0.1 + 0.8 * truth), ("noise", noise)):
        heard = W2STask(task.train, task.test, weak.astype(np.float32), task.student)
        views = spaces.joined(heard)
        believed[name] = labels.posterior(heard, views, np.random.default_rng(0))
    assert ((believed["truth"] > 0.5) == (truth > 0.5)).mean() > 0.9
    assert abs(np.corrcoef(believed["noise"], noise)[0, 1]) < 0.6


@settings(max_examples=30, deadline=None)
@given(probabilities, st.floats(0.1, 1))
def test_filters_keep_both_classes(taught: np.ndarray, keep: float) -> None:
    """The confident share is kept per class: no class that was there vanishes, weights are 0 or 1."""
    weights = denoise.confident(taught, keep)
    assert set(np.unique(weights)) <= {0.0, 1.0}
    for side in (taught > 0.5, taught <= 0.5):
        if side.any():
            assert weights[side].sum() >= 1


@settings(max_examples=30, deadline=None)
@given(probabilities)
def test_thresholds_with_a_fallback(taught: np.ndarray) -> None:
    """Whatever the teacher's margins, something of each class that exists is kept."""
    weights = denoise.beyond(taught)
    for side in (taught > 0.5, taught <= 0.5):
        if side.any():
            assert weights[side].sum() >= 1


def test_folds_never_cut_a_group() -> None:
    """All items of a group are in one fold, folds are about equally large."""
    groups = np.repeat(np.arange(90), 3)
    where = train.folds(groups, 3, np.random.default_rng(0))
    assert all(len(set(where[groups == g])) == 1 for g in range(90))
    assert np.bincount(where).tolist() == [90, 90, 90]


def test_out_of_fold_opinions_do_not_know_the_own_label() -> None:
    """With random labels, in-sample heads agree with them and out-of-fold heads do not."""
    task = task_of(groups=100)
    views = spaces.strengthened(spaces.joined(task), 0.02)
    noise = np.random.default_rng(0).integers(2, size=len(task.train)).astype(np.float32)
    where = train.folds(task.train.groups, 4, np.random.default_rng(1))
    inside = ((train.committee(views, noise).train > 0) == (noise > 0.5)).mean()
    outside = ((train.out_of_fold(views, noise, where) > 0) == (noise > 0.5)).mean()
    assert inside > outside + 0.1
    assert outside < 0.6


def test_relabelling_forgets_random_errors() -> None:
    """Labels of which 30 % were flipped at random come back closer to the truth."""
    open_task = toy.make("math", groups=220)
    drawn, task = open_task.draw(0), open_task.view(0)
    truth = open_task.labels[drawn.train] > 0
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(len(truth)) < 0.3, ~truth, truth).astype(np.float32)
    where = train.folds(task.train.groups, 3, rng)
    views = spaces.joined(task)
    better = denoise.relabelled(views, noisy, where)
    kept = denoise.agreeing(views, noisy, where, keep=0.6) > 0
    soft = denoise.learnable(views, noisy, where)
    assert ((better > 0.5) == truth).mean() > 0.78
    assert ((noisy[kept] > 0.5) == truth[kept]).mean() > 0.75
    doubted = np.abs(soft - 0.5) < 0.4
    assert ((noisy[doubted] > 0.5) == truth[doubted]).mean() < ((noisy[~doubted] > 0.5) == truth[~doubted]).mean()


def test_smoothing_takes_the_neighbours_word() -> None:
    """Two tight clusters with a tenth of wrong labels become pure."""
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    x = (truth[:, None] * 4 - 2 + 0.3 * rng.standard_normal((200, 5))).astype(np.float32)
    noisy = np.where(rng.random(200) < 0.1, 1 - truth, truth).astype(np.float32)
    smooth = denoise.smoothed(spaces.Space(x, x[:1], 0.1), noisy, neighbours=15, own=0.3)
    assert ((smooth > 0.5) == truth).mean() > 0.98


def test_a_bottleneck_keeps_the_directions_of_largest_variance() -> None:
    """Agrees with the exact singular value decomposition; whitened columns have unit deviation."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((200, 30)) * (np.arange(30, 0, -1) ** 1.0)).astype(np.float32)
    x -= x.mean(0)
    squeezed = spaces.bottleneck([spaces.Space(x, x, 0.1)], 3)[0].train
    left = np.linalg.svd(x, full_matrices=False)[0][:, :3]
    np.testing.assert_allclose(squeezed.std(0), 1, atol=0.02)
    overlap = np.linalg.svd(left.T @ (squeezed / np.linalg.norm(squeezed, axis=0)), compute_uv=False)
    assert overlap.min() > 0.99


@pytest.mark.parametrize("components", [1, 5, 500])
def test_a_bottleneck_of_any_width(components: int) -> None:
    """More components than columns are no error."""
    view = spaces.bottleneck(spaces.joined(task_of()), components)[0]
    assert view.train.shape[1] <= components
    assert np.isfinite(view.test).all()


def test_a_mirrored_view_answers_the_opposite_to_the_mirror_image() -> None:
    """Without centring and intercept, antisymmetry holds by construction."""
    task = task_of("pref")
    there = spaces.joined(task, mirrored=True)[0]
    back = spaces.joined(W2STask(task.train, task.test.mirror(), task.weak_labels, task.student), mirrored=True)[0]
    head = there.fit(task.weak_labels)
    np.testing.assert_allclose(spaces.logits(there.test, head), -spaces.logits(back.test, head), atol=1e-3)


def test_layers_are_told_apart_by_width() -> None:
    """Log-probability blocks are narrow; a student without one falls back to all its layers."""
    assert spaces.narrow_layers(task_of("math")) == ("logprob",)
    pref = task_of("pref")
    assert len(spaces.each(pref)) == 2
    assert len(spaces.halves(pref, 3, np.random.default_rng(0))) == 3


def test_the_last_word_of_a_test_item_does_not_depend_on_the_other_test_items() -> None:
    """Blending and centring use train items only."""
    task = task_of()
    scores = train.committee(spaces.joined(task), task.weak_labels)
    whole = finish.centred(finish.blended(task, scores, 0.4), 0.3)
    few = W2STask(task.train, task.test[:7], task.weak_labels, task.student)
    part = finish.centred(finish.blended(few, train.Scores(scores.train, scores.test[:7]), 0.4), 0.3)
    np.testing.assert_allclose(whole.test[:7], part.test, atol=1e-5)
    assert (whole.train > 0).mean() == pytest.approx(0.3, abs=0.02)


def test_balanced_weights_even_the_classes() -> None:
    """Both classes get the same total weight."""
    taught = np.array([1, 0, 0, 0, 0], np.float32)
    weights = train.balanced(taught)
    assert float(weights @ taught) == pytest.approx(float(weights @ (1 - taught)))


def test_probabilities_are_log_odds_turned_back() -> None:
    """The end of every method: values in [0, 1]."""
    p = finish.probabilities(train.Scores(np.zeros(2, np.float32), np.array([-3, 4], np.float32)))
    np.testing.assert_allclose(logit(p), [-3, 4], atol=1e-3)
