"""What the fleet's processes ask of the lab: money before a model call, an account after it, and transcripts."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from starlette.types import Scope

from aarlab.errors import UnknownName
from aarlab.records import IdeaRow
from aarlab.server import heartbeat, spending, transcript
from aarlab.server.auth import AccountKeeper, Door, Reader, Scribe, Timekeeper
from aarlab.server.bodies import MAX_ID, Clock, NewEvents, NewIdeas, Release, Reserve, Settle, Turn
from aarlab.server.lab import Lab
from aarlab.server.limits import BODY_BYTES, EVENT_BYTES

EVENTS, TURN = "/v1/events", "/v1/turn"
PAGE = 1000


def body_limit(door: Door, scope: Scope) -> int:
    """Long bodies are for those who write transcripts; nobody else makes the lab read that much."""
    if scope["path"] in (EVENTS, TURN):
        headers = dict(scope["headers"])
        who = door.known_as(headers.get(b"authorization", b"").decode("latin-1"))
        if who is not None and who.role in ("fleet", "operator"):
            return EVENT_BYTES
    return BODY_BYTES


def add_accounts(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.post("/v1/spending/reserve")
    def reserve(who: AccountKeeper, body: Reserve) -> dict[str, Any]:
        """Set a call's price aside; 429 where nothing is left."""
        return spending.reserve(lab, body)

    @app.post("/v1/spending/settle")
    def settle(who: AccountKeeper, body: Settle) -> dict[str, Any]:
        """Account a call; returns its researcher's account."""
        return spending.settle(lab, body)

    @app.post("/v1/spending/release")
    def release(who: AccountKeeper, body: Release) -> dict[str, Any]:
        """Drop a reservation, or charge all that a dead process left."""
        return spending.release(lab, body)

    @app.post("/v1/clock")
    def clock(who: Timekeeper, body: Clock) -> dict[str, Any]:
        lab.research_ends = time.monotonic() + body.seconds_left
        if body.compute or body.minutes:
            spending.told(lab, body)
        return {"seconds_left": lab.seconds_left()}


def add_turns(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.post(TURN)
    def turn(who: AccountKeeper, body: Turn) -> Response:
        """Write events, account calls, hear a heartbeat, set the next call's price aside: what the single requests
        do, in this order and in one transaction. Answers what a heartbeat does, or {}.

        429 where nothing is left for the next call; the rest is kept then.
        """
        name = body.researcher
        new = transcript.ready(lab, NewEvents(researcher=name, events=body.events))
        answer: dict[str, Any] = {}
        refusal = ""
        with lab.store.write() as rows:
            transcript.write(rows, name, new)
            for call in body.settled:
                spending.account(lab, rows, Settle(researcher=name, **call.model_dump()))
            if body.says is not None:
                answer = heartbeat.hear(lab, rows, name, body.says)
            if body.reserve is not None:
                refusal = spending.set_aside(lab, rows, Reserve(researcher=name, **body.reserve.model_dump()))
        transcript.told(lab, new)
        if body.says is not None:
            heartbeat.heard(lab, name, body.says)
        spending.tell(lab, refusal)
        return Response(json.dumps(answer), media_type="application/json")


def add_transcripts(app: FastAPI) -> None:
    lab: Lab = app.state.lab

    @app.post(EVENTS, status_code=201)
    def new_events(who: Scribe, body: NewEvents) -> dict[str, Any]:
        """Write events, all or none."""
        return transcript.add(lab, body)

    @app.get(EVENTS)
    def events(
        who: Reader,
        researcher: Annotated[str, Query(max_length=200)] = "",
        since: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
        limit: Annotated[int, Query(ge=1, le=10 * PAGE)] = PAGE,
    ) -> Response:
        """Events after number `since`, oldest first; of one researcher, or of all."""
        with lab.store.read() as rows:
            if researcher and rows.researcher(researcher) is None:
                raise UnknownName(f"there is no researcher {researcher!r}")
            return Response(transcript.page(rows, researcher or None, since, limit), media_type="application/json")

    @app.post("/v1/ideas")
    def new_ideas(who: Scribe, body: NewIdeas) -> dict[str, Any]:
        """Keep what rules or a model say of which family submissions and posts are."""
        with lab.store.write() as rows:
            for idea in body.ideas:
                if (rows.submission if idea.kind == "submission" else rows.post)(idea.number) is None:
                    raise UnknownName(f"there is no {idea.kind} {idea.number} to classify")
                rows.set_idea(IdeaRow(idea.kind, idea.number, idea.family, idea.by))
        return {"kept": len(body.ideas)}
