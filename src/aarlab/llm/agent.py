"""One LLM researcher's loop: Inspect's `react`, with a thinker that keeps the conversation short and written down."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import anyio
import anyio.to_thread
from inspect_ai.agent import Agent, AgentState, agent, react
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ChatMessageUser,
    CompactionSummary,
    GenerateConfig,
    Model,
    ModelOutput,
    execute_tools,
    get_model,
)
from inspect_ai.tool import Tool, ToolDef, ToolParams
from inspect_ai.util import LimitExceededError

from aarlab.llm import prompts, resume
from aarlab.llm.desk import IN_SANDBOX, Desk
from aarlab.llm.meter import Meter

OWN_RETRIES = 4  # Inspect's, with growing waits up to a minute; after them ours, with a wait that grows no more
WAIT_SECONDS = 60.0
MOST_GARBLED = 4  # answers in a row that cannot be read
LEAST_MESSAGES = 6  # a conversation this short is not summarised, however long its messages are
INTERRUPTED = "interrupted: the researcher was restarted during this call; see for yourself how far it came"


@dataclass
class Room:
    """What the thinker needs besides the conversation. threshold: prompt tokens above which it is summarised.

    `fatal`: why no other try can succeed (a wrong key, an unknown model). `trouble`: why the session ended.
    """

    desk: Desk
    meter: Meter
    threshold: int
    config: GenerateConfig
    fatal: str = ""
    trouble: str = ""


@agent
def researcher(room: Room, tools: Sequence[Tool]) -> Agent:
    """Think and act until the session, the budget or the research is over."""

    async def execute(state: AgentState) -> AgentState:
        described = describe_once(tools)
        state.messages = [*state.messages, *await unfinished(room.desk, state.messages, described)]
        think = thinker(room, described)
        loop = react(prompt=None, tools=described, model=think, submit=False, on_continue=_on_continue(room.desk))
        return await loop(state)

    return execute


class Unchanging(ToolParams):
    """Parameters of a tool that nobody changes. The framework copies all tools three times a turn, to be safe from
    changes; a copy of these is the same object."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        return super().model_copy(update=update, deep=deep) if update else self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self


def describe_once(tools: Sequence[Tool]) -> list[ToolDef]:
    """Definitions for a whole session; the framework would make them twice in every turn."""
    described = [ToolDef(tool) for tool in tools]
    for one in described:
        one.parameters = Unchanging(**dict(one.parameters))
    return described


def _on_continue(desk: Desk) -> Any:
    async def decide(state: AgentState) -> bool | str:
        return await desk.next(state.messages)

    return decide


@agent
def thinker(room: Room, described: Sequence[ToolDef]) -> Agent:
    """One model call: shorten where needed, ask, write the answer down."""

    async def execute(state: AgentState, tools: list[Tool]) -> AgentState:
        """One turn's thought.

        Args:
            state: The conversation.
            tools: What the model may call; the same as `described`.
        """
        room.desk.write_soon(state.messages)
        if room.meter.context > room.threshold and len(state.messages) > LEAST_MESSAGES:
            state.messages = await shortened(room, state.messages, f"{room.meter.context} tokens of context")
        state.output = await answer(room, state.messages, described)
        if state.output.stop_reason == "model_length":
            state.messages = await shortened(room, state.messages, "the model's context is full")
            state.output = await answer(room, state.messages, described)
        state.messages.append(state.output.message)
        await room.desk.answered(state.output.message)
        return state

    return execute


async def answer(room: Room, messages: list[ChatMessage], tools: Sequence[ToolDef]) -> ModelOutput:
    """The model's answer to this conversation; see `patiently`."""
    model = get_model()
    return await patiently(room, model, lambda: model.generate(messages, tools=list(tools), config=room.config))


async def patiently(room: Room, model: Model, ask: Callable[[], Awaitable[ModelOutput]]) -> ModelOutput:
    """An answer, however long the provider takes to come back. Raises what retrying cannot mend, with the room's
    `fatal` set where no other try can succeed."""
    garbled = 0
    while True:
        try:
            return await ask()
        except LimitExceededError:
            raise
        except Exception as error:
            if unreadable(error) and (garbled := garbled + 1) < MOST_GARBLED:
                room.meter.tell(f"an answer could not be read ({describe(error)}), asking again", {})
                continue
            if not passing(model, error):
                await room.meter.failed()
                room.fatal = fatal(model, error)
                raise
            room.meter.tell(f"the provider is down ({describe(error)}), asking again in {WAIT_SECONDS:g} s", {})
            await anyio.sleep(WAIT_SECONDS)


def unreadable(error: BaseException) -> bool:
    """Whether an answer came, and its form was broken (a provider's client raises ValueError at malformed JSON)."""
    return isinstance(error, ValueError) and getattr(error, "status_code", None) is None


def passing(model: Model, error: BaseException) -> bool:
    """Whether waiting may mend it: rate limits, overload, server errors, lost connections."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Exception) and model.should_retry(cause):
            return True
        cause = cause.__cause__ or getattr(getattr(cause, "last_attempt", None), "exception", lambda: None)()
    return False


def fatal(model: Model, error: BaseException) -> str:
    """A sentence where every other try would fail alike: the provider does not know the key or the model."""
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if status in (401, 403):
        return f"the provider refuses the key for {model}: {describe(error)}; set the right key and `aarlab resume`"
    if status == 404:
        return f"the provider does not know {model}: {describe(error)}"
    return ""


def describe(error: BaseException) -> str:
    """The error's class and first words."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__


async def shortened(room: Room, messages: list[ChatMessage], why: str) -> list[ChatMessage]:
    """The opening and a summary of what followed; where no summary can be had, the opening and the notebook."""
    opening: list[ChatMessage] = [m for m in messages[:2] if m.role in ("system", "user")]
    strategy = CompactionSummary(memory=False, instructions=prompts.SUMMARY)
    started = time.monotonic()
    try:
        _, summary = await strategy.compact(get_model(), list(messages), [])
    except LimitExceededError:
        raise
    except Exception as error:
        await room.meter.failed()
        room.desk.note(f"no summary could be made ({describe(error)}); going on from the notebook")
        summary = None
    last = summary or ChatMessageUser(content=prompts.WITHOUT_SUMMARY)
    kept: list[ChatMessage] = [*opening, last]
    how = "summarised" if summary else "cut to the notebook"
    why = f"{why}: {how} in {time.monotonic() - started:.0f} s"
    await anyio.to_thread.run_sync(room.desk.start_afresh, kept, why)
    return kept


async def unfinished(desk: Desk, messages: list[ChatMessage], tools: Sequence[ToolDef]) -> list[ChatMessage]:
    """Results for the calls that a killed process left without one.

    What the lab does is asked for again under the same key, so that nothing happens twice; what ran in the sandbox is
    not run again.
    """
    calls = resume.pending(messages)
    if not calls:
        return [ChatMessageUser(content=prompts.NO_ACTION)] if messages[-1].role == "assistant" else []
    results: list[ChatMessage] = [
        ChatMessageTool(content=INTERRUPTED, tool_call_id=c.id, function=c.function)
        for c in calls
        if c.function in IN_SANDBOX
    ]
    again = [c for c in calls if c.function not in IN_SANDBOX]
    if again:
        desk.calls.start(again)
        asked = ChatMessageAssistant(content="", tool_calls=again)
        results += (await execute_tools([asked], list(tools))).messages
    await anyio.to_thread.run_sync(desk.write, results)
    return results
