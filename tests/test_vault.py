"""The vault: who may read it, what it hands out, and grading as a pure function."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

import toy
from aarlab.errors import InputError, MethodError, PackError
from aarlab.vault import store
from aarlab.vault.grader import grade
from aarlab.vault.store import Vault, public_card
from aarlab.w2s.task import Draw


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    problem = toy.make_pack(tmp_path / "pack", items=80)
    return store.create(tmp_path, [problem], toy.settings())


def test_only_the_owner_may_look_inside(vault: Vault) -> None:
    """The folder is closed to other users, and so is the file with the secrets."""
    assert stat.S_IMODE(vault.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((vault.folder / "secret.json").stat().st_mode) == 0o600


def test_draws_are_fixed_within_a_purpose_and_differ_between_them(vault: Vault) -> None:
    """Feedback and baselines share their seeds (comparisons are paired); record and transfer have fresh ones."""
    name = toy.name()
    seeds = {p: vault.seeds(name, "feedback", p) for p in ("feedback", "baseline", "record", "transfer")}
    assert seeds["feedback"] == Vault(vault.folder).seeds(name, "feedback", "feedback")
    assert seeds["feedback"] == seeds["baseline"]
    assert not {*seeds["feedback"]} & {*seeds["record"]}
    assert not {*seeds["transfer"]} & {*seeds["record"]}
    assert not {*seeds["feedback"]} & {*vault.seeds(name, "record-one", "feedback")}
    one, two = vault.draws(name, "feedback", "feedback")
    assert not np.array_equal(one.test, two.test)
    assert np.array_equal(np.sort(one.test), np.sort(two.test))


def test_two_labs_draw_different_seeds(tmp_path: Path, vault: Vault) -> None:
    """Seeds are secret: nothing about a lab's settings or data fixes them."""
    (tmp_path / "other").mkdir()
    other = store.create(tmp_path / "other", list(vault.problems.values()), toy.settings())
    assert not {*vault.seeds(toy.name(), "feedback", "feedback")} & {*other.seeds(toy.name(), "feedback", "feedback")}
    assert vault.key != other.key


def test_grading_lines_up_items_of_every_seed() -> None:
    """Outputs come in each draw's own order and leave in ascending row number; above 0.5 means 1."""
    labels = np.array([0, 1, 1, 0, 1], np.int8)
    draws = [Draw(np.array([0]), np.array(order), np.zeros(1, np.float32), 0) for order in ([1, 2, 4], [4, 1, 2])]
    outputs = [np.array([0.5, 0.2, 0.9], np.float32), np.array([0.9, 0.5, 0.2], np.float32)]
    expected = np.array([[False, False, True], [False, False, True]])
    assert np.array_equal(grade(outputs, draws, labels), expected)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (np.zeros(2, np.float32), "shape"),
        (np.zeros((3, 1), np.float32), "shape"),
        (np.zeros(3, np.int64), "dtype"),
        (np.zeros(3, complex), "dtype"),
        (np.array(["0", "1", "0"]), "dtype"),
        (np.array([0.1, np.nan, 0.2], np.float32), "nan"),
        (np.array([0.1, np.inf, 0.2], np.float32), "nan"),
        (np.array([0.1, -0.2, 0.2], np.float32), "range"),
        (np.array([0.1, 2.0, 0.2], np.float32), "range"),
    ],
)
def test_grading_refuses_what_breaks_the_contract(output: np.ndarray, reason: str) -> None:
    """No value outside the contract is ever graded, so there is no way to abstain on an item."""
    draw = Draw(np.array([0]), np.array([1, 2, 3]), np.zeros(1, np.float32), 0)
    with pytest.raises(MethodError) as caught:
        grade([output], [draw], np.zeros(4, np.int8))
    assert caught.value.reason == reason


def test_grading_wants_one_output_per_seed() -> None:
    """A missing seed is an error and not a shorter mean."""
    draw = Draw(np.array([0]), np.array([1]), np.zeros(1, np.float32), 0)
    with pytest.raises(MethodError):
        grade([], [draw], np.zeros(2, np.int8))


def test_outcomes_are_kept_item_by_item(vault: Vault) -> None:
    """What is saved is what was graded, and the hash is the file's."""
    name = toy.name()
    outputs = [np.full(len(d.test), 0.7, np.float32) for d in vault.draws(name, "feedback", "feedback")]
    correct = vault.grade(name, "feedback", "feedback", outputs)
    digest = vault.save_outcomes(7, name, "feedback", correct)
    assert np.array_equal(vault.outcomes(7), correct)
    import hashlib

    assert hashlib.sha256(vault.outcome_path(7).read_bytes()).hexdigest() == digest
    with np.load(vault.outcome_path(7)) as z:
        assert len(z["items"]) == len(z["groups"]) == correct.shape[1] == 40


def test_a_corrupt_pack_is_named(tmp_path: Path) -> None:
    """A pack whose files differ from its checksums is refused with the file's name."""
    problem = toy.make_pack(tmp_path / "pack", items=80)
    vault = store.create(tmp_path, [problem], toy.settings())
    path = vault.folder / "packs" / toy.name() / "feedback.labels.npz"
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    with pytest.raises(PackError, match=r"feedback\.labels\.npz"):
        _ = Vault(vault.folder).problems


def test_missing_secrets_are_named(vault: Vault) -> None:
    """Without its secrets a vault says so in a sentence."""
    (vault.folder / "secret.json").unlink()
    with pytest.raises(InputError, match=r"secret\.json"):
        _ = Vault(vault.folder).key


def test_public_folder_holds_open_tasks_only(tmp_path: Path) -> None:
    """Researchers get the open tasks with labels, and of every other task its card and no file."""
    problem = toy.make_pack(tmp_path / "pack", items=80)
    store.export_public(tmp_path, problem)
    files = {p.name for p in (tmp_path / "public").iterdir()}
    assert files == {"card.json", "open.inputs.npz", "open.teachers.npz", "open.labels.npz"}
    card = json.loads((tmp_path / "public" / "card.json").read_text())
    assert card == json.loads(json.dumps(public_card(problem)))
    assert {t["name"] for t in card["tasks"]} == {*toy.ROLES}
