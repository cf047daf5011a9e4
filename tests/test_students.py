"""Rules of the student contract, kept by the probe student: targets that move, checkpoints, effort, views."""

from __future__ import annotations

import numpy as np
import pytest

from aarlab.errors import InputError, NotApplicable
from aarlab.w2s import texts, toy
from aarlab.w2s.components import principal
from aarlab.w2s.heads import LogisticHead, expit
from aarlab.w2s.students.probe import ProbeStudent
from aarlab.w2s.task import W2STask


def task_of(kind: str = "math") -> W2STask:
    return toy.make(kind, groups=80).view(0)


def test_targets_that_stand_still_change_nothing() -> None:
    """Moving targets that always give the first ones end where plain training ends."""
    task = task_of()
    q = task.weak_labels
    plain = task.student.fit(task.train, q).predict(task.test)
    moving = task.student.fit(task.train, q, moving=lambda logits, rows, progress: q[rows]).predict(task.test)
    np.testing.assert_allclose(moving, plain, atol=4e-3)


def test_moving_targets_see_the_present_student() -> None:
    """They are asked for every item with finite log-odds, at growing progress up to 1, and decide what is learnt."""
    task, seen = task_of(), []

    def opposite(logits, rows, progress):
        seen.append(progress)
        assert logits.shape == rows.shape == (len(task.train),)
        assert np.isfinite(logits).all()
        return 1 - task.weak_labels[rows]

    head = task.student.fit(task.train, task.weak_labels, moving=opposite)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    turned = task.student.fit(task.train, 1 - task.weak_labels)
    np.testing.assert_allclose(head.predict(task.test), turned.predict(task.test), atol=0.02)


def test_a_loss_is_a_moving_target() -> None:
    """Target p - g descends the loss with gradient g: the squared error of probabilities gets lower than under
    cross-entropy."""
    task = task_of()
    q = task.weak_labels

    def brier(logits, rows, progress):
        p = expit(logits)
        return p - (p - q[rows]) * p * (1 - p)

    def error(head):
        return float(np.mean((head.predict(task.train) - q) ** 2))

    plain = task.student.fit(task.train, q, effort=20)
    moved = task.student.fit(task.train, q, effort=80, moving=brier)  # its gradients are about a quarter
    assert error(moved) < error(plain)


def test_from_a_checkpoint_little_effort_stays_near() -> None:
    """With `start` the ridge pulls to that head: no effort keeps it, much effort leaves it for the new labels."""
    task = task_of()
    first = task.student.fit(task.train, task.weak_labels > 0.5)
    away = [
        np.abs(
            task.student.fit(task.train, task.weak_labels < 0.5, start=first, effort=e).logits(task.test)
            - first.logits(task.test)
        ).mean()
        for e in (0.001, 0.1, 10)
    ]
    assert away[0] < 0.2 * away[2]
    assert away == sorted(away)


def test_more_effort_fits_more_closely() -> None:
    """Effort and rate divide the ridge: the training labels are reproduced better."""
    task = task_of()
    labels = task.weak_labels > 0.5
    right = [
        ((task.student.fit(task.train, labels, effort=e).predict(task.train) > 0.5) == labels).mean()
        for e in (0.1, 1, 10)
    ]
    assert right == sorted(right)
    half = task.student.fit(task.train, labels, effort=0.5, rate=0.5).predict(task.test)
    np.testing.assert_array_equal(half, task.student.fit(task.train, labels, effort=0.25).predict(task.test))


def test_parameters_make_the_head() -> None:
    """A head with its own parameters predicts the same, with others something else; a wrong shape is named."""
    task = task_of()
    head = task.student.fit(task.train, task.weak_labels)
    np.testing.assert_array_equal(head.with_parameters(head.parameters()).logits(task.test), head.logits(task.test))
    np.testing.assert_allclose(
        head.with_parameters(2 * head.parameters()).logits(task.test), 2 * head.logits(task.test), atol=1e-3
    )
    with pytest.raises(ValueError, match="shape"):
        head.with_parameters(np.zeros(3))


def test_a_smaller_student_sees_fewer_components() -> None:
    """Its heads have as many coefficients as components; the whole contract holds for it."""
    task = task_of()
    small = task.student.smaller(0.02)
    head = small.fit(task.train, task.weak_labels)
    assert len(head.parameters()) == 5 + 1
    assert ((head.predict(task.test) > 0) & (head.predict(task.test) < 1)).all()
    again = small.fit(task.train, task.weak_labels, start=head, effort=0.01)
    np.testing.assert_allclose(again.logits(task.test), head.logits(task.test), atol=0.1)


def test_views_read_one_layer_each() -> None:
    """One student per layer of the spec, with that layer's weight."""
    task = task_of()
    views = task.student.views()
    assert [v.spec.layers for v in views] == [(name,) for name in task.student.spec.layers]
    assert [v.spec.weights for v in views] == [(w,) for w in task.student.spec.weights]


def test_a_few_shown_examples_are_enough_for_an_opinion() -> None:
    """`in_context` reads shown examples only."""
    task = task_of()
    opinion = task.student.in_context(task.test, task.train[:12], np.arange(12) % 2)
    assert opinion.shape == (len(task.test),)
    opposite = task.student.in_context(task.test, task.train[:12], 1 - np.arange(12) % 2)
    np.testing.assert_allclose(opinion, -opposite, atol=2e-2)


def test_the_probe_says_what_it_cannot_do() -> None:
    """It writes no text, takes no effort of 0, and starts from no other student's head."""
    task = task_of()
    with pytest.raises(NotApplicable, match="writes no text"):
        task.student.generate(["why?"], 5)
    with pytest.raises(InputError, match="above 0"):
        task.student.fit(task.train, task.weak_labels, effort=0)
    with pytest.raises(InputError, match="cannot start from"):
        task.student.fit(task.train, task.weak_labels, start=object())
    with pytest.raises(InputError, match="between 0 and 1"):
        task.student.smaller(2)
    with pytest.raises(ValueError, match="no items"):
        task.student.fit(task.train[:0], [])


def test_features_with_nan_are_named() -> None:
    """A head is not fitted on NaN."""
    x = np.ones((6, 3), np.float32)
    x[2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        LogisticHead(0.1).fit(x, np.arange(6) % 2)


def test_components_are_those_of_an_exact_decomposition() -> None:
    """The leading directions span what the singular value decomposition gives."""
    rng = np.random.default_rng(0)
    a = (rng.standard_normal((300, 60)) * np.geomspace(10, 0.1, 60)).astype(np.float32)
    a -= a.mean(0)
    exact = np.linalg.svd(a, full_matrices=False)[2][:5]
    found = np.linalg.qr(principal(a, 5))[0]
    np.testing.assert_allclose(np.linalg.norm(exact @ found, axis=1), 1, atol=0.01)


def test_items_join_and_keep_their_mirror_images() -> None:
    """items + items.mirror() is the swap-augmented set; features, scores and texts follow item by item."""
    task = task_of("pref")
    both = task.train[:3] + task.train[:3].mirror()
    np.testing.assert_array_equal(both.features("m20")[3:], -both.features("m20")[:3])
    np.testing.assert_array_equal(both[[0, 3]].zero_shot()[0], -both[[0, 3]].zero_shot()[1])
    with pytest.raises(ValueError, match="two different tasks"):
        _ = task.train + task_of("pref").train


@pytest.mark.parametrize(
    ("text", "paired", "parts"),
    [
        ("Question: 1 + 1?\nAnswer: 2", False, ("Question: 1 + 1?\nAnswer:", " 2")),
        (
            'def f(x):\n    """Double."""\n    return 2 * x\n',
            False,
            ('def f(x):\n    """Double."""\n', "    return 2 * x\n"),
        ),
        ("A: good\nB: bad", True, ("", "good", "bad")),
        ("Which?\nA: one\ntwo\nB: three", True, ("Which?\n", "one\ntwo", "three")),
    ],
)
def test_a_text_comes_apart_into_question_and_answer(text: str, paired: bool, parts: tuple[str, ...]) -> None:
    """`split` finds where the answer begins, and `whole` puts the parts together again."""
    assert texts.split(text, paired) == parts
    assert texts.whole(parts, paired) == text


@pytest.mark.parametrize(("text", "paired"), [("no answer here", False), ("A: only one", True)])
def test_a_text_without_a_boundary_is_refused(text: str, paired: bool) -> None:
    """NotApplicable quotes the text's beginning."""
    with pytest.raises(NotApplicable, match=text[:6]):
        texts.split(text, paired)


def test_a_smaller_student_is_a_probe_student() -> None:
    """Nested smaller students shrink further."""
    student = task_of().student
    assert isinstance(student, ProbeStudent)
    assert student.smaller(0.5).smaller(0.5).components == 64
