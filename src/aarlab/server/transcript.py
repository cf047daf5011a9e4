"""Transcripts as rows: each model call, tool call and result of a researcher that is a language model."""

from __future__ import annotations

import json
from typing import Any

from aarlab.errors import InputError, UnknownName
from aarlab.records import EventRow
from aarlab.server.bodies import Event, NewEvents
from aarlab.server.lab import Lab
from aarlab.store import Rows

MOST_BYTES = 4_000_000
"""Of one event's body, as JSON in ASCII."""

PAGE_BYTES = 8_000_000
"""Of bodies in one reply; the rest comes with the next."""

Json = dict[str, Any]


def add(lab: Lab, body: NewEvents) -> Json:
    """Write events, all or none; one whose key is known is left as it is. Returns the numbers of all."""
    new = ready(lab, body)
    with lab.store.write() as rows:
        numbers = write(rows, body.researcher, new)
    told(lab, new)
    return {"ids": numbers}


def ready(lab: Lab, body: NewEvents) -> list[EventRow]:
    """The rows of new events. Raises InputError for what no row can hold."""
    now = lab.now()
    return [_row(body.researcher, event, now) for event in body.events]


def write(rows: Rows, researcher: str, new: list[EventRow]) -> list[int]:
    """Their numbers. Raises UnknownName."""
    person = rows.researcher(researcher)
    if person is None or person.role != "researcher":
        raise UnknownName(f"there is no researcher {researcher!r}")
    for event in new:
        _check(rows, event)
    if new:
        rows.set_alive(researcher, new[-1].time)  # whoever writes lives
    return rows.add_events(researcher, new)


def told(lab: Lab, new: list[EventRow]) -> None:
    """After the rows are written."""
    if any(e.submission is not None for e in new):
        lab.changed("running")  # its status now names the step that made it


def note(lab: Lab, rows: Rows, researcher: str, key: str, text: str) -> bool:
    """A sentence of the lab's own in a transcript, in the caller's transaction; False when it stands there already."""
    if rows.has_event(researcher, key):
        return False
    body = json.dumps({"text": text, "by": "lab"})
    session, turn = rows.last_turn(researcher)
    rows.add_events(researcher, [EventRow(0, researcher, key, session, turn, "note", body, lab.now())])
    return True


def page(rows: Rows, researcher: str | None, since: int, limit: int) -> bytes:
    """{"events": [...]} as JSON: the events after number `since`, oldest first, as many as fit."""
    parts: list[str] = []
    room = PAGE_BYTES
    for event in rows.events(researcher, since, limit):
        room -= len(event.body)
        if parts and room < 0:
            break
        about = {k: v for k, v in vars(event).items() if k != "body"}
        parts.append(f'{json.dumps(about)[:-1]}, "body": {event.body}}}')  # bodies are JSON already
    return f'{{"events": [{", ".join(parts)}]}}'.encode()


def place(event: EventRow) -> Json:
    """Where in a transcript something was made."""
    return {"log": event.log, "session": event.session, "turn": event.turn, "event": event.id}


def _row(researcher: str, event: Event, now: float) -> EventRow:
    try:
        body = json.dumps(event.body, allow_nan=False)
    except ValueError:
        raise InputError(f"the event {event.key!r} holds NaN or infinity, which JSON has no word for") from None
    except RecursionError:
        raise InputError(f"the event {event.key!r} is nested too deeply to be kept") from None
    if len(body) > MOST_BYTES:
        raise InputError(
            f"the event {event.key!r} is {len(body):,} bytes long; the lab keeps up to {MOST_BYTES:,}: cut it"
        )
    keep = ("key", "session", "turn", "kind", "submission", "post", "log")
    return EventRow(id=0, researcher=researcher, body=body, time=now, **{k: getattr(event, k) for k in keep})


def _check(rows: Rows, event: EventRow) -> None:
    """An event that says it made something names something of its own researcher."""
    for kind, number, find in (("submission", event.submission, rows.submission), ("post", event.post, rows.post)):
        found = find(number) if number is not None else None
        if number is not None and (found is None or found.researcher != event.researcher):
            raise UnknownName(f"{event.researcher} has no {kind} {number} that event {event.key!r} could have made")


def places(rows: Rows, submission: int | None = None) -> dict[int, Json]:
    """Where each submission, or the one named, was made; those that no transcript knows are left out."""
    return {n: place(e) for n, e in rows.makers(submission).items()}
