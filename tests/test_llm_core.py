"""The parts of an LLM researcher that need no lab: prices, the conversation as events, whose call is whose."""

from __future__ import annotations

import pytest

pytest.importorskip("inspect_ai", reason="needs the [llm] extra")

from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser
from inspect_ai.tool import ToolCall

from aarlab.llm import resume
from aarlab.llm.calls import Calls
from aarlab.llm.prices import dollars, price_of
from aarlab.settings import ModelPrice


def call(number, function="submit", **arguments):
    return ToolCall(id=f"call-{number}", function=function, arguments=arguments)


def said(kind, message=None, **body):
    body = {"message": resume.packed(message)} if message else body
    return {"id": 1, "kind": kind, "body": body, "session": 2, "turn": 3}


def test_a_listed_model_has_its_price():
    """Input, output and cache prices of a public model, in dollars per million tokens."""
    price = price_of("anthropic/claude-opus-4-6")
    assert price is not None
    assert price.source == "genai-prices"
    assert 0 < price.cache_read < price.input < price.cache_write < price.output


def test_own_prices_go_first_and_local_models_are_free():
    """lab.toml overrides the table; a model on one's own machine costs no dollars a token; else nobody knows."""
    own = ModelPrice("anthropic/claude-opus-4-6", 1.0, 2.0, 0.1, 1.25)
    assert price_of("anthropic/claude-opus-4-6", [own]).output == 2.0
    assert price_of("vllm/some/model").input == 0
    assert price_of("openai-api/scripted/mind") is None
    assert price_of("openai/no-such-model-ever") is None


def test_a_calls_cost_counts_each_kind_of_token_once():
    """Four rates, four counts."""
    price = price_of("x/y", [ModelPrice("x/y", 1.0, 10.0, 0.1, 1.25)])
    usage = {"input_tokens": 1_000_000, "output_tokens": 100_000, "cache_read_tokens": 2_000_000}
    assert dollars(price, {**usage, "cache_write_tokens": 400_000}) == pytest.approx(1 + 1 + 0.2 + 0.5)
    assert dollars(None, usage) == 0


def test_a_conversation_is_put_together_from_its_events():
    """The newest compaction, and what was said since."""
    start = [ChatMessageSystem(content="you are"), ChatMessageUser(content="begin")]
    answer = ChatMessageAssistant(content="", tool_calls=[call(1, path="a.py"), call(2, "bash", command="ls")])
    events = [
        said("compaction", messages=[resume.packed(m) for m in [*start, ChatMessageUser(content="old")]]),
        said("assistant", ChatMessageAssistant(content="gone after the summary")),
        said("compaction", messages=[resume.packed(m) for m in start]),
        said("note", text="a person should see this"),
        said("assistant", answer),
        said("tool", ChatMessageTool(content="listed", tool_call_id="call-2", function="bash")),
    ]
    found = resume.conversation(events)
    assert [m.role for m in found] == ["system", "user", "assistant", "tool"]
    assert [c.id for c in resume.pending(found)] == ["call-1"]
    assert resume.last_turn(events) == (2, 3)


def test_nothing_is_pending_after_an_answer_in_words():
    """An answer without calls, or no answer yet."""
    assert resume.pending([]) == []
    assert resume.pending([ChatMessageAssistant(content="thinking")]) == []


def test_two_equal_calls_have_two_keys():
    """Each call of an answer is carried out under its own id, whatever the order."""
    calls = Calls()
    calls.start([call(1, path="a.py", name="a"), call(2, path="b.py", name="b"), call(3, path="a.py", name="a")])
    assert calls.key("submit", {"path": "b.py", "name": "b", "note": ""}) == "call-2"
    calls.note("submission", 7)
    assert [calls.key("submit", {"path": "a.py", "name": "a", "note": ""}) for _ in range(2)] == ["call-1", "call-3"]
    assert calls.made == {"call-2": ("submission", 7)}


def test_a_call_that_nobody_asked_for_gets_a_fresh_key():
    """A bridged program's call is not in the conversation."""
    calls = Calls()
    first, second = calls.key("submit", {}), calls.key("submit", {})
    assert first != second
