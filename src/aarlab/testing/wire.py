"""What both wire formats share: an answer with its usage, and cutting it at the token limit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aarlab.testing.cache import Input
from aarlab.testing.conversation import Call, Conversation, Json, Reply, tokens

PIECE = 24
"""Characters of a streamed piece."""


class BadRequest(Exception):
    """What a provider answers 400 to, with its sentence."""


@dataclass(frozen=True)
class Answer:
    """A reply on its way out; `used`: tokens of the prompt."""

    id: str
    model: str
    reply: Reply
    used: Input

    @property
    def written(self) -> int:
        """Tokens of the answer; at least one."""
        return max(1, tokens(self.reply.text) + sum(tokens(c.name) + tokens(a) for c, a in self.calls()))

    def calls(self) -> Iterator[tuple[Call, str]]:
        """The calls with their arguments as text."""
        for number, call in enumerate(self.reply.calls, 1):
            broken = self.reply.raw is not None and number == len(self.reply.calls)
            yield call, (self.reply.raw or "") if broken else json.dumps(dict(call.arguments), ensure_ascii=False)


class Format(Protocol):
    """A wire format: what the server needs of the modules openai_format and anthropic_format."""

    name: str
    bills_writes: bool  # whether tokens written to the cache are told apart from fresh ones

    def conversation(self, body: Json) -> Conversation: ...
    def prompt(self, body: Json) -> list[Any]: ...
    def caches(self, body: Json) -> bool: ...
    def whole(self, answer: Answer) -> Json: ...
    def events(self, answer: Answer, body: Json) -> Iterator[str]: ...
    def error(self, status: int, sentence: str) -> Json: ...
    def error_event(self, status: int, sentence: str) -> str: ...


def cut(reply: Reply, limit: int) -> Reply:
    """The reply as far as `limit` tokens reach; the call in which it ends has half its arguments."""
    left = 4 * limit
    if len(reply.text) >= left:
        return Reply(reply.text[:left], stop="length")
    left -= len(reply.text)
    kept: list[Call] = []
    for call in reply.calls:
        text = json.dumps(dict(call.arguments), ensure_ascii=False)
        kept.append(call)
        if len(call.name) + len(text) > left:
            return Reply(reply.text, tuple(kept), text[: max(1, left - len(call.name))], "length")
        left -= len(call.name) + len(text)
    return reply


def halved(reply: Reply) -> Reply:
    """Cut at the token limit in the middle of the last call, or of the text where nothing is called."""
    if not reply.calls:
        return Reply(reply.text[: max(1, len(reply.text) // 2)], stop="length")
    text = json.dumps(dict(reply.calls[-1].arguments), ensure_ascii=False)
    return replace(reply, raw=text[: max(1, len(text) // 2)], stop="length")


def malformed(reply: Reply) -> Reply:
    """The last call's arguments with a key without quotes: no JSON, however it is read."""
    if not reply.calls:
        return reply
    text = json.dumps(dict(reply.calls[-1].arguments), ensure_ascii=False)
    return replace(reply, raw="{command: oops, " + text[1:])


def pieces(text: str) -> Iterator[str]:
    """The text in streamed pieces."""
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def texts(content: Any) -> str:
    """The text of a message's content: a string, or a list of blocks of which some hold text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequest("content must be a string or a list of blocks")
    return "\n".join(b["text"] for b in content if isinstance(b, dict) and isinstance(b.get("text"), str))
