"""Rules of the five methods after the 2026 study's descriptions: what makes each of them itself, on small worlds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aarlab.w2s.heads import expit
from aarlab.w2s.methods import ccs_evolution, em_posterior, epiplexity, mdl_curriculum, overlap_density
from aarlab.w2s.parts.evolution import evolve, random_plane
from aarlab.w2s.students.probe import ProbeStudent
from aarlab.w2s.task import Draw, Layer, StudentSpec, TaskInputs, W2STask
from aarlab.w2s.view import view


def task_of(
    layers: dict[str, np.ndarray],
    weak: np.ndarray,
    zero_shot: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    answers: list[str] | None = None,
    paired: bool = False,
) -> W2STask:
    """Items of which the first len(weak) are train. layers: (n, d); of comparisons the difference of both sides."""
    n = len(next(iter(layers.values())))
    blocks = {}
    for name, x in layers.items():
        rows = np.concatenate([x / 2, -x / 2]) if paired else x
        blocks[name] = Layer(rows.astype(np.float32), np.ones(x.shape[1], np.float32))
    inputs = TaskInputs(
        problem="planted", task="open", layers=blocks,
        zero_shot=(np.zeros(n) if zero_shot is None else zero_shot).astype(np.float32),
        groups=np.arange(n) if groups is None else groups,
        student=StudentSpec(tuple(layers), (1.0,) * len(layers), 0.05),
        pairs=np.stack([np.arange(n), np.arange(n) + n], 1) if paired else None,
        answers=None if answers is None else tuple(answers),
    )  # fmt: skip
    rows = np.arange(n)
    return view(inputs, Draw(rows[: len(weak)], rows[len(weak) :], weak.astype(np.float32), 0))


def accuracy(p: np.ndarray, truth: np.ndarray) -> float:
    return float(((p > 0.5) == (truth > 0.5)).mean())


# ---- CCS and evolution


def planted(rng: np.random.Generator, n: int, right: float) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Layers, of which `deep` holds truth as two clusters and `early` noise; truth; a teacher of that accuracy."""
    truth = rng.random(n) < 0.5
    deep = rng.standard_normal((n, 20))
    deep[:, :8] += 1.5 * np.where(truth, 1, -1)[:, None]
    layers = {"early": rng.standard_normal((n, 20)), "deep": deep}
    says = np.where(rng.random(n) < right, truth, ~truth)
    return layers, truth, np.where(says, 0.7, 0.3) + rng.uniform(-0.1, 0.1, n)


@pytest.mark.parametrize("paired", [True, False])
def test_the_probe_finds_a_planted_truth_with_the_teacher_s_sign(paired: bool) -> None:
    """The truth probe reads the layer of two clusters almost perfectly from a teacher who is right on 65 %; one who is
    right on 35 % turns it round: the teacher decides the sign and nothing else."""
    rng = np.random.default_rng(0)
    layers, truth, weak = planted(rng, 600, 0.65)
    groups = np.repeat(np.arange(150), 4)
    task = task_of(layers, weak, paired=paired, groups=groups)
    found = ccs_evolution.truth_probe(task, np.random.default_rng(1))
    assert accuracy(found, truth) > (0.97 if paired else 0.85)
    inverted = task_of(layers, 1 - weak, paired=paired, groups=groups)
    np.testing.assert_allclose(ccs_evolution.truth_probe(inverted, np.random.default_rng(1)), 1 - found, atol=1e-5)


def test_contrasts_reflect() -> None:
    """Mirroring a comparison flips its contrast; single items are measured from the mean of their group."""
    rng = np.random.default_rng(0)
    layers, _, weak = planted(rng, 40, 0.7)
    pairs = task_of(layers, weak, paired=True)
    np.testing.assert_allclose(ccs_evolution.contrasts(pairs, "deep"), -pairs.train.mirror().features("deep"))
    groups = rng.permutation(np.repeat(np.arange(10), 4))
    apart = ccs_evolution.contrasts(task_of(layers, weak, groups=groups), "deep")
    for group in range(10):
        np.testing.assert_allclose(apart[groups == group].mean(0), 0, atol=1e-5)


def test_the_probe_filters_a_teacher_worse_than_it() -> None:
    """Where truth stands out in the features, the method beats its teacher by far on test items."""
    layers, truth, weak = planted(np.random.default_rng(0), 700, 0.65)
    out = ccs_evolution.run(task_of(layers, weak[:400], paired=True), 0)
    assert accuracy(out, truth[400:]) > 0.9


def test_labels_the_probe_doubts_are_drawn_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the student is warmed up on, both orders of each drawn comparison, is righter by far than its teacher."""
    layers, truth, weak = planted(np.random.default_rng(0), 500, 0.65)
    task = task_of(layers, weak[:400], paired=True)
    right = dict(zip(task.train.ids, truth, strict=False))
    shares: list[float] = []
    fit = ProbeStudent.fit

    def watched(self: ProbeStudent, items: Any, targets: Any, times: Any, **options: Any) -> Any:
        half = len(items) // 2
        np.testing.assert_array_equal(targets[:half], 1 - targets[half:])
        agree = np.array([right[i] for i in items.ids[:half]]) == targets[:half]
        assert times[:half].sum() == len(task.train)
        shares.append(float(np.average(agree, weights=times[:half])))
        return fit(self, items, targets, times, **options)

    monkeypatch.setattr(ProbeStudent, "fit", watched)
    ccs_evolution.run(task, 0)
    assert len(shares) == ccs_evolution.SEEDS
    assert min(shares) > accuracy(weak[:400], truth[:400]) + 0.1


def test_answers_to_mirrored_comparisons_are_opposite() -> None:
    """Log-odds averaged over both orders change sign with the order, for a head with an order bias as well."""
    layers, _, weak = planted(np.random.default_rng(0), 60, 0.7)
    task = task_of(layers, weak, paired=True)
    head = task.student.fit(task.train, weak)
    biased = head.with_parameters(head.parameters() + np.float32(0.3))
    one = ccs_evolution.both_orders(biased, task.train)
    np.testing.assert_allclose(one, -ccs_evolution.both_orders(biased, task.train.mirror()), atol=1e-5)


def test_logic_rewards_equal_answers_and_at_most_one_right() -> None:
    """Of equally confident answers those win that are equal where they must be and do not exclude each other."""
    layers = {"deep": np.random.default_rng(0).standard_normal((4, 3))}
    answers = ["7", "7", "8", "9"]
    task = task_of(layers, np.full(4, 0.5), groups=np.zeros(4, np.int64), answers=answers)
    judge = ccs_evolution.Logic(task.train)
    odds = 5 * np.array([[1, 1, -1, -1], [1, -1, -1, -1], [1, 1, 1, -1]], np.float32)
    consistent, unequal, exclusive = judge(odds)
    assert consistent > unequal
    assert consistent > exclusive


def test_symmetry_is_rewarded_and_scale_is_not() -> None:
    """An order bias costs reward; multiplying all log-odds does not pay after scaling back."""
    odds = np.random.default_rng(0).standard_normal((1, 50)).astype(np.float32)
    fair, biased = np.concatenate([odds, -odds], 1), np.concatenate([odds + 1, -odds + 1], 1)
    assert ccs_evolution.symmetric(fair) > ccs_evolution.symmetric(biased)
    np.testing.assert_allclose(ccs_evolution.scaled(9 * fair, fair, paired=True), fair, rtol=1e-4)


def test_the_evolution_strategy_climbs() -> None:
    """On a smooth hill it ends close to the top, whatever the reward's scale, and a flat reward moves nothing."""
    top = np.linspace(-0.5, 0.5, 8).astype(np.float32)
    for scale in (1e-3, 1e3):
        found = evolve(lambda v, s=scale: -s * ((v - top) ** 2).sum(1), 8, np.random.default_rng(0), generations=200)
        assert np.linalg.norm(found - top) < 0.35 * np.linalg.norm(top)
    assert not evolve(lambda v: np.zeros(len(v)), 8, np.random.default_rng(0)).any()


class Bent:
    """A head that is not linear in its parameters."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def logits(self, items: Any) -> np.ndarray:
        return np.tanh(items.features("deep")[:, :3] @ self.values).astype(np.float32)

    def parameters(self) -> np.ndarray:
        return self.values

    def with_parameters(self, values: np.ndarray) -> Bent:
        return Bent(values)


@pytest.mark.parametrize("linear", [True, False])
def test_a_plane_gives_the_logits_of_each_step(linear: bool) -> None:
    """Linear heads by a matrix product, others one by one: both as if every head had been asked."""
    layers, _, weak = planted(np.random.default_rng(0), 60, 0.7)
    task = task_of(layers, weak)
    head = task.student.fit(task.train, weak) if linear else Bent(np.array([1.0, -2.0, 0.5], np.float32))
    plane = random_plane(head, 4, np.random.default_rng(0))  # type: ignore[arg-type]
    steps = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    asked = np.stack([plane.at(step).logits(task.train) for step in steps])
    np.testing.assert_allclose(plane.logits(task.train)(steps), asked, atol=2e-3)


# ---- EM posterior


@pytest.mark.parametrize("paired", [True, False])
def test_the_posterior_beats_a_teacher_who_errs_by_instance(paired: bool) -> None:
    """A teacher who follows a loud feature of the item instead of the truth is corrected: with a prior right on about
    three in four, the posterior is right more often than teacher and prior."""
    rng = np.random.default_rng(0)
    n = 1500
    truth = rng.random(n) < 0.5
    sign = np.where(truth, 1, -1)
    loud = rng.standard_normal(n)
    features = rng.standard_normal((n, 12)) * 0.3
    features[:, :6] += loud[:, None]
    says = expit(1.2 * sign + 2.5 * loud + 0.5 * rng.standard_normal(n))
    own = sign + 1.4 * rng.standard_normal(n)
    task = task_of({"deep": features}, says, zero_shot=own, paired=paired)
    prior = em_posterior.labels.rank_logit(em_posterior.margins(task), paired)
    believed = em_posterior.posterior(
        prior, em_posterior.channel_features(task), em_posterior.labels.hard(task.weak_labels), paired
    )
    assert accuracy(believed, truth) > accuracy(says, truth) + 0.05
    assert accuracy(believed, truth) > accuracy(own / 8 + 0.5, truth) + 0.02


def test_a_useless_teacher_leaves_the_prior() -> None:
    """Where the teacher's labels say nothing, the posterior is the tempered prior."""
    rng = np.random.default_rng(0)
    prior = 2 * rng.standard_normal(3000).astype(np.float32)
    taught = (rng.random(3000) < 0.5).astype(np.float32)
    found = em_posterior.posterior(prior, np.zeros((3000, 1), np.float32), taught)
    np.testing.assert_allclose(found, expit(prior / em_posterior.TEMPERATURE), atol=0.05)


def test_the_posterior_of_a_mirrored_comparison_is_the_complement() -> None:
    """Both orders of a comparison are believed alike."""
    rng = np.random.default_rng(0)
    prior = rng.standard_normal(200).astype(np.float32)
    seen = rng.standard_normal((200, 3)).astype(np.float32)
    taught = (rng.random(200) < expit(prior)).astype(np.float32)
    turned = np.column_stack([-seen[:, :2], seen[:, 2]])
    one = em_posterior.posterior(prior, seen, taught, paired=True)
    other = em_posterior.posterior(-prior, turned, 1 - taught, paired=True)
    np.testing.assert_allclose(one, 1 - other, atol=2e-3)


# ---- overlap density


def test_the_dense_agreeing_half_of_each_class_is_kept() -> None:
    """Of two tight, purely labelled clusters and scattered items with random labels, the clusters are kept, half of
    each class, although the classes are of unequal size."""
    rng = np.random.default_rng(0)
    side = np.repeat([1, 0], [150, 50])
    tight = rng.standard_normal((200, 30)) * 0.2
    tight[:, 0] += np.where(side == 1, 4, -4)
    scattered = rng.standard_normal((200, 30)) * 3
    scattered[:, 0] = rng.standard_normal(200)
    said = np.concatenate([side, rng.random(200) < 0.75])
    weak = np.where(said > 0, 0.6, 0.4) + rng.uniform(-0.01, 0.01, 400)
    task = task_of({"deep": np.concatenate([tight, scattered])}, weak)
    merit = overlap_density.merit(task, 0)
    kept = overlap_density.denoise.top_per_class(overlap_density.labels.hard(task.weak_labels), merit, 0.5) > 0
    for label in (0, 1):
        assert kept[said == label].sum() == round(0.5 * (said == label).sum())
    assert kept[:200].mean() > 0.85
    assert kept[200:].mean() < 0.15


def test_medium_entropy_is_best() -> None:
    """The teacher's doubt counts best in the middle of the field, not at either end."""
    weak = np.array([0.5, 0.55, 0.3, 0.85, 0.99], np.float32)
    assert np.argmax(overlap_density.middling(weak)) == 2


# ---- MDL curriculum


def test_the_second_stage_starts_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """First the surest half of each class with two fifths of the training, then everything with the rest, at half the
    rate, from the first stage's head."""
    weak = np.random.default_rng(1).random(100)
    layers, _, _ = planted(np.random.default_rng(0), 120, 0.7)
    task = task_of(layers, weak)
    calls: list[Any] = []
    fit = ProbeStudent.fit

    def watched(self: ProbeStudent, items: Any, targets: Any, *args: Any, **options: Any) -> Any:
        calls.append((len(items), np.asarray(targets), options, fit(self, items, targets, *args, **options)))
        return calls[-1][-1]

    monkeypatch.setattr(ProbeStudent, "fit", watched)
    out = mdl_curriculum.run(task, 0)
    (half, _, first, head), (everything, labels, second, last) = calls
    assert abs(half - 50) <= 1
    assert everything == 100
    np.testing.assert_array_equal(labels, weak > 0.5)
    assert first["effort"] == pytest.approx(2 / 5)
    assert first.get("start") is None
    assert second["start"] is head
    assert (second["effort"], second["rate"]) == (pytest.approx(3 / 5), 0.5)
    np.testing.assert_array_equal(out, last.predict(task.test))


# ---- epiplexity


def test_exactly_the_bottom_two_fifths_are_smoothed() -> None:
    """Labels of the 40 % with the smallest drop go half-way to 1/2, the others stay."""
    rng = np.random.default_rng(0)
    drop = rng.standard_normal(50).astype(np.float32)
    labels = (rng.random(50) < 0.5).astype(np.float32)
    found = epiplexity.smoothed(labels, drop)
    dull = drop < np.sort(drop)[20]
    np.testing.assert_array_equal(found[~dull], labels[~dull])
    np.testing.assert_allclose(found[dull], 0.25 + 0.5 * labels[dull])


def test_mistakes_of_the_teacher_are_dull() -> None:
    """Where labels follow the features but for random flips, the flipped ones drop less, and out-of-fold labels undo
    most of them."""
    layers, truth, weak = planted(np.random.default_rng(0), 400, 0.8)
    task = task_of(layers, weak)
    where = epiplexity.train.folds(task.train.groups, 2, np.random.default_rng(0))
    little, full = epiplexity.out_of_fold(task, where, 0)
    drop = epiplexity.loss(task.weak_labels, little) - epiplexity.loss(task.weak_labels, full)
    flipped = (weak > 0.5) != truth
    assert drop[flipped].mean() < drop[~flipped].mean()
    assert accuracy(full, truth) > 0.95


def test_no_item_is_judged_by_a_student_that_saw_its_fold() -> None:
    """Changing a fold's labels changes what is said of the other fold only."""
    layers, _, weak = planted(np.random.default_rng(0), 100, 0.8)
    where = np.arange(100) % 2
    changed = np.where(where == 0, 1 - weak, weak)
    one = epiplexity.out_of_fold(task_of(layers, weak), where, 0)
    other = epiplexity.out_of_fold(task_of(layers, changed), where, 0)
    for before, after in zip(one, other, strict=True):
        np.testing.assert_array_equal(before[where == 0], after[where == 0])
        assert (before[where == 1] != after[where == 1]).all()
