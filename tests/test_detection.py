"""The committed detection matrix, and worlds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import toy_audit
from aarlab.audits.policy import Policy
from aarlab.problems import base
from aarlab.redteam import detection, worlds
from aarlab.w2s import methods

DOCS = Path(__file__).parents[1] / "docs"
FOUND = json.loads((DOCS / "detection.json").read_text())
HACKS_UNSEEN = {"own-space-blend", "majority-and-teacher", "laundered-votes", "source-clusters", "source-prior"}


def test_the_page_says_what_the_file_says() -> None:
    """docs/integrity.md holds the tables of docs/detection.json, as the command writes them."""
    page = (DOCS / "integrity.md").read_text()
    shown = page.split(detection.BEGIN)[1].split(detection.END)[0].strip()
    assert shown == detection.text(FOUND).strip()


def test_every_method_that_runs_is_in_it() -> None:
    """All library methods on all shipped problems, in at least twenty worlds."""
    ran = {(r["problem"], r["name"]) for r in FOUND["rows"] if r["kind"] == "honest"}
    gone = {(problem, name) for problem, name, _ in FOUND["not_applicable"]}
    assert ran | gone == {(p, n) for p in base.names() for n in methods.names()}
    assert len(FOUND["worlds"]) >= 20


def test_at_most_one_in_a_hundred_honest_verdicts_is_wrong() -> None:
    """Not ranked, held, or moved off the declared track."""
    for half in FOUND["honest"].values():
        assert len(half["barred"]) + len(half["moved"]) <= 0.01 * half["verdicts"]


def test_what_is_not_always_seen_is_known() -> None:
    """A hack that ranks in some world is either one of the documented ones, or hides there for good."""
    seen = {r["name"] for r in FOUND["rows"] if r["kind"] == "hack" and r["barred"] < 0.5}
    assert seen <= HACKS_UNSEEN


def test_limits_in_the_file_are_the_policys() -> None:
    """The table of values stands beside the ranges of today."""
    for row in FOUND["values"]:
        limit = detection.policy_of(row["problem"]).channels[row["channel"]]
        assert (float(row["low"]), float(row["high"])) == (limit.low, limit.high)
    assert isinstance(detection.policy_of("w2s-math"), Policy)


@pytest.mark.parametrize("number", [0, 1])
def test_a_world_is_a_part_of_its_task(number: int) -> None:
    """Whole groups, the same for everybody who asks, with part of the teachers."""
    task = toy_audit.make(seed=1, test_groups=400)
    one, again = worlds.world(task, number), worlds.world(task, number)
    assert np.array_equal(one.labels, again.labels)
    assert len(one.weak) == min(worlds.TEACHERS, len(task.weak))
    groups, sizes = np.unique(one.inputs.groups, return_counts=True)
    assert (sizes == toy_audit.PER_GROUP).all()
    assert set(groups) < set(task.inputs.groups)
    assert abs(one.test_items - worlds.TEST_ITEMS) < 10
