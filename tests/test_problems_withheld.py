"""Rules of aarlab.problems.withheld: texts that are not shipped are those of the shipped items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aarlab.errors import Infrastructure, PackError
from aarlab.problems import base
from aarlab.problems.measure import Truth
from aarlab.problems.withheld import restored


def test_shipped_texts_come_back_as_they_are() -> None:
    """A pack with texts is left alone."""
    problem = base.load("w2s-math", check=False)
    truth = Truth.load(problem.folder, "open")
    assert restored(truth.inputs, truth.labels) is truth.inputs


def test_another_problem_is_left_alone() -> None:
    """Only problems that this package generates can be asked for their texts."""
    problem = base.load("w2s-pref", check=False)
    inputs = replace(problem.inputs("open"), problem="mine")
    assert restored(inputs, []) is inputs


def test_comparisons_get_the_sentences_that_were_rated() -> None:
    """Two passages an item, in the pack's order: equal rows have equal sentences; a foreign pack is refused."""
    problem = base.load("w2s-pref", check=False)
    truth = Truth.load(problem.folder, "feedback")
    try:
        inputs = restored(truth.inputs, truth.labels)
    except Infrastructure as error:
        pytest.skip(f"the ratings cannot be fetched here: {error}")
    assert inputs.texts is not None
    assert inputs.pairs is not None
    assert len(inputs.texts) == len(truth.labels)
    written: dict[int, str] = {}
    for row, text in zip(inputs.pairs, inputs.texts, strict=True):
        first, second = text.removeprefix("A: ").split("\nB: ")
        assert written.setdefault(int(row[0]), first) == first
        assert written.setdefault(int(row[1]), second) == second
    with pytest.raises(PackError, match="not the shipped one"):
        restored(truth.inputs, 1 - np.asarray(truth.labels))
