"""Who asks: identity comes from the token and from nothing else."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from aarlab.errors import NotAllowed, Unauthorised
from aarlab.server.lab import Lab

log = logging.getLogger("aarlab.server")


def token_hash(token: str) -> str:
    """What the database keeps of a token. Tokens carry 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Identity:
    name: str
    role: str  # researcher | operator | viewer | fleet

    def require_operator(self) -> None:
        if self.role != "operator":
            raise NotAllowed(f"{self.name} may not do this; it needs the operator's token")

    def require_writer(self) -> None:
        if self.role == "viewer":
            raise NotAllowed("the viewer's token only reads")
        if self.role == "fleet":
            raise NotAllowed("the fleet's token keeps accounts and transcripts; a researcher's own token is needed")


class Door:
    """Knows all tokens of a lab, hashed; they are fixed when its service starts."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.alarms: set[tuple[str, str]] = set()  # (who, what) that were raised already
        with lab.store.read() as rows:
            self.known = {r.token_hash: Identity(r.name, r.role) for r in rows.researchers() if r.token_hash}

    def known_as(self, authorization: str) -> Identity | None:
        """Whose token an Authorization header carries."""
        scheme, _, token = authorization.partition(" ")
        return self.known.get(token_hash(token.strip())) if scheme.lower() == "bearer" else None

    def identity(self, request: Request) -> Identity:
        found = self.known_as(request.headers.get("authorization", ""))
        if found is None:
            raise Unauthorised("no valid token; send the header `Authorization: Bearer TOKEN`")
        return found

    def refuse(self, who: Identity, what: str, where: str) -> NotAllowed:
        """The refusal of something a researcher has no business with, and an alarm: once for each, the first time."""
        if who.role == "researcher" and (who.name, what) not in self.alarms:
            self.alarms.add((who.name, what))
            log.error("ALARM: %s %s (%s)", who.name, what, where)
            with self.lab.store.write() as rows:
                body = {"what": what, "who": who.name, "in": where}
                self.lab.ledger.append(rows, "alarm", body, self.lab.now())
            self.lab.changed("scores")
        return NotAllowed(f"{who.name} may not do this; it needs the fleet's token")


async def whoami(request: Request) -> Identity:
    door: Door = request.app.state.door
    return door.identity(request)


Who = Annotated[Identity, Depends(whoami)]

BUDGET, TRANSCRIPT = "tried to change a budget", "tried to write or read a transcript"
"""What an alarm says that a researcher did."""


async def account_keeper(request: Request, who: Who) -> Identity:
    """The fleet or the operator."""
    return await _only(request, who, BUDGET, "fleet", "operator")


async def scribe(request: Request, who: Who) -> Identity:
    return await _only(request, who, TRANSCRIPT, "fleet", "operator")


async def reader(request: Request, who: Who) -> Identity:
    return await _only(request, who, TRANSCRIPT, "fleet", "operator", "viewer")


async def timekeeper(request: Request, who: Who) -> Identity:
    """The operator alone: the supervisor tells the time and what computing cost."""
    return await _only(request, who, BUDGET, "operator")


async def _only(request: Request, who: Identity, what: str, *roles: str) -> Identity:
    """Checked before the body is, so that nobody learns from a refusal how a body must look."""
    if who.role not in roles:
        door: Door = request.app.state.door
        raise await run_in_threadpool(door.refuse, who, what, f"{request.method} {request.url.path}")
    return who


AccountKeeper = Annotated[Identity, Depends(account_keeper)]
Scribe = Annotated[Identity, Depends(scribe)]
Reader = Annotated[Identity, Depends(reader)]
Timekeeper = Annotated[Identity, Depends(timekeeper)]
