"""One LLM researcher from its process's start to its end: sessions in a row, each with a transcript of its own.

A session is one Inspect run of at most `llm.session_turns` turns. What one process holds of a conversation grows with
every turn (Inspect keeps each turn's events until the run ends), so days-long research is many sessions, and the
conversation goes on from the event rows as it would after a crash.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.agent import Agent
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, GenerateConfig, Model, get_model_info
from inspect_ai.tool import Tool
from inspect_ai.util import SandboxEnvironmentSpec

from aarlab.errors import AarlabError, Infrastructure
from aarlab.llm.agent import OWN_RETRIES, Room, researcher
from aarlab.llm.check import CannotGoOn
from aarlab.llm.desk import Desk
from aarlab.llm.meter import RUNNING, Meter
from aarlab.settings import Llm

ATTEMPT_SECONDS = 600  # for one answer of the provider
UNKNOWN_CONTEXT, MOST_CONTEXT, SHARE = 60_000, 120_000, 0.75  # tokens of a conversation before it is summarised
AFRESH, GIVE_UP = 3, 6  # sessions in a row without one turn


@dataclass
class Seat:
    """Everything one researcher's sessions need.

    opening: the first two messages of a conversation; again: those of one that starts afresh. sandbox: where its
    commands run. agent: who thinks; by default a model with the tools, else an outside program.
    """

    desk: Desk
    meter: Meter
    llm: Llm
    model: Model
    tools: list[Tool]
    opening: list[ChatMessage]
    again: list[ChatMessage]
    sandbox: SandboxEnvironmentSpec
    transcripts: Path
    agent: Callable[[Room, list[Tool]], Agent] = researcher


def opening(system: str, first: str) -> list[ChatMessage]:
    """The two messages that every conversation of a researcher begins with."""
    return [ChatMessageSystem(content=system), ChatMessageUser(content=first)]


def work(seat: Seat) -> str:
    """Sessions until the research is over; the reason. Raises CannotGoOn where another try would end the same way."""
    desk, meter = seat.desk, seat.meter
    RUNNING[:] = [meter]
    meter.log_started = lambda task_id: _note_log(seat, task_id)
    if not desk.open():
        desk.start_afresh(seat.opening, "the start")
    empty = 0
    while not (desk.ending or meter.spent):
        room = session(seat)
        if room.fatal:
            raise CannotGoOn(room.fatal)
        if desk.stalled:
            desk.note(f"{desk.stalled}: the conversation starts afresh")
            desk.start_afresh(seat.again, desk.stalled)
        empty = 0 if desk.turns_in_session else empty + 1
        if empty >= GIVE_UP:
            raise CannotGoOn(f"{empty} sessions in a row ended before the first turn; the last: {room.trouble}")
        if empty == AFRESH:
            desk.start_afresh(seat.again, f"{empty} sessions in a row ended before the first turn ({room.trouble})")
        if empty and not (desk.ending or meter.spent):
            time.sleep(min(60.0, 2.0**empty))
    return desk.ending or meter.spent


def session(seat: Seat) -> Room:
    """One Inspect run; what went wrong in it is in the room's `fatal` and `trouble`."""
    desk = seat.desk
    desk.begin()
    config = GenerateConfig(
        max_tokens=seat.llm.max_output_tokens, max_retries=OWN_RETRIES, attempt_timeout=ATTEMPT_SECONDS
    )
    room = Room(desk, seat.meter, threshold(seat.llm, seat.model), config)
    task = Task(
        dataset=[Sample(id=desk.name, input=list(desk.kept), metadata={"session": desk.session})],
        solver=seat.agent(room, seat.tools),
        sandbox=seat.sandbox,
        name=desk.name,
    )
    logs: list[EvalLog] = []
    try:
        logs = eval(
            task, model=seat.model, log_dir=str(seat.transcripts), score=False, acp_server=False, ctl_server=False,
            max_subprocesses=16, max_sandboxes=1, tags=["aarlab"], log_level="error", log_level_transcript="warning",
            display="log",  # "none" draws a screen that nobody sees every second
        )  # fmt: skip
    except Infrastructure as error:
        room.trouble = str(error)
    try:
        desk.flush()
    except AarlabError as error:
        room.trouble = room.trouble or str(error)
    if any(log.status == "cancelled" for log in logs) and not desk.ending:  # Inspect keeps a signal for itself
        raise KeyboardInterrupt
    room.trouble = room.trouble or _trouble(logs)
    if room.trouble and not (desk.ending or seat.meter.spent or room.fatal):
        desk.note(f"session {desk.session} ended early: {room.trouble}")
    return room


def threshold(llm: Llm, model: Model) -> int:
    """Prompt tokens from which a conversation is summarised."""
    if llm.context_tokens:
        return llm.context_tokens
    info = get_model_info(model)
    known = info.context_length if info is not None else None
    return min(MOST_CONTEXT, int(SHARE * known)) if known else UNKNOWN_CONTEXT


def _trouble(logs: list[EvalLog]) -> str:
    for log in logs:
        if log.error is not None:
            return " ".join(log.error.message.split())[:500]
        for sample in log.samples or []:
            if sample.error is not None:
                return " ".join(sample.error.message.split())[:500]
            if sample.limit is not None:
                return f"limit {sample.limit.type}"
    return ""


def _note_log(seat: Seat, task_id: str) -> None:
    found = sorted(seat.transcripts.glob(f"*{task_id}.eval"))
    seat.desk.log = found[-1].name if found else ""


def tell(desk: Desk) -> Callable[[str, dict[str, Any]], None]:
    """How the meter speaks: a line in the timeline, in the status, and in this process's log."""

    def say(sentence: str, body: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):
            print(sentence, file=sys.stderr, flush=True)
            desk.note(sentence, body, kind="retry")

    return say
