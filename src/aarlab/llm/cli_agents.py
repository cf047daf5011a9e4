"""Claude Code and Codex as researchers: a whole program in the sandbox instead of a loop of ours.

The program runs where a model's shell commands run: no network, no token, no lab socket. Two things lead out, both
through Inspect's bridge: its model calls, which the researcher's meter reserves and accounts like any other, and the
lab's tools, served to it as the MCP server `lab` and carried out on the host. A tool of the lab runs only for a call
that the model proposed.

Its own shell and editor work in /work. What passes between it and the model is written down as event rows, so that
the lab's timeline, its budgets and its scans cover it. The program keeps its conversation in its own files: within
one process of ours it is resumed from them; a restarted process begins a new one and sends it to its notebook and
the forum, because a killed program's files can be cut off in the middle, and were the agent's to rewrite.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.to_thread
from inspect_ai.agent import Agent, AgentState, BridgedToolsSpec, agent
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
)
from inspect_ai.tool import Tool, ToolCall, ToolChoice, ToolDef, ToolInfo
from inspect_ai.util import LimitExceededError

from aarlab.llm import binaries, prompts
from aarlab.llm.agent import Room, describe, patiently
from aarlab.llm.calls import Calls
from aarlab.llm.desk import IN_SANDBOX

SERVER = "lab"
PREFIX = f"mcp__{SERVER}__"  # of the lab's tools in Claude Code; Codex tells its model their plain names
MOST_WAITING = 200  # proposed calls that are remembered
MOST_FAILURES = 3  # runs of the program in a row that ended without one answer of the model
NO_WEB = ("WebSearch", "WebFetch", "AskUserQuestion")
"""Claude Code's tools that would reach past the sandbox through the model's provider, or wait for a person."""

HOW = """
You work inside {program}. Use its own shell and file tools in /work; there is no network. The lab's tools are those of
the MCP server `{server}`: {names}. Nobody answers questions or approves anything. When you end your turn you are asked
to go on, until you call {prefix}finish."""
GO_ON = "Go on with your research. If you are done for good, call the lab's tool `finish` with the reason."


class Proposals(Calls):
    """The lab calls that the program's model proposed and that were not carried out yet.

    A program may have several conversations with its model at a time (helpers of its own), and calls tools in
    parallel; so a new answer does not void the calls of another, and the running call is known per task.
    """

    def __init__(self) -> None:
        super().__init__()
        self._running: ContextVar[str] = ContextVar("running", default="")

    def start(self, calls: Sequence[ToolCall]) -> None:
        """These were proposed, under the names that the program gives the lab's tools."""
        self.waiting += [
            ToolCall(id=c.id, function=c.function.removeprefix(PREFIX), arguments=c.arguments) for c in calls
        ]
        del self.waiting[:-MOST_WAITING]

    def key(self, function: str, arguments: dict[str, Any]) -> str:
        found = super().key(function, arguments)
        self._running.set(found)
        return found

    def note(self, kind: str, number: int) -> None:
        self.made[self._running.get() or self._last] = (kind, number)


def for_program(tools: Sequence[Tool]) -> list[Tool]:
    """The lab's tools: the program has a shell and an editor of its own."""
    return [t for t in tools if ToolDef(t).name not in IN_SANDBOX]


class Program:
    """Claude Code or Codex in a researcher's place, over all sessions of one process of ours.

    `__call__(room, tools)` gives the agent of one session; `room.desk.calls` must be a `Proposals`. seconds: the limit
    on one command of the program's shell.
    """

    def __init__(self, which: str, seconds: int) -> None:
        binaries.program(which)
        self.which, self.seconds = which, seconds
        self.room: Room | None = None
        self.inner: Agent | None = None
        self.scope: anyio.CancelScope | None = None
        self.heard: set[str] = set()
        self.answers = 0

    def __call__(self, room: Room, tools: list[Tool]) -> Agent:
        self.room, self.lock = room, anyio.Lock()
        return _session(self, for_program(tools))

    # One session

    async def run(self, state: AgentState, tools: list[Tool]) -> AgentState:
        """Turns of the program until the session, the budget or the research is over."""
        desk, failures = self._room.desk, 0
        opening: list[ChatMessage] = []
        opening += [m for m in state.messages if m.role in ("system", "user")][:2]
        if len(desk.kept) > len(opening):
            await anyio.to_thread.run_sync(desk.start_afresh, opening, "a program keeps its own conversation")
        state.messages = self._first(opening, tools) if self.inner is None else self._again(opening)
        while not self._over():
            before = self.answers
            trouble = await self._turn(state, tools)
            if self._room.fatal or self._over():
                break
            failures = 0 if self.answers > before else failures + 1
            if failures >= MOST_FAILURES:
                self.inner = None
                raise RuntimeError(f"{self.which} ended {failures} times in a row without one answer: {trouble}")
            if trouble:
                await anyio.to_thread.run_sync(desk.note, f"{self.which} failed and starts anew: {trouble}")
                self.inner, state.messages = None, self._first(opening, tools)
                continue
            nudge = await self._next(before)
            if desk.stalled:
                self.inner = None
            if nudge is False:
                break
            state.messages = [*state.messages, ChatMessageUser(content=nudge if isinstance(nudge, str) else GO_ON)]
        return state

    async def _turn(self, state: AgentState, tools: list[Tool]) -> str:
        """One run of the program; what went wrong in it, if anything."""
        self.inner = self.inner or self._start(tools)
        try:
            with anyio.CancelScope() as scope:
                self.scope = scope
                await self.inner(state)
        except LimitExceededError:
            raise
        except Exception as error:
            return describe(error)
        return ""

    async def _next(self, before: int) -> str | bool:
        """What the desk says when the program ended its turn: a nudge, or False to end the session."""
        desk = self._room.desk
        if self.answers - before > 1:  # it worked before it ended its turn: not a conversation that stands still
            desk.silent = 0
        return await desk.next(desk.kept) if self.answers else True

    def _start(self, tools: list[Tool]) -> Agent:
        from inspect_swe import claude_code, codex_cli  # here, so that a model's researcher starts without it

        served = [BridgedToolsSpec(name=SERVER, tools=tools)]
        if self.which == "codex":
            return codex_cli(
                version="sandbox",
                bridged_tools=served,
                web_search="disabled",
                filter=self.hear,
                env=self._environment(),
            )
        return claude_code(
            version="sandbox", bridged_tools=served, disallowed_tools=list(NO_WEB), filter=self.hear,
            env=self._environment(),
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """The program's variables: it waits for the model as long as we do, and looks for nothing elsewhere."""
        command, forever = str(1000 * self.seconds), str(7 * 24 * 3600 * 1000)
        return {
            "API_TIMEOUT_MS": forever,
            "BASH_DEFAULT_TIMEOUT_MS": command,
            "BASH_MAX_TIMEOUT_MS": command,
            "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(self._room.threshold),
            "CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS": forever,
            "CLAUDE_STREAM_IDLE_TIMEOUT_MS": forever,
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
        }

    # What it is told

    def _first(self, opening: list[ChatMessage], tools: list[Tool]) -> list[ChatMessage]:
        """The first words of a new conversation of the program."""
        prefix = PREFIX if self.which == "claude-code" else ""
        names = ", ".join(prefix + ToolDef(t).name for t in tools)
        how = HOW.format(program=self.which, server=SERVER, names=names, prefix=prefix)
        system = "\n\n".join(m.text for m in opening if m.role == "system") + "\n" + how
        first = "\n\n".join(m.text for m in opening if m.role == "user")
        if self._room.desk.turn:
            first += "\n\n" + prompts.RESTARTED
        return [ChatMessageSystem(content=system), ChatMessageUser(content=first)]

    def _again(self, opening: list[ChatMessage]) -> list[ChatMessage]:
        """The conversation goes on in a new session: the program has it in its files, and only needs a word."""
        return [*opening, ChatMessageAssistant(content="(in the program's own files)"), ChatMessageUser(content=GO_ON)]

    # What passes between the program and its model

    async def hear(
        self,
        model: Model,
        messages: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice | None,
        config: GenerateConfig,
    ) -> ModelOutput:
        """One model call of the program: written down, asked, and the answer written down before it acts on it."""
        async with self.lock:
            await anyio.to_thread.run_sync(self._room.desk.write, self._new(messages))
        if self._over():
            await self._halt()
        output = await self._ask(model, messages, tools, tool_choice, config)
        async with self.lock:
            self.answers += 1
            await self._room.desk.answered(output.message)
            await anyio.to_thread.run_sync(self._room.desk.sync)
        return output

    async def _ask(
        self,
        model: Model,
        messages: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice | None,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The answer, however long the provider takes; an error that no waiting mends goes to the program."""
        settings = self._room.config.merge(config)
        try:
            return await patiently(
                self._room,
                model,
                lambda: model.generate(messages, tools=tools, tool_choice=tool_choice, config=settings),
            )
        except LimitExceededError:
            raise
        except Exception:
            if self._room.fatal:
                await self._halt()
            raise

    def _new(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Messages that no earlier call brought; answers are written down when they are given."""
        found: list[ChatMessage] = []
        count: Counter[str] = Counter()
        for message in messages:
            if message.role not in ("user", "tool"):
                continue
            what = _what(message)
            count[what] += 1
            mark = hashlib.sha256(f"{what} {count[what]}".encode()).hexdigest()[:32]
            if mark not in self.heard:
                self.heard.add(mark)
                found.append(message.model_copy(update={"id": mark}))
        return found

    def _over(self) -> bool:
        desk = self._room.desk
        return bool(desk.ending or self._room.meter.spent) or desk.turns_in_session >= desk.llm.session_turns

    async def _halt(self) -> None:
        """End the program's run from inside one of its model calls."""
        assert self.scope is not None, "the program runs"
        self.scope.cancel()
        await anyio.sleep_forever()

    @property
    def _room(self) -> Room:
        assert self.room is not None, "a program runs in a session"
        return self.room


@agent
def _session(program: Program, tools: list[Tool]) -> Agent:
    """One session of the program."""

    async def execute(state: AgentState) -> AgentState:
        return await program.run(state, tools)

    return execute


def _what(message: ChatMessage) -> str:
    """The same for the same message in every call that repeats it."""
    if isinstance(message, ChatMessageTool) and message.tool_call_id:
        return f"tool {message.tool_call_id}"
    return f"{message.role} {message.text}"
