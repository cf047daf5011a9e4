"""Anthropic's Messages: requests read, answers and streams written, and the mistakes the provider refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aarlab.testing.conversation import Call, Conversation, Json, ToolSpec, Turn
from aarlab.testing.wire import Answer, BadRequest, pieces, texts

ERRORS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    429: "rate_limit_error", 529: "overloaded_error",
}  # fmt: skip

NATIVE = {
    "text_editor": {"properties": {"command": {}, "path": {}, "file_text": {}}, "required": ["command", "path"]},
    "bash": {"properties": {"command": {}}, "required": ["command"]},
}
"""Arguments of the tools that come by type and without a schema, by the first words of the type."""


class Anthropic:
    """The format of `/v1/messages`."""

    name = "anthropic"
    bills_writes = True

    def conversation(self, body: Json) -> Conversation:
        """Raises BadRequest."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequest("messages: at least one message is required")
        if messages[0].get("role") != "user":
            raise BadRequest('messages: first message must use the "user" role')
        _check_results(messages)
        return Conversation(
            turns=tuple(turn for m in messages for turn in _turns(m)),
            system=texts(body.get("system")),
            tools=tuple(_tool(t) for t in body.get("tools") or ()),
            model=str(body.get("model", "")),
            max_tokens=int(body.get("max_tokens") or 0),
            forced=_forced(body.get("tool_choice")),
        )

    def prompt(self, body: Json) -> list[Any]:
        """Without the marks of the cache, which wander from message to message."""
        return [
            _unmarked(body.get("tools") or []),
            _unmarked(body.get("system") or ""),
            *(_unmarked(m) for m in body["messages"]),
        ]

    def caches(self, body: Json) -> bool:
        """Where a part of the request asks for it."""
        return "cache_control" in body or '"cache_control"' in json.dumps(
            [body.get("tools"), body.get("system"), body["messages"][-4:]]
        )

    def whole(self, answer: Answer) -> Json:
        content: list[Json] = [{"type": "text", "text": answer.reply.text}] if answer.reply.text else []
        cut = answer.reply.stop == "length"
        content += [
            {"type": "tool_use", "id": c.id, "name": c.name, "input": _input(text, cut)} for c, text in answer.calls()
        ]
        return {**_head(answer), "content": content, "stop_reason": _stop(answer), "usage": _usage(answer)}

    def events(self, answer: Answer, body: Json) -> Iterator[str]:
        begun = {**_head(answer), "content": [], "stop_reason": None, "usage": {**_usage(answer), "output_tokens": 1}}
        yield _event("message_start", message=begun)
        yield _event("ping")
        index = 0
        if answer.reply.text:
            yield from _block(index, {"type": "text", "text": ""}, "text_delta", "text", answer.reply.text)
            index += 1
        for call, text in answer.calls():
            start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield from _block(index, start, "input_json_delta", "partial_json", text)
            index += 1
        ended = {"stop_reason": _stop(answer), "stop_sequence": None}
        yield _event("message_delta", delta=ended, usage={"output_tokens": answer.written})
        yield _event("message_stop")

    def error(self, status: int, sentence: str) -> Json:
        return {"type": "error", "error": {"type": ERRORS.get(status, "api_error"), "message": sentence}}

    def error_event(self, status: int, sentence: str) -> str:
        return _event("error", error=self.error(status, sentence)["error"])


def _event(kind: str, **body: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **body})}\n\n"


def _block(index: int, start: Json, delta: str, key: str, text: str) -> Iterator[str]:
    yield _event("content_block_start", index=index, content_block=start)
    for piece in pieces(text):
        yield _event("content_block_delta", index=index, delta={"type": delta, key: piece})
    yield _event("content_block_stop", index=index)


def _head(answer: Answer) -> Json:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "stop_sequence": None,
    }


def _stop(answer: Answer) -> str:
    if answer.reply.stop == "length":
        return "max_tokens"
    return "tool_use" if answer.reply.calls else "end_turn"


def _usage(answer: Answer) -> Json:
    """Tokens read from and written to the cache are not among `input_tokens`."""
    return {
        "input_tokens": answer.used.fresh,
        "cache_creation_input_tokens": answer.used.written,
        "cache_read_input_tokens": answer.used.read,
        "output_tokens": answer.written,
        "service_tier": "standard",
    }


def _input(text: str, cut: bool) -> Json:
    """A call's arguments, which are always an object here: none of what was cut, one string of what is no JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    return {} if cut else {"INVALID_JSON": text}


def _tool(tool: Json) -> ToolSpec:
    if not isinstance(tool, dict) or not tool.get("name"):
        raise BadRequest("tools.0.name: Field required")
    kind = str(tool.get("type", ""))
    native = next((schema for prefix, schema in NATIVE.items() if kind.startswith(f"{prefix}_")), {})
    return ToolSpec(tool["name"], tool.get("input_schema") or native)


def _forced(choice: Any) -> str:
    kind = choice.get("type") if isinstance(choice, dict) else None
    return str(choice["name"]) if kind == "tool" else "*" if kind == "any" else ""


def _turns(message: Json) -> Iterator[Turn]:
    role, content = message.get("role"), message.get("content")
    if role == "system":  # newer models take reminders between the turns; no mind minds them
        return
    if role not in ("user", "assistant"):
        raise BadRequest(f"messages: Unexpected role {json.dumps(role)}")
    if role == "assistant":
        blocks = content if isinstance(content, list) else []
        calls = (Call(b["name"], b.get("input") or {}, b["id"]) for b in blocks if b.get("type") == "tool_use")
        yield Turn("assistant", texts(content), tuple(calls))
        return
    for block in content if isinstance(content, list) else []:
        if block.get("type") == "tool_result":
            yield Turn("tool", texts(block.get("content")), call=block["tool_use_id"])
    if words := texts(content):
        yield Turn("user", words)


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(v) for v in value]
    if isinstance(value, dict):
        return {k: _unmarked(v) for k, v in value.items() if k != "cache_control"}
    return value


def _check_results(messages: list[Json]) -> None:
    """Every tool_use must have its tool_result in the next message, and every result its use; no text may be empty."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        blocks = message["content"] if isinstance(message.get("content"), list) else []
        if message.get("content") in ("", None) or any(b.get("type") == "text" and not b.get("text") for b in blocks):
            raise BadRequest(f"messages.{number}: text content blocks must be non-empty")
        answered = {b["tool_use_id"] for b in blocks if b.get("type") == "tool_result"}
        if missing := open_calls - answered:
            raise BadRequest(
                f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(sorted(missing))}. Each `tool_use` block must have a corresponding `tool_result` block "
                "in the next message."
            )
        if extra := answered - open_calls:
            raise BadRequest(
                f"messages.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(sorted(extra))}. Each `tool_result` block must have a corresponding `tool_use` block in "
                "the previous message."
            )
        open_calls = {b["id"] for b in blocks if b.get("type") == "tool_use"}
    if open_calls and messages[-1].get("role") == "assistant":
        raise BadRequest("messages: the last `tool_use` has no `tool_result`")
