"""Nominal 95 % intervals hold: a small version of the simulation whose tables stand in docs/statistics.md."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from aarlab import calibration
from aarlab.calibration import FIELDS, LIMITS, QUESTIONS, WORLDS, World
from aarlab.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
TRIALS = 120
LEAST = 0.93 - 3 * math.sqrt(0.95 * 0.05 / TRIALS)
"""Three standard errors of so few trials below the promised 93 %."""


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", [WORLDS[0].name, "20 groups of 30", "groups of 1 to 20 items"])
def test_intervals_hold(name: str, question: str) -> None:
    """In so few trials no world may show less than the band allows; too wide shows in the docs' many trials."""
    world = next(w for w in WORLDS if w.name == name)
    assert calibration.coverage(QUESTIONS[question], world, TRIALS, 500) >= LEAST


def test_choosing_the_best_is_corrected() -> None:
    """The simultaneous intervals hold, and the estimated inflation is about the true one."""
    found = calibration.chosen(FIELDS[0], 60, 500)
    assert found.all_held >= 0.85
    assert found.best >= found.all_held
    assert found.estimated == pytest.approx(found.inflation, abs=0.04)
    assert found.inflation > 0.02


def test_a_plan_finds_what_it_promises() -> None:
    """Planned for 80 %: found about as often."""
    difference, found = calibration.planned(WORLDS[0], 100, 500)
    assert 0 < difference < 1
    assert 0.66 <= found <= 0.95


def test_a_world_has_the_accuracy_it_states() -> None:
    """Outcomes of many groups average to the stated truth, also where larger groups are harder."""
    world = World("check", seeds=8, groups=4000, size=(1, 20), larger_is_harder=0.2)
    rng = np.random.default_rng(0)
    groups, hard = world.items(rng)
    assert world.outcomes(groups, hard, rng).mean() == pytest.approx(world.truth(), abs=0.01)
    assert world.truth() < world.accuracy


def test_every_trial_is_repeatable() -> None:
    """Two runs with one seed agree to the last trial."""
    question = QUESTIONS["paired difference"]
    assert calibration.coverage(question, LIMITS[4], 20, 200) == calibration.coverage(question, LIMITS[4], 20, 200)


def test_the_page_states_every_world_within_its_band() -> None:
    """The committed tables have a row for each world, and 93 to 97 % in each promised one."""
    page = (ROOT / "docs" / "statistics.md").read_text()
    promised = page.split(calibration.START)[1].split("nothing promised")[0]
    for world in WORLDS:
        row = re.search(rf"^\| {re.escape(world.name)} \|(.*)\|$", promised, re.MULTILINE)
        assert row, world.name
        shown = [float(cell) for cell in row.group(1).split("|")]
        assert len(shown) == len(QUESTIONS)
        assert all(93 <= value <= 97 for value in shown), (world.name, shown)
    assert all(f"| {world.name} |" in page for world in LIMITS)
    assert all(f"| {field.name} |" in page for field in FIELDS)


def test_tables_are_written_between_the_markers(tmp_path: Path) -> None:
    """What stands around them stays; a page without markers is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{calibration.START}\nold\n{calibration.END}\nafter\n")
    calibration.write(page, "new")
    assert page.read_text() == f"before\n{calibration.START}\n\nnew\n\n{calibration.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(InputError, match=r"page\.md"):
        calibration.write(page, "new")
