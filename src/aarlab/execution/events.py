"""What the trace of a method's process says, as the lab reads it: kinds of events, and which of them are forbidden.

The trace is written by a process that runs a stranger's code. Nothing in it is believed beyond this: each line is one
of the known words and a detail in a safe alphabet, or the trace is garbled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from aarlab.execution.base import Event

FORBIDDEN = {
    "program": "started a program",
    "fork": "started a process",
    "socket": "opened a connection",
    "ctypes": "called C functions around Python",
    "compile": "compiled text that is no library's file",
    "exec": "ran code made from text",
    "code": "made or changed code objects by hand",
    "interpreter": "made a second interpreter",
    "hook": "put hooks on the interpreter",
    "signal": "sent signals to processes",
    "secret": "looked where labels, other processes or the lab would lie",
    "call": "made a system call that ends its process",
    "trace": "tampered with its own trace",
}
"""Kinds of events that no method has a use for, and what the method tried."""

SEEN = {
    "open": "opened files outside the libraries",
    "list": "listed folders outside the libraries",
    "write": "tried to write files",
    "gc": "went through the objects of the interpreter",
    "frame": "looked at the frames of its callers",
    "import": "imported modules that reach outside",
}
"""Kinds that are shown and never counted: honest code may do them."""

CUT, GARBLED, FLOODED = Event("trace", "cut"), Event("trace", "garbled"), Event("trace", "flooded")
ENDED = Event("call", "SIGSYS")
MOST_KINDS = 200
"""Distinct events kept of one draw; more count as a flood."""
LINE = re.compile(rb"([a-z]{1,12}) ([A-Za-z0-9._/+-]{1,100})")


def forbidden(event: Event) -> bool:
    return event.kind in FORBIDDEN


def parse(raw: bytes, flooded: bool = False, cut: bool = False) -> tuple[Event, ...]:
    """The events of one draw's trace, equal ones put together. flooded, cut: what the worker saw of the descriptor."""
    lines = raw.split(b"\n")
    if flooded:
        lines.pop()  # the last one may be half of a line
    found = [_event(line) for line in lines if line]
    found += [FLOODED] * flooded + [CUT] * cut
    total = added(found)
    return total if len(total) <= MOST_KINDS else (*total[: MOST_KINDS - 1], FLOODED)


def added(events: Iterable[Event]) -> tuple[Event, ...]:
    """Equal events put together, forbidden ones first."""
    total: dict[tuple[str, str], int] = {}
    for event in events:
        total[event.kind, event.detail] = total.get((event.kind, event.detail), 0) + event.count
    order = sorted(total, key=lambda key: (key[0] not in FORBIDDEN, key))
    return tuple(Event(kind, detail, total[kind, detail]) for kind, detail in order)


def _event(line: bytes) -> Event:
    match = LINE.fullmatch(line)
    if match is None:
        return GARBLED
    kind, detail = match[1].decode(), match[2].decode()
    return Event(kind, detail) if kind in FORBIDDEN or kind in SEEN else GARBLED
