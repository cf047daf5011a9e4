"""A conversation as events: what is written down after each step, and how it is put together again.

Event kinds that make a conversation:

    compaction   `messages`: the whole conversation starts again from these (the opening, a summary, a fresh start)
    assistant    `message`: what the model answered, written before any of its tool calls runs
    tool         `message`: the result of one call; all results of one answer are written together
    user         `message`: a nudge of ours

A process killed between two events loses at most the model call or the tool calls in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool
from inspect_ai.tool import ToolCall
from pydantic import TypeAdapter

Json = dict[str, Any]
SPOKEN = ("assistant", "tool", "user")

_ONE: TypeAdapter[ChatMessage] = TypeAdapter(ChatMessage)


def packed(message: ChatMessage) -> Json:
    """A message as JSON values."""
    found: Json = _ONE.dump_python(message, mode="json", exclude_none=True)
    return found


def unpacked(value: Json) -> ChatMessage:
    return _ONE.validate_python(value)


def conversation(events: Iterable[Json]) -> list[ChatMessage]:
    """The conversation after the last event, oldest message first; empty without any event."""
    messages: list[ChatMessage] = []
    for event in events:
        if event["kind"] == "compaction":
            messages = [unpacked(m) for m in event["body"]["messages"]]
        elif event["kind"] in SPOKEN:
            messages.append(unpacked(event["body"]["message"]))
    return messages


def pending(messages: Sequence[ChatMessage]) -> list[ToolCall]:
    """The tool calls of the last answer that have no result yet."""
    answered = {m.tool_call_id for m in messages if isinstance(m, ChatMessageTool)}
    last = next((m for m in reversed(messages) if isinstance(m, ChatMessageAssistant)), None)
    if last is None or not last.tool_calls:
        return []
    return [c for c in last.tool_calls if c.id not in answered]


def last_turn(events: Sequence[Json]) -> tuple[int, int]:
    """(session, turn) of the newest event; (0, 0) before the first."""
    return (events[-1]["session"], events[-1]["turn"]) if events else (0, 0)
