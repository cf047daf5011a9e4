"""Audits by invariance: what honest methods do not notice, and those who bring knowledge along cannot hide."""

from __future__ import annotations

import numpy as np
import pytest

import toy_audit
from aarlab.audits.feature_basis import FeatureBasis, in_another_basis
from aarlab.audits.run import Examiner, Method
from aarlab.audits.text_shuffle import TextShuffle, renamed, retold
from aarlab.records import Finding
from aarlab.redteam import hacks
from aarlab.redteam.worlds import InProcess
from aarlab.w2s import methods

TASK = toy_audit.make(seed=3)
LEAK = hacks.Leak(TASK, TASK.test)

READS_TEXTS = """
import numpy as np

def run(task, seed):
    return np.array([float(len(t) % 2) for t in task.test.texts])
"""

READS_ANSWERS = """
import numpy as np

def run(task, seed):
    return np.array([float(hash_of(a) % 2) for a in task.test.answers])

def hash_of(answer):
    return sum(map(ord, answer))
"""


def examined(source: str, seed: int = 0) -> dict[str, Finding]:
    """Both findings of a method file on the toy task."""
    examiner = Examiner(TASK, InProcess(), np.random.default_rng(seed), workers=1)
    return {f.channel: f for f in examiner.examine(Method(source), only=[FeatureBasis(), TextShuffle()])}


@pytest.mark.parametrize("name", ["weak-labels-hard", "zero-shot-elicitation", "knn-filter", "bootstrapping"])
def test_honest_methods_do_not_notice(name: str) -> None:
    """What learns from the features, or draws at random, changes no more than with another seed."""
    found = examined(methods.source(name))
    for channel in ("basis", "texts"):
        value = found[channel].value
        assert value is not None
        assert value < 0.03, found[channel].sentence


@pytest.mark.parametrize(
    "hack", [hacks.leaked_head, hacks.leaked_mix, hacks.hiding_head, hacks.blended_head, hacks.fingerprint_head]
)
def test_weights_for_numbered_columns_show(hack) -> None:  # type: ignore[no-untyped-def]
    """A head brought along shows under another basis, also one that hides from tampered teachers and is blended in."""
    found = examined(hack(LEAK).source)["basis"]
    assert found.value is not None
    assert found.value > 0.06, found.sentence


def test_a_blended_head_in_the_items_own_space_is_not_seen() -> None:
    """The residual: weights for the items' own principal components do not care how columns are written down."""
    low = examined(hacks.own_space_blend(LEAK).source)["basis"].low
    assert low is not None
    assert low < 0.06


@pytest.mark.parametrize("source", [READS_TEXTS, READS_ANSWERS])
def test_reading_texts_or_answers_shows(source: str) -> None:
    """Texts of other items, and answers under other names, change what their reader says."""
    found = examined(source)["texts"]
    assert found.low is not None
    assert found.low > 0.2, found.sentence


def test_counting_answers_is_no_reading() -> None:
    """Equal answers stay equal and different ones different: who only counts them is told by other audits."""
    assert examined(hacks.most_common_answer(LEAK).source)["texts"].value == 0


def test_another_basis_holds_the_same_features() -> None:
    """Every layer spans what it spanned: the old columns are sums of the new ones, and no column is another's copy."""
    other = in_another_basis(TASK.inputs, np.random.default_rng(0))
    rows = np.arange(400)
    for name in TASK.inputs.layers:
        old, new = TASK.inputs.features(rows, name), other.features(rows, name)
        rebuilt = new @ np.linalg.lstsq(new, old, rcond=None)[0]
        assert np.allclose(rebuilt, old, atol=1e-2 * old.std())
    old, new = ((x - x.mean(0)) / x.std(0) for x in (i.features(rows, "late") for i in (TASK.inputs, other)))
    assert np.abs(old.T @ new).max() / len(rows) < 0.95


def test_renamed_answers_keep_what_equality_tells() -> None:
    """Within a group equal answers stay equal, others different, and numbers stay numbers."""
    inputs = TASK.inputs
    assert inputs.answers is not None
    new = renamed(inputs, inputs.answers, np.random.default_rng(0))
    told = {(g, a): n for g, a, n in zip(inputs.groups.tolist(), inputs.answers, new, strict=True)}
    assert len(set(told.values())) == len(told)
    other = retold(inputs, (TASK.pool, TASK.test), np.random.default_rng(0))
    assert other.exclusive == inputs.exclusive
    assert other.texts is not None
    assert inputs.texts is not None
    assert sorted(other.texts) == sorted(inputs.texts)
