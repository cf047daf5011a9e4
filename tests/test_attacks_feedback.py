"""Scripted attackers on the feedback channel, each with the outcome it must have."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toy
from aarlab.problems.base import TaskCard
from aarlab.records import Measured
from aarlab.settings import Budget
from aarlab.vault.feedback import Budget as Answers
from aarlab.vault.feedback import Ladder, released_bits
from toy_lab import ToyLab

CARD = TaskCard(
    name="feedback", role="feedback", title="", train_items=2000, test_items=2000, floor=Measured(0.70, 0.01, 24),
    ceiling=Measured(0.88, 0.01, 24), baselines={"weak-labels-hard": 0.72}, licence="",
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyLab]:
    with ToyLab(tmp_path_factory.mktemp("attacked") / "lab") as lab:
        yield lab


def flip(item: int) -> str:
    """The learner with one test item's answer turned round: items have a fixed place by their group and text."""
    return (
        toy.LEARNER.replace("return head.predict(task.test)", "p = head.predict(task.test)")
        + f"    item = sorted(range(len(p)), key=lambda i: task.test.texts[i])[{item}]\n"
        + "    p[item] = 1 - p[item]\n    return p\n"
    )


def test_row_1_single_flips_learn_almost_nothing(tmp_path: Path) -> None:
    """Flipping one item at a time: every answer is "no new record", so no flip is told from another.

    The seeds are fixed: a base that by luck lies one item under a rung gives a single rung away.
    """
    lab = ToyLab(tmp_path / "lab", toy.settings(budget=Budget(answers=60, submissions=40)))
    lab.lab.vault._secret["purposes"]["feedback"]["secret"] = "00" * 32
    with lab:
        lab.score(toy.LEARNER)
        said = [lab.score(flip(i))["answer"] for i in range(10)]
        assert said == ["no new record"] * 10
        assert lab.verify()


def test_row_2_rounding_alone_would_leak_a_bit_an_answer() -> None:
    """Bisected to a rounding edge, a rounded score tells each flip's label; the Ladder says one word to both."""
    items, right = 2000, 1499
    rounded = {math.floor(100 * (right + delta) / items) for delta in (-1, 1)}
    assert len(rounded) == 2
    ladder = Ladder.from_card(CARD, 0.005)
    _, ladder = ladder.answer(right / items)
    said = {ladder.answer((right + delta) / items)[0].text for delta in (-1, 1)}
    assert said == {"no new record"}


@pytest.mark.parametrize("attack", ["flips", "random halves"])
def test_rows_3_and_6_decoding_pooled_answers_gains_less_than_the_bound(attack: str) -> None:
    """Coin weighing and least squares on 450 answers of one Ladder: the decoded gain stays under half a point."""
    gains = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        truth, guess = _world(rng)
        ladder, told = Ladder.from_card(CARD, 0.005), []
        size = 1 if attack == "flips" else len(guess) // 2
        for _ in range(450):
            chosen = rng.choice(len(guess), size, replace=False)
            probe = guess.copy()
            probe[chosen] = 1 - probe[chosen]
            answer, ladder = ladder.answer(float((probe == truth).mean()))
            told.append((chosen, answer.record))
        gains.append(_decode(guess, told, truth))
    assert np.mean(gains) <= 0.005


def _world(rng: np.random.Generator, items: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(2, size=items)
    return truth, np.where(rng.random(items) < 0.25, 1 - truth, truth)


def _decode(guess: np.ndarray, told: list[tuple[np.ndarray, float | None]], truth: np.ndarray) -> float:
    """Flip what the answers speak for: items of probes that made a record."""
    votes = np.zeros(len(guess))
    for chosen, record in told:
        if record is not None:
            votes[chosen] += 1
    better = np.where(votes > 0, 1 - guess, guess)
    return float((better == truth).mean() - (guess == truth).mean())


def test_row_4_odd_outputs_give_fixed_words(lab: ToyLab) -> None:
    """NaN, 0.5, -0.0, strings, 2, wrong length: a value in [0, 1] is graded as 0 or 1, all else is a fixed word."""
    source = "import numpy as np\ndef run(task, seed):\n    n = len(task.test)\n    return {}\n"
    odd = {
        "np.full(n, np.nan)": "nan", "np.full(n, 2.0)": "range", "np.full(n, '1')": "dtype",
        "np.full(n - 1, 0.5)": "shape", "[None] * n": "dtype", "np.full((n, 2), 0.5)": "shape",
    }  # fmt: skip
    for output, reason in odd.items():
        verdict = lab.score(source.format(output), who="r2")
        assert (verdict["status"], verdict["reason"], verdict["answer"]) == ("failed", reason, None)
    for output in ("np.full(n, 0.5)", "np.full(n, -0.0)"):
        assert lab.score(source.format(output), who="r2")["answer"] == "no new record"


def test_row_5_wacky_boosting_stops_at_the_budget() -> None:
    """450 random vectors from nine agents against a budget of 45: 45 answers, and what is boosted gains nothing."""
    rng = np.random.default_rng(5)
    truth = rng.integers(2, size=2000)
    members = tuple(f"r{i}" for i in range(9))
    budget, taken, ladder = Answers(45, members), dict[str, int](), Ladder.from_card(CARD, 0.005)
    kept = []
    for i in range(450):
        who = members[i % 9]
        if budget.left(taken, who) == 0:
            continue
        taken[who] = taken.get(who, 0) + 1
        vector = rng.integers(2, size=2000)
        answer, ladder = ladder.answer(float((vector == truth).mean()))
        if answer.record is not None:
            kept.append(vector)
    assert sum(taken.values()) == 45
    assert kept == []
    assert released_bits(45, ladder.rungs) < 110


def test_row_8_nine_accounts_share_one_budget_and_one_ladder(tmp_path: Path) -> None:
    """Nine accounts, three asks each, a budget of ten: ten answers in all; a restart forgets none of them."""
    settings = replace(toy.settings(9), budget=Budget(answers=10, submissions=40))
    with ToyLab(tmp_path / "lab", settings) as lab:
        codes = [lab.submit(toy.variant(i), who=f"r{i % 9 + 1}").status_code for i in range(27)]
        assert (codes.count(201), codes.count(429)) == (10, 17)
        lab.until(lambda run: run["progress"]["feedback"]["scored"] == 10)
        assert len(lab.get("/leaderboard")["records"]) <= 1  # one Ladder: equal methods, one record
    with ToyLab(tmp_path / "lab", tokens=lab.tokens) as again:
        assert again.submit(toy.variant(99)).status_code == 429
        assert again.verify()


def test_row_8_a_second_run_on_the_same_labels_carries_the_first(tmp_path: Path) -> None:
    """The answers of earlier runs on a label set are shown, and fresh labels start at zero."""
    pack = toy.make_pack(tmp_path / "pack")
    with ToyLab(tmp_path / "one", packs=[pack]) as lab:
        for i in range(3):
            lab.score(toy.variant(i))
    with ToyLab(tmp_path / "two", packs=[pack]) as lab:
        labels = lab.get("/budget")["label_set"]
        assert (labels["earlier_runs"], labels["earlier_answers"]) == (1, 3)
        assert labels["earlier_bits_at_most"] > 0
        lab.score(toy.LEARNER)
        assert lab.get("/budget")["label_set"]["answers_in_all"] == 4
    with ToyLab(tmp_path / "three", packs=[toy.make_pack(tmp_path / "fresh", seed=1000)]) as lab:
        assert lab.get("/budget")["label_set"]["earlier_answers"] == 0


def test_row_8_beyond_the_hard_top_scores_do_not_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the most answers that a label set can bear, new scores are unranked and the way out is named."""
    monkeypatch.setattr("aarlab.server.submissions.HARD_TOP", 4)
    pack = toy.make_pack(tmp_path / "pack")
    with ToyLab(tmp_path / "one", packs=[pack]) as lab:
        for i in range(3):
            assert lab.score(toy.variant(i))["ranked"]
    with ToyLab(tmp_path / "two", packs=[pack]) as lab:
        assert lab.score(toy.variant(10))["ranked"]
        beyond = lab.score(toy.variant(11))
        assert not beyond["ranked"]
        assert "--fresh" in beyond["remark"]
        assert lab.reach("record")["finalists"] == [3]


def test_rows_9_and_10_repeats_average_nothing(tmp_path: Path) -> None:
    """The same file a hundred times, with other spaces and comments: one run, one answer, one charge."""
    settings = toy.settings(budget=Budget(answers=20, submissions=200))
    with ToyLab(tmp_path / "lab", settings) as lab:
        first = lab.score(toy.LEARNER)
        for i in range(100):
            again = lab.submit(f"# {i}\n" + "\n" * (i % 3) + toy.LEARNER + " " * i).json()
            assert (again["answer"], again["repeat_of"]) == (first["answer"], first["id"])
        run = lab.get("/run", "operator")
        assert run["progress"]["feedback"]["total"] == run["budget"]["answers"]["given"] == 1
        assert lab.verify()


@pytest.mark.parametrize("more", [{"task": "open"}, {"split": "train"}, {"problem": "../../vault"}, {"seeds": [1]}])
def test_row_11_nobody_chooses_the_task(lab: ToyLab, more: dict[str, Any]) -> None:
    """Another split, another task, a path, one's own seeds: there is no field for them."""
    reply = lab.submit(toy.variant(50), **more)
    assert reply.status_code == 400
    assert "not permitted" in reply.json()["error"]


@pytest.mark.parametrize(
    "path",
    ["/v1/../vault/secret.json", "/v1/methods/..%2f..%2flab.db", "/vault/secret.json", "/run/tokens.json", "/lab.db"],
)
def test_row_11_no_address_leads_to_a_file(lab: ToyLab, path: str) -> None:
    """Path traversal meets no file: every address is a route with typed parts."""
    reply = lab.http.get(path, headers=lab.header("operator"))
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]


def test_row_12_no_reply_says_more_than_the_ladder(tmp_path: Path) -> None:
    """During research every reply a researcher can get is free of exact scores, counts, labels and seeds."""
    with ToyLab(tmp_path / "lab", packs=[toy.make_pack(tmp_path / "pack", items=406)]) as lab:
        number = lab.score(toy.LEARNER, who="r2")["id"]
        lab.score(toy.SHARPER.format(margin=0.2))
        lab.score(toy.CONSTANT.format(value=9.0))
        lab.post("/posts", {"kind": "result", "title": "t", "body": "b", "submission": number})
        seen = "".join(_everything(lab, number))
        exact = {s["accuracy"] for e in lab.get("/run", "operator")["evaluations"] for s in e["scores"]}
        exact |= {e["accuracy"] for e in lab.get("/run", "operator")["evaluations"] if e["accuracy"] is not None}
        shown = {r["record"] for r in lab.get("/leaderboard")["records"]}
        shown |= {t["baselines"][b] for t in lab.get("/brief")["tasks"] for b in t["baselines"]}
        exact = {a for a in exact - shown if len(repr(a)) > 8}  # 0.8 may stand anywhere
        assert exact
        for accuracy in exact:
            assert repr(accuracy) not in seen
            assert repr(lab.lab.feedback.pgr(accuracy)) not in seen
        for word in ("secret", "outcome", "label_", 'labels"', "per_class", "confusion", "seed_index", "cpu_seconds"):
            assert word not in seen.replace("label_set", ""), word
        for seed in lab.lab.vault.seeds(toy.name(), "feedback", "feedback"):
            assert str(seed) not in seen


def _everything(lab: ToyLab, number: int) -> Iterator[str]:
    """Every GET address, as every researcher and the viewer see it."""
    for path, verbs in lab.http.get("/openapi.json").json()["paths"].items():
        for n in range(1, 7) if "{number}" in path else (1,):
            for who in ("r1", "r2", "viewer"):
                if "get" in verbs:
                    yield lab.http.get(path.replace("{number}", str(n)), headers=lab.header(who)).text


def test_row_27_texts_of_a_run_on_hidden_inputs_go_nowhere(lab: ToyLab) -> None:
    """What a method prints or raises on hidden inputs never comes back: a fixed word and a fixed reason do."""
    texts = "'CANARY ' + task.test.texts[0]"
    source = f"def run(task, seed):\n    print({texts})\n    raise ValueError({texts})\n"
    verdict = lab.score(source)
    assert (verdict["status"], verdict["reason"]) == ("failed", "crashed")
    assert "item " not in json.dumps(verdict)
    for who in ("r1", "operator"):
        assert "CANARY" not in json.dumps(lab.get("/submissions", who))


def test_row_30_forged_scores_are_refused(lab: ToyLab) -> None:
    """A body with a score, an answer, a status or a rank is refused as a whole."""
    for forged in ({"record": 0.99}, {"status": "scored"}, {"answer": "new record 0.99"}, {"ranked": True}, {"id": 1}):
        assert lab.submit(toy.variant(60), **forged).status_code == 400
    post = {"kind": "result", "title": "t", "body": "b", "verified": {"record": 0.99}}
    assert lab.post("/posts", post).status_code == 400


def test_row_30_a_claim_never_ranks(lab: ToyLab) -> None:
    """The claimed PGR is kept as a claim; no leaderboard uses it."""
    number = lab.score(toy.CONSTANT.format(value=0.123), who="r3", claimed_pgr=5.0)["id"]
    assert number not in [r["id"] for r in lab.get("/leaderboard")["records"]]


def test_row_33_junk_does_not_starve_the_others(tmp_path: Path) -> None:
    """One researcher burns all it can get; every other still has its guaranteed share."""
    settings = toy.settings(budget=Budget(answers=8, submissions=40))
    with ToyLab(tmp_path / "lab", settings) as lab:
        codes = [lab.submit(toy.variant(i), who="r1").status_code for i in range(10)]
        assert codes.count(201) == 4
        for who in ("r2", "r3"):
            assert lab.submit(toy.variant(f"{who!r}"), who=who).status_code == 201
            assert lab.submit(toy.variant(f"{who!r} + 'x'"), who=who).status_code == 201


def test_a_person_takes_only_what_nobody_was_promised(tmp_path: Path) -> None:
    """The operator may submit a file too, charged to the fleet, and only from answers that no share covers."""
    settings = toy.settings(budget=Budget(answers=8, submissions=40))
    with ToyLab(tmp_path / "lab", settings) as lab:
        codes = [lab.submit(toy.variant(i), who="operator").status_code for i in range(4)]
        assert codes == [201, 201, 429, 429]


def test_32_racing_submissions_against_a_budget_of_5(tmp_path: Path) -> None:
    """Exactly five are scored; the others are refused with 429 and leave nothing behind."""
    settings = toy.settings(budget=Budget(answers=5, submissions=40))
    with ToyLab(tmp_path / "lab", settings) as lab:
        replies: list[Any] = []
        start = threading.Barrier(32)

        def race(i: int) -> None:
            start.wait()
            replies.append(lab.submit(toy.variant(i), who=f"r{i % 3 + 1}", key=f"k{i}"))

        threads = [threading.Thread(target=race, args=(i,)) for i in range(32)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        taken = [r.json()["id"] for r in replies if r.status_code == 201]
        refused = [r.json()["kind"] for r in replies if r.status_code == 429]
        assert (len(taken), len(refused)) == (5, 27)
        assert set(refused) == {"BudgetSpent"}
        run = lab.until(lambda run: run["progress"]["feedback"]["scored"] == 5)
        assert [s["id"] for s in run["submissions"] if s["researcher"] != "lab"] == sorted(taken)
        assert run["budget"]["answers"]["given"] == 5
        assert len(list((tmp_path / "lab" / "artifacts").iterdir())) == 5 + len(toy.BASELINES)
        kinds = [x["kind"] for x in lab.get("/ledger", "operator")["lines"]]
        assert (kinds.count("submission"), kinds.count("answer")) == (5 + len(toy.BASELINES), 5)
        assert lab.verify()
