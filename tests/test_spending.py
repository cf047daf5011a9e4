"""Budgets of language-model researchers: what is set aside, accounted, refused, and who may say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy
from aarlab.fleet import costs
from aarlab.fleet.usage import Usage
from aarlab.server.creation import add_fleet_token, create_lab
from aarlab.server.lab import Lab
from aarlab.settings import Budget, ResearcherSpec, Settings
from toy_lab import ToyLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ToyLab]:
    """A dollar and a thousand tokens for each of three researchers, two dollars for all."""
    budget = Budget(answers=20, dollars=2.0, researcher_dollars=1.0, researcher_tokens=1000, researcher_minutes=30)
    lab = ToyLab(tmp_path / "lab", toy.settings(budget=budget))
    yield lab
    lab.lab.close()


def reserve(lab: ToyLab, key: str, dollars: float = 0.1, tokens: int = 10, name: str = "r1") -> Any:
    body = {"researcher": name, "key": key, "dollars": dollars, "tokens": tokens}
    return lab.post("/spending/reserve", body, "fleet")


def settle(lab: ToyLab, key: str, dollars: float = 0.1, name: str = "r1", **usage: Any) -> Any:
    body = {"researcher": name, "key": key, "dollars": dollars, "usage": usage}
    return lab.post("/spending/settle", body, "fleet")


def release(lab: ToyLab, key: str | None = None, name: str = "r1") -> Any:
    return lab.post("/spending/release", {"researcher": name, "key": key}, "fleet").json()


def account(lab: ToyLab, name: str = "r1") -> dict[str, Any]:
    found: dict[str, Any] = lab.get("/run", "operator")["spending"][name]
    return found


def test_a_call_is_set_aside_and_accounted_once(lab: ToyLab) -> None:
    """A second reservation under a key replaces the first; a settlement counts once; other numbers are refused."""
    assert reserve(lab, "a", 0.5, 100).json() == {"granted": True, "key": "a"}
    assert reserve(lab, "a", 0.2, 50).status_code == 200
    assert (account(lab)["outstanding_dollars"], account(lab)["outstanding_tokens"]) == (0.2, 50)
    usage = {"model": "x/y", "input_tokens": 30, "output_tokens": 5, "cache_read_tokens": 60, "cache_write_tokens": 4,
             "reasoning_tokens": 3, "seconds": 1.5}  # fmt: skip
    first = settle(lab, "a", 0.25, **usage).json()
    assert settle(lab, "a", 0.25, **usage).json() == first == account(lab)
    assert first == {
        "llm_dollars": 0.25, "compute_dollars": 0, "minutes": 0, "tokens": 99, "input_tokens": 30, "output_tokens": 5,
        "cache_read_tokens": 60, "cache_write_tokens": 4, "reasoning_tokens": 3, "calls": 1, "lost_calls": 0,
        "llm_seconds": 1.5, "outstanding_dollars": 0, "outstanding_tokens": 0,
    }  # fmt: skip
    assert "other numbers" in settle(lab, "a", 0.3, **usage).json()["error"]
    assert "take a new key" in reserve(lab, "a").json()["error"]
    assert account(lab) == first


EVENT = {"key": "e", "session": 1, "turn": 1, "kind": "note", "body": {"text": "x"}}


def turn(lab: ToyLab, who: str = "fleet", **body: Any) -> Any:
    return lab.post("/turn", {"researcher": "r1", **body}, who)


def keys(lab: ToyLab) -> list[str]:
    return [e["key"] for e in lab.get("/events?researcher=r1", "fleet")["events"]]


def test_a_turn_is_its_single_requests_in_one(lab: ToyLab) -> None:
    """Events, an account, a heartbeat and a reservation; it is answered as a heartbeat is, and twice counts once."""
    lab.post("/researchers/r1/message", {"text": "look at r2"}, "operator")
    body = {
        "events": [EVENT], "settled": [{"key": "a", "usage": {"input_tokens": 7}, "dollars": 0.2}],
        "says": {"state": "turn 1: bash", "heard": 0}, "reserve": {"key": "b", "dollars": 0.1, "tokens": 5},
    }  # fmt: skip
    first = turn(lab, **body)
    assert first.status_code == 200, first.text
    answer = first.json()
    assert (answer["stop"], answer["phase"]) == (False, "research")
    assert [m["text"].splitlines()[-1] for m in answer["messages"]] == ["look at r2"]
    assert turn(lab, **body).json()["messages"] == answer["messages"]
    assert keys(lab) == ["e"]
    mine = account(lab)
    assert (mine["llm_dollars"], mine["outstanding_dollars"], mine["calls"]) == (0.2, 0.1, 1)
    row = next(r for r in lab.get("/run", "operator")["researchers"] if r["name"] == "r1")
    assert row["state"] == "turn 1: bash"
    assert turn(lab, events=[]).json() == {}


def test_a_turn_without_money_keeps_the_rest(lab: ToyLab) -> None:
    settle(lab, "a", 1.0)
    refused = turn(lab, events=[EVENT], says={"state": "s"}, reserve={"key": "b", "dollars": 0.1, "tokens": 5})
    assert (refused.status_code, refused.json()["kind"]) == (429, "BudgetSpent")
    assert keys(lab)[0] == "e"
    assert account(lab)["outstanding_dollars"] == 0


def test_a_turn_with_a_mistake_keeps_nothing(lab: ToyLab) -> None:
    """All or nothing: a settlement that contradicts the first, or an event that names another's submission."""
    settle(lab, "a", 0.3)
    wrong = [{"key": "a", "usage": {}, "dollars": 0.4}]
    next_call = {"key": "b", "dollars": 0.1, "tokens": 5}
    assert turn(lab, events=[EVENT], settled=wrong, reserve=next_call).status_code == 400
    assert turn(lab, events=[EVENT, {**EVENT, "key": "f", "submission": 99}]).status_code == 404
    assert turn(lab, researcher="nobody").status_code == 404
    assert turn(lab, who="r1", events=[EVENT]).status_code == 403
    assert keys(lab) == []
    assert (account(lab)["llm_dollars"], account(lab)["outstanding_dollars"]) == (0.3, 0)


def test_what_is_under_way_holds_others_back(lab: ToyLab) -> None:
    """Spent and set aside together must lie under the budget; a call given back makes room."""
    assert reserve(lab, "a", 1.0).status_code == 200
    refused = reserve(lab, "b")
    assert (refused.status_code, refused.json()["kind"]) == (429, "BudgetSpent")
    assert refused.json()["error"] == "your $1.00 are spent ($0.00 used, $1.00 set aside for calls under way)"
    assert reserve(lab, "c", 1.0, name="r2").status_code == 200
    assert reserve(lab, "d", name="r3").json()["error"].startswith("the fleet's $2.00 are spent")
    assert release(lab, "a") == {"released": 1, "dollars": 1.0, "tokens": 10}
    assert release(lab, "a")["released"] == 0
    assert reserve(lab, "b").status_code == 200
    assert account(lab)["llm_dollars"] == 0


def test_tenths_of_a_dollar_add_up_to_a_dollar(lab: ToyLab) -> None:
    """Ten calls of ten cents use up a dollar, though floating point numbers add up to a little less."""
    for i in range(10):
        assert reserve(lab, f"k{i}", tokens=0).status_code == 200
        settle(lab, f"k{i}")
    assert reserve(lab, "more").json()["error"] == "your $1.00 are spent ($1.00 used)"


def test_tokens_of_every_kind_count(lab: ToyLab) -> None:
    """A budget in tokens holds input, output and both directions of the cache."""
    settle(lab, "a", 0, input_tokens=200, output_tokens=100, cache_read_tokens=400, cache_write_tokens=300)
    assert reserve(lab, "b").json()["error"] == "your 1,000 tokens are spent (1,000 tokens used)"


def test_a_refusal_is_shown_once(lab: ToyLab) -> None:
    """The transcript has one line for each budget, however often a call is refused; the state says it too."""
    settle(lab, "a", 1.5)
    for i in range(3):
        assert reserve(lab, f"b{i}").status_code == 429
    [event] = lab.get("/events?researcher=r1", "viewer")["events"]
    assert (event["kind"], event["body"]["text"]) == ("note", "no more calls: your $1.00 are spent ($1.50 used)")
    [person] = [r for r in lab.get("/run", "operator")["researchers"] if r["name"] == "r1"]
    assert person["state"] == "budget spent: your $1.00 are spent"


def test_computing_counts_as_dollars(lab: ToyLab) -> None:
    """What the supervisor says of computing goes into the same dollars, never goes down, and survives a restart."""
    clock = {"seconds_left": 60, "compute": {"r1": 0.75, "lab": 0.25}, "minutes": {"r1": 12.5}}
    assert lab.post("/clock", clock, "operator").status_code == 200
    assert lab.post("/clock", {"seconds_left": 59, "compute": {"r1": 0.5}}, "operator").status_code == 200
    assert lab.post("/clock", {"seconds_left": 59, "compute": {"nobody": 1.0}}, "operator").status_code == 404
    settle(lab, "a", 0.2, input_tokens=100)
    found = lab.get("/budget")
    assert found["dollars"]["yours"] == {"limit": 1.0, "spent": 0.95, "left": 0.05}
    assert found["dollars"]["fleet"] == {"limit": 2.0, "spent": 1.2, "left": 0.8}
    assert found["tokens"]["yours"] == {"limit": 1000, "spent": 100, "left": 900}
    assert found["tokens"]["fleet"] == {"limit": None, "spent": 100, "left": None}
    assert found["minutes"]["yours"] == {"limit": 30, "spent": 12.5, "left": 17.5}
    settle(lab, "b", 0.1)
    assert reserve(lab, "c").json()["error"] == "your $1.00 are spent ($1.05 used)"
    again = ToyLab(lab.folder, tokens=lab.tokens)
    assert account(again)["compute_dollars"] == 0.75
    again.lab.close()


def test_minutes_of_its_own_process_end_a_researcher(lab: ToyLab) -> None:
    """A researcher whose time is up makes no calls; others do."""
    lab.post("/clock", {"seconds_left": 60, "minutes": {"r1": 30.0}}, "operator")
    assert reserve(lab, "a").json()["error"] == "your 30 minutes are spent (30 minutes used)"
    assert reserve(lab, "a", name="r2").status_code == 200


def test_a_dead_process_pays_what_it_set_aside(lab: ToyLab) -> None:
    """Charged once; a settlement that comes after all puts the truth in its place."""
    reserve(lab, "a", 0.3, 100)
    reserve(lab, "b", 0.2, 50)
    assert release(lab) == {"charged": 2, "dollars": 0.5, "tokens": 150}
    assert release(lab) == {"charged": 0, "dollars": 0, "tokens": 0}
    assert (account(lab)["llm_dollars"], account(lab)["lost_calls"], account(lab)["tokens"]) == (0.5, 2, 150)
    settle(lab, "a", 0.1, input_tokens=20)
    found = account(lab)
    assert (found["llm_dollars"], found["lost_calls"], found["calls"], found["tokens"]) == (0.3, 1, 1, 70)


def test_nobody_calls_after_the_end(lab: ToyLab) -> None:
    """A stopped researcher gets no money, and nobody does once research is over."""
    lab.post("/researchers/r1/stop", {}, "operator")
    assert "stopped by the operator" in reserve(lab, "a").json()["error"]
    assert reserve(lab, "b", name="r2").status_code == 200
    lab.post("/phase", {"phase": "done"}, "operator")
    assert reserve(lab, "c", name="r2").json()["error"].startswith("the research phase is over")
    assert settle(lab, "b", name="r2").status_code == 200  # what was under way is accounted all the same


@pytest.mark.parametrize(
    ("field", "value"),
    [("dollars", "-0.01"), ("dollars", "NaN"), ("dollars", "Infinity"), ("dollars", '"1"'), ("dollars", "1e30"),
     ("tokens", "-1"), ("tokens", "1.5"), ("tokens", "true"), ("key", '""'), ("key", '"\\ud800"'),
     ("researcher", '"nobody"'), ("researcher", '"operator"'), ("extra", "1")],
)  # fmt: skip
def test_numbers_that_are_none(lab: ToyLab, field: str, value: str) -> None:
    """Refused in a sentence that names the field or the researcher, with nothing set aside."""
    body = {"researcher": '"r1"', "key": '"k"', "dollars": "0.1", "tokens": "1", field: value}
    text = "{" + ", ".join(f'"{k}": {v}' for k, v in body.items()) + "}"
    reply = lab.raw("/spending/reserve", text, "fleet")
    assert reply.status_code in (400, 404), reply.text
    assert field in reply.json()["error"]
    assert account(lab)["outstanding_dollars"] == 0


def test_no_researcher_touches_a_budget(lab: ToyLab) -> None:
    """Refused, whatever is sent, and in the ledger once for each researcher; the viewer is only refused."""
    for path in ("/spending/reserve", "/spending/settle", "/spending/release", "/clock"):
        for body in ({}, {"researcher": "r2", "key": None, "seconds_left": 1e6}):
            for who in ("r1", "viewer"):
                reply = lab.post(path, body, who)
                assert (reply.status_code, reply.json()["kind"]) == (403, "NotAllowed"), path
    lines = [x["body"] for x in lab.get("/ledger", "operator")["lines"] if x["kind"] == "alarm"]
    assert lines == [{"what": "tried to change a budget", "who": "r1", "in": "POST /v1/spending/reserve"}]
    assert lab.post("/clock", {"seconds_left": 1}, "fleet").status_code == 403
    assert lab.verify()


def test_the_fleets_token_is_no_researchers(lab: ToyLab) -> None:
    """It submits nothing, posts nothing and steers nothing."""
    assert lab.submit(toy.LEARNER, who="fleet").status_code == 403
    assert lab.post("/posts", {"kind": "insight", "title": "t", "body": ""}, "fleet").status_code == 403
    assert lab.post("/phase", {"phase": "done"}, "fleet").status_code == 403
    assert lab.http.get("/v1/run", headers=lab.header("fleet")).status_code == 403
    assert "fleet" not in [r["name"] for r in lab.get("/run", "operator")["researchers"]]


@pytest.mark.parametrize("name", ["r1", "fleet"])
def test_a_lab_from_before_gets_the_token(tmp_path: Path, name: str) -> None:
    """Added to tokens.json, for the owner's eyes only, once; a researcher who has the name keeps it."""
    settings = toy.settings().with_(researchers=(ResearcherSpec("old"),))
    tokens = create_lab(tmp_path / "lab", settings, [toy.make_pack(tmp_path / "pack")])
    lab, path = Lab(tmp_path / "lab"), tmp_path / "lab" / "run" / "tokens.json"
    with lab.store.write() as rows:  # as it was before
        rows.c.exec_driver_sql("DELETE FROM researchers WHERE role = 'fleet'")
        rows.c.exec_driver_sql("UPDATE researchers SET name = ? WHERE name = 'old'", (name,))
    path.write_text(json.dumps({**{k: v for k, v in tokens.items() if k != "fleet"}, "researchers": {name: "x"}}))
    add_fleet_token(lab)
    first = path.read_text()
    add_fleet_token(lab)
    assert path.read_text() == first
    assert path.stat().st_mode & 0o777 == 0o600
    lab.close()
    again = ToyLab(tmp_path / "lab", tokens={**json.loads(first), "researchers": {}})
    assert reserve(again, "a", name=name).status_code == 200
    again.lab.close()


def test_a_lab_without_a_tokens_file_is_served(tmp_path: Path) -> None:
    """Those who know their tokens are heard."""
    tokens = create_lab(tmp_path / "lab", toy.settings(), [toy.make_pack(tmp_path / "pack")])
    (tmp_path / "lab" / "run" / "tokens.json").unlink()
    opened = Lab(tmp_path / "lab")
    add_fleet_token(opened)
    opened.close()
    lab = ToyLab(tmp_path / "lab", tokens=tokens)
    assert lab.get("/budget")["phase"] == "research"
    lab.lab.close()


# What the supervisor makes of it


def view(**accounts: dict[str, Any]) -> dict[str, Any]:
    """As much of a run view as costs need."""
    empty = {"llm_dollars": 0.0, "calls": 0, "lost_calls": 0, "tokens": 0}
    people = [{"name": n, "role": "researcher", "method_cpu_seconds": 3600.0} for n in accounts]
    people.append({"name": "fleet", "role": "fleet", "method_cpu_seconds": 0.0})
    spending = {n: {**empty, **a} for n, a in accounts.items()}
    return {"researchers": people, "spending": spending, "budget": {"answers": {"given": 0}}}


def test_costs_hold_calls_and_computing() -> None:
    """Per researcher and for all: dollars of both kinds, tokens, and dollars per hour of its process."""
    settings = Settings(budget=Budget(dollars=3.0))
    usage = Usage(cpu={"ada": 3600.0}, wall={"ada": 7200.0})
    seen = view(ada={"llm_dollars": 2.0, "calls": 4, "tokens": 900}, bo={"llm_dollars": 0.5, "lost_calls": 1})
    total = costs.totals(settings, usage, seen)
    ada, hour = total["researchers"]["ada"], settings.prices.cpu_hour
    assert set(total["researchers"]) == {"ada", "bo"}
    assert (ada["llm_dollars"], ada["compute_dollars"], ada["dollars"]) == (2.0, 2 * hour, 2.0 + 2 * hour)
    assert (ada["llm_dollars_per_hour"], ada["compute_dollars_per_hour"]) == (1.0, hour)
    assert total["dollars"] == pytest.approx(2.5 + 3 * hour)
    assert (total["llm_dollars"], total["tokens"], total["calls"], total["lost_calls"]) == (2.5, 900, 4, 1)
    assert costs.spent(settings, usage, seen, total) == ""
    assert costs.compute(total) == {"ada": 2 * hour, "bo": hour}
    assert costs.minutes(usage) == {"ada": 120}


@pytest.mark.parametrize(
    ("budget", "all_", "own"),
    [
        (Budget(dollars=2.5), "the fleet's $2.5 are spent ($2.50 for language models, $0.08 for computing)", ""),
        (Budget(tokens=900), "the fleet's 900 tokens are used", ""),
        (Budget(researcher_dollars=2.0), "", "its $2 are spent"),
        (Budget(researcher_tokens=900), "", "its 900 tokens are used"),
        (Budget(researcher_minutes=60), "", "its 60 minutes are over"),
        (Budget(researcher_minutes=61, dollars=9, tokens=901, researcher_dollars=9, researcher_tokens=901), "", ""),
    ],
)
def test_which_budget_is_spent_is_said(budget: Budget, all_: str, own: str) -> None:
    """The reason why research ends, or why a researcher does, names the budget."""
    settings = replace(Settings(), budget=budget)
    seen = view(ada={"llm_dollars": 2.0, "calls": 4, "tokens": 900}, bo={"llm_dollars": 0.5, "calls": 1})
    usage = Usage(wall={"ada": 3600.0})
    total = costs.totals(settings, usage, seen)
    assert costs.spent(settings, usage, seen, total) == all_
    assert costs.researcher_spent(settings, total, "ada") == own
    assert costs.researcher_spent(settings, total, "nobody") == ""
