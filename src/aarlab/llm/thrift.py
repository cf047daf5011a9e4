"""Less computing for each turn of a language model: what the clients and the framework do again and again for nothing.

OpenAI's client walks every request in Python, along its type annotations, to rename keys that carry another name in
JSON. The requests of its two text interfaces have no such key (a test looks at their types), and a conversation of
sixty messages costs 40 ms each time. Requests made of plain JSON values are therefore sent as they are.

Inspect writes every event of a transcript into a database for its live view, in a transaction of its own, when the
event begins and again when it ends. Here they are gathered for a moment, each event in its newest form.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

OPENAI = (
    ("openai.resources.chat.completions.completions", "openai.types.chat.completion_create_params", "CompletionCreate"),
    ("openai.resources.responses.responses", "openai.types.responses.response_create_params", "ResponseCreate"),
)
"""Module that sends, module of the request's types, and how those are called."""

PLAIN = (str, int, float, bool, type(None))
COLLECT_AFTER = (20_000, 20, 50)
"""New objects before the collector looks at the young ones, and how often it looks at the older."""
GATHER_SECONDS = 0.25
"""A burst of events is shorter. A killed process takes so much of its transcript along; its event rows are whole."""

Transform = Callable[[Any, Any], Awaitable[Any]]


def save() -> None:
    """After a process's imports; once more does no harm."""
    gc.set_threshold(*COLLECT_AFTER)
    _gather_live_events()
    if "openai" in sys.modules:
        _spare_requests()


def _spare_requests() -> None:
    for sender, types, prefix in OPENAI:
        try:
            module, known = importlib.import_module(sender), importlib.import_module(types)
            shapes = [getattr(known, f"{prefix}Params{form}") for form in ("NonStreaming", "Streaming")]
            original = module.async_maybe_transform
        except (ImportError, AttributeError):  # another version of the client: slower, and right
            continue
        module.async_maybe_transform = as_it_is(original, shapes)  # type: ignore[attr-defined]


def as_it_is(original: Transform, shapes: list[Any]) -> Transform:
    """`original`, but a request of plain values, and of one of these shapes, is left alone."""
    if getattr(original, "shapes", None) == shapes:
        return original

    async def transform(data: Any, expected: Any) -> Any:
        if expected in shapes and isinstance(data, dict):
            given = {k: v for k, v in data.items() if type(v).__name__ not in ("NotGiven", "Omit")}
            if plain(given):
                return given
        return await original(data, expected)

    transform.shapes = shapes  # type: ignore[attr-defined]
    return transform


def _gather_live_events() -> None:
    try:
        logger = importlib.import_module("inspect_ai._eval.task.log").TaskLogger
        bounded = importlib.import_module("inspect_ai.log._transcript").transcript_bounded_enabled()
        event = importlib.import_module("inspect_ai.log._recorders.types").SampleEvent
        original = logger.log_sample_event
    except (ImportError, AttributeError):  # another version of Inspect
        return
    if not (bounded or hasattr(original, "gathers")):  # a bounded transcript reads the database back at once
        logger.log_sample_event = gathered(event)


def gathered(sample_event: Callable[..., Any]) -> Callable[[Any, Any, int, Any], None]:
    """`TaskLogger.log_sample_event`, but several in one transaction. sample_event: what its database takes."""

    def log_sample_event(self: Any, id: str | int, epoch: int, event: Any) -> None:
        waiting: dict[Any, Any] = self.__dict__.setdefault("gathered_events", {})
        if not waiting:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, write, self, waiting)
        waiting[id, epoch, event.uuid] = sample_event(id=id, epoch=epoch, event=event)

    def write(self: Any, waiting: dict[Any, Any]) -> None:
        events = list(waiting.values())
        waiting.clear()
        if self._buffer_db is not None:  # else the sample is over, and its log is complete
            self._buffer_db.log_events(events)

    log_sample_event.gathers = True  # type: ignore[attr-defined]
    return log_sample_event


def plain(data: Any) -> bool:
    """Whether this is JSON already."""
    if isinstance(data, PLAIN):
        return True
    if type(data) is dict:
        return all(type(k) is str and plain(v) for k, v in data.items())
    return type(data) is list and all(map(plain, data))
