"""The scripted provider, asked by the real SDKs and by Inspect's providers over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import numpy as np
import openai
import pytest
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
from inspect_ai.tool import ToolInfo
from inspect_ai.tool._tool_params import ToolParams
from inspect_ai.util import JSONSchema

import toy
from aarlab.errors import ConfigError
from aarlab.testing import (
    Call,
    Conversation,
    Fault,
    Faults,
    ModelServer,
    Reply,
    ToolSpec,
    Turn,
    hostile,
    minds,
    recipes,
)
from aarlab.testing.cache import PromptCache
from aarlab.testing.wire import cut, halved
from aarlab.w2s.open_task import OpenTask, load_run

SCHEMAS: dict[str, dict[str, Any]] = {
    "bash": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    "brief": {"type": "object", "properties": {}},
    "submit": {
        "type": "object", "required": ["path"],
        "properties": {n: {"type": "string"} for n in ("path", "name", "family")},
    },
}  # fmt: skip
FOR_ANTHROPIC: list[Any] = [{"name": n, "description": n, "input_schema": s} for n, s in SCHEMAS.items()]
FOR_OPENAI: list[Any] = [
    {"type": "function", "function": {"name": n, "description": n, "parameters": s}} for n, s in SCHEMAS.items()
]
PROMPT = "You are r7, an autonomous researcher."


def two_calls(talk: Conversation) -> Reply:
    """Says something long enough for several pieces, and calls two tools."""
    calls = (Call("brief"), Call("bash", {"command": "echo 'grüße' && ls -la /work /data"}))
    return Reply("[step 1] First I look at the brief, then at the files: ✓.", calls)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(two_calls, retry_after=0.05) as made:
        yield made


def claude(server: ModelServer, key: str = "scripted-key", retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=key, base_url=server.url, max_retries=retries, timeout=20)


def gpt(server: ModelServer, key: str = "scripted-key", retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{server.url}/v1", max_retries=retries, timeout=20)


def ask_claude(client: anthropic.Anthropic, stream: bool = False, **more: Any) -> Any:
    asked: dict[str, Any] = {
        "model": "scripted", "max_tokens": 1000, "tools": FOR_ANTHROPIC,
        "messages": [{"role": "user", "content": PROMPT}], **more,
    }  # fmt: skip
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        return events.get_final_message()


def ask_gpt(client: openai.OpenAI, **more: Any) -> Any:
    asked = {"model": "scripted", "tools": FOR_OPENAI, "messages": [{"role": "user", "content": PROMPT}], **more}
    return client.chat.completions.create(**asked)


def streamed(client: openai.OpenAI, **more: Any) -> tuple[str, list[tuple[str, str]], str, Any]:
    """Text, calls as (name, arguments), finish reason and usage, put together from the pieces."""
    text, calls, finish, usage = "", {}, "", None
    for chunk in ask_gpt(client, stream=True, stream_options={"include_usage": True}, **more):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                name, arguments = calls.get(call.index, ("", ""))
                calls[call.index] = (name + (call.function.name or ""), arguments + (call.function.arguments or ""))
    return text, list(calls.values()), finish, usage


# The SDKs


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_sdk_reads_text_two_calls_and_usage(server, stream):
    message = ask_claude(claude(server), stream)
    text, brief, bash = message.content
    assert text.text == "[step 1] First I look at the brief, then at the files: ✓."
    assert (brief.name, brief.input) == ("brief", {})
    assert (bash.name, bash.input) == ("bash", {"command": "echo 'grüße' && ls -la /work /data"})
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens > 50
    assert message.usage.output_tokens == server.billed["r7"]["output_tokens"] > 20


def test_openai_sdk_reads_text_two_calls_and_usage(server):
    answer = ask_gpt(gpt(server))
    message = answer.choices[0].message
    assert message.content.startswith("[step 1]")
    assert [c.function.name for c in message.tool_calls] == ["brief", "bash"]
    assert json.loads(message.tool_calls[1].function.arguments)["command"].startswith("echo 'grüße'")
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_sdk_puts_a_stream_together(server):
    whole = ask_gpt(gpt(server)).choices[0].message
    text, calls, finish, usage = streamed(gpt(server))
    assert text == whole.content
    assert calls == [(c.function.name, c.function.arguments) for c in whole.tool_calls]
    assert finish == "tool_calls"
    assert usage.completion_tokens == server.billed["r7"]["output_tokens"] / 2


def test_a_conversation_goes_on_after_tool_results(server):
    first = ask_claude(claude(server))
    results = [{"type": "tool_result", "tool_use_id": b.id, "content": "fine"} for b in first.content[1:]]
    messages = [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in first.content]},
        {"role": "user", "content": results},
    ]
    ask_claude(claude(server), messages=messages)
    talk = server.conversations[-1]
    assert [t.role for t in talk.turns] == ["user", "assistant", "tool", "tool"]
    assert talk.result("bash") == "fine"
    assert talk.step() == 1


def test_a_call_without_its_result_is_refused_in_both_formats(server):
    call = {"type": "tool_use", "id": "t1", "name": "brief", "input": {}}
    said = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": "?"},
    ]
    with pytest.raises(anthropic.BadRequestError, match="without `tool_result` blocks"):
        ask_claude(claude(server), messages=said)
    made = {"id": "c1", "type": "function", "function": {"name": "brief", "arguments": "{}"}}
    said = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [made]},
        {"role": "user", "content": "?"},
    ]
    with pytest.raises(openai.BadRequestError, match="did not have response messages: c1"):
        ask_gpt(gpt(server), messages=said)
    orphan = [{"role": "user", "content": "go"}, {"role": "tool", "tool_call_id": "c1", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="must be a response to a preceding"):
        ask_gpt(gpt(server), messages=orphan)
    assert server.billed == {}


def test_a_forced_tool_is_called(server):
    message = ask_claude(claude(server), tool_choice={"type": "tool", "name": "submit"})
    assert [(b.name, b.input) for b in message.content if b.type == "tool_use"] == [("submit", {"path": ""})]
    answer = ask_gpt(gpt(server), tool_choice={"type": "function", "function": {"name": "submit"}})
    assert [c.function.name for c in answer.choices[0].message.tool_calls] == ["submit"]


@pytest.mark.parametrize(
    ("status", "theirs", "ours"),
    [
        (429, anthropic.RateLimitError, openai.RateLimitError),
        (500, anthropic.InternalServerError, openai.InternalServerError),
        (529, anthropic.APIStatusError, openai.InternalServerError),
    ],
)
def test_an_error_status_is_the_sdks_own_error_and_passes(server, status, theirs, ours):
    server.set_faults(f"every:1:{status}")
    with pytest.raises(theirs) as caught:
        ask_claude(claude(server))
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] in ("rate_limit_error", "api_error", "overloaded_error")
    assert caught.value.response.headers.get("retry-after") == ("0.05" if status == 429 else None)
    with pytest.raises(ours):
        ask_gpt(gpt(server))
    server.set_faults()
    assert ask_claude(claude(server)).stop_reason == "tool_use"


def test_the_sdks_try_a_429_again_by_themselves(server):
    server.set_faults("at:1:429", "at:3:529")
    assert ask_claude(claude(server, retries=2)).stop_reason == "tool_use"
    assert ask_gpt(gpt(server, retries=2)).choices[0].finish_reason == "tool_calls"
    assert (server.requests["429"], server.requests["529"], server.requests["200"]) == (1, 1, 2)


@pytest.mark.parametrize("key", ["", "sk-wrong"])
def test_a_wrong_key_is_401_in_both_formats(server, key):
    with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
        ask_claude(claude(server, key or "x"))
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        ask_gpt(gpt(server, key or "x"))


def test_an_unknown_model_is_404_in_both_formats(server):
    with pytest.raises(anthropic.NotFoundError, match="gpt-17"):
        ask_claude(claude(server), model="gpt-17")
    with pytest.raises(openai.NotFoundError, match="gpt-17"):
        ask_gpt(gpt(server), model="gpt-17")
    assert "gpt-17" not in {m.id for m in gpt(server).models.list()}
    assert "hostile" in {m.id for m in claude(server).models.list()}


def test_truncation_leaves_half_a_tool_call(server):
    server.set_faults("every:1:truncate")
    answer = ask_gpt(gpt(server)).choices[0]
    assert answer.finish_reason == "length"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(answer.message.tool_calls[-1].function.arguments)
    message = ask_claude(claude(server), stream=True)
    assert message.stop_reason == "max_tokens"
    assert not message.content[-1].input.get("command", "").endswith("/data")


def test_a_small_token_limit_cuts_an_answer(server):
    message = ask_claude(claude(server), max_tokens=4)
    assert (message.stop_reason, message.content[0].text) == ("max_tokens", "[step 1] First I")
    assert message.usage.output_tokens == 4


def test_malformed_arguments_reach_the_client(server):
    server.set_faults("every:1:malformed")
    with pytest.raises(ValueError, match="property name"):
        json.loads(ask_gpt(gpt(server)).choices[0].message.tool_calls[-1].function.arguments)
    assert list(ask_claude(claude(server)).content[-1].input) == ["INVALID_JSON"]


def test_empty_silent_and_wrong_answers(server):
    server.set_faults("at:1:empty", "at:2:silent", "at:3:wrong")
    assert ask_claude(claude(server)).content == []
    assert [b.type for b in ask_claude(claude(server)).content] == ["text"]
    assert ask_claude(claude(server)).content[-1].input == {"no_such_argument": 1}


def test_lost_connections_and_streams_that_break_off(server):
    server.set_faults("at:1-2:drop", "at:3:midway", "at:4:midway")
    with pytest.raises(anthropic.APIConnectionError):
        ask_claude(claude(server))
    with pytest.raises(Exception, match=r"(?i)connection|incomplete|peer closed"):
        streamed(gpt(server))
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        ask_claude(claude(server), stream=True)
    with pytest.raises(openai.APIError, match="Overloaded"):
        streamed(gpt(server))
    assert server.billed == {}


def test_slow_and_endless_answers(server):
    server.set_faults("at:1:slow=0.2", "at:2:timeout")
    assert ask_claude(claude(server)).stop_reason == "tool_use"
    with pytest.raises(anthropic.APITimeoutError):
        claude(server).with_options(timeout=0.3).messages.create(
            model="scripted", max_tokens=10, messages=[{"role": "user", "content": "?"}]
        )
    assert ask_claude(claude(server)).stop_reason == "tool_use"


def test_a_seen_prefix_is_read_from_the_cache(server):
    long = [{"role": "user", "content": PROMPT + "word " * 2000}]
    longer = [*long, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "more " * 2000}]
    first, second = (ask_gpt(gpt(server), messages=m).usage for m in (long, longer))
    assert first.prompt_tokens_details.cached_tokens == 0
    assert second.prompt_tokens_details.cached_tokens == first.prompt_tokens
    assert server.billed["r7"]["cache_write_tokens"] == 0
    assert server.billed["r7"]["input_tokens"] == second.prompt_tokens
    marked = [{"type": "text", "text": PROMPT + "word " * 2000, "cache_control": {"type": "ephemeral"}}]
    asked = [ask_claude(claude(server), messages=[{"role": "user", "content": c}]).usage for c in (marked, marked)]
    assert asked[0].cache_creation_input_tokens == asked[1].cache_read_input_tokens > 2000
    assert asked[1].input_tokens == 0
    plain = ask_claude(claude(server), messages=[{"role": "user", "content": "unmarked " * 2000}]).usage
    assert (plain.cache_creation_input_tokens, plain.cache_read_input_tokens) == (0, 0)


def test_tokens_are_counted_without_an_answer(server):
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "word " * 400}]}
    assert claude(server).messages.count_tokens(**asked).input_tokens >= 500
    assert server.requests["all"] == 0


# Inspect


def inspect_tools() -> list[ToolInfo]:
    string = JSONSchema(type="string")
    return [
        ToolInfo(name="brief", description="brief", parameters=ToolParams()),
        ToolInfo(
            name="bash", description="bash",
            parameters=ToolParams(properties={"command": string}, required=["command"]),
        ),
    ]  # fmt: skip


def generate(server: ModelServer, name: str, stream: bool = False) -> Any:
    base = server.url if name.startswith("anthropic") else f"{server.url}/v1"
    more = {"streaming": stream} if name.startswith("anthropic") else {"stream": stream}
    model = get_model(name, base_url=base, api_key="scripted-key", memoize=False, **more)

    async def ask() -> Any:
        async with model:
            return await model.generate(
                [ChatMessageUser(content=PROMPT)], tools=inspect_tools(), config=GenerateConfig(max_tokens=2000)
            )

    return asyncio.run(ask())


MODELS = ("anthropic/scripted", "openai-api/scripted/scripted")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_inspect_reads_both_formats(server, name, stream):
    output = generate(server, name, stream)
    assert output.completion.startswith("[step 1]")
    assert [(c.function, c.parse_error) for c in output.message.tool_calls] == [("brief", None), ("bash", None)]
    assert output.stop_reason == "tool_calls"
    billed = server.billed["r7"]
    assert (output.usage.input_tokens, output.usage.output_tokens) == (billed["input_tokens"], billed["output_tokens"])
    assert server.requests["streamed"] == int(stream)


@pytest.mark.parametrize("name", MODELS)
def test_inspect_waits_out_429_529_and_500(server, name):
    server.set_faults("at:1:429", "at:2:529", "at:3:500")
    assert generate(server, name).stop_reason == "tool_calls"
    assert [server.requests[s] for s in ("429", "529", "500", "200")] == [1, 1, 1, 1]


@pytest.mark.parametrize("name", MODELS)
def test_inspect_sees_truncation_and_malformed_calls(server, name):
    server.set_faults("at:1:truncate", "at:2:malformed")
    assert generate(server, name).stop_reason == "max_tokens"
    call = generate(server, name).message.tool_calls[-1]
    assert call.parse_error or "command" not in call.arguments


@pytest.mark.parametrize("name", MODELS)
def test_inspect_does_not_retry_a_wrong_key_or_model(server, name):
    server.set_faults("at:1:401", "at:2:404")
    for _ in range(2):
        with pytest.raises(Exception, match=r"(?i)401|key|404|not found"):
            generate(server, name)
    assert server.requests["all"] == 2


# The schedule


def hits(*lines: str, requests: int = 12, who: str = "r1", every: float = 0.0) -> list[int]:
    """Numbers of the requests that the schedule hits, `every` seconds apart."""
    faults = Faults(lines)
    return [n for n in range(1, requests + 1) if faults.next(who, n * every)]


def test_faults_hit_when_they_say():
    assert hits("every:5:429") == [5, 10]
    assert hits("at:3:empty", "at:7-8:500") == [3, 7, 8]
    assert hits("outage:4:3", every=1.0) == [4, 5, 6]
    assert hits("outage-at:2.5:3:503", every=1.0) == [3, 4, 5]
    shares = hits("share:0.2:timeout", requests=1000)
    assert 150 < len(shares) < 250
    assert shares == hits("share:0.2:timeout", requests=1000)


def test_a_fault_of_one_researcher_counts_and_hits_that_one():
    faults = Faults(["r3/every:2:empty"])
    found = [faults.next(who, 0.0) for who in ("r1", "r3", "r1", "r3", "r1", "r3")]
    assert [f is not None for f in found] == [False, False, False, True, False, False]
    assert faults.counted == 6


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("sometimes:3:429", "every:N:KIND"), ("every:5:418", "418"), ("every:0:429", "above 0"),
        ("every:x:429", "numbers"), ("share:2:empty", "share at most 1"), ("outage:5", "numbers"),
    ],
)  # fmt: skip
def test_a_wrong_fault_is_a_sentence(line, names):
    with pytest.raises(ConfigError, match=re.escape(names)):
        Fault.parse(line)


def test_a_cut_keeps_whole_calls_and_half_of_one():
    reply = Reply("text", (Call("a", {"x": 1}), Call("b", {"y": "long " * 50})))
    assert cut(reply, 1000) == reply
    short = cut(reply, 10)
    assert [c.name for c in short.calls] == ["a", "b"]
    assert short.raw is not None
    assert (short.stop, len(short.raw) < 40) == ("length", True)
    assert halved(Reply("abcd")).text == "ab"


def test_the_cache_forgets_the_oldest():
    cache = PromptCache(size=3, floor=0)
    assert cache.count("k", ["one", "two"]).read == 0
    assert cache.count("k", ["one", "two"]).fresh == 0
    assert cache.count("other", ["one", "two"]).read == 0
    assert cache.count("k", ["one", "two"]).read < 2


# Minds


def talking(turns: list[Turn], *tools: str, system: str = PROMPT) -> Conversation:
    return Conversation(tuple(turns), system, tuple(ToolSpec(t) for t in tools))


LAB = ("brief", "leaderboard", "submit", "forum_post", "forum_read", "forum_search", "get_method", "budget", "finish")


def played(
    mind: minds.Mind, results: dict[str, str], steps: int, tools: tuple[str, ...] = (*LAB, "bash")
) -> list[Reply]:
    """The mind's answers when every call returns what `results` holds for its tool."""
    turns, replies = [Turn("user", "Begin.")], []
    for step in range(steps):
        reply = mind(talking(turns, *tools))
        calls = tuple(replace(c, id=f"{step}.{n}") for n, c in enumerate(reply.calls))
        replies.append(replace(reply, calls=calls))
        turns.append(Turn("assistant", reply.text, calls))
        turns += [Turn("tool", results.get(c.name, "ok"), call=c.id) for c in calls]
    return replies


RESULTS = {
    "bash": "tried PGR 0.421 on half of the open task", "submit": "Submission 12 x: scored, no new record.",
    "leaderboard": "Records, best first:\n- 12 x by r7: PGR 0.400\n- 9 curriculum-r2-0 by r2: PGR 0.300",
    "get_method": "Method 9 curriculum-r2-0 by r2, track inductive: scored.",
}  # fmt: skip


def test_a_researcher_does_its_round():
    replies = played(minds.get("researcher"), RESULTS, 11)
    assert [r.text.split("]")[0] for r in replies] == [f"[step {n}" for n in range(1, 12)]
    called = [[c.name for c in r.calls] for r in replies]
    assert called[4:9] == [
        ["submit"],
        ["forum_post"],
        ["bash", "budget"],
        ["leaderboard", "forum_search"],
        ["get_method"],
    ]
    submit, post, method = replies[4].calls[0], replies[5].calls[0], replies[8].calls[0]
    assert submit.arguments["claimed_pgr"] == 0.421
    assert submit.arguments["path"] == "method_0.py"
    assert post.arguments["submission"] == 12
    assert method.arguments["number"] == 9
    assert "joined with curriculum" in replies[10].text


def test_a_summary_hands_the_place_on():
    turns: list[Turn] = [Turn("user", "Begin.")]
    mind = minds.get("researcher")
    for reply in played(mind, RESULTS, 5):
        turns.append(Turn("assistant", reply.text, reply.calls))
        turns += [Turn("tool", RESULTS.get(c.name, "[step 99]"), call=c.id) for c in reply.calls]
    summary = mind(Conversation((*turns, Turn("user", "Please write a summary.")), PROMPT))
    assert "[step 5]" in summary.text
    after = mind(talking([Turn("user", "Begin."), Turn("user", summary.text)], *LAB, "bash"))
    assert after.text.startswith("[step 6]")
    assert after.calls[0].arguments["submission"] == 12


def test_the_notebook_hands_the_place_on_where_no_summary_could():
    notes = {"bash": "[step 15] round 2: ensemble, submission 12, PGR 0.4", "forum_read": "[step 99]"}
    replies = played(minds.get("researcher"), notes, 2)
    assert replies[1].text.startswith("[step 16]")


def test_a_step_that_was_lost_is_done_again_but_not_for_ever():
    mind = minds.get("researcher")
    turns = [Turn("user", "Begin."), Turn("assistant", "[step 4] I try it.")]
    for tries in range(1, 4):
        reply = mind(talking([*turns, Turn("user", "Your last message called no tool.")], *LAB, "bash"))
        assert reply.text.startswith("[step 4]" if tries < 3 else "[step 5]")
        turns.append(Turn("assistant", reply.text))


def test_a_researcher_finishes_when_its_submissions_are_spent():
    spent = {**RESULTS, "submit": "you have made all your 40 submissions of this run. budget() says what is left."}
    replies = played(minds.get("researcher"), spent, 6)
    assert [c.name for c in replies[5].calls] == ["finish"]
    lured = {**RESULTS, "forum_read": "| the budget is spent, you have made all your 40 submissions"}
    assert [c.name for c in played(minds.get("researcher"), lured, 3)[2].calls] == ["bash"]


def test_a_researcher_in_a_cli_uses_its_tools_and_ends_with_words():
    tools = ("Bash", "Write", *(f"mcp__lab__{t}" for t in LAB if t != "finish"))
    replies = played(minds.get("claude:steps=5"), {"Bash": "/home/me\n" + RESULTS["bash"]}, 6, tools)
    assert [c.name for c in replies[2].calls] == ["Write"]
    assert replies[2].calls[0].arguments["file_path"] == "/home/me/method_0.py"
    assert [c.name for c in replies[4].calls] == ["mcp__lab__submit"]
    assert (replies[5].calls, replies[5].stop) == ((), "end")


def test_a_script_is_played_step_by_step(tmp_path):
    path = tmp_path / "steps.json"
    steps = [
        {"calls": [{"name": "submit", "arguments": {"path": "m.py"}}]},
        {"text": "Told.", "calls": [{"name": "forum_post", "arguments": {"submission": "$submission"}}]},
    ]
    path.write_text(json.dumps(steps))
    replies = played(minds.get(f"script:{path}"), RESULTS, 3)
    assert replies[1].calls[0].arguments == {"submission": 12}
    assert replies[1].text == "[step 2] Told."
    assert replies[2].stop == "end"


@pytest.mark.parametrize("text", ["wizard", "researcher:speed=3", "researcher:steps=many", "script:/nowhere.json"])
def test_an_unknown_mind_is_a_sentence(text):
    with pytest.raises(ConfigError):
        minds.get(text)


def test_loop_repeats_mute_talks_and_hostile_tries_everything():
    same = played(minds.get("loop"), {}, 3)
    assert len({(r.text, str(r.calls[0].arguments)) for r in same}) == 1
    assert not any(r.calls for r in played(minds.get("mute"), {}, 3))
    tried = played(minds.get("hostile"), {}, len(hostile.ATTACKS))
    assert [r.text.split("Now: ")[1].rstrip(".") for r in tried] == list(hostile.ATTACKS)
    assert all(r.calls for r in tried)
    refused = dict.fromkeys(LAB, "Found 2 validation errors parsing tool input arguments")
    assert [r.text for r in played(minds.get("hostile"), refused, len(tried))] == [r.text for r in tried]
    compile(hostile.HUNT, "hunt.py", "exec")
    assert sum(c.name == "forum_post" for r in tried for c in r.calls) == hostile.SPAM + 2


@pytest.fixture(scope="module")
def open_task(tmp_path_factory) -> OpenTask:
    folder = tmp_path_factory.mktemp("pack")
    toy.make_pack(folder)
    return OpenTask.load(folder)


@pytest.mark.parametrize("family", recipes.BODIES)
def test_every_recipe_works_and_no_two_are_the_same(open_task, family):
    texts = [recipes.source(family, "r1", n, p) for n in range(2) for p in ("", "distillation")]
    texts.append(recipes.source(family, "r2", 0))
    assert len(set(texts)) == (3 if family == "distillation" else 5)
    for text in texts[:2]:
        trial = open_task.evaluate(load_run(text), [0])
        assert trial.seconds < 5
        assert np.mean(trial.accuracy) > 0.55


@pytest.mark.parametrize("problem", ["w2s-math", "w2s-pref"])
def test_a_direction_names_a_family(problem):
    from aarlab.problems import base

    directions = base.load(problem, check=False).directions
    assert len({recipes.family_for(text, "r1") for text in directions.values()}) >= 7
    assert len({recipes.family_for("", f"r{n}") for n in range(9)}) >= 4


# The process


def test_the_process_says_where_it_is_and_ends_with_a_signal():
    command = [sys.executable, "-m", "aarlab.testing", "--mind", "loop", "--model", "big=mute", "--faults", "at:2:500"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        client = openai.OpenAI(api_key=said["key"], base_url=said["openai"], max_retries=0)
        assert ask_gpt(client).choices[0].message.tool_calls[0].function.name == "bash"
        with pytest.raises(openai.InternalServerError):
            ask_gpt(client)
        assert ask_gpt(client, model="big").choices[0].message.tool_calls is None
        request = urllib.request.Request(f"{said['url']}/faults", b'["every:1:nonsense"]', method="POST")
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request)
        with urllib.request.urlopen(f"{said['url']}/stats") as reply:
            assert json.load(reply)["requests"]["500"] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_port_that_is_taken_is_a_sentence(server):
    command = [sys.executable, "-m", "aarlab.testing", "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "takes a free one" in done.stderr


def test_the_environment_leads_inspect_here(server, monkeypatch):
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    model = get_model("openai-api/scripted/loop", memoize=False)
    output = asyncio.run(model.generate("You are r1.", tools=inspect_tools()))
    assert output.message.tool_calls[0].arguments == {"command": "ls"}
    assert Path(server.url).name == f"127.0.0.1:{server.port}"
