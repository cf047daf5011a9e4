"""Rules of the shown baselines: complete method files that do what their docstrings say."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from aarlab.errors import NotApplicable, UnknownName
from aarlab.w2s import methods, toy
from aarlab.w2s.methods import confident_weak_labels, weak_labels_hard, weak_labels_soft, zero_shot_elicitation
from aarlab.w2s.open_task import load_run
from aarlab.w2s.task import W2STask

KINDS = ("math", "code", "pref")


def with_weak(task: W2STask, weak: np.ndarray) -> W2STask:
    return W2STask(task.train, task.test, weak.astype(np.float32), task.student)


def test_the_shown_baselines_are_there() -> None:
    """Names as submissions write them."""
    assert set(methods.SHOWN) <= set(methods.names())


@pytest.mark.parametrize("name", methods.names())
def test_a_method_says_what_it_is(name: str) -> None:
    """Its header names it, its family is one of the eleven, and its origin is stated."""
    found = methods.about(name)
    assert found.name == name
    assert found.family in methods.FAMILIES
    assert found.origin
    assert found.title.endswith(".")


@pytest.mark.parametrize("name", methods.names())
def test_a_method_is_a_complete_documented_file(name: str) -> None:
    """The text defines run, names itself in the first line, and has a docstring with mechanism and source."""
    source = methods.source(name)
    tree = ast.parse(source)
    assert source.startswith(f"# name: {name}\n")
    assert any(isinstance(n, ast.FunctionDef) and n.name == "run" for n in tree.body)
    assert len(ast.get_docstring(tree) or "") > 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", methods.names())
def test_a_method_runs_everywhere_and_repeats_itself(name: str, kind: str) -> None:
    """Probabilities of the right shape on all kinds of problems; the same seed gives the same numbers.

    A method that this student cannot run says so (tests/test_critic.py runs critic training).
    """
    task = toy.make(kind, groups=100)
    run = load_run(methods.source(name))
    try:
        one, two = np.asarray(run(task.view(3), 3)), np.asarray(run(task.view(3), 3))
    except NotApplicable as error:
        assert name == "critic-training"
        pytest.skip(str(error))
    assert one.shape == (task.is_test.sum(),)
    assert ((one >= 0) & (one <= 1)).all()
    np.testing.assert_array_equal(one, two)


def test_unknown_method_names_the_known() -> None:
    """A misspelt name is answered with the list."""
    with pytest.raises(UnknownName, match="weak-labels-soft"):
        methods.source("weak-label")


def test_hard_labels_ignore_confidence_and_soft_labels_do_not() -> None:
    """Moving probabilities without crossing 1/2 changes the soft baseline only."""
    task = toy.make(groups=100).view(0)
    bolder = with_weak(task, np.where(task.weak_labels > 0.5, 0.9, 0.1))
    np.testing.assert_array_equal(weak_labels_hard.run(task, 0), weak_labels_hard.run(bolder, 0))
    assert np.abs(weak_labels_soft.run(task, 0) - weak_labels_soft.run(bolder, 0)).max() > 0.01


def test_confident_labels_ignore_the_doubtful() -> None:
    """Items between the thresholds do not count: flipping them changes nothing."""
    task = toy.make(groups=100).view(0)
    weak = np.where(np.arange(len(task.train)) % 3 == 0, 0.9, 0.1)
    weak[:40] = 0.4
    flipped = weak.copy()
    flipped[:40] = 0.6
    one = confident_weak_labels.run(with_weak(task, weak), 0)
    np.testing.assert_array_equal(one, confident_weak_labels.run(with_weak(task, flipped), 0))


def test_confident_labels_fall_back_per_class() -> None:
    """A teacher that is never sure still teaches: the surest half of each class."""
    task = toy.make(groups=100).view(0)
    timid = 0.5 + 0.2 * (task.weak_labels - 0.5)
    out = confident_weak_labels.run(with_weak(task, timid), 0)
    assert np.isfinite(out).all()
    assert 0.1 < (out > 0.5).mean() < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_elicitation_does_not_hear_the_teacher(kind: str) -> None:
    """Inverting every weak label changes nothing: the labels are the student's own."""
    task = toy.make(kind, groups=100).view(0)
    one = zero_shot_elicitation.run(task, 0)
    np.testing.assert_array_equal(one, zero_shot_elicitation.run(with_weak(task, 1 - task.weak_labels), 0))


@pytest.mark.parametrize("kind", KINDS)
def test_elicitation_recovers_what_the_student_knows(kind: str) -> None:
    """On the toy, whose zero-shot score is informative and whose teacher errs readably, it beats weak labels."""
    task = toy.make(kind)
    own = task.evaluate(zero_shot_elicitation.run, range(3)).mean
    taught = task.evaluate(weak_labels_hard.run, range(3)).mean
    assert own > taught + 0.3
