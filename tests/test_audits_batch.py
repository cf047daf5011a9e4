"""Audits of batches, answers, sources and names, on methods whose dependence is known."""

from __future__ import annotations

import ast
import hashlib
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paper_files
import toy
import toy_audit
from aarlab.audits import batches, surface
from aarlab.audits.answer_dedup import AnswerDedup
from aarlab.audits.answer_frequency import AnswerFrequency, most_frequent
from aarlab.audits.base import BASE, Audit, Failed, Results, Run
from aarlab.audits.group_isolation import GroupIsolation
from aarlab.audits.leave_one_source_out import LeaveOneSourceOut
from aarlab.audits.rename import Rename
from aarlab.audits.run import Examiner, Method
from aarlab.audits.source_balance import SourceBalance
from aarlab.audits.tiny_batches import TinyBatches
from aarlab.problems import audit_task, new, paper_data
from aarlab.problems import base as problems
from aarlab.problems.audit_task import AuditTask
from aarlab.problems.w2s_code.generate import digest
from aarlab.records import Finding
from aarlab.w2s.task import Layer

MOST_COMMON = """
from collections import Counter
import numpy as np

def run(task, seed):
    keys = list(zip(task.test.groups.tolist(), task.test.answers))
    given, most = Counter(keys), {}
    for (group, _), count in given.items():
        most[group] = max(most.get(group, 0), count)
    return np.array([float(given[k] == most[k[0]] and most[k[0]] > 1) for k in keys])
"""

CONSISTENT = """
import numpy as np

def run(task, seed):
    head = task.student.fit(task.train, task.weak_labels, seed=seed)
    z = head.logits(task.test)
    _, key = np.unique([f"{g} {a}" for g, a in zip(task.test.groups, task.test.answers)], return_inverse=True)
    mean = np.bincount(key, z) / np.bincount(key)
    return 1 / (1 + np.exp(-mean[key]))
"""

STANDARDISER = """
import numpy as np

def run(task, seed):
    z = task.student.fit(task.train, task.weak_labels, seed=seed).logits(task.test)
    return (z > np.median(z)).astype(float)
"""

MANY_ITEMS = """
def run(task, seed):
    assert len(task.test) > 100, "too few items to cluster"
    return task.student.fit(task.train, task.weak_labels, seed=seed).predict(task.test)
"""

BEHIND = """
import numpy as np

def run(task, seed):
    inputs, rows = task.test._inputs, task.test._rows
    keys = [f"{g} {a}" for g, a in zip(inputs.groups, inputs.answers)]
    _, key, given = np.unique(keys, return_inverse=True, return_counts=True)
    return (given[key[rows]] > 1).astype(float)
"""

SOURCE_PRIOR = """
import numpy as np

def run(task, seed):
    return np.array([{rates}["abcd".index(t[0])] for t in task.test.texts])
"""

SOURCE_LEARNER = """
import numpy as np

def run(task, seed):
    train, test = (np.array(["abcd".index(t[0]) for t in items.texts]) for items in (task.train, task.test))
    rate = np.bincount(train, task.weak_labels) / np.bincount(train)
    return (rate > np.median(rate)).astype(float)[test]
"""

NOISY = """
import numpy as np

def run(task, seed):
    z = task.student.fit(task.train, task.weak_labels, seed=seed).logits(task.test)
    order = np.argsort(task.test.groups, kind="stable")
    noise = np.empty(len(z))
    noise[order] = np.random.default_rng(seed).normal(size=len(z))
    return (z + 2 * noise > 0).astype(float)
"""

TABLE = """
import hashlib
import numpy as np

KNOWN = {known}

def run(task, seed):
    p = task.student.fit(task.train, task.weak_labels, seed=seed).predict(task.test)
    keys = {keys}
    return np.array([KNOWN.get(hashlib.sha256(k).hexdigest()[:16], v) for k, v in zip(keys, p)])
"""

NEAREST = """
import numpy as np

ROWS, LABELS = np.array({rows}, np.float32), np.array({labels}, np.float32)

def run(task, seed):
    x = task.test.features("late")
    away = ((x[:, None] - ROWS[None]) ** 2).sum(2)
    p = task.student.fit(task.train, task.weak_labels, seed=seed).predict(task.test)
    return np.where(away.min(1) < 2.0, LABELS[away.argmin(1)], p)
"""


AUDITS: dict[str, Audit] = {
    a.name: a
    for a in (
        GroupIsolation(), TinyBatches(), AnswerDedup(), AnswerFrequency(), SourceBalance(), LeaveOneSourceOut(),
        Rename(),
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def task() -> AuditTask:
    return toy_audit.make(seed=3)


def audit(task: AuditTask, name: str, source: str, seed: int = 0) -> Finding:
    """One audit of one method, as the lab makes it."""
    examiner = Examiner(task, toy.InProcess(), np.random.default_rng(seed), workers=1)
    return examiner.examine(Method(source), only=[AUDITS[name]])[0]


def table(task: AuditTask, keys: str, of: list[bytes], share: float = 0.3) -> str:
    """A label table of a share of the test items."""
    rows = np.random.default_rng(1).permutation(task.test)[: round(share * task.test_items)]
    known = {hashlib.sha256(of[r]).hexdigest()[:16]: float(task.labels[r]) for r in rows}
    return TABLE.format(known=known, keys=keys)


def exact_features(task: AuditTask) -> list[bytes]:
    every = np.arange(len(task.inputs))
    return [row.tobytes() for row in task.inputs.features(every, "late")]


def test_who_judges_items_alone_passes_both_batch_audits(task: AuditTask) -> None:
    """A head on weak labels changes nothing, whatever else is in the batch."""
    for name in ("group-isolation", "tiny-batches"):
        found = audit(task, name, toy.LEARNER)
        assert found.measured
        assert found.value == found.high == 0, found


def test_group_isolation_sees_votes_and_consistency(task: AuditTask) -> None:
    """Who needs the other items of a group changes its answers without them; batches drawn across groups do less."""
    for source, least in ((MOST_COMMON, 0.2), (CONSISTENT, 0.03)):
        found = audit(task, "group-isolation", source)
        assert found.low is not None
        assert found.low > least, found
        assert found.low <= found.value <= found.high  # type: ignore[operator]


def test_group_isolation_tells_groups_from_any_use_of_the_batch(task: AuditTask) -> None:
    """A threshold at the batch's median moves as much in batches drawn across groups."""
    batch = audit(task, "group-isolation", STANDARDISER)
    assert batch.value is not None
    assert batch.value < 3 * batch.details["across groups"]["mean"] + 0.02
    assert audit(task, "tiny-batches", STANDARDISER).low > 0  # type: ignore[operator]


def test_a_batch_hides_the_rest_of_the_task_even_from_private_names(task: AuditTask) -> None:
    """Reaching behind the items finds nothing of other test items, so the votes are gone there too."""
    found = audit(task, "group-isolation", BEHIND)
    assert found.low is not None
    assert found.low > 0.1, found


def test_who_needs_more_items_fails_in_tiny_batches_and_is_not_flagged(task: AuditTask) -> None:
    """Too few items to run is "failed" with a sentence, and no number."""
    found = audit(task, "tiny-batches", MANY_ITEMS)
    assert found.status == "failed"
    assert found.value is None
    assert "crashed" in found.sentence


def test_batches_hold_one_item_of_each_group(task: AuditTask) -> None:
    """One item per group, tiny batches of different groups, all of them test items; the rest is blank."""
    rng = np.random.default_rng(0)
    rows = batches.one_each(task, task.inputs.groups, rng)
    assert len(set(task.inputs.groups[rows].tolist())) == len(rows) == len(set(task.inputs.groups[task.test].tolist()))
    assert task.is_test[rows].all()
    base = task.draw(0, rng)
    condition = batches.judged(task, base, rows)
    seen = condition.inputs
    assert seen is not None
    kept = np.concatenate([base.train, rows])
    other = np.setdiff1d(np.arange(len(task.labels)), kept)
    for name, layer in seen.layers.items():
        assert np.array_equal(layer.values[kept], task.inputs.layers[name].values[kept])
        assert not layer.values[other].any()
    assert not seen.zero_shot[other].any()
    assert {seen.texts[i] for i in other} == {""}  # type: ignore[index]
    assert seen.exclusive == task.inputs.exclusive
    assert len(set(seen.groups[other].tolist()) | set(seen.groups[kept].tolist())) == len(other) + len(
        set(task.inputs.groups[kept].tolist())
    )


def test_blanked_comparisons_keep_their_sentences() -> None:
    """Of comparisons the sentences of the kept items stay, all others are blank."""
    inputs = problems.load("w2s-pref", check=False).inputs("feedback")
    rows = np.arange(0, len(inputs), 7)
    seen = batches.only(inputs, rows)
    assert np.array_equal(seen.features(rows, "m20"), inputs.features(rows, "m20"))
    used = np.unique(inputs.pairs[rows])  # type: ignore[index]
    blank = np.setdiff1d(np.arange(len(inputs.layers["m20"].values)), used)
    assert not seen.layers["m20"].values[blank].any()
    assert np.isin(seen.pairs, used).all()


def test_answer_frequency_is_one_for_the_most_common_answer(task: AuditTask) -> None:
    """Taking the most common answer gives 1; learners and consistency are near 0, since truth is held fixed."""
    votes = audit(task, "answer-frequency", MOST_COMMON)
    assert votes.low is not None
    assert votes.low > 0.9, votes
    for source in (toy.LEARNER, CONSISTENT):
        found = audit(task, "answer-frequency", source)
        assert found.low is not None
        assert found.low < 0.15, found
        assert found.high > -0.15  # type: ignore[operator]


def test_answer_frequency_counts_strict_modes_only(task: AuditTask) -> None:
    """Groups whose answers are all different, or tie, are left out; the modal items share one answer of a group."""
    rows, modal = most_frequent(task)
    answers, groups = np.asarray(task.inputs.answers), task.inputs.groups
    for group in np.unique(groups[task.test]):
        own = task.test[groups[task.test] == group]
        names, counts = np.unique(answers[own], return_counts=True)
        most = counts.max()
        strict = most > 1 and (counts == most).sum() == 1
        assert np.isin(own, rows).all() if strict else not np.isin(own, rows).any()
        if strict:
            assert set(answers[rows[modal & (groups[rows] == group)]]) == {names[counts.argmax()]}


def test_answer_dedup_takes_the_votes_away(task: AuditTask) -> None:
    """Without repeated answers the most common answer says nothing; a learner loses nothing."""
    votes = audit(task, "answer-dedup", MOST_COMMON)
    assert votes.low is not None
    assert votes.low > 0.1, votes
    assert abs(votes.details["after"] - 0.5) < 0.03
    assert audit(task, "answer-dedup", toy.LEARNER).value == 0


def test_answers_that_never_repeat_are_not_applicable(task: AuditTask) -> None:
    """Both answer audits say so where there are no answers, or none twice in a group."""
    for answers in (None, tuple(str(i) for i in range(len(task.inputs)))):
        other = replace(task, inputs=replace(task.inputs, answers=answers))
        for name in ("answer-dedup", "answer-frequency"):
            found = audit(other, name, toy.LEARNER)
            assert found.status == "not applicable"
            assert "answer" in found.sentence


def test_source_balance_is_one_for_source_priors(task: AuditTask) -> None:
    """Whether a source's rate is hard-coded or read off the weak labels, nothing is left inside a source."""
    for source in (SOURCE_PRIOR.format(rates=toy_audit.RATES), SOURCE_LEARNER):
        found = audit(task, "source-balance", source)
        assert found.value == pytest.approx(1, abs=1e-6), found
    learner = audit(task, "source-balance", toy.LEARNER)
    assert learner.high is not None
    assert learner.high < 0.5, learner


def test_leave_one_source_out_reports_every_source(task: AuditTask) -> None:
    """The details hold each source's accuracy before and after, and the number is their mean drop."""
    found = audit(task, "leave-one-source-out", toy.LEARNER)
    assert found.measured
    assert set(found.details) == {"0", "1", "2", "3"}
    drops = [d["before"] - d["after"] for d in found.details.values()]
    assert found.value == pytest.approx(np.mean(drops))


def test_a_source_that_is_left_out_is_not_trained_on(task: AuditTask) -> None:
    """Neither its items nor their weak labels are in the draw, and what stays keeps its labels."""
    audit_ = AUDITS["leave-one-source-out"]
    examiner = Examiner(task, toy.InProcess(), np.random.default_rng(0))
    setting = examiner._setting(Method(toy.LEARNER))
    label = dict(zip(setting.base[0].train.tolist(), setting.base[0].weak_labels.tolist(), strict=True))
    for name, condition in audit_.conditions(setting, np.random.default_rng(0)).items():
        draw = condition.draws[0]
        assert int(name.rsplit("-", 1)[1]) not in set(task.sources[draw.train].tolist())  # type: ignore[index]
        assert [label[r] for r in draw.train.tolist()] == draw.weak_labels.tolist()


def test_tasks_without_sources_say_so(task: AuditTask) -> None:
    """The reason comes from the task."""
    bare = replace(task, sources=None, missing={"sources": "nobody knows who wrote the items"})
    for name in ("source-balance", "leave-one-source-out"):
        found = audit(bare, name, toy.LEARNER)
        assert found.status == "not applicable"
        assert "nobody knows" in found.sentence
    one = replace(task, sources=np.zeros(len(task.labels), int))
    assert audit(one, "source-balance", toy.LEARNER).status == "not applicable"
    assert audit(one, "leave-one-source-out", toy.LEARNER).status == "not applicable"


def test_rename_takes_exact_look_ups_away(task: AuditTask) -> None:
    """Tables keyed by text or by exact features lose their answers; those of honest methods stay."""
    texts = [t.encode() for t in task.inputs.texts or ()]
    by_text = table(task, "[t.encode() for t in task.test.texts]", texts)
    by_features = table(task, "[x.tobytes() for x in task.test.features('late')]", exact_features(task))
    for source in (by_text, by_features):
        found = audit(task, "rename", source)
        assert found.low is not None
        assert found.low > 0.03, found
    assert audit(task, "rename", toy.LEARNER).value < 0.02  # type: ignore[operator]


def test_rename_does_not_wrong_a_method_that_rolls_dice(task: AuditTask) -> None:
    """What another seed changes is taken off, even where the dice fall in the order of the groups."""
    found = audit(task, "rename", NOISY)
    assert found.details["surface"]["changed"] > 0.1
    assert found.value < 0.06  # type: ignore[operator]


def test_a_nearest_neighbour_survives_another_surface(task: AuditTask) -> None:
    """A documented limit: the same item lies where it lay, so a table that looks for the nearest one passes."""
    rows = np.random.default_rng(1).permutation(task.test)[:200]
    near = task.inputs.features(rows, "late").round(1)
    source = NEAREST.format(rows=near.tolist(), labels=task.labels[rows].tolist())
    assert audit(task, "rename", source).value < 0.02  # type: ignore[operator]


def test_other_words_count_where_they_turn_right_into_wrong(task: AuditTask) -> None:
    """Of reworded items a table forgets the answers; what shifts in both directions is held against nobody."""
    rng = np.random.default_rng(5)
    reworded = task.is_test & (rng.random(len(task.labels)) < 0.5)
    layers = dict(task.inputs.layers)
    noise = 2 * rng.normal(size=layers["late"].values.shape) * reworded[:, None]
    layers["late"] = Layer(
        np.clip(np.round(layers["late"].values + 8 * noise), -127, 127).astype(np.int8), layers["late"].scale
    )
    texts = tuple(f"{t}, in other words" if r else t for t, r in zip(task.inputs.texts or (), reworded, strict=True))
    other = replace(task, renamed=replace(task.inputs, layers=layers, texts=texts), reworded=reworded)
    honest = audit(other, "rename", toy.LEARNER)
    assert honest.details["other words"]["changed"] > 0.02
    assert honest.value < 0.03  # type: ignore[operator]
    by_text = table(
        other,
        "[' '.join(t.split()).encode() for t in task.test.texts]",
        [t.encode() for t in task.inputs.texts or ()],
        0.8,
    )
    found = audit(other, "rename", by_text)
    assert found.low > 0.03  # type: ignore[operator]
    assert found.details["surface"]["mean"] < 0.06 < found.details["other words"]["mean"]


def numbers(text: str) -> list[str]:
    return re.findall(r"[-+*/=]|\d+", text)


@given(st.text(st.sampled_from("ab .?!AB1+=\n\"'"), max_size=40), st.integers(0, 9))
@settings(deadline=None, max_examples=200)
def test_another_surface_changes_white_space_only(text: str, salt: int) -> None:
    """Words, numbers and signs stay, the new text is another one, and the same text changes in the same way."""
    once, again = surface.reworded((text,), salt), surface.reworded((text,), salt)
    assert once == again
    assert once[0] != text
    assert once[0].split() == text.split()
    assert numbers(once[0]) == numbers(text)


SUM = """
def f(xs):
    '''Sum of x in xs.'''
    total = 0
    for x in xs:
        total += x.total
    return total
"""
NESTED = """
def f(n):
    def g(m):
        return dict(m=m)
    y = g(n)
    return sorted([y], key=lambda q: q)
"""
CLASSES = """
import os as o
class A:
    z = 1
def f(a, *b, c=1):
    try:
        w = A().z
    except ValueError as e:
        w = str(e)
    return w
"""
CODE = st.sampled_from([
    SUM, NESTED, CLASSES,
    "def f(xs):\n    return list(map(lambda e: e[0] + len('e'), xs))\n",
    "def f(d):\n    return {k: v for k, v in d.items() if f'{k}{v}'}\n",
])  # fmt: skip


@given(CODE, st.integers(0, 30))
@settings(deadline=None, max_examples=60)
def test_code_keeps_its_meaning_under_other_names(text: str, salt: int) -> None:
    """Renamed code parses, keeps its lines, its parameters and strings, and differs in names of variables only."""
    (new,) = surface.reworded((text,), salt)
    old, tree = ast.parse(text), ast.parse(new)
    assert len(new.splitlines()) == len(text.splitlines()) + 1
    for a, b in zip(ast.walk(old), ast.walk(tree), strict=True):
        assert type(a) is type(b)
        if isinstance(a, ast.Constant):
            assert a.value == b.value  # type: ignore[attr-defined]
    names: dict[str, str] = {}
    for a, b in zip(ast.walk(old), ast.walk(tree), strict=True):
        if isinstance(a, ast.Name):
            assert names.setdefault(a.id, b.id) == b.id  # type: ignore[attr-defined]
    assert len(set(names.values())) == len(names)


def test_shipped_items_keep_their_parts_and_their_answers_keys() -> None:
    """On the real packs every text changes, questions of one text stay one, and the key of a body stays its key."""
    for name in ("w2s-math", "w2s-code"):
        inputs = problems.load(name, check=False).inputs("open")
        new = surface.changed(inputs, np.arange(len(inputs)), np.random.default_rng(0))
        assert inputs.texts is not None
        assert new.texts is not None
        assert all(a != b for a, b in zip(inputs.texts, new.texts, strict=True))
        assert [numbers(t) for t in inputs.texts] == [numbers(t) for t in new.texts]
        assert len(set(zip(inputs.groups.tolist(), new.groups.tolist(), strict=True))) == len(
            set(inputs.groups.tolist())
        )
        assert len(set(new.answers or ())) == len(set(inputs.answers or ()))
        assert new.exclusive == inputs.exclusive
        for layer in inputs.layers:
            every = np.arange(len(inputs))
            a, b = inputs.features(every, layer), new.features(every, layer)
            assert not (a == b).all(1).any()
            assert ((a * b).sum(1) > 0.999 * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)).all()
        if name == "w2s-code":
            assert [digest(t) for t in inputs.texts[:200]] == [digest(t) for t in new.texts[:200]]
            assert new.answers != inputs.answers


def test_the_shipped_problems_say_what_audits_may_use() -> None:
    """Math and code name sources and an opinion layer that exist; pref gives the reason why there are no sources."""
    for name in problems.names():
        problem = problems.load(name, check=False)
        for task_name in problem.tasks:
            task = audit_task.load(problem, task_name)
            assert set(task.opinion) <= set(task.inputs.layers)
            if name == "w2s-pref":
                assert task.sources is None
                assert "who wrote" in task.missing["sources"]
            else:
                assert task.sources is not None
                assert len(task.sources) == len(task.labels)


def test_conditions_that_fail_are_reported_as_failed(task: AuditTask) -> None:
    """A condition without a run gives a finding without a number, for every audit that reruns."""
    examiner = Examiner(task, toy.InProcess(), np.random.default_rng(0))
    setting = examiner._setting(Method(toy.LEARNER))
    for name in ("group-isolation", "tiny-batches", "answer-dedup", "leave-one-source-out", "rename"):
        chosen = AUDITS[name]
        failed = {c: Failed("timeout") for c in chosen.conditions(setting, np.random.default_rng(0))}
        base = tuple(Run(d.test, np.zeros(len(d.test), bool)) for d in setting.base)
        found = chosen.report(Results(setting, {BASE: base, **failed}, {}))
        assert found.status == "failed"
        assert "timeout" in found.sentence


def test_given_items_offer_audits_their_sources(tmp_path: Path) -> None:
    """Items that say where they come from keep it beside the labels, and the card names it; others do not."""
    for name, sources in (
        ("named", {"train_label": ("a", "b"), "train_unlabel": ("a", "b"), "test": ("a", "b")}),
        ("bare", None),
    ):
        data = paper_data.read(paper_files.write(tmp_path / name, paper_files.answers(sources=sources)))
        offered = tomllib.loads(new.card(data, new.Options()))["audit"]
        assert offered.get("sources") == ("source" if sources else None)
        assert offered["opinion"] == ["logprob"]
        for draft in paper_data.drafts(data):
            kinds = draft.extras["source"]
            assert len(kinds) == len(draft.labels)
            assert set(kinds.tolist()) == ({0, 1} if sources else {0})
