"""Every attack of the red team, each a test named after it; `aarlab redteam` makes them all at once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from aarlab.problems import base
from aarlab.redteam.attack import Attack, every
from aarlab.redteam.command import make
from aarlab.redteam.ground import Ground

PROBLEM = os.environ.get("AARLAB_REDTEAM_PROBLEM", "w2s-math")
ATTACKS = [pytest.param(a, id=a.id, marks=() if a.fast else pytest.mark.slow) for a in every()]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with Ground(base.load(PROBLEM)) as ground:
        yield ground


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(attack: Attack, ground: Ground) -> None:
    """The attack ends as its file says it must; the file's docstring says who attacks, and how."""
    line = make(attack, ground)
    if line.outcome is None:
        pytest.skip(line.missing)
    assert not line.missed
