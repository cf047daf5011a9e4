"""OpenAI's chat completions: requests read, answers and streams written, and the mistakes the provider refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from aarlab.testing.conversation import Call, Conversation, Json, ToolSpec, Turn
from aarlab.testing.wire import Answer, BadRequest, pieces, texts

ERRORS = {
    400: ("invalid_request_error", None), 401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"), 429: ("requests", "rate_limit_exceeded"),
}  # fmt: skip


class OpenAI:
    """The format of `/v1/chat/completions`."""

    name = "openai"
    bills_writes = False

    def conversation(self, body: Json) -> Conversation:
        """Raises BadRequest."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequest("Missing required parameter: 'messages'.")
        _check_results(messages)
        system = "\n".join(texts(m.get("content")) for m in messages if m.get("role") in ("system", "developer"))
        return Conversation(
            turns=tuple(_turn(m) for m in messages if m.get("role") not in ("system", "developer")),
            system=system,
            tools=tuple(_tool(t) for t in body.get("tools") or ()),
            model=str(body.get("model", "")),
            max_tokens=int(body.get("max_completion_tokens") or body.get("max_tokens") or 0),
            forced=_forced(body.get("tool_choice")),
        )

    def prompt(self, body: Json) -> list[Any]:
        return [body.get("tools") or [], *body["messages"]]

    def caches(self, body: Json) -> bool:
        """Every prompt is cached, unasked."""
        return True

    def whole(self, answer: Answer) -> Json:
        message: Json = {"role": "assistant", "content": answer.reply.text or None, "refusal": None}
        if answer.reply.calls:
            message["tool_calls"] = [_call(c, text) for c, text in answer.calls()]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _stop(answer)}
        return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)}

    def events(self, answer: Answer, body: Json) -> Iterator[str]:
        head = _head(answer, "chat.completion.chunk")

        def chunk(delta: Json, finish: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event({**head, "choices": [choice]})

        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for piece in pieces(answer.reply.text):
            yield chunk({"content": piece})
        for index, (call, text) in enumerate(answer.calls()):
            yield chunk({"tool_calls": [{"index": index, **_call(call, "")}]})
            for piece in pieces(text):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, _stop(answer))
        if (body.get("stream_options") or {}).get("include_usage"):
            yield _event({**head, "choices": [], "usage": _usage(answer)})
        yield "data: [DONE]\n\n"

    def error(self, status: int, sentence: str) -> Json:
        kind, code = ERRORS.get(status, ("server_error", None))
        return {"error": {"message": sentence, "type": kind, "param": None, "code": code}}

    def error_event(self, status: int, sentence: str) -> str:
        return _event(self.error(status, sentence))


def _event(body: Json) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _head(answer: Answer, kind: str) -> Json:
    return {"id": f"chatcmpl-{answer.id}", "object": kind, "created": int(time.time()), "model": answer.model}


def _stop(answer: Answer) -> str:
    if answer.reply.stop == "length":
        return "length"
    return "tool_calls" if answer.reply.calls else "stop"


def _usage(answer: Answer) -> Json:
    used = answer.used
    return {
        "prompt_tokens": used.total,
        "completion_tokens": answer.written,
        "total_tokens": used.total + answer.written,
        "prompt_tokens_details": {"cached_tokens": used.read, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _call(call: Call, text: str) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": text}}


def _tool(tool: Json) -> ToolSpec:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not function.get("name"):
        raise BadRequest("Missing required parameter: 'tools[0].function.name'.")
    return ToolSpec(function["name"], function.get("parameters") or {})


def _forced(choice: Any) -> str:
    if isinstance(choice, dict):
        return str((choice.get("function") or {}).get("name", ""))
    return "*" if choice == "required" else ""


def _turn(message: Json) -> Turn:
    role, text = message.get("role"), texts(message.get("content"))
    if role == "tool":
        return Turn("tool", text, call=str(message.get("tool_call_id", "")))
    if role == "assistant":
        return Turn("assistant", text, tuple(_made(c) for c in message.get("tool_calls") or ()))
    if role == "user":
        return Turn("user", text)
    raise BadRequest(f"Invalid value: {role!r}. Supported values are: 'system', 'assistant', 'user' and 'tool'.")


def _made(call: Json) -> Call:
    function = call["function"]
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError:
        arguments = {}
    return Call(function["name"], arguments if isinstance(arguments, dict) else {}, call["id"])


def _check_results(messages: list[Json]) -> None:
    """Every tool call must have its result right after it, and every result its call."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        role = message.get("role")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise BadRequest(
                    f"Invalid parameter: messages[{number}] with role 'tool' must be a response to a preceding "
                    "message with 'tool_calls'."
                )
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            break
        open_calls = {c["id"] for c in message.get("tool_calls") or ()} if role == "assistant" else set()
    if open_calls:
        raise BadRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_calls)}"
        )
