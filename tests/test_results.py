"""The committed reference table belongs to what is shipped: packs, methods, page; and its numbers can be measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aarlab.baselines import measure, page
from aarlab.baselines.plan import FULL_SEEDS
from aarlab.problems import base
from aarlab.problems.table import packed
from aarlab.w2s import methods

DOCS = Path(__file__).resolve().parents[1] / "docs"
CHEAP = ("w2s-pref", "feedback", "weak-labels-hard")

ROUNDING = 0.004
"""Another processor adds float32 numbers in another order: a few items in a thousand may fall on the other side."""


@pytest.fixture(scope="module")
def found() -> dict:
    path = DOCS / "results.json"
    if not path.is_file():
        pytest.skip("docs/results.json is not there; write it with `aarlab baselines --seeds 20`")
    return json.loads(path.read_text())


def test_the_table_is_of_the_shipped_packs(found: dict) -> None:
    """Same problems, same label sets, same floors and ceilings: after a rebuilt pack it must be measured again."""
    assert [p["name"] for p in found["problems"]] == packed()
    for row in found["problems"]:
        problem = base.load(row["name"], check=False)
        assert row["data_hash"] == problem.data_hash
        assert [t["name"] for t in row["tasks"]] == list(problem.tasks)
        for task in row["tasks"]:
            assert task["floor"] == vars(problem.tasks[task["name"]].floor)
            assert task["ceiling"] == vars(problem.tasks[task["name"]].ceiling)


def test_every_method_has_a_row_on_every_problem(found: dict) -> None:
    """Measured on every task, or a reason; the seeds are the committed ones."""
    assert [m["name"] for m in found["methods"]] == methods.names()
    assert found["seeds"] == list(range(FULL_SEEDS))
    for problem in found["problems"]:
        assert sorted(r["method"] for r in problem["rows"]) == methods.names()
        for row in problem["rows"]:
            assert set(row["tasks"]) | set(row["missing"]) == {t["name"] for t in problem["tasks"]}
            assert all(m["status"] == "not applicable" for m in row["missing"].values()), row["method"]
            assert all(len(t["accuracies"]) == FULL_SEEDS for t in row["tasks"].values())


def test_the_page_is_the_tables(found: dict) -> None:
    """docs/results.md was written from docs/results.json, and its plot is there."""
    assert (DOCS / "results.md").read_text() == page.render(found)
    assert (DOCS / "results.svg").read_text().startswith("<svg")


def test_its_numbers_can_be_measured_again(found: dict) -> None:
    """A cheap method on one task with two seeds gives the stored accuracies."""
    problem, task, method = CHEAP
    row = next(r for p in found["problems"] if p["name"] == problem for r in p["rows"] if r["method"] == method)
    truth = measure.load(base.load(problem).folder, task)
    again = [o.correct.mean() for o in measure.outcomes(truth, methods.source(method), [0, 1], None)]
    np.testing.assert_allclose(again, row["tasks"][task]["accuracies"][:2], atol=ROUNDING)
