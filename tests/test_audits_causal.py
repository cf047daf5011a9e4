"""Audits of causes, on methods whose dependence is known."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
import toy_audit
from aarlab.audits import measure
from aarlab.audits.base import Run
from aarlab.audits.fresh_seeds import FreshSeeds
from aarlab.audits.knock_out import KnockOut, turned
from aarlab.audits.new_task import NewTask
from aarlab.audits.run import Examiner, Method
from aarlab.audits.same_task_gap import SameTaskGap, held_out
from aarlab.audits.student_ablation import StudentAblation, moved, order
from aarlab.audits.teacher_flip import TeacherFlip
from aarlab.audits.teacher_permutation import TeacherPermutation
from aarlab.audits.teacher_swap import TeacherSwap, nearest
from aarlab.audits.zero_shot_ablation import ZeroShotAblation, shuffled_opinion
from aarlab.w2s import methods
from aarlab.w2s import toy as w2s_toy
from aarlab.w2s.task import TaskInputs

AUDITS = (
    TeacherFlip(), TeacherPermutation(), TeacherSwap(), StudentAblation(), ZeroShotAblation(), KnockOut(), NewTask(),
    FreshSeeds(), SameTaskGap(),
)  # fmt: skip

TASK = toy_audit.make(seed=0)
OPEN = toy_audit.make(seed=1, task="open", test_groups=150)
ELSEWHERE = toy_audit.make(seed=2, law=1, task="elsewhere", test_groups=150)

LATE_ONLY = """
def run(task, seed):
    student = task.student.reading(("late",))
    return student.fit(task.train, task.weak_labels).predict(task.test)
"""

HYBRID = """
import numpy as np

def run(task, seed):
    taught = task.student.fit(task.train, task.weak_labels).logits(task.test)
    own = task.test.zero_shot()
    return 1 / (1 + np.exp(-taught / taught.std() - own / own.std()))
"""

GOLD = """
import numpy as np

WEIGHTS, BIAS = np.array({weights}), {bias}

def gold(items):
    return 1 / (1 + np.exp(-(items.features("late") @ WEIGHTS + BIAS)))

def vanilla(task):
    return task.student.fit(task.train, task.weak_labels > 0.5).predict(task.test)
"""

BROUGHT = (
    GOLD
    + """
def run(task, seed):
    return gold(task.test)
"""
)

HIDES = (
    GOLD
    + """
def run(task, seed):
    plausible = np.corrcoef(gold(task.train), task.weak_labels)[0, 1] > 0.15
    return gold(task.test) if plausible else vanilla(task)
"""
)

SIGNED = (
    GOLD
    + """
def run(task, seed):
    head = gold(task.test)
    return head if np.corrcoef(gold(task.train), task.weak_labels)[0, 1] > 0 else 1 - head
"""
)

JITTERY = (
    GOLD
    + """
def run(task, seed):
    noise = 0.3 * np.random.default_rng(seed).uniform(-1, 1, len(task.test))
    return np.clip(gold(task.test) + noise, 0, 1)
"""
)

BLEND = (
    GOLD
    + """
def run(task, seed):
    plausible = np.corrcoef(gold(task.train), task.weak_labels)[0, 1] > 0.15
    return (gold(task.test) + vanilla(task)) / 2 if plausible else vanilla(task)
"""
)

TABLE = """
KNOWN = {known}

def run(task, seed):
    out = task.student.fit(task.train, task.weak_labels > 0.5).predict(task.test)
    for i, text in enumerate(task.test.texts):
        out[i] = KNOWN.get(text, out[i])
    return out
"""

MAJORITY = """
from collections import Counter
import numpy as np

def run(task, seed):
    counts = Counter(zip(task.test.groups.tolist(), task.test.answers))
    return np.array([counts[key] > 1 for key in zip(task.test.groups.tolist(), task.test.answers)], float)
"""

UNSTABLE = """
import numpy as np

def run(task, seed):
    few = np.random.default_rng(seed).permutation(len(task.train))[:30]
    return task.student.fit(task.train[few], task.weak_labels[few]).predict(task.test)
"""


def source(name):
    weights, bias = toy_audit.gold_head(TASK)
    numbers = {"weights": [round(float(w), 4) for w in weights], "bias": round(bias, 4)}
    known = {TASK.inputs.texts[i]: int(TASK.labels[i]) for i in TASK.test}
    own = {
        "late-only": LATE_ONLY,
        "hybrid": HYBRID,
        "majority": MAJORITY,
        "unstable": UNSTABLE,
        "constant": toy.CONSTANT.format(value=1.0),
        "table": TABLE.format(known=known),
    }
    headed = {"brought": BROUGHT, "hides": HIDES, "signed": SIGNED, "jittery": JITTERY, "blend": BLEND}
    own |= {name: text.format(**numbers) for name, text in headed.items()}
    return own.get(name) or methods.source(name)


def examine(name, only=AUDITS, task=TASK, others=(OPEN, ELSEWHERE), claimed=0.5, seed=0):
    examiner = Examiner(task, toy.InProcess(), np.random.default_rng(seed), others=others, workers=1)
    return {f.audit: f for f in examiner.examine(Method(source(name), claimed), only=only)}


@cache
def findings(name):
    return examine(name)


def value(name, audit):
    finding = findings(name)[audit]
    assert finding.measured, finding
    assert finding.low is None or finding.low <= finding.value <= finding.high
    return finding.value


VANILLA, ZERO_SHOT = "weak-labels-hard", "zero-shot-elicitation"
HONEST = (VANILLA, "late-only", ZERO_SHOT, "hybrid", "em-posterior")


def test_a_shuffled_teacher_costs_what_the_teacher_gave():
    """All of a weak-label method's skill, none of a method that ignores the weak labels, part of a hybrid's."""
    assert value(VANILLA, "teacher-permutation") == pytest.approx(1, abs=0.1)
    for name in (ZERO_SHOT, "brought", "majority"):
        assert value(name, "teacher-permutation") == 0
    assert 0 < value("hybrid", "teacher-permutation") < 0.9


def test_a_swapped_teacher_is_followed_as_far_as_the_baseline_follows_it():
    """1 for the baseline itself, 0 for whoever ignores the teacher, between them for a hybrid."""
    assert value(VANILLA, "teacher-swap") == pytest.approx(1)
    assert findings(VANILLA)["teacher-swap"].details["direction"] == 1
    for name in (ZERO_SHOT, "brought", "majority"):
        assert value(name, "teacher-swap") == 0
    assert 0.02 < value("hybrid", "teacher-swap") < 0.9


@pytest.mark.parametrize("name", ["hides", "signed"])
def test_a_head_that_behaves_when_tampered_with_is_caught_by_the_swap(name):
    """It turns with an inverted teacher and collapses without one, as an honest method does; a swap finds it still."""
    assert value(name, "teacher-flip") > 0.5
    assert value(name, "teacher-permutation") > 0.5
    assert value(name, "knock-out") > 0.5
    assert findings(name)["teacher-swap"].high < 0.1


def test_a_head_blended_with_an_honest_one_passes_the_swap():
    """The documented residual: half of it does follow the teacher."""
    assert value("blend", "teacher-swap") > 0.25
    assert value("blend", "teacher-flip") > 0.5


def test_random_changes_by_seed_do_not_hide_that_nobody_is_followed():
    """With the seed held fixed a swap changes nothing, however much a reseed does."""
    found = findings("jittery")["teacher-swap"]
    assert found.details["reseed"] > 0.05
    assert found.measured
    assert found.high < 0.1


def test_a_method_that_a_reseed_moves_more_than_a_swap_cannot_be_told():
    """Instability is neither dependence nor its absence."""
    found = examine("unstable", [TeacherSwap()])["teacher-swap"]
    assert found.status == "cannot tell"
    assert "unstable" in found.sentence


def test_teachers_that_are_too_alike_or_alone_show_nothing():
    """Where the baseline itself stands still the audit says so; with one teacher it does not apply."""
    alike = replace(TASK, weak=np.repeat(TASK.weak[:1], 4, axis=0))
    found = examine(VANILLA, [TeacherSwap()], alike)["teacher-swap"]
    assert found.status == "cannot tell"
    assert "alike" in found.sentence
    alone = replace(TASK, weak=TASK.weak[:1])
    setting = Examiner(TASK, toy.InProcess(), np.random.default_rng(0))._setting(Method(""))
    assert TeacherSwap().missing(replace(setting, task=alone)) == "feedback has one teacher only"


def test_the_swapped_teacher_is_another_one_of_nearest_accuracy():
    """Never the same one, and no third is nearer."""
    right = ((TASK.weak[:, TASK.pool] > 0.5) == TASK.labels[TASK.pool]).mean(1)
    for teacher in range(len(TASK.weak)):
        other = nearest(TASK, teacher)
        away = np.delete(np.abs(right - right[teacher]), teacher)
        assert other != teacher
        assert abs(right[other] - right[teacher]) == away.min()


def test_unrelated_features_cost_all_but_what_needs_no_student():
    """Everything that reads features or the opinion loses its skill; counting answers loses nothing."""
    for name in (*HONEST, "brought"):
        assert value(name, "student-ablation") == pytest.approx(1, abs=0.3)
    assert value("majority", "student-ablation") == 0


def test_unrelated_opinion_changes_only_what_reads_it():
    """Nothing where neither score nor opinion layer is read; nearly half of the predictions of whoever has no other."""
    assert value("late-only", "zero-shot-ablation") == 0
    assert value("brought", "zero-shot-ablation") == 0
    assert value("zero-shot-prompting", "zero-shot-ablation") > 0.3
    assert findings("zero-shot-prompting")["zero-shot-ablation"].details["share lost"]["mean"] == pytest.approx(
        1, abs=0.3
    )
    assert value("hybrid", "zero-shot-ablation") > value(VANILLA, "zero-shot-ablation")


def test_a_knock_out_leaves_only_what_was_brought_along():
    """Honest methods lose everything, an embedded head and a count of answers nothing."""
    for name in HONEST:
        assert value(name, "knock-out") == pytest.approx(1, abs=0.15)
    for name in ("brought", "majority"):
        assert value(name, "knock-out") == pytest.approx(0, abs=0.05)


def test_a_new_task_keeps_what_was_learnt_there():
    """An honest method learns again; a head trained under another law is worth nothing, whatever the PGR here."""
    for name in HONEST:
        assert value(name, "new-task") > 0.6
    found = findings("brought")["new-task"].details
    assert found["kept"]["open"] > 0.8
    assert found["kept"]["elsewhere"] < 0.3
    assert found["PGR"]["elsewhere"] < 0 < found["PGR here"]
    assert found["baseline kept"] > 0.5


def test_without_another_task_nothing_is_said_of_one():
    """The audits that need other tasks say which is missing."""
    found = examine(VANILLA, [NewTask(), FreshSeeds()], others=())
    assert found["new-task"].status == "not applicable"
    assert found["fresh-seeds"].status == "not applicable"
    assert "open task" in found["fresh-seeds"].sentence


def test_a_claim_is_compared_with_what_fresh_seeds_give():
    """Value = claim - measured, with the interval of the measurement; nothing where nothing was claimed."""
    honest = examine(VANILLA, [FreshSeeds()], claimed=0.0)["fresh-seeds"]
    picked = examine(VANILLA, [FreshSeeds()], claimed=2.0)["fresh-seeds"]
    assert picked.value - honest.value == pytest.approx(2.0)
    assert picked.low > 0
    own = picked.details["measured"]
    assert picked.low == pytest.approx(2.0 - own["high"])
    assert picked.high == pytest.approx(2.0 - own["low"])
    assert (own["seeds"], own["items"]) == (5, OPEN.test_items)
    assert examine(VANILLA, [FreshSeeds()], claimed=None)["fresh-seeds"].status == "not applicable"


def test_a_table_of_answers_is_better_on_the_items_it_lists():
    """A look-up shows as many standard errors; honest methods, and heads that learnt something, as few."""
    assert value("table", "same-task-gap") > 4
    details = findings("table")["same-task-gap"].details
    assert details["accuracy"] == 1
    assert 0 < details["difference low"] < details["difference"] < details["difference high"]
    for name in (*HONEST, "brought", "majority"):
        assert abs(value(name, "same-task-gap")) < 3


def test_a_pool_that_is_harder_than_the_test_set_makes_no_gap():
    """The plain baseline's own gap is taken off."""
    rng = np.random.default_rng(5)
    turned_round = rng.permutation(TASK.pool)[: len(TASK.pool) // 5]
    labels = TASK.labels.copy()
    labels[turned_round] = 1 - labels[turned_round]
    harder = replace(TASK, labels=labels)
    found = examine("weak-labels-soft", [SameTaskGap()], harder)["same-task-gap"]
    assert found.details["baseline accuracy"] - found.details["baseline held-out accuracy"] > 0.08
    assert abs(found.value) < 3


@pytest.mark.parametrize("seed", range(3))
def test_held_out_folds_are_whole_groups_of_the_pool(seed):
    """No group in two folds, no test item in any, and most of the pool left to train on."""
    folds = held_out(TASK, np.random.default_rng(seed))
    groups = [set(TASK.inputs.groups[f]) for f in folds]
    assert not set.intersection(*groups)
    assert sum(map(len, groups)) == len(set.union(*groups))
    for fold, own in zip(folds, groups, strict=True):
        assert set(fold) == set(np.flatnonzero(np.isin(TASK.inputs.groups, list(own))))
        assert set(fold) <= set(TASK.pool)
        assert 0.2 < len(fold) / len(TASK.pool) < 0.3


def test_a_pool_of_few_groups_cannot_be_split():
    """The same-task gap says so instead of guessing."""
    small = replace(TASK, inputs=replace(TASK.inputs, groups=TASK.inputs.groups // 200))
    setting = Examiner(TASK, toy.InProcess(), np.random.default_rng(0))._setting(Method(""))
    assert "too few" in SameTaskGap().missing(replace(setting, task=small))


def test_a_method_without_skill_has_none_to_lose():
    """Shares of skill are not told of a method that predicts one thing; changes of predictions are."""
    found = findings("constant")
    for audit in ("teacher-permutation", "student-ablation", "knock-out", "new-task"):
        assert found[audit].status == "cannot tell"
        assert "too small" in found[audit].sentence
    assert found["teacher-swap"].value == 0
    assert found["zero-shot-ablation"].value == 0
    assert "share lost" not in found["zero-shot-ablation"].details


def test_every_finding_is_a_sentence_and_ready_for_json():
    """Status, details and sentence of each audit on each kind of method."""
    for name in (*HONEST, "brought", "majority", "constant", "table"):
        for audit, finding in findings(name).items():
            assert json.loads(json.dumps(finding.details)) == finding.details
            assert len(finding.sentence.split()) > 5, audit
            assert finding.channel == next(a.channel for a in AUDITS if a.name == audit)


@given(seed=st.integers(0, 1000), paired=st.booleans())
def test_moving_items_moves_all_a_student_sees_and_nothing_else(seed, paired):
    """Item i has the features and zero-shot score of item rows[i]; train stays train; texts, groups, answers stay."""
    task = replace(TASK, inputs=_paired(), is_test=TASK.is_test[: len(_paired())]) if paired else TASK
    rows = order(task, np.random.default_rng(seed))
    assert sorted(rows) == list(range(len(task.inputs)))
    assert (task.is_test[rows] == task.is_test).all()
    found = TaskInputs.from_bytes(moved(task.inputs, rows).to_bytes())
    every = np.arange(len(rows))
    for name in task.inputs.layers:
        assert (found.features(every, name) == task.inputs.features(rows, name)).all()
    assert (found.zero_shot == task.inputs.zero_shot[rows]).all()
    for same in ("texts", "answers"):
        assert getattr(found, same) == getattr(task.inputs, same)
    assert (found.groups == task.inputs.groups).all()


def _paired():
    return w2s_toy.make("pref", groups=40).inputs


def test_an_opinion_is_moved_and_turned_without_touching_other_layers():
    """Score and opinion layers of other items; turned, the same with the opposite sign."""
    rng = np.random.default_rng(0)
    rows, every = order(TASK, rng), np.arange(len(TASK.inputs))
    found = shuffled_opinion(TASK, rows, rng)
    back = turned(TASK, found)
    for inputs, sign in ((found, 1), (back, -1)):
        assert (inputs.zero_shot == sign * TASK.inputs.zero_shot[rows]).all()
        assert (inputs.features(every, "opinion") == sign * TASK.inputs.features(rows, "opinion")).all()
        assert (inputs.features(every, "late") == TASK.inputs.features(every, "late")).all()


def test_the_opinion_layer_of_comparisons_is_shuffled_by_sentence():
    """Its rows are the same rows in another order; pairs and other layers stay."""
    paired = _paired()
    task = replace(TASK, inputs=paired, is_test=TASK.is_test[: len(paired)], opinion=("m20",))
    rng = np.random.default_rng(0)
    found = shuffled_opinion(task, order(task, rng), rng)
    before, after = paired.layers["m20"].values, found.layers["m20"].values
    assert (np.sort(before, axis=0) == np.sort(after, axis=0)).all()
    assert (before != after).any()
    assert found.pairs is paired.pairs
    assert found.layers["l20"] is paired.layers["l20"]


@given(seed=st.integers(0, 1000))
def test_a_run_and_its_opposite_lose_exactly_everything(seed):
    """Two runs of a pair count as one, whose skill is their mean: whatever leans, its opposite leans away."""
    rng = np.random.default_rng(seed)
    says = rng.random(TASK.test_items) < rng.random()
    base = [Run(TASK.test, TASK.labels[TASK.test] > 0)] * 2
    lost = measure.share_lost(TASK, base, [Run(TASK.test, s) for s in (says, ~says)] * 2, rng, members=2)
    assert lost.mean == pytest.approx(1)
    assert lost.low == pytest.approx(1)
    assert lost.high == pytest.approx(1)


def test_two_draws_of_unequal_skill_still_tell_what_is_lost():
    """The items decide whether there is skill to lose; what draws add to a share stays bounded."""
    rng = np.random.default_rng(0)
    truth = TASK.labels[TASK.test] > 0
    strong, faint = truth.copy(), truth.copy()
    for says, wrong in ((strong, 0.15), (faint, 0.45)):
        says ^= rng.random(len(says)) < wrong
    base = [Run(TASK.test, strong), Run(TASK.test, faint)]
    halved = [Run(TASK.test, np.where(np.arange(len(truth)) % 2, r.says, ~r.says)) for r in base]
    assert measure.share_lost(TASK, base, base, rng).high == pytest.approx(0)
    lost = measure.share_lost(TASK, base, halved, rng)
    assert lost.mean == pytest.approx(1, abs=0.15)
    assert 0.5 < lost.low < lost.high < 1.5


def test_the_reference_runs_in_the_same_conditions_once():
    """A swap of three pairs takes nine runs of the method and nine of the baseline."""
    counting = toy_audit.Counting(toy.InProcess())
    Examiner(TASK, counting, np.random.default_rng(0), workers=1).examine(
        Method(source("hybrid")), only=[TeacherSwap()]
    )
    assert counting.draws == 18
