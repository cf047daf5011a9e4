"""Rules of open tasks: loading, drawing, and measuring methods on public labels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aarlab.errors import MethodError, PackError
from aarlab.w2s import methods, toy
from aarlab.w2s.open_task import OpenTask, load_run
from aarlab.w2s.task import W2STask

TASK = toy.make("math", groups=100)


def truth(task: W2STask, seed: int) -> np.ndarray:
    """The labels themselves, found by the item's text: what a cheat would need and no method has."""
    rows = [int(t.split()[1]) for t in task.test.texts]
    return TASK.labels[rows].astype(float)


def test_the_truth_has_accuracy_one_and_random_guesses_lie_below_the_floor() -> None:
    """PGR of perfect predictions is (1 - floor) / gap."""
    found = TASK.evaluate(truth, [0, 1])
    assert found.accuracy == (1.0, 1.0)
    assert found.mean == pytest.approx((1 - TASK.floor) / (TASK.ceiling - TASK.floor))
    guess = TASK.evaluate(lambda t, s: np.random.default_rng(s).random(len(t.test)), range(4))
    assert guess.mean < 0


def test_a_saved_task_loads_with_its_published_numbers(tmp_path: Path) -> None:
    """card.json gives floor and ceiling; the three files give the rest; results agree to the digit."""
    loaded = OpenTask.load(toy.save(TASK, tmp_path / "data"))
    assert (loaded.floor, loaded.ceiling) == (TASK.floor, TASK.ceiling)
    run = load_run(methods.source("weak-labels-soft"))
    assert loaded.evaluate(run, [3]).pgr == TASK.evaluate(run, [3]).pgr


def test_a_missing_or_torn_file_is_named(tmp_path: Path) -> None:
    """PackError says which task and folder."""
    folder = toy.save(TASK, tmp_path / "data")
    with pytest.raises(PackError, match="'else'"):
        OpenTask.load(folder, "else")
    (folder / "open.labels.npz").write_bytes(b"PK torn")
    with pytest.raises(PackError, match="open"):
        OpenTask.load(folder)


def test_swapped_and_partial_tasks_are_real_tasks() -> None:
    """Swapped: train and test exchanged, own floor and ceiling. Part: whole groups only, both roles left."""
    swapped = TASK.swapped()
    assert (swapped.is_test == ~TASK.is_test).all()
    assert swapped.ceiling > swapped.floor
    half = TASK.part(0.5, seed=1)
    assert 0.4 < len(half.labels) / len(TASK.labels) < 0.6
    assert set(np.bincount(half.inputs.groups)) == {0, 4}
    assert 0 < half.is_test.sum() < len(half.labels)
    pref = toy.make("pref", groups=60)
    np.testing.assert_array_equal(
        pref.part(0.5).inputs.features(np.array([0]), "m20").shape, pref.inputs.features(np.array([0]), "m20").shape
    )


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (lambda n: np.zeros(n + 1), "shape"),
        (lambda n: np.full(n, np.nan), "nan"),
        (lambda n: np.full(n, 1.5), "range"),
        (lambda n: ["yes"] * n, "dtype"),
        (lambda n: None, "dtype"),
        (lambda n: np.zeros(n, complex), "dtype"),
    ],
)
def test_outputs_that_break_the_contract_have_a_reason(output: object, reason: str) -> None:
    """MethodError with the fixed word and a sentence for the open task."""
    with pytest.raises(MethodError) as found:
        TASK.evaluate(lambda t, s: output(len(t.test)), [0])  # type: ignore[operator]
    assert found.value.reason == reason


def test_a_file_without_run_is_refused() -> None:
    """The sentence says what is missing."""
    with pytest.raises(MethodError, match="no function run"):
        load_run("x = 1")


def test_the_example_runs() -> None:
    """examples/weak_to_strong.py works as written on the shipped open task."""
    example = Path(__file__).parents[1] / "examples" / "weak_to_strong.py"
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "zero-shot-elicitation" in done.stdout
    assert "def run(task, seed):" in done.stdout
