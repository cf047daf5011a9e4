"""What researchers did, step by step: messages, event rows, posts and submitted files brought into one form.

Nothing here imports Inspect: a lab whose researchers came in over MCP has event rows and no Inspect logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

Json = Mapping[str, Any]
Kind = Literal["said", "called", "result", "posted", "submitted"]

NOTES = ("", ".md", ".txt", ".rst", ".json", ".csv")
"""Endings of files whose content is prose or data: what stands there is said, not done."""

FORUM_TOOLS = ("forum_post", "post")
PATHS = ("path", "file_path", "filename", "file", "notebook_path")
COMMANDS = ("command", "cmd", "commands", "input", "script")
PROGRAMS = ("code", "source", "source_text")
CONTENTS = ("file_text", "content", "new_str", "new_string", "insert_text", "text")


@dataclass(frozen=True)
class Step:
    """One thing that a researcher did. `text`: its words; for a call, see `shell` and `programs`."""

    researcher: str
    kind: Kind
    text: str
    turn: int = 0
    log: str = ""  # file under `transcripts/`
    event: int | None = None  # id of the event row
    message: str = ""  # id of the message in the log
    call: str = ""  # id that a call and its result share
    shell: str = ""  # of a call: commands and paths
    programs: tuple[str, ...] = ()  # of a call or a submission: Python sources
    submission: int | None = None
    post: int | None = None


@dataclass(frozen=True)
class Parts:
    """A call taken apart: what the shell carries out, what Python carries out, and what is merely written down."""

    shell: str = ""
    programs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


HEREDOC = re.compile(
    r"^(?P<line>[^\n]*)<<-?\s*(['\"]?)(?P<end>\w+)\2(?P<rest>[^\n]*)\n(?P<body>.*?)\n[ \t]*(?P=end)\b", re.M | re.S
)
INLINE = re.compile(r"python[\d.]*\s+(?:-\w+\s+)*-c\s+(?:'(?P<one>[^']*)'|\"(?P<two>(?:\\.|[^\"\\])*)\")", re.S)
INTO_FILE = re.compile(r">>?\s*['\"]?(?P<file>[^\s'\"<>|;&]+)|\btee\s+(?:-a\s+)?['\"]?(?P<tee>[^\s'\"<>|;&]+)")
ECHO = re.compile(r"\b(?:echo|printf)\s+[^\n;&|]*>>?\s*\S+")


def call_parts(function: str, arguments: Json) -> Parts:
    """Sort a call's arguments by what becomes of them. Works for Inspect's tools, Claude Code's and Codex's."""
    path = next((str(arguments[k]) for k in PATHS if isinstance(arguments.get(k), str)), "")
    shell: list[str] = [path] if path else []
    programs: list[str] = []
    notes: list[str] = []
    for key, value in arguments.items():
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        if not isinstance(text, str) or key in PATHS:
            continue
        if key in PROGRAMS:
            programs.append(text)
        elif key in CONTENTS:
            _sort_file(path, text, shell, programs, notes)
        elif key in COMMANDS and not (key == "command" and path):  # an editor's command is a verb
            found = command_parts(text)
            shell.append(found.shell)
            programs += found.programs
            notes += found.notes
    return Parts("\n".join(shell), tuple(programs), tuple(notes))


def command_parts(command: str) -> Parts:
    """A shell command without its comments and without the prose that it writes into files."""
    programs: list[str] = []
    notes: list[str] = []
    extra: list[str] = []

    def take(m: re.Match[str]) -> str:
        line = m["line"] + m["rest"]
        target = INTO_FILE.search(line)
        file = (target["file"] or target["tee"]) if target else ""
        if file:
            _sort_file(file, m["body"], extra, programs, notes)
        elif re.search(r"\bpython[\d.]*\b", line):
            programs.append(m["body"])
        else:
            extra.append(m["body"])
        return line

    rest = HEREDOC.sub(take, command)

    def inline(m: re.Match[str]) -> str:
        programs.append(m["one"] if m["one"] is not None else re.sub(r"\\(.)", r"\1", m["two"]))
        return "python -c"

    rest = ECHO.sub("", INLINE.sub(inline, rest))
    rest = re.sub(r"(?m)(^|\s)#[^\n]*", r"\1", rest)
    return Parts("\n".join([rest, *extra]).strip(), tuple(programs), tuple(notes))


def _sort_file(path: str, text: str, shell: list[str], programs: list[str], notes: list[str]) -> None:
    ending = PurePosixPath(path).suffix.lower()
    if ending == ".py":
        programs.append(text)
    elif ending in NOTES:
        notes.append(text)
    else:
        shell.append(text)


@dataclass
class Walk:
    """Goes through one researcher's messages in order and counts its turns."""

    researcher: str
    log: str = ""
    turn: int = 0
    _asked: dict[str, str] = field(default_factory=dict)

    def message(self, message: Json, **where: Any) -> Iterator[Step]:
        """Steps of one message in Inspect's JSON form. where: event, turn, submission, post, where known."""
        role = message.get("role")
        if role == "assistant":
            self.turn += 1
        place: dict[str, Any] = {"turn": self.turn, "log": self.log, "message": str(message.get("id") or "")} | where
        if role == "assistant":
            if said := text_of(message.get("content")):
                yield Step(self.researcher, "said", said, **place)
            for call in message.get("tool_calls") or []:
                yield from self.call(str(call["function"]), call.get("arguments") or {}, str(call.get("id", "")), place)
        elif role == "tool":
            error = message.get("error") or {}
            text = text_of(message.get("content")) or str(error.get("message", ""))
            yield Step(self.researcher, "result", text, call=str(message.get("tool_call_id") or ""), **place)

    def call(self, function: str, arguments: Any, number: str, place: dict[str, Any]) -> Iterator[Step]:
        """Steps of one tool call."""
        arguments = _unpacked(arguments)
        if function.rpartition("__")[2] in FORUM_TOOLS:
            text = "\n".join(str(arguments[k]) for k in ("title", "body") if arguments.get(k))
            yield Step(self.researcher, "posted", text, call=number, **place)
            return
        parts = call_parts(function, arguments)
        text = "\n".join(p for p in (parts.shell, *parts.programs) if p)
        yield Step(self.researcher, "called", text, call=number, shell=parts.shell, programs=parts.programs, **place)
        yield from (Step(self.researcher, "said", note, call=number, **place) for note in parts.notes)


def of_events(researcher: str, events: Iterable[Json]) -> Iterator[Step]:
    """Steps of one researcher's event rows, oldest first. A summary after a compaction repeats and is left out."""
    walk = Walk(researcher)
    for row in events:
        where = {"event": row["id"], "turn": int(row.get("turn") or 0), "log": str(row.get("log") or "")}
        where |= {k: row.get(k) for k in ("submission", "post")}
        body = row.get("body") or {}
        if row["kind"] in ("assistant", "tool", "user") and isinstance(body.get("message"), dict):
            yield from walk.message(body["message"], **where)
        elif row["kind"] == "tool":  # a tool used over MCP: only the call and its result are known
            place = where | {"message": ""}
            function, number = str(body.get("function") or body.get("tool") or ""), f"event-{row['id']}"
            yield from walk.call(function, body.get("arguments") or {}, number, place)
            if result := body.get("result"):
                yield Step(researcher, "result", text_of(result), call=number, **place)


def text_of(content: Any) -> str:
    """The visible text of a message's content, a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(p["text"]) for p in content if isinstance(p, dict) and p.get("type") == "text")
    return "" if content is None else json.dumps(content)


def _unpacked(arguments: Any) -> dict[str, Any]:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return {"command": arguments}
    return dict(arguments) if isinstance(arguments, Mapping) else {}
