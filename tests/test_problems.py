"""Every shipped problem: its pack is whole, its tasks are honest, and its numbers are what it says."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aarlab.errors import InputError, PackError
from aarlab.problems import base, build
from aarlab.problems.comparison import compare
from aarlab.problems.measure import BASELINES, Truth
from aarlab.problems.pack import exact, quantise
from aarlab.problems.table import packed, tasks_table

PROBLEMS = packed()
CASES = [(problem, task) for problem in PROBLEMS for task in base.load(problem, check=False).tasks]
DIRECTIONS = {
    "elicitation", "reweighting", "combination", "posterior", "distillation", "simplicity", "learnability",
    "evolutionary", "internals",
}  # fmt: skip


def truth(problem: str, task: str) -> Truth:
    return Truth.load(base.load(problem, check=False).folder, task)


def test_every_problem_ships_a_pack() -> None:
    """A problem that is listed can be run at once."""
    assert base.names() == PROBLEMS


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_complete(name: str) -> None:
    """Checksums hold; there is one open and one feedback task, two record tasks, nine directions and a policy."""
    problem = base.load(name)
    assert len(problem.of_role("open")) == len(problem.of_role("feedback")) == 1
    assert len(problem.of_role("record")) >= 2
    assert set(problem.directions) == DIRECTIONS
    assert len(problem.title) > 10
    assert len(problem.brief) > 400
    assert problem.settings["policy"]["allowed"]


@pytest.mark.parametrize(("problem", "task"), CASES)
def test_sizes_gap_and_balance(problem: str, task: str) -> None:
    """Tasks are large enough to tell methods apart, the gap is at least 12 points, labels are balanced."""
    card = base.load(problem, check=False).task(task)
    least = {"open": 600, "feedback": 1500 if problem == "w2s-pref" else 2000, "record": 1000}[card.role]
    assert card.train_items >= 800
    assert card.test_items >= least
    assert card.gap >= 0.12
    assert card.floor.seeds >= 24
    assert card.ceiling.seeds >= 16
    assert set(card.baselines) == set(BASELINES)
    t = truth(problem, task)
    assert int(t.is_test.sum()) == card.test_items
    for part in (t.is_test, ~t.is_test):
        assert 0.44 <= t.labels[part].mean() <= 0.56


@pytest.mark.parametrize(("problem", "task"), CASES)
def test_teachers_are_weak_and_differ(problem: str, task: str) -> None:
    """Teachers are better than a coin, no two are one, and none is given the labels."""
    t = truth(problem, task)
    assert t.weak.shape == (len(t.weak), len(t.labels))
    assert ((t.weak >= 0) & (t.weak <= 1)).all()
    accuracy = ((t.weak > 0.5) == t.labels).mean(1)
    assert 0.5 < accuracy.mean() < 0.85
    assert accuracy.max() < 0.95
    assert len({row.tobytes() for row in t.weak}) == len(t.weak)


@pytest.mark.parametrize(("problem", "task"), CASES)
def test_nothing_is_in_train_and_test(problem: str, task: str) -> None:
    """No group, text or compared row lies on both sides of the split."""
    t = truth(problem, task)
    assert not set(t.inputs.groups[t.is_test]) & set(t.inputs.groups[~t.is_test])
    if t.inputs.texts is not None:
        texts = np.array(t.inputs.texts)
        assert not set(texts[t.is_test]) & set(texts[~t.is_test])
    if t.inputs.pairs is not None:
        assert not set(t.inputs.pairs[t.is_test].ravel()) & set(t.inputs.pairs[~t.is_test].ravel())


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p != "w2s-pref"])
def test_no_text_is_in_two_tasks(problem: str) -> None:
    """Tasks are new tasks: not one text of one is in another."""
    seen: set[str] = set()
    for task in base.load(problem, check=False).tasks:
        texts = set(truth(problem, task).inputs.texts or ())
        assert len(texts) > 1000
        assert not texts & seen
        seen |= texts


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_seed_draws_items_in_no_telling_order(problem: str) -> None:
    """Labels do not lean to one end of the file: the order of items says nothing."""
    for task in base.load(problem, check=False).tasks:
        labels = truth(problem, task).labels.astype(float)
        place = np.linspace(-1, 1, len(labels))
        assert abs(np.corrcoef(place, labels)[0, 1]) < 0.08


@pytest.mark.parametrize("problem", PROBLEMS)
def test_floor_and_ceiling_can_be_measured_again(problem: str) -> None:
    """A few seeds give the manifest's floor exactly and its ceiling within three standard errors."""
    card = base.load(problem, check=False).of_role("feedback")[0]
    t = truth(problem, card.name)
    assert t.floor() == card.floor
    again = t.ceiling(seeds=4)
    spread = card.ceiling.se * card.ceiling.seeds**0.5
    assert abs(again.mean - card.ceiling.mean) < 3 * spread / 4**0.5 + 1e-9


def test_a_damaged_pack_is_refused(tmp_path: Path) -> None:
    """One changed byte, a missing file or a broken manifest raises PackError that names the file."""
    pack = tmp_path / "pack"
    shutil.copytree(base.load("w2s-math", check=False).folder, pack)
    base.load("w2s-math", pack)
    victim = pack / "open.labels.npz"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    with pytest.raises(PackError, match=r"open\.labels\.npz"):
        base.load("w2s-math", pack)
    victim.unlink()
    with pytest.raises(PackError, match=r"open\.labels\.npz.*missing"):
        base.load("w2s-math", pack)
    (pack / "manifest.json").write_text("{", "utf-8")
    with pytest.raises(PackError, match="manifest"):
        base.load("w2s-math", pack)


def test_a_pack_agrees_with_itself_and_not_with_another(tmp_path: Path) -> None:
    """`compare` reports equal packs as equal, and labels that were changed as a difference."""
    shipped = base.load("w2s-math", check=False).folder
    assert compare(shipped, shipped).within
    other = tmp_path / "pack"
    shutil.copytree(shipped, other)
    with np.load(other / "open.labels.npz") as found:
        arrays = dict(found)
    arrays["labels"][:40] ^= 1
    np.savez_compressed(other / "open.labels.npz", **arrays)
    manifest = (other / "manifest.json").read_text("utf-8")
    data = json.loads(manifest)
    data["files"]["open.labels.npz"] = hashlib.sha256((other / "open.labels.npz").read_bytes()).hexdigest()
    (other / "manifest.json").write_text(json.dumps(data), "utf-8")
    found = compare(other, shipped)
    assert not found.within
    assert "open: labels DIFFER" in str(found)
    assert "feedback: labels equal" in str(found)


def test_the_table_of_tasks_is_fresh() -> None:
    """docs/tasks.md is what the command that writes it prints."""
    written = Path(__file__).parents[1] / "docs" / "tasks.md"
    assert written.read_text("utf-8") == tasks_table(), "run `python -m aarlab.problems.table > docs/tasks.md`"


def test_packs_fit_the_repository() -> None:
    """All packs together stay under 45 MB."""
    total = sum(f.stat().st_size for p in PROBLEMS for f in base.load(p, check=False).folder.iterdir())
    assert total < 45e6


def test_quantised_features_stay_close() -> None:
    """int8 with one scale per dimension keeps each value within half a step; float16 blocks keep theirs."""
    values = np.random.default_rng(0).normal(size=(50, 7)) * np.arange(1, 8)
    layer = quantise(values)
    assert layer.values.dtype == np.int8
    assert (np.abs(layer.rows(np.arange(50)) - values) <= layer.scale / 2 + 1e-6).all()
    assert np.allclose(exact(values).rows(np.arange(50)), values, rtol=1e-3)


def test_rated_problems_have_no_fresh_items(tmp_path: Path) -> None:
    """Human ratings cannot be drawn anew; nothing is written."""
    with pytest.raises(InputError, match="human ratings"):
        build.build("w2s-pref", tmp_path / "out", fresh=True)
    assert not (tmp_path / "out").exists()
