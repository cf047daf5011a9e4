"""Rules of the published and further methods: each does the thing it is named after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.w2s import toy
from aarlab.w2s.heads import expit, logit
from aarlab.w2s.methods import (
    auxiliary_confidence_loss,
    bootstrapping,
    born_again,
    confidence_window,
    confident_weak_labels_quantile,
    entropy_filter,
    few_shot_elicitation,
    knn_filter,
    log_confidence,
    log_entropy,
    noisy_channel_features,
    one_head_per_view,
    out_of_fold_relabelling,
    reverse_kl_distillation,
    topological_filter,
    weak_labels_soft,
    zero_shot_prompting,
    zero_shot_times_teacher,
)
from aarlab.w2s.open_task import checked_output
from aarlab.w2s.parts import denoise, labels, neighbours, train
from aarlab.w2s.parts.losses import Hardened, from_gradient, warmed
from aarlab.w2s.students.probe import ProbeStudent
from aarlab.w2s.task import Layer, StudentSpec, W2STask
from batch_student import BatchStudent

KINDS = ("math", "code", "pref")
MODULES = (
    auxiliary_confidence_loss, bootstrapping, born_again, confidence_window, confident_weak_labels_quantile,
    entropy_filter, few_shot_elicitation, knn_filter, log_confidence, log_entropy, noisy_channel_features,
    one_head_per_view, out_of_fold_relabelling, reverse_kl_distillation, topological_filter, zero_shot_prompting,
    zero_shot_times_teacher,
)  # fmt: skip
odds = st.lists(st.floats(-6, 6, width=32), min_size=2, max_size=60).map(lambda v: np.array(v, np.float32))


def task_of(kind: str = "math", groups: int = 100) -> W2STask:
    return toy.make(kind, groups=groups).view(0)


def with_weak(task: W2STask, weak: np.ndarray) -> W2STask:
    return replace(task, weak_labels=weak.astype(np.float32))


def two_clusters(n: int = 160, wrong: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, 4), labels of which the first `wrong` of either cluster are flipped, and which ones they are."""
    rng = np.random.default_rng(0)
    yes = np.arange(n) % 2 == 0
    a = (np.where(yes, 3, -3)[:, None] + rng.standard_normal((n, 4))).astype(np.float32)
    flipped = np.arange(n) < 2 * wrong
    q = np.where(yes ^ flipped, 0.9, 0.1).astype(np.float32)
    return a, q, flipped


def as_task(a: np.ndarray, q: np.ndarray) -> W2STask:
    """A toy task whose train items have these features and weak labels."""
    made = toy.make("code", groups=100)
    drawn = made.draw(0)
    values = np.zeros((len(made.inputs), a.shape[1]), np.float32)
    values[drawn.train[: len(a)]] = a
    layer, spec = Layer(values, np.ones(a.shape[1], np.float32)), StudentSpec(("m",), (1.0,), 0.2)
    made = replace(made, inputs=replace(made.inputs, layers={"m": layer}, student=spec))
    task = made.view(0)
    return replace(task, train=task.train[: len(a)], weak_labels=q)


class Spy(ProbeStudent):
    """A probe student that remembers how many items each training had."""

    def fit(self, items, *args, **more):  # type: ignore[no-untyped-def]
        self.taught = [*getattr(self, "taught", []), len(items)]
        return super().fit(items, *args, **more)


def spied(task: W2STask) -> tuple[W2STask, Spy]:
    spy = Spy(task.student.spec, task.student.layers)
    return replace(task, student=spy), spy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rsplit(".", 1)[1])
def test_a_method_needs_no_more_than_the_contract(module, kind: str) -> None:  # type: ignore[no-untyped-def]
    """It also runs on a student that learns in batches of 16 and has nothing a probe has besides."""
    made = toy.make(kind, groups=60)
    student = BatchStudent(made.inputs.student, tuple(made.inputs.layers))
    task = replace(made, student=student).view(1)
    checked_output(module.run(task, 1), len(task.test))


@pytest.mark.parametrize("weak", [0.7, 0.5, 0.2])
@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rsplit(".", 1)[1])
def test_a_teacher_of_one_word_is_borne(module, weak: float) -> None:  # type: ignore[no-untyped-def]
    """Weak labels of one class and one value, and few items, still give probabilities."""
    task = task_of(groups=40)
    task = replace(task, train=task.train[:30], weak_labels=np.full(30, weak, np.float32))
    checked_output(module.run(task, 0), len(task.test))


# ---------------------------------------------------------------------------------------------- losses


def test_without_confidence_the_auxiliary_loss_is_the_soft_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """a = 0 leaves cross-entropy with the teacher's probabilities; the usual a does not."""
    task = task_of()
    soft = weak_labels_soft.run(task, 0)
    assert np.abs(auxiliary_confidence_loss.run(task, 0) - soft).max() > 0.05
    monkeypatch.setattr(auxiliary_confidence_loss, "MOST", 0.0)
    np.testing.assert_allclose(auxiliary_confidence_loss.run(task, 0), soft, atol=0.01)


def test_confidence_makes_the_student_bolder() -> None:
    """Taught its own hard labels, or to have little entropy, it says what it says with larger odds."""
    task = task_of()
    soft = np.abs(logit(weak_labels_soft.run(task, 0))).mean()
    for method in (auxiliary_confidence_loss, log_confidence, log_entropy):
        assert np.abs(logit(method.run(task, 0))).mean() > 1.2 * soft


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9), st.integers(1, 64))
def test_hard_labels_keep_their_share_in_batches_of_any_size(seed: int, share: float, batch: int) -> None:
    """Over a long run of batches the share of ones is the wanted one, even where a batch is a single item."""
    own = Hardened(share)
    stream = np.random.default_rng(seed).standard_normal(1024).astype(np.float32)
    said = np.concatenate([own(stream[i : i + batch]) for i in range(0, 1024, batch)])
    assert abs(said[256:].mean() - share) < 0.1


def test_a_coefficient_warms_up_in_a_line() -> None:
    """Half of it after half of the warm-up, all of it from then on."""
    assert warmed(0.75, 0.1, 0.2) == pytest.approx(0.375)
    assert warmed(0.75, 0.2, 0.2) == warmed(0.75, 1.0, 0.2) == pytest.approx(0.75)


def slope(loss, z: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    z = z.astype(np.float64)
    return (loss(z + 1e-4) - loss(z - 1e-4)) / 2e-4


def sigma(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def kl(z: np.ndarray, taught: np.ndarray) -> np.ndarray:
    p, t = sigma(z), sigma(taught)
    return p * np.log(p / t) + (1 - p) * np.log((1 - p) / (1 - t))


@settings(max_examples=40, deadline=None)
@given(odds, st.integers(0, 2**32 - 1))
def test_reverse_kl_pulls_as_its_derivative_does(z: np.ndarray, seed: int) -> None:
    """The target's cross-entropy gradient, p - target, is the numerical derivative of KL(student || teacher)."""
    taught = np.random.default_rng(seed).uniform(-5, 5, len(z)).astype(np.float32)
    target = from_gradient(z, reverse_kl_distillation.gradient(z, taught))
    np.testing.assert_allclose(expit(z) - target, slope(lambda v: kl(v, taught.astype(float)), z), atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(odds, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_log_entropy_pulls_as_its_derivative_does(z: np.ndarray, a: float, seed: int) -> None:
    """Its gradient is the numerical derivative of (1 - a) cross-entropy + a entropy."""
    q = np.random.default_rng(seed).random(len(z)).astype(np.float32)

    def loss(v: np.ndarray) -> np.ndarray:
        p = sigma(v)
        own = -p * np.log(p) - (1 - p) * np.log(1 - p)
        return (1 - a) * -(q * np.log(p) + (1 - q) * np.log(1 - p)) + a * own

    np.testing.assert_allclose(log_entropy.gradient(z, q, a), slope(loss, z), atol=1e-3)


def test_the_window_teaches_only_the_doubtful() -> None:
    """Inside the radius an item's target is its label, outside it is the student's own opinion: no pull."""
    z = np.array([-3, -0.1, 0.1, 3], np.float32)
    targets = confidence_window.windowed(z, np.array([1, 1, 0, 0], np.float32), 0.15)
    np.testing.assert_array_equal(targets[1:3], [1, 0])
    np.testing.assert_array_equal(targets[[0, 3]], expit(z)[[0, 3]])


# ---------------------------------------------------------------------------------------------- filters


def test_the_quantile_does_not_mind_the_teachers_temperature() -> None:
    """A teacher that says everything more timidly teaches the same, and half of each class is taught."""
    task, spy = spied(task_of())
    one = confident_weak_labels_quantile.run(task, 0)
    timid = with_weak(task, 0.5 + 0.1 * (task.weak_labels - 0.5))
    np.testing.assert_array_equal(one, confident_weak_labels_quantile.run(timid, 0))
    assert spy.taught[0] == pytest.approx(len(task.train) / 2, abs=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_neighbours_are_the_nearest(n: int, count: int, seed: int) -> None:
    """The same sets as sorting all distances, never the item itself."""
    a = np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)
    away = ((a[:, None] - a[None]) ** 2).sum(-1)
    np.fill_diagonal(away, np.inf)
    near = neighbours.nearest(a, count)
    assert near.shape == (n, min(count, n - 1))
    found = np.take_along_axis(away, near, 1).max(1)
    np.testing.assert_allclose(found, np.sort(away, 1)[:, near.shape[1] - 1], rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_the_largest_component_is_one_and_the_largest(n: int, k: int, seed: int) -> None:
    """As many members as the largest set that walking along edges inside finds, and exactly such a set."""
    rng = np.random.default_rng(seed)
    near, inside = rng.integers(0, n, (n, k)), rng.random(n) < 0.7
    edges = {(i, int(j)) for i in range(n) for j in near[i]}
    sets, left = [], set(np.flatnonzero(inside).tolist())
    while left:
        part, front = set(), {left.pop()}
        while front:
            part |= front
            front = {b for a in front for b in left if (a, b) in edges or (b, a) in edges}
            left -= front
        sets.append(part)
    found = set(np.flatnonzero(neighbours.largest_component(near, inside)).tolist())
    assert len(found) == max(map(len, sets), default=0)
    assert not sets or found in sets


def test_the_knn_filter_leaves_out_labels_at_odds_with_their_surroundings() -> None:
    """A tenth of two clear clusters is mislabelled; that tenth goes, and with it what it teaches."""
    a, q, flipped = two_clusters()
    task, spy = spied(as_task(a, q))
    clean, _ = spied(as_task(a[~flipped], q[~flipped]))
    np.testing.assert_allclose(knn_filter.run(task, 0), weak_labels_soft.run(clean, 0), atol=1e-5)
    assert spy.taught == [len(q) - flipped.sum()]


def test_the_topological_filter_leaves_out_islands_and_intruders() -> None:
    """Mislabelled items inside the other class go, and so does a class's small cluster far from its body."""
    a, q, flipped = two_clusters()
    island = np.concatenate([np.full((6, 4), 40), np.random.default_rng(1).standard_normal((0, 4))]).astype(np.float32)
    island += 0.1 * np.random.default_rng(1).standard_normal(island.shape).astype(np.float32)
    keep = topological_filter.kept(np.concatenate([a, island]), np.append(q, np.full(6, 0.9, np.float32)), joined=5)
    assert set(keep) == set(np.flatnonzero(~flipped))


def test_the_entropy_filter_leaves_out_doubt_and_disagreement() -> None:
    """Entropy is largest where the mean opinion is 1/2: where both doubt, and where they contradict each other."""
    teacher, student = np.array([0.9, 0.5, 0.9, 0.1]), np.array([0.9, 0.5, 0.1, 0.1])
    both = entropy_filter.entropy((teacher + student) / 2)
    np.testing.assert_allclose(both[[1, 2]], np.log(2), rtol=1e-5)
    assert both[[0, 3]].max() < 0.4
    task, spy = spied(task_of())
    entropy_filter.run(task, 0)
    assert spy.taught == [pytest.approx(len(task.train) / 2, abs=1)]


# ---------------------------------------------------------------------------------------------- elicitation


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [zero_shot_prompting, few_shot_elicitation])
def test_elicitation_does_not_hear_the_teacher(method, kind: str) -> None:  # type: ignore[no-untyped-def]
    """Inverting every weak label changes nothing."""
    task = task_of(kind)
    np.testing.assert_array_equal(method.run(task, 0), method.run(with_weak(task, 1 - task.weak_labels), 0))


@pytest.mark.parametrize("kind", KINDS)
def test_prompting_is_the_zero_shot_score_with_a_threshold(kind: str) -> None:
    """Order is the score's; comparisons are split at 0, other items at the train items' median."""
    task = task_of(kind)
    said, score = zero_shot_prompting.run(task, 0), task.test.zero_shot()
    assert (np.argsort(said, kind="stable") == np.argsort(score, kind="stable")).all()
    middle = 0 if kind == "pref" else np.median(task.train.zero_shot())
    np.testing.assert_array_equal(said > 0.5, score > middle)


@pytest.mark.parametrize("kind", KINDS)
def test_few_shot_elicitation_recovers_what_the_student_knows(kind: str) -> None:
    """On the toy, whose zero-shot score is informative and whose teacher errs readably, it beats weak labels."""
    task = toy.make(kind)
    assert task.evaluate(few_shot_elicitation.run, range(3)).mean > task.evaluate(weak_labels_soft.run, range(3)).mean


def test_examples_are_sure_and_balanced() -> None:
    """Half of either class, all from its surest share; fewer where a class has fewer."""
    z = np.linspace(-1, 1, 400).astype(np.float32)
    rows = few_shot_elicitation.examples(z, 0.25, np.random.default_rng(0))
    assert len(set(rows)) == few_shot_elicitation.SHOWN
    assert (z[rows] > 0).sum() == few_shot_elicitation.SHOWN // 2
    assert np.abs(z[rows]).min() > 0.7
    assert len(few_shot_elicitation.examples(z[196:], 0.25, np.random.default_rng(0))) == 17


def test_no_item_is_judged_by_examples_of_its_group() -> None:
    """A student that says yes exactly where an example shares the item's group is never heard saying so."""
    task = task_of()

    class Sibling(ProbeStudent):
        def in_context(self, items, shown, labels):  # type: ignore[no-untyped-def]
            return np.where(np.isin(items.groups, shown.groups), 1, -1).astype(np.float32)

    task = replace(task, student=Sibling(task.student.spec, task.student.layers))
    z = np.random.default_rng(0).standard_normal(len(task.train)).astype(np.float32)
    heard = few_shot_elicitation.asked(task, task.train, task.train, z, 1.0, np.random.default_rng(0))
    assert (heard <= 0).all()
    assert (heard < 0).mean() > 0.9


def test_a_pool_holds_whole_groups() -> None:
    """No group is cut, and there are not more items than asked for."""
    groups = np.repeat(np.arange(50), 7)
    rows = few_shot_elicitation.whole_groups(groups, 100, np.random.default_rng(0))
    assert 90 < len(rows) <= 100
    assert all((groups[rows] == g).sum() == 7 for g in set(groups[rows]))


# ---------------------------------------------------------------------------------------------- chains and mixtures


def test_bootstrapping_climbs_up_to_the_full_student() -> None:
    """Each student is larger than the one before, and the last is the task's own."""
    student = task_of().student
    *smaller, last = bootstrapping.chain(student)
    sizes = [s.components for s in smaller]
    assert last is student
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_bootstrapping_ends_with_the_full_student(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no students in between it is the soft baseline."""
    task = task_of()
    monkeypatch.setattr(bootstrapping, "SHARES", ())
    np.testing.assert_array_equal(bootstrapping.run(task, 0), weak_labels_soft.run(task, 0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3), st.floats(-2, 2))
def test_handed_on_labels_are_as_bold_as_the_first(seed: int, size: float, middle: float) -> None:
    """Mean and deviation of the log-odds are those of the labels, the order is the student's."""
    rng = np.random.default_rng(seed)
    taught = rng.uniform(0.05, 0.95, 200).astype(np.float32)
    z = (size * rng.standard_normal(200) + middle).astype(np.float32)
    bold = logit(labels.as_bold(z, taught))
    assert bold.mean() == pytest.approx(logit(taught).mean(), abs=0.02)
    assert bold.std() == pytest.approx(logit(taught).std(), rel=0.02)
    assert np.corrcoef(bold, z)[0, 1] > 0.999


def test_the_first_generation_is_the_soft_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Born-again rounds begin where weak labels end, and go on from there."""
    task = task_of()
    soft = weak_labels_soft.run(task, 0)
    assert np.abs(born_again.run(task, 0) - soft).max() > 0.01
    monkeypatch.setattr(born_again, "GENERATIONS", 1)
    np.testing.assert_array_equal(born_again.run(task, 0), soft)


def test_an_item_out_of_fold_does_not_hear_its_own_label() -> None:
    """Turning all labels of a fold around changes what other folds are told, and not what this one is."""
    task = task_of()
    where = train.folds(task.train.groups, 3, np.random.default_rng(0))
    q = task.weak_labels
    turned = np.where(where == 1, 1 - q, q)
    one = train.student_out_of_fold(task.student, task.train, q, where)
    other = train.student_out_of_fold(task.student, task.train, turned, where)
    np.testing.assert_array_equal(one[where == 1], other[where == 1])
    assert np.abs(one - other)[where != 1].max() > 0.05


def test_relabelling_forgets_what_others_cannot_tell() -> None:
    """Weak labels turned around at random come back to their item's side more often than not."""
    made = toy.make()
    drawn, task = made.draw(0), made.view(0)
    true = made.labels[drawn.train] > 0
    noisy = np.where(np.random.default_rng(0).random(len(true)) < 0.3, 1 - true, true) * 0.8 + 0.1
    where = train.folds(task.train.groups, 3, np.random.default_rng(0))
    seen = train.student_out_of_fold(task.student, task.train, noisy, where)
    assert ((seen > 0) == true).mean() > ((noisy > 0.5) == true).mean() + 0.1
    again = denoise.mixed(seen, noisy.astype(np.float32), 0.5)
    assert ((again > 0.5) == true).mean() > ((noisy > 0.5) == true).mean() + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_product_beats_the_teacher(kind: str) -> None:
    """Where teacher and zero-shot score err independently, more of their product's labels are right than of the
    teacher's, and a student taught them beats one taught weak labels."""
    made = toy.make(kind)
    task, true = made.view(0), made.labels[made.draw(0).train] > 0
    both = zero_shot_times_teacher.product(task)
    assert ((both > 0.5) == true).mean() > ((task.weak_labels > 0.5) == true).mean() + 0.1
    taught = made.evaluate(zero_shot_times_teacher.run, range(3)).mean
    assert taught > made.evaluate(weak_labels_soft.run, range(3)).mean


def test_one_view_is_the_soft_baseline() -> None:
    """A student with a single view has nobody to be averaged with."""
    task = task_of()
    task = replace(task, student=task.student.reading(("m20",)))
    np.testing.assert_allclose(one_head_per_view.run(task, 0), weak_labels_soft.run(task, 0), atol=1e-5)


def test_the_channel_learns_where_the_teacher_errs() -> None:
    """A teacher who is right where a feature is low and guesses where it is high is believed where it is low."""
    rng = np.random.default_rng(0)
    truth, seen = rng.random(2000) < 0.5, rng.standard_normal((2000, 3)).astype(np.float32)
    wrong = rng.random(2000) < np.where(seen[:, 0] > 0, 0.5, 0.02)
    said = (truth ^ wrong).astype(np.float32)
    worth = noisy_channel_features.channel(seen, said, np.where(truth, 0.9, 0.1).astype(np.float32))
    sign = np.where(said > 0, 1, -1)
    assert (sign * worth)[seen[:, 0] < -0.5].mean() > 1
    assert abs((sign * worth)[seen[:, 0] > 0.5].mean()) < 0.5
