"""The ledger: every edit behind the lab's back is named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toy
from aarlab.errors import LedgerError
from aarlab.records import LedgerLine
from aarlab.store import Store
from aarlab.vault.ledger import Ledger, break_in, canonical, line_hash, sign
from aarlab.vault.verify import verify
from toy_lab import ToyLab

KEY = b"k" * 32


@pytest.fixture
def lines(tmp_path: Path) -> list[LedgerLine]:
    store, ledger = Store(tmp_path / "lab.db"), Ledger(KEY)
    with store.write() as rows:
        for i, time in enumerate([100.0, 101.0, 50.0, 102.0]):
            ledger.append(rows, "answer", {"number": i, "said": "no new record"}, time)
        return rows.lines()


def test_a_chain_is_whole_with_and_without_the_key(lines: list[LedgerLine]) -> None:
    """What was appended verifies; without the key only the chain is checked."""
    assert break_in(lines, KEY) is None
    assert break_in(lines, None) is None


def test_times_never_run_backwards(lines: list[LedgerLine]) -> None:
    """A clock set back does not make a line older than the one before it."""
    assert [x.time for x in lines] == [100.0, 101.0, 101.0, 102.0]


def test_every_kind_of_edit_breaks_the_chain(lines: list[LedgerLine]) -> None:
    """Changed content, a dropped line, an inserted line and a re-made hash are all noticed at the right line."""
    edited = [*lines[:1], replace(lines[1], body={"number": 1, "said": "new record 0.9"}), *lines[2:]]
    assert "line 2 (answer) was edited" in str(break_in(edited, KEY))
    assert "line 2 is missing" in str(break_in([lines[0], *lines[2:]], KEY))
    forged = replace(edited[1], hash=line_hash(edited[1]))
    assert "line 3 does not follow" in str(break_in([lines[0], forged, *lines[2:]], None))
    assert "line 2 (answer) does not carry the vault's signature" in str(break_in([lines[0], forged], KEY))
    assert break_in([lines[0], replace(forged, mac=sign(KEY, forged.hash))], KEY) is None  # who has the key can


def test_one_value_has_one_spelling() -> None:
    """Hashes do not depend on the order of keys, and what JSON cannot say is refused."""
    assert canonical({"b": 1, "a": [1.5, None]}) == canonical({"a": [1.5, None], "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab that went through all phases: records, no records, a failure, a repeat."""
    folder = tmp_path_factory.mktemp("finished") / "lab"
    with ToyLab(folder) as lab:
        lab.score(toy.CONSTANT.format(value=0.9))
        lab.score(toy.LEARNER, who="r2")
        lab.score(toy.CONSTANT.format(value=7))
        lab.score("# again\n" + toy.LEARNER, who="r3")
        lab.reach("done")
        assert lab.verify().text().count("everything fits") == 1
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "lab")
    return tmp_path / "lab"


def edit(sql: str) -> Callable[[Path], None]:
    def act(lab: Path) -> None:
        db = sqlite3.connect(lab / "lab.db")
        assert db.execute(sql).rowcount != 0
        db.commit()
        db.close()

    return act


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (edit("UPDATE submissions SET researcher = 'r3' WHERE id = 4"), "submission 4: researcher is 'r3'"),
        (edit("UPDATE submissions SET record = 0.99 WHERE id = 4"), "submission 4: record is 0.99"),
        (edit("UPDATE submissions SET answer = 'new record 0.99' WHERE id = 3"), "submission 3: answer"),
        (edit("UPDATE submissions SET status = 'scored' WHERE id = 5"), "submission 5: status is 'scored'"),
        (edit("UPDATE submissions SET claimed_pgr = 1.0 WHERE id = 3"), "submission 3: claimed_pgr"),
        (edit("UPDATE submissions SET ranked = 0 WHERE id = 3"), "submission 3: ranked"),
        (edit("DELETE FROM submissions WHERE id = 6"), "submission 6 is missing"),
        (edit("UPDATE answers SET record = 0.99 WHERE submission = 4"), "answer 2 (submission 4) was edited"),
        (edit("DELETE FROM answers WHERE submission = 3"), "answer 1 stands only in the ledger"),
        (edit("UPDATE scores SET accuracy = 0.99 WHERE evaluation = 4"), "the score rows of evaluation 4"),
        (edit("DELETE FROM scores WHERE evaluation = 4 AND seed_index = 1"), "the score rows of evaluation 4"),
        (edit("UPDATE evaluations SET task = 'open' WHERE id = 4"), "evaluation 4: task is 'open'"),
        (edit("DELETE FROM evaluations WHERE id = 3"), "evaluation 3 is missing"),
        (edit("UPDATE ledger SET body = replace(body, '\"r2\"', '\"r1\"')"), "was edited: its hash"),
        (edit("DELETE FROM ledger WHERE number = 5"), "ledger line 5 is missing"),
        (edit("DELETE FROM ledger WHERE number > 20"), "the end was cut off"),
        (edit("UPDATE meta SET value = '\"research\"' WHERE key = 'phase'"), "phase is 'research'"),
        (edit("UPDATE meta SET value = '3' WHERE key = 'winner'"), "winner is 3"),
        (
            edit(
                "INSERT INTO submissions SELECT 99, 'r1', name, status, bundle_hash, 'x', created, finished, parent, "
                "track, claimed_pgr, answer, record, reason, note, repeat_of, ranked, remark FROM submissions "
                "WHERE id = 4"
            ),
            "submission 99 stands in the database and not in the ledger",
        ),
    ],
)
def test_an_edited_database_is_named(copy: Path, act: Callable[[Path], None], named: str) -> None:
    """Whatever row is changed, dropped or smuggled in, the report says which."""
    act(copy)
    report = verify(copy)
    assert any(named in fault for fault in report.faults), report.text()
    with pytest.raises(LedgerError):
        report.require()


def test_an_edited_or_missing_method_file_is_named(copy: Path) -> None:
    """A method file that is not what was submitted is named with its submission."""
    path = copy / "artifacts" / f"{toy.sha(toy.LEARNER)}.py"
    path.write_text(path.read_text() + "# edited\n")
    assert verify(copy).faults == [f"artifacts/{path.name} (submission 4) was edited"]
    path.unlink()
    assert verify(copy).faults == [f"artifacts/{path.name} (submission 4) is missing"]


def test_an_edited_or_missing_outcome_is_named(copy: Path) -> None:
    """The per-item outcomes are vouched for as well."""
    path = copy / "vault" / "outcomes" / "4.npz"
    with np.load(path) as z:
        arrays = dict(z)
    arrays["correct"] = np.ones_like(arrays["correct"])
    np.savez_compressed(path, **arrays)
    assert any("outcomes/4.npz (submission 4" in fault and "edited" in fault for fault in verify(copy).faults)
    path.unlink()
    assert any("outcomes/4.npz (submission 4" in fault and "missing" in fault for fault in verify(copy).faults)


def test_a_lab_published_without_its_vault_is_still_checked(copy: Path) -> None:
    """Without the key the chain, the rows and the method files are checked, and the report says what was not."""
    shutil.rmtree(copy / "vault")
    report = verify(copy)
    assert report
    assert "vault is not here" in report.text()
    edit("UPDATE submissions SET record = 0.99 WHERE id = 4")(copy)
    assert not verify(copy)


def test_the_report_states_the_bits(copy: Path) -> None:
    """Bits released and their bound are printed."""
    report = verify(copy)
    assert report.answers == 2
    assert 0 < report.bits < report.bound
    assert f"at most {report.bits:.1f}" in report.text()


def test_scores_and_answers_are_computed_again(finished: Path, tmp_path: Path) -> None:
    """Even a ledger re-signed with the key does not hide an answer that its scores do not support."""
    shutil.copytree(finished, tmp_path / "lab")
    store = Store(tmp_path / "lab" / "lab.db")
    from aarlab.vault.store import Vault

    key = Vault(tmp_path / "lab" / "vault").key
    with store.read() as rows:
        lines = rows.lines()
    store.close()
    edit("UPDATE answers SET record = 0.99, text = 'new record 0.99' WHERE number = 1")(tmp_path / "lab")
    edit("UPDATE submissions SET record = 0.99, answer = 'new record 0.99' WHERE id = 3")(tmp_path / "lab")
    _resign(tmp_path / "lab", lines, key)
    assert any("does not follow from its scores" in fault for fault in verify(tmp_path / "lab").faults)


def _resign(lab: Path, lines: list[LedgerLine], key: bytes) -> None:
    """Rewrite the whole ledger with another first answer, as only the operator can."""
    import json

    db, previous = sqlite3.connect(lab / "lab.db"), "0" * 64
    for line in lines:
        body = line.body
        if line.kind == "answer" and body["number"] == 1:
            body = {**body, "answer": "new record 0.99", "record": 0.99}
        new = replace(line, body=body, previous=previous)
        new = replace(new, hash=line_hash(new))
        db.execute(
            "UPDATE ledger SET body = ?, previous = ?, hash = ?, mac = ? WHERE number = ?",
            (json.dumps(body), new.previous, new.hash, sign(key, new.hash), new.number),
        )
        previous = new.hash
    db.commit()
    db.close()
    (lab / "vault" / "ledger.head").unlink()
