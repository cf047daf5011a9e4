"""Steps of a language model's conversation in words: one line each, and the text behind it.

What stands in a step was written by a model or by its tools; templates quote it as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from aarlab.dashboard.lab import Json
from aarlab.records import EventRow

READ = 120_000  # characters of a step's JSON that are taken apart; a longer one is shown as it stands
DETAIL = 20_000  # characters of the text behind a line
LINE = 160

WORDS = {
    "assistant": "model", "tool": "result", "user": "told", "compaction": "fresh start", "note": "note",
    "retry": "wait",
}  # fmt: skip
"""What a kind of step is called on a page."""

WHY = re.compile(r'\{"why": ("(?:[^"\\]|\\.)*")')


def step(row: EventRow, whole: int, detail: int = DETAIL) -> Json:
    """One step. whole: characters of its body, of which `row` may hold the first READ only."""
    line, text = _words(row, row.body if whole > len(row.body) else None)
    text = text.strip()
    return {
        "id": row.id, "time": row.time, "kind": row.kind, "word": WORDS.get(row.kind, row.kind),
        "session": row.session, "turn": row.turn,
        "line": " ".join(line[: 4 * LINE].split())[:LINE], "detail": text[:detail], "characters": len(text),
        "cut": len(text) > detail or whole > len(row.body), "submission": row.submission, "post": row.post,
        "log": row.log,
    }  # fmt: skip


def _words(row: EventRow, cut: str | None) -> tuple[str, str]:
    """(line, text) of a step. cut: the beginning of a body that is too long to be taken apart."""
    if cut is not None:
        found = WHY.match(cut)
        return (json.loads(found[1]) if found else "a long step", cut)
    try:
        body = json.loads(row.body)
    except ValueError:
        return "a step that is no JSON", row.body
    message = body.get("message") if isinstance(body, dict) else None
    if isinstance(message, dict):
        return _of_message(row, message)
    if not isinstance(body, dict):
        return "", row.body
    if row.kind == "compaction":
        return str(body.get("why") or "the conversation starts afresh"), "\n\n".join(_opening(body))
    if row.kind == "tool":  # used over MCP: only the call and its result are known
        name, arguments = str(body.get("function") or body.get("tool") or "a tool"), body.get("arguments")
        return _call(name, arguments), f"{name}\n{_long(arguments)}\n\n{text_of(body.get('result'))}"
    return str(body.get("text") or body.get("why") or row.kind), json.dumps(body, indent=1)


def _of_message(row: EventRow, message: Json) -> tuple[str, str]:
    said = text_of(message.get("content"))
    if row.kind == "tool":
        error = message.get("error")
        said = said or (str(error.get("message", "")) if isinstance(error, dict) else "")
        return f"{message.get('function') or 'a tool'} → {said or 'nothing'}", said
    calls = [c for c in message.get("tool_calls") or [] if isinstance(c, dict)]
    line = "; ".join(_call(str(c.get("function")), c.get("arguments")) for c in calls) or said
    text = [said, *(f"→ {c.get('function')}\n{_long(c.get('arguments'))}" for c in calls)]
    return line, "\n\n".join(t for t in text if t)


def _opening(body: Json) -> Iterator[str]:
    """The messages that a conversation starts from."""
    for message in body.get("messages") or []:
        if isinstance(message, dict):
            yield f"[{message.get('role')}]\n{text_of(message.get('content'))}"


def _call(function: str, arguments: Any) -> str:
    """A call in a few words."""
    words = _short(arguments)
    return f"{function}: {words}" if words else function


def _short(arguments: Any) -> str:
    values = arguments.values() if isinstance(arguments, dict) else [arguments]
    return ", ".join(v[:LINE] if isinstance(v, str) else json.dumps(v)[:LINE] for v in values if v not in (None, ""))


def _long(arguments: Any) -> str:
    if not isinstance(arguments, dict):
        return _short(arguments)
    return "\n".join(f"{k}: {v if isinstance(v, str) else json.dumps(v)}" for k, v in arguments.items())


def text_of(content: Any) -> str:
    """The words of a message: its text and what the model thought aloud; content is text or a list of parts."""
    if isinstance(content, list):
        parts = [p if isinstance(p, str) else _part(p) for p in content if isinstance(p, str | dict)]
        return "\n\n".join(p for p in parts if p)
    return content if isinstance(content, str) else "" if content is None else json.dumps(content)


def _part(part: Json) -> str:
    if isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") == "reasoning":
        return f"[thinks] {part.get('summary') or part.get('reasoning') or ''}"
    return f"[{part.get('type')}]"
