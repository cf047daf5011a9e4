"""One LLM researcher as the process it is, from its first word to its end, over real sockets."""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import pytest

pytest.importorskip("inspect_ai", reason="needs the [llm] extra")

from inspect_ai.log import read_eval_log

import llm_lab
from aarlab.settings import Budget
from llm_lab import MODELS, LlmLab


def told(lab, name="r1", kind=("note", "retry")):
    return [e["body"]["text"] for e in lab.events(name) if e["kind"] in kind]


@pytest.mark.parametrize("wire", ["anthropic", pytest.param("openai", marks=pytest.mark.slow)])
def test_a_researcher_works_from_brief_to_finish(tmp_path, wire):
    """Both wire formats: it submits, posts, finishes; every call is an event, paid for, and in the transcript."""
    with LlmLab(tmp_path / "lab", llm_lab.settings(model=MODELS[wire]), mind="researcher:steps=9") as lab:
        assert lab.run() == 0, lab.words()
        operator = lab.client()
        view = operator.run()
        [row] = [s for s in view["submissions"] if s["researcher"] == "r1"][:1]
        assert operator.submission(row["id"])["status"] == "scored"
        assert any(p["researcher"] == "r1" for p in operator.posts())
        kinds = Counter(e["kind"] for e in lab.events())
        calls = lab.models.requests["anthropic" if wire == "anthropic" else "openai"]
        assert kinds["assistant"] == calls
        spent = view["spending"]["r1"]
        assert spent["calls"] == calls
        billed = lab.models.billed["r1"]
        price = llm_lab.PRICE if wire == "anthropic" else {**llm_lab.PRICE, "cache_write": llm_lab.PRICE["input"]}
        cost = sum(price[k] * billed[f"{k}_tokens"] for k in price) / 1e6
        assert spent["llm_dollars"] == pytest.approx(cost, abs=2e-6)
        place = row["transcript"]
        log = read_eval_log(str(lab.folder / "transcripts" / place["log"]))
        assert log.status == "success"
        assert log.samples[0].id == "r1"
        assert any(
            call.function == "submit" for m in log.samples[0].messages for call in getattr(m, "tool_calls", None) or []
        )
        assert not any("scripted-key" in p.read_text(errors="replace") for p in lab.folder.rglob("*") if p.is_file())


def test_a_wrong_key_is_one_sentence_and_the_end(tmp_path):
    """Exit code 4: no restart would mend it."""
    with LlmLab(tmp_path / "lab", llm_lab.settings()) as lab:
        assert lab.run(ANTHROPIC_API_KEY="a-wrong-key-entirely") == 4
        assert "the provider refuses the key for" in lab.words().splitlines()[-1]
        assert "a-wrong-key" not in lab.words()


@pytest.mark.slow
def test_an_unknown_model_is_one_sentence_and_the_end(tmp_path):
    """The provider does not know it."""
    with LlmLab(tmp_path / "lab", llm_lab.settings(model="anthropic/no-such-model")) as lab:
        assert lab.run() == 4
        assert "does not know" in lab.words().splitlines()[-1]


def test_a_dollar_budget_needs_a_price(tmp_path):
    """Nobody knows what the model costs, so that the budget could not be kept."""
    made = llm_lab.settings(model="openai-api/scripted/other", budget=Budget(dollars=1.0))
    with LlmLab(tmp_path / "lab", made) as lab:
        assert lab.run() == 4
        assert "[[prices.models]]" in lab.words().splitlines()[-1]


@pytest.mark.slow
def test_a_budget_ends_the_work_within_one_call(tmp_path):
    """The last call may go over, the next is not made; the process ends as one that is done."""
    made = llm_lab.settings(budget=Budget(dollars=0.05))
    with LlmLab(tmp_path / "lab", made, mind="loop") as lab:
        assert lab.run() == 0, lab.words()
        spent = lab.client().run()["spending"]["r1"]["llm_dollars"]
        costs = [e for e in lab.events() if e["kind"] == "assistant"]
        assert 0.05 <= spent <= 0.05 + 2 * spent / len(costs) + 0.01
        assert "budget" in lab.words().splitlines()[-1] or "$" in lab.words().splitlines()[-1]


@pytest.mark.slow
def test_a_provider_that_fails_is_waited_for(tmp_path):
    """429, 529, 500, broken tool calls, empty and cut answers: shown, and the work goes on to its end."""
    faults = ("at:2:429", "at:4:529", "at:6:500", "at:8:malformed", "at:10:empty", "at:12:truncate", "at:14:wrong")
    with LlmLab(tmp_path / "lab", llm_lab.settings(), mind="researcher:steps=8", faults=faults) as lab:
        assert lab.run() == 0, lab.words()
        waits = told(lab, kind=("retry",))
        assert any("429" in w for w in waits)
        assert any("529" in w for w in waits)
        assert any("500" in w for w in waits)
        assert lab.client().run()["submissions"]


@pytest.mark.slow
def test_who_only_talks_is_nudged_and_then_starts_afresh(tmp_path):
    """Fifty answers without a tool call: nudges, fresh starts, and it goes on until the budget ends it."""
    made = llm_lab.settings(llm={"session_turns": 500}, budget=Budget(tokens=400_000))
    with LlmLab(tmp_path / "lab", made, mind="mute") as lab:
        process = lab.start()
        lab.wait_for(50)
        process.kill()
        process.wait()
        kinds = Counter(e["kind"] for e in lab.events())
        assert kinds["user"] >= 30
        assert kinds["compaction"] >= 5
        assert any("without a tool call" in t for t in told(lab))


@pytest.mark.slow
def test_who_repeats_is_nudged_and_then_starts_afresh(tmp_path):
    """The same command with the same result."""
    with LlmLab(tmp_path / "lab", llm_lab.settings(), mind="loop") as lab:
        process = lab.start()
        lab.wait_for(20)
        process.kill()
        process.wait()
        assert any("the same action 6 times in a row" in t for t in told(lab))
        nudges = [e["body"]["message"]["content"] for e in lab.events() if e["kind"] == "user"]
        assert any("3 times in a row" in n for n in nudges)


@pytest.mark.slow
def test_a_long_conversation_is_summarised(tmp_path):
    """Past its threshold the conversation becomes its opening and a summary, and the work goes on from there."""
    made = llm_lab.settings(llm={"context_tokens": 9000})
    with LlmLab(tmp_path / "lab", made, mind="researcher:steps=24") as lab:
        assert lab.run() == 0, lab.words()
        cuts = [e["body"] for e in lab.events() if e["kind"] == "compaction"]
        assert len(cuts) >= 2
        assert "summarised" in cuts[1]["why"]
        assert len(cuts[1]["messages"]) == 3
        assert "[step" in json.dumps(cuts[1]["messages"][2])


@pytest.mark.slow
def test_sessions_follow_each_other(tmp_path):
    """A fresh transcript after so many turns; the conversation does not notice."""
    made = llm_lab.settings(llm={"session_turns": 4})
    with LlmLab(tmp_path / "lab", made, mind="researcher:steps=9") as lab:
        assert lab.run() == 0, lab.words()
        events = lab.events()
        assert max(e["session"] for e in events) >= 3
        assert len(list((lab.folder / "transcripts").glob("*.eval"))) == max(e["session"] for e in events)
        assert sum(e["kind"] == "compaction" for e in events) == 1


def killed(tmp_path, kills, seed=1):
    """A researcher killed at random moments; what it submitted and posted in the end."""
    rng = random.Random(seed)
    with LlmLab(tmp_path / "lab", llm_lab.settings(), mind="researcher:steps=30", delay=0.1) as lab:
        for _ in range(kills):
            process = lab.start()
            begun, turn = lab.models.requests["anthropic"], rng.randint(1, 3)
            end = time.monotonic() + 60
            while lab.models.requests["anthropic"] < begun + turn and process.poll() is None:
                assert time.monotonic() < end, lab.words()
                time.sleep(0.01)
            time.sleep(rng.random() * 0.4)
            process.kill()
            process.wait()
            lab.client("fleet").release("r1")
        assert lab.run() == 0, lab.words()
        operator = lab.client()
        names = Counter(s["name"] for s in operator.run()["submissions"])
        posts = Counter((p["title"], p["body"]) for p in operator.posts(limit=500))
        asked = Counter(
            c["id"]
            for e in lab.events()
            if e["kind"] == "assistant"
            for c in e["body"]["message"].get("tool_calls") or []
        )
        return names, posts, asked, len(lab.events())


@pytest.mark.slow
def test_a_killed_researcher_goes_on_and_doubles_nothing(tmp_path):
    """kill -9 at three random moments."""
    names, posts, asked, _ = killed(tmp_path, 3)
    assert names
    assert posts
    assert max(names.values()) == 1
    assert max(posts.values()) == 1
    assert max(asked.values()) == 1


@pytest.mark.slow
def test_twenty_kills_double_nothing(tmp_path):
    """kill -9 at twenty random moments."""
    names, posts, asked, events = killed(tmp_path, 20, seed=7)
    print(f"20 kills: {sum(names.values())} submissions, {sum(posts.values())} posts, {events} events")
    assert max(names.values()) == 1
    assert max(posts.values()) == 1
    assert max(asked.values()) == 1


@pytest.mark.slow
def test_a_log_that_a_kill_left_open_is_made_whole(tmp_path):
    """The next process of this researcher completes the transcript of the killed one."""
    with LlmLab(tmp_path / "lab", llm_lab.settings(), mind="researcher:steps=6", delay=0.2) as lab:
        process = lab.start()
        lab.wait_for(3)
        process.kill()
        process.wait()
        time.sleep(0.1)
        assert lab.run() == 0, lab.words()
        logs = [read_eval_log(str(p)) for p in sorted((lab.folder / "transcripts").glob("*.eval"))]
        assert len(logs) == 2
        assert all(log.samples for log in logs), [log.status for log in logs]
