"""A researcher's desk: everything of one LLM researcher that outlives a session.

It writes the conversation down as event rows, keeps the lab informed, notices that nothing moves any more, and says
when to stop.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageTool

from aarlab.client import LabClient
from aarlab.errors import AarlabError
from aarlab.llm import prompts, resume
from aarlab.llm.calls import Calls
from aarlab.llm.mail import Mail
from aarlab.llm.outbox import Outbox
from aarlab.researchers import findings
from aarlab.settings import Llm

SYNC_SECONDS = 60.0
WORD_SECONDS = 2.0  # between two heartbeats that a turn sends
LOOK_SECONDS = 10.0  # after a heartbeat, the next one is sent as soon as a tool has ended
MOST_SILENT = 5  # answers in a row without a tool call after which the conversation starts afresh
IN_SANDBOX = ("bash", "python", "text_editor")
"""Tools that change nothing outside the researcher's own workspace."""
REPEATS_NUDGED, MOST_REPEATS = 3, 6  # the same call with the same result, in a row

Json = dict[str, Any]


class Desk:
    """State over sessions. `kept` is the conversation exactly as the event rows have it."""

    def __init__(
        self, lab: LabClient, fleet: LabClient, name: str, llm: Llm, shared: Path, redact: Callable[[str], str]
    ) -> None:
        self.lab, self.fleet, self.name, self.llm, self.shared, self.redact = lab, fleet, name, llm, shared, redact
        self.calls = Calls()
        self.kept: list[ChatMessage] = []
        self.session, self.turn = 0, 0
        self.log = ""
        self.ending = ""  # why this researcher is done for good
        self.stalled = ""  # why the conversation must start afresh
        self.silent = 0
        self.turns_in_session = 0
        self._seen: deque[str] = deque(maxlen=MOST_REPEATS)
        self._next_sync = self._next_word = self._next_look = 0.0
        self._doing = ""
        self._written: set[str] = set()
        self._one_writer = threading.Lock()
        self.outbox = Outbox(fleet, name, self._told)
        self.mail = Mail()

    # The conversation

    def open(self) -> bool:
        """Read the conversation back from the event rows; False where there is none yet."""
        events: list[Json] = []
        while page := self.fleet.events(self.name, events[-1]["id"] if events else 0):
            events += page
        self.kept = resume.conversation(events)
        self._written = {m.id for m in self.kept if m.id}
        self.mail.written(resume.unpacked(e["body"]["message"]).text for e in events if e["kind"] == "user")
        self.session, self.turn = resume.last_turn(events)
        return bool(self.kept)

    def begin(self) -> None:
        """A session starts."""
        self.flush()
        self.session += 1
        self.turns_in_session, self.log = 0, ""

    def start_afresh(self, messages: Sequence[ChatMessage], why: str) -> None:
        """The conversation is these messages from now on."""
        self.flush()
        self._with_ids(messages)
        self.add("compaction", {"why": why, "messages": [self._clean(m) for m in messages]})
        self.kept = list(messages)
        self._written |= {m.id for m in messages if m.id}
        self.silent, self.stalled = 0, ""
        self._seen.clear()

    def write(self, messages: Sequence[ChatMessage]) -> None:
        """Write down what was not yet."""
        self.write_soon(messages)
        self.flush()

    def write_soon(self, messages: Sequence[ChatMessage]) -> None:
        """Write down what was not yet, with whatever the lab is told next."""
        self._with_ids(messages)
        with self._one_writer:
            fresh = [m for m in messages if m.id not in self._written and m.role in resume.SPOKEN]
            self.outbox.put([self._event(m.role, {"message": self._clean(m)}, self._key(m), m) for m in fresh])
            self.mail.written(m.text for m in fresh if m.role == "user")
            self.kept += fresh
            self._written |= {m.id for m in fresh if m.id}

    def flush(self) -> None:
        """Wait until everything is written down."""
        self.outbox.flush()

    def add(self, kind: str, body: Json) -> None:
        """An event that is no message."""
        self.outbox.put([self._event(kind, body, uuid.uuid4().hex)])
        self.flush()

    def note(self, sentence: str, body: Json | None = None, kind: str = "note") -> None:
        """Something that a person should see in the timeline; a lab that is away loses it, nothing else."""
        try:
            self.add(kind, {"text": self.redact(sentence), **(body or {})})
            self.say(sentence)
        except AarlabError as error:
            print(f"{sentence} ({error})", file=sys.stderr)

    def _event(self, kind: str, body: Json, key: str, message: ChatMessage | None = None) -> Json:
        event: Json = {
            "key": key, "session": self.session, "turn": self.turn, "kind": kind, "body": body, "submission": None,
            "post": None, "log": self.log,
        }  # fmt: skip
        if isinstance(message, ChatMessageTool) and message.tool_call_id in self.calls.made:
            what, number = self.calls.made[message.tool_call_id]
            event[what] = number
        return event

    def _key(self, message: ChatMessage) -> str:
        return f"{message.role}-{message.id}"

    def _clean(self, message: ChatMessage) -> Json:
        """The message as JSON, with no key of ours in it."""
        text: Json = json.loads(self.redact(json.dumps(resume.packed(message))))
        return text

    def _with_ids(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            message.id = message.id or uuid.uuid4().hex

    # Turns

    async def answered(self, message: ChatMessageAssistant) -> None:
        """A model call came back: written down before a tool call of it changes anything at the lab."""
        self.turn += 1
        self.turns_in_session += 1
        self.calls.start(message.tool_calls or [])
        self.write_soon([message])
        if time.monotonic() >= self._next_word:
            doing = ", ".join(c.function for c in message.tool_calls or []) or "no tool call"
            self.outbox.says = self._word(f"turn {self.turn}: {doing}")
        if all(c.function in IN_SANDBOX for c in message.tool_calls or []):
            self.outbox.send_soon()
        else:
            await anyio.to_thread.run_sync(self.flush)

    async def next(self, messages: Sequence[ChatMessage]) -> str | bool:
        """After the tools of a turn: True to go on, a text to go on with, False to end the session.

        The text is what the operator wrote, a nudge, or both.
        """
        self.write_soon(messages)
        await anyio.to_thread.run_sync(self._hear)
        if self.ending or self.turns_in_session >= self.llm.session_turns:
            return False
        nudge = self._stalls(messages)
        if self.stalled:
            return False
        return "\n\n".join(text for text in (self.mail.text(), nudge) if text) or True

    def _stalls(self, messages: Sequence[ChatMessage]) -> str:
        """A nudge where nothing moves; sets `stalled` where nudging has not helped."""
        last = next(m for m in reversed(messages) if isinstance(m, ChatMessageAssistant))
        if not last.tool_calls:
            self.silent += 1
            if self.silent >= MOST_SILENT:
                self.stalled = f"{self.silent} answers in a row without a tool call"
            return prompts.NO_ACTION
        self.silent = 0
        self._seen.append(_action(last, messages))
        same = 0
        for seen in reversed(self._seen):
            if seen != self._seen[-1]:
                break
            same += 1
        if same >= MOST_REPEATS:
            self.stalled = f"the same action {same} times in a row"
        return prompts.REPEATED.format(times=same) if same >= REPEATS_NUDGED else ""

    def finish(self, reason: str) -> None:
        """The researcher says that it is done."""
        self.ending = f"finished: {reason}" if reason else "finished"

    # The lab

    def say(self, state: str) -> None:
        """Heartbeat; its reply may say that this researcher was stopped, that research is over, or what the operator
        wrote."""
        self._told(self.lab.heartbeat(**self._word(state)))

    def _word(self, state: str) -> Json:
        """A heartbeat's fields."""
        now, self._doing = time.monotonic(), state
        self._next_word, self._next_look = now + WORD_SECONDS, now + LOOK_SECONDS
        return {"state": self.redact(state)[:500], "heard": self.mail.heard}

    def _hear(self) -> None:
        """What the lab and others said during the tools of a turn."""
        self.outbox.wait()
        self.sync()
        if time.monotonic() >= self._next_look:
            self.say(self._doing)

    def _told(self, reply: Json) -> None:
        self.mail.take(reply["messages"])
        if reply["stop"] and not self.ending:
            self.ending = "stopped by the lab"

    def sync(self) -> None:
        """Others' posts and methods as files that the sandbox sees read-only."""
        if time.monotonic() < self._next_sync:
            return
        self._next_sync = time.monotonic() + SYNC_SECONDS
        findings.sync(self.lab, self.shared)


def _action(answer: ChatMessageAssistant, messages: Sequence[ChatMessage]) -> str:
    """What was called and what came of it, as one hash."""
    ids = {c.id for c in answer.tool_calls or []}
    did = [(c.function, json.dumps(c.arguments, sort_keys=True)) for c in answer.tool_calls or []]
    got = [m.text for m in messages[-2 * len(ids) - 2 :] if isinstance(m, ChatMessageTool) and m.tool_call_id in ids]
    return hashlib.sha256(json.dumps([did, got]).encode()).hexdigest()
