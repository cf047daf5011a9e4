"""Rules of recipes: every recipe is a real method file, and the file tells its recipe."""

from __future__ import annotations

import ast
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.errors import InputError
from aarlab.execution.check import check_source
from aarlab.w2s import methods, toy
from aarlab.w2s.compose import CHOICES, INTEGERS, RANGES, Recipe
from aarlab.w2s.open_task import load_run

TASKS = {kind: toy.make(kind, groups=50) for kind in ("math", "code", "pref")}


def numbers() -> dict[str, st.SearchStrategy[Any]]:
    found: dict[str, st.SearchStrategy[Any]] = {n: st.floats(lo, hi) for n, (lo, hi) in RANGES.items()}
    found |= {n: st.integers(int(RANGES[n][0]), int(RANGES[n][1])) for n in INTEGERS}
    return (
        found
        | {n: st.sampled_from(menu) for n, menu in CHOICES.items()}
        | {n: st.booleans() for n in ("mirror", "centre")}
    )


recipes = st.fixed_dictionaries(numbers()).map(lambda values: Recipe(**values))


@settings(max_examples=60, deadline=None)
@given(recipes)
def test_a_recipe_survives_its_own_source(recipe: Recipe) -> None:
    """from_source(source()) is the canonical recipe; the file passes the lab's door check and names itself."""
    source = recipe.source()
    check_source(source)
    assert ast.get_docstring(ast.parse(source))
    assert source.splitlines()[0] == f"# name: {recipe.canonical().title()}"
    assert Recipe.from_source(source) == recipe.canonical()
    assert Recipe.from_changes(recipe.changes()) == recipe.canonical()


@settings(max_examples=60, deadline=None)
@given(recipes)
def test_canonical_is_a_fixed_point(recipe: Recipe) -> None:
    """Canonical twice is canonical once; same key, same source."""
    one = recipe.canonical()
    assert one.canonical() == one
    assert one.key() == recipe.key()
    assert one.source() == recipe.source()


@settings(max_examples=20, deadline=None)
@given(recipes, st.sampled_from(sorted(TASKS)))
def test_every_recipe_runs_on_every_kind_of_problem(recipe: Recipe, kind: str) -> None:
    """With or without answers, pairs and a logprob layer: probabilities of the right shape, repeatable."""
    task = TASKS[kind].view(1)
    run = load_run(recipe.source())
    out = np.asarray(run(task, 1))
    assert out.shape == (len(task.test),)
    assert np.isfinite(out).all()
    assert ((out >= 0) & (out <= 1)).all()
    np.testing.assert_array_equal(out, run(TASKS[kind].view(1), 1))


@pytest.mark.parametrize(("name", "menu"), CHOICES.items())
def test_every_choice_runs(name: str, menu: tuple[str, ...]) -> None:
    """No choice is left to chance: each value of each menu is run once."""
    for value in menu:
        out = load_run(Recipe(**{"labels": "mixture", name: value}).source())(TASKS["math"].view(0), 0)
        assert np.isfinite(np.asarray(out)).all()


def test_unread_numbers_do_not_make_another_method() -> None:
    """`keep` matters to a filter only; without one, recipes that differ in it are one and the same."""
    assert Recipe(keep=0.3).key() == Recipe(keep=0.9).key()
    assert Recipe(denoise="confident", keep=0.3).key() != Recipe(denoise="confident", keep=0.9).key()


def test_the_default_recipe_is_the_soft_baseline() -> None:
    """Recipe() trains what weak-labels-soft trains."""
    task = TASKS["math"].view(0)
    mine = np.asarray(load_run(Recipe().source())(task, 0))
    theirs = np.asarray(load_run(methods.source("weak-labels-soft"))(task, 0))
    np.testing.assert_allclose(mine, theirs, atol=5e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": "gold"},
        {"folds": 99},
        {"ridge": "strong"},
        {"teacher": float("nan")},
        {"mirror": 1},
        {"colour": "red"},
    ],
)
def test_bad_entries_are_named(changes: dict[str, Any]) -> None:
    """InputError names the entry and what it may be."""
    with pytest.raises(InputError, match=next(iter(changes))):
        Recipe.from_changes(changes)


@pytest.mark.parametrize(
    "source", ["", "def run(t, s): ...", "# recipe: {", '# recipe: {"labels": "gold"}', "# recipe: 3"]
)
def test_files_without_a_readable_recipe_have_none(source: str) -> None:
    """Other people's methods need no recipe, and a broken header is no error."""
    assert Recipe.from_source(source) is None


def test_cost_and_parts_grow_with_what_is_done() -> None:
    """fits counts heads; parts counts what goes beyond the plain baseline."""
    plain, rich = Recipe(), Recipe(labels="posterior", denoise="relabelled", view="each", train="bagged", blend=0.3)
    assert (plain.fits(), plain.parts()) == (1, 0)
    assert rich.fits() > 10
    assert rich.parts() == 5
    assert set(asdict(plain)) == set(RANGES) | set(CHOICES) | {"mirror", "centre"}
