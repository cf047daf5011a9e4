"""A conversation with a model, whatever the wire format it came in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

STEP = re.compile(r"\[step (\d+)\]")

NAMED = re.compile(
    r"\b(?:You are|[Yy]our name(?: there)? is|[Aa]s researcher) (?:researcher )?[`\"'*]*"
    r"(?!(?:an?|the|now|Claude|Codex|Claude's|one|not|you|it)\b)(\w[\w.-]*)"
)
"""How prompts name the one they are for."""


@dataclass(frozen=True)
class ToolSpec:
    """A tool the model may call; `schema` is the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(self.schema.get("properties", ()))

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(self.schema.get("required", ()))


@dataclass(frozen=True)
class Call:
    """The model calls a tool. An empty `id` is filled in by the server."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True)
class Turn:
    """One message, or one part of a message: a tool's result is a turn of its own (role `tool`, `call` its id)."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    calls: tuple[Call, ...] = ()
    call: str = ""


@dataclass(frozen=True)
class Reply:
    """What a mind says. `raw`: the last call's arguments as they go over the wire where they are not proper JSON.

    stop: `end` (all said), `length` (cut at the token limit), or `` for `end` or `tools`, whichever it is.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    raw: str | None = None
    stop: Literal["", "end", "length"] = ""


@dataclass(frozen=True)
class Conversation:
    """What a request asks. forced: the tool that must be called; "" none in particular, "*" any."""

    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    model: str = ""
    max_tokens: int = 0  # 0: no limit given
    forced: str = ""

    @property
    def last(self) -> Turn:
        return self.turns[-1] if self.turns else Turn("user")

    @property
    def first(self) -> str:
        """The first user message."""
        return next((t.text for t in self.turns if t.role == "user"), "")

    def tool(self, *names: str) -> ToolSpec | None:
        """The first tool offered of these names, also under the name of an MCP server: mcp__lab__submit."""
        for name in names:
            for tool in self.tools:
                if tool.name == name or tool.name.endswith(f"__{name}"):
                    return tool
        return None

    def step(self) -> int:
        """The highest "[step N]" the model itself wrote, or that a summary handed down; 0 at the beginning."""
        own = (t.text for t in self.turns if t.role != "tool")
        return max((int(n) for text in own for n in STEP.findall(text)), default=0)

    def results(self) -> Iterator[tuple[Call, str]]:
        """Every call that has a result, with the result's text, newest first."""
        calls = {c.id: c for t in self.turns for c in t.calls}
        for turn in reversed(self.turns):
            if turn.role == "tool" and turn.call in calls:
                yield calls[turn.call], turn.text

    def result(self, name: str) -> str:
        """The newest result of a tool, "" where it was not called."""
        return next((text for call, text in self.results() if plain(call.name) == name), "")

    def said(self, role: str) -> str:
        """All text of one role, or of `system`."""
        return self.system if role == "system" else "\n".join(t.text for t in self.turns if t.role == role)

    def researcher(self) -> str:
        """The name the prompt gives the model; without one, six digits of a hash of the prompt."""
        found = NAMED.search(self.first) or NAMED.search(self.system)
        return found[1].rstrip(".") if found else hashlib.sha256(self.opening().encode()).hexdigest()[:6]

    def opening(self) -> str:
        """System prompt and first user message."""
        return f"{self.system}\n{self.first}"


def plain(name: str) -> str:
    """mcp__lab__submit -> submit."""
    return name.rsplit("__", 1)[-1]


def tokens(value: object) -> int:
    """About what a tokenizer would count: one per four characters of text or JSON."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return (len(text) + 3) // 4
