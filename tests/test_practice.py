"""Practice mode: lists of predictions on the feedback task, ten rounded answers for a whole fleet, never ranked."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
from aarlab.errors import ConfigError, InputError, NotAllowed
from aarlab.problems import base
from aarlab.server.practice import REFUSAL, read
from aarlab.settings import MOST_PRACTICE, Scoring
from aarlab.vault import practice
from aarlab.w2s.task import TaskInputs
from toy_lab import ToyLab


def on(answers: int = 10, **changes: Any) -> Any:
    settings = toy.settings(**changes)
    return replace(settings, scoring=replace(settings.scoring, practice=answers))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ToyLab]:
    """A lab with practice mode on; its baselines are not waited for."""
    with ToyLab(tmp_path / "lab", on()) as lab:
        yield lab


def truth(lab: ToyLab) -> np.ndarray:
    return lab.lab.vault.practice_labels(lab.lab.problem.name, "feedback")


def ask(lab: ToyLab, values: Any, who: str = "r1") -> Any:
    return lab.post("/practice", {"predictions": [int(v) for v in values]}, who)


def test_it_is_off_by_default(tmp_path: Path) -> None:
    """Without the setting nothing is answered, nothing of the feedback task is given out, and the brief says off."""
    with ToyLab(tmp_path / "lab") as lab:
        assert ask(lab, np.zeros(200)).status_code == 403
        assert not list((lab.folder / "public").glob("feedback*"))
        assert lab.get("/practice")["on"] is False
        assert lab.get("/brief")["scoring"]["practice"] == "off"


def test_more_than_ten_answers_cannot_be_set() -> None:
    """The error names the most and why."""
    with pytest.raises(ConfigError, match=r"scoring.practice is 11; 0 \(off\) to 10 answers .* PGR"):
        toy.settings(scoring=Scoring(practice=MOST_PRACTICE + 1))
    with pytest.raises(ConfigError):
        toy.settings(scoring=Scoring(practice=-1))


def test_an_answer_is_the_accuracy_to_one_point_and_nothing_else(lab: ToyLab) -> None:
    """Accuracy, whether it was known, and what is left: no counts, no PGR, no label distribution."""
    labels = truth(lab)
    asked = labels.copy()
    asked[:31] = 1 - asked[:31]
    reply = ask(lab, asked)
    assert reply.json() == {"accuracy": 0.85, "cached": False, "answers_left": 9}  # 169 of 200: 84.5, a half upwards


@given(st.integers(1, 3000), st.data())
def test_rounding_is_to_the_nearest_point(items: int, data: st.DataObject) -> None:
    """Never more than half a point away, always on the grid; at most 101 different answers."""
    right = data.draw(st.integers(0, items))
    found = practice.rounded(right, items)
    assert abs(found - right / items) <= 0.005 + 1e-12
    assert abs(100 * found - round(100 * found)) < 1e-9
    if items <= 400:
        assert practice.bits_each(items) <= math.log2(min(101, items + 1)) + 1e-12


ODD = [
    b"", b"{", b"[]", b"null", b"{}", b'{"predictions": []}', b'{"predictions": null}', b'{"predictions": "0110"}',
    b"\xff\xfe", b'{"predictions": {"0": 1}}', b"[" * 100_000,
]  # fmt: skip
WRONG = [
    "true",
    "false",
    "0.0",
    "1.0",
    "0.5",
    "NaN",
    "-0",
    "-1",
    "2",
    "1e0",
    '"1"',
    "null",
    "[1]",
    "Infinity",
    "1" * 30,
]


def test_anything_but_zeros_and_ones_is_refused_with_one_sentence(lab: ToyLab) -> None:
    """Odd values, wrong lengths, further fields, twice the same field: one fixed sentence, nothing charged or said."""
    items = [0] * 200
    bodies = [*ODD]
    bodies += [f'{{"predictions": [{", ".join(["0"] * 199 + [w])}]}}'.encode() for w in WRONG]
    bodies += [json.dumps({"predictions": items[1:]}).encode(), json.dumps({"predictions": [*items, 0]}).encode()]
    bodies += [json.dumps({"predictions": items, "split": "train"}).encode()]
    bodies += [f'{{"predictions": {items}, "predictions": {items}}}'.encode()]
    for body in bodies:
        reply = lab.raw("/practice", body)
        assert (reply.status_code, reply.json()) == (400, {"error": REFUSAL, "kind": "InputError"}), body[:60]
    assert lab.get("/practice")["answers"] == {"total": 10, "given": 0, "left": 10}
    assert all(line["kind"] != "practice" for line in lab.get("/ledger", "operator")["lines"])


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_bytes_make_the_reader_fail_in_another_way(body: bytes) -> None:
    """Whatever is sent, the reader gives a list of ints or raises its one sentence."""
    try:
        found, said = read(body, 2), REFUSAL
    except InputError as error:
        found, said = [0, 0], str(error)
    assert said == REFUSAL
    assert found in ([0, 0], [0, 1], [1, 0], [1, 1])


def test_the_same_list_is_answered_again_and_not_charged(lab: ToyLab) -> None:
    """Whoever sends it: no averaging, no second charge, and it still is answered when nothing is left."""
    first = ask(lab, np.zeros(200)).json()
    for who in ("r1", "r2", "operator"):
        assert ask(lab, np.zeros(200), who).json() == {**first, "cached": True}
    for i in range(9):
        assert ask(lab, np.arange(200) == i).status_code == 200
    again = ask(lab, np.zeros(200))
    assert again.status_code == 200
    assert again.json()["answers_left"] == 0


def test_the_answers_belong_to_the_fleet(lab: ToyLab) -> None:
    """Ten for all together, then 429 for everybody, also when they race."""
    replies: list[int] = []

    def send(number: int) -> None:
        replies.append(ask(lab, np.arange(200) == number, f"r{number % 3 + 1}").status_code)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [200] * 10 + [429] * 6
    refused = ask(lab, np.ones(200), "r2")
    assert refused.json()["kind"] == "BudgetSpent"
    assert "10" in refused.json()["error"]


def test_who_may_not_write_or_comes_too_late_gets_nothing(lab: ToyLab) -> None:
    """The viewer, a stopped researcher, and everybody once research is over."""
    assert ask(lab, np.zeros(200), "viewer").status_code == 403
    assert lab.post("/researchers/r2/stop", {}, "operator").status_code == 200
    assert ask(lab, np.zeros(200), "r2").status_code == 403
    lab.reach("record")
    assert ask(lab, np.zeros(200)).status_code == 403


def test_answers_survive_a_restart_and_never_rank(tmp_path: Path) -> None:
    """The count goes on where it was; the leaderboard and the submissions know nothing of them."""
    with ToyLab(tmp_path / "lab", on(3)) as lab:
        for i in range(2):
            assert ask(lab, np.arange(200) == i).status_code == 200
        tokens = lab.tokens
    with ToyLab(tmp_path / "lab", tokens=tokens) as lab:
        assert ask(lab, np.arange(200) == 0).json()["cached"]
        assert ask(lab, np.zeros(200)).status_code == 200
        assert ask(lab, np.ones(200)).status_code == 429
        assert lab.get("/submissions")["submissions"] == []
        board = lab.get("/leaderboard")
        assert board["records"] == []
        assert all(c["submissions"] == 0 for c in board["counts"].values())
        assert board["ladder"]["best"] == board["ladder"]["start"]


def test_the_bits_are_counted_beside_the_ladders(lab: ToyLab) -> None:
    """Ledger line, budget, verification and the machine's count of answers all name them."""
    for i in range(2):
        ask(lab, np.arange(200) == i, f"r{i + 1}")
    each = math.log2(101)
    lines = [x["body"] for x in lab.get("/ledger", "operator")["lines"] if x["kind"] == "practice"]
    assert [(x["number"], x["researcher"]) for x in lines] == [(1, "r1"), (2, "r2")]
    assert lines[1]["bits"] == round(2 * each, 3)
    assert lines[0]["list_hash"] != lines[1]["list_hash"]
    budget = lab.get("/budget")
    assert budget["practice"]["bits_released_at_most"] == round(2 * each, 1)
    assert budget["answers"]["taken"] == 0
    report = lab.verify()
    assert report
    assert report.practice == 2
    assert math.isclose(report.practice_bits, 2 * each)
    assert "practice answers given: 2; they released at most 13.3 bits more" in report.text()
    other = lab.lab._registry.earlier(lab.lab.problem.data_hash, "another lab")
    assert other.answers == 2
    assert math.isclose(other.bits, 2 * each)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE practice SET answer = 0.99", "practice answer 1 was edited"),
        ("UPDATE practice SET predictions = '1' || substr(predictions, 2)", "practice answer 1 was edited"),
        ("DELETE FROM practice", "practice answer 1 stands only in the ledger"),
        (
            "INSERT INTO practice SELECT 2, researcher, 'x', predictions, answer, time FROM practice",
            "practice answer 2 stands only in the database",
        ),
    ],
)
def test_verification_names_a_changed_practice_row(lab: ToyLab, change: str, fault: str) -> None:
    """Edited, dropped or added rows do not fit the ledger."""
    assert ask(lab, np.zeros(200)).status_code == 200
    assert lab.verify()
    with sqlite3.connect(lab.folder / "lab.db") as database:
        database.execute(change)
    assert any(fault in f for f in lab.verify().faults)


def test_verification_computes_the_answer_again(lab: ToyLab) -> None:
    """A line and a row that agree on a number which the labels do not give."""
    assert ask(lab, np.zeros(200)).status_code == 200
    with lab.lab.store.read() as rows:
        lines, kept = rows.lines(), rows.practice_answers()
    assert list(practice.faults(lines, kept, truth(lab))) == []
    assert "does not follow" in next(iter(practice.faults(lines, kept, 1 - truth(lab))))


def test_the_public_list_is_the_test_items_in_a_secret_order_without_labels(lab: ToyLab) -> None:
    """Texts and features line up with the labels that grade lists; the pack's own order is not used."""
    path = lab.folder / "public" / "feedback-test.inputs.npz"
    shown = TaskInputs.from_bytes(path.read_bytes())
    whole, order = lab.lab.problem.inputs("feedback"), lab.lab.vault.practice_order(lab.lab.problem.name, "feedback")
    assert sorted(order) != list(order)
    assert shown.texts == tuple(whole.texts[i] for i in order)  # type: ignore[index]
    for layer in whole.layers:
        np.testing.assert_array_equal(shown.features(np.arange(200), layer), whole.features(order, layer))
    with np.load(path, allow_pickle=False) as z:
        assert not any("label" in name or "weak" in name for name in z.files)
    same = whole.groups[order][:, None] == whole.groups[order]
    np.testing.assert_array_equal(shown.groups[:, None] == shown.groups, same)
    card = json.loads((lab.folder / "public" / "card.json").read_text())
    assert card["practice"]["items"] == 200
    assert "leak label bits" in card["practice"]["note"]
    assert "leak label bits" in lab.get("/brief")["scoring"]["practice"]


@pytest.mark.parametrize("problem", base.names())
def test_a_part_of_a_real_tasks_inputs_keeps_pairs_answers_and_passages(problem: str) -> None:
    """Comparisons refer to rows of the layers; whatever a problem has beside features comes along."""
    whole = base.load(problem, check=False).inputs("feedback")
    rows = np.random.default_rng(0).permutation(len(whole))[:40]
    part = TaskInputs.from_bytes(practice.part(whole, rows).to_bytes())
    assert len(part) == 40
    for layer in whole.layers:
        np.testing.assert_array_equal(part.features(np.arange(40), layer), whole.features(rows, layer))
    for name in ("texts", "answers", "passages"):
        kept = getattr(whole, name)
        assert getattr(part, name) == (None if kept is None else tuple(kept[i] for i in rows)), name


def test_row_1_single_flips_end_after_ten_answers(tmp_path: Path) -> None:
    """1,300 items and a bisected rounding edge: ten answers, then refused; the gain is at most 0.01 PGR."""
    pack = toy.make_pack(tmp_path / "pack", items=2600)
    with ToyLab(tmp_path / "lab", on(), packs=[pack]) as lab:
        labels = truth(lab)
        card, rng = lab.lab.feedback, np.random.default_rng(1)
        guess = np.where(rng.random(1300) < 1 - card.baselines["weak-labels-hard"], 1 - labels, labels)
        asked = Attacker(lab, guess)
        learnt = asked.flips()
        assert ask(lab, 1 - guess).status_code == 429
        gain = float((learnt == labels).mean() - (guess == labels).mean())
        assert asked.used == 10
        assert gain / 0.19 <= 0.01  # the published study's gap


class Attacker:
    """Single flips at a rounding edge, through the lab's own door."""

    def __init__(self, lab: ToyLab, guess: np.ndarray) -> None:
        self.lab, self.guess, self.used = lab, guess, 0

    def answer(self, flipped: list[int]) -> float | None:
        asked = self.guess.copy()
        asked[flipped] = 1 - asked[flipped]
        reply = ask(self.lab, asked, f"r{self.used % 3 + 1}")
        self.used += reply.json().get("cached") is False
        return reply.json().get("accuracy")

    def flips(self) -> np.ndarray:
        low, high = 0, 64
        first, last = self.answer([]), self.answer(list(range(high)))
        while high - low > 1 and last is not None:  # between low and high the rounded answer changes
            middle = (low + high) // 2
            said = self.answer(list(range(middle)))
            low, high = (middle, high) if said == first else (low, middle)
        learnt = self.guess.copy()
        edge, beyond = self.answer(list(range(low))), self.answer(list(range(high)))
        for item in range(high, len(self.guess)):
            said = self.answer([*range(low), item])
            if said is None or edge is None:
                break
            better = said > edge if beyond is not None and beyond > edge else said == edge
            learnt[item] = 1 - learnt[item] if better else learnt[item]
        return learnt


def test_the_client_speaks_practice(lab: ToyLab) -> None:
    """`practice` sends any sequence of 0 and 1; a refusal arrives as the lab's own error."""
    from aarlab.client import LabClient

    client = LabClient("http://lab", lab.tokens["researchers"]["r1"])
    client._http = lab.http  # type: ignore[assignment]
    lab.http.headers.update(lab.header("r1"))
    assert client.practice(np.zeros(200, int))["answers_left"] == 9  # type: ignore[arg-type]
    assert client.practice_rules()["answers"]["given"] == 1
    with pytest.raises(InputError):
        client.practice([0])
    lab.http.headers.update(lab.header("viewer"))
    with pytest.raises(NotAllowed):
        client.practice(np.ones(200, int))  # type: ignore[arg-type]


def test_the_report_says_what_practice_leaks(tmp_path: Path) -> None:
    """Beside the Ladder's bits, which do not count it; without practice there is no such sentence."""
    from aarlab.reports.data import collect
    from aarlab.reports.results import measure
    from aarlab.reports.sentences import doubt

    for answers in (0, 4):
        with ToyLab(tmp_path / f"lab{answers}", on(answers)) as lab:
            lab.score(toy.LEARNER)
            lab.reach("done")
        data = collect(lab.folder)
        said = [s for s in doubt(data, measure(data)) if "Practice mode was on" in s]
        assert len(said) == bool(answers)
        assert not said or "26.6 in all 4" in said[0]
